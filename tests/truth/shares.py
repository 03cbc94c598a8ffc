"""The parts that stages play: random shares, and scores that have them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from tests.truth.response import Products, Subset
from tests.truth.spaces import STAGES, design_of
from tests.truth.tree import stage_mix

LEVEL, UNIT = 0.7, 0.05
TENTH = 0.10


def generator(shape: str, seed: int) -> np.random.Generator:
    """Random numbers of one case; shapes of one seed have nothing in common."""
    return np.random.default_rng([zlib.crc32(shape.encode()), seed])


def parted(shares: Mapping[Subset, float], rng: np.random.Generator, listed: bool = False) -> Products:
    """Products with these shares, on random stage functions; each sign is a coin's.

    Of interactions a coin says whether they are products of the main effects or of functions of their own.
    """
    design = design_of(listed)
    named = {stage for chosen in shares for stage in chosen}
    mixes = {stage: stage_mix(design, stage, rng) for stage in STAGES if stage in named}
    signs = {chosen: float(rng.choice([-1, 1])) for chosen in shares}
    coefficients = {chosen: signs[chosen] * share**0.5 for chosen, share in shares.items()}
    own = {
        chosen: {stage: stage_mix(design, stage, rng) for stage in STAGES if stage in chosen}
        for chosen in shares
        if len(chosen) > 1 and rng.random() < 0.5
    }
    return Products(STAGES, mixes, coefficients, own)


def split(total: float, count: int, rng: np.random.Generator) -> list[float]:
    """`total` in `count` random parts of at least 0.05 of it each."""
    return (total * (0.05 + (1 - 0.05 * count) * rng.dirichlet(np.full(count, 2.0)))).tolist()


def cast(rng: np.random.Generator) -> list[str]:
    """The stages in the order of their parts."""
    return rng.permutation(np.array(STAGES)).tolist()


def additive_shares(rng: np.random.Generator) -> dict[Subset, float]:
    """Four stages share 0.90, one has 0.10, one nothing."""
    *strong, tenth, _ = cast(rng)
    mains = dict(zip(strong, split(1 - TENTH, 4, rng), strict=True)) | {tenth: TENTH}
    return {frozenset({stage}): share for stage, share in mains.items()}


def paired_shares(rng: np.random.Generator) -> dict[Subset, float]:
    """Four stages share 0.75, two of them 0.15 together, one has 0.10, one nothing."""
    *strong, tenth, _ = cast(rng)
    mains = dict(zip(strong, split(0.75, 4, rng), strict=True)) | {tenth: TENTH}
    return {frozenset({stage}): share for stage, share in mains.items()} | {frozenset(strong[:2]): 0.15}


def tangled_shares(rng: np.random.Generator) -> dict[Subset, float]:
    """Four stages share 0.45, pairs have 0.20, 0.10, 0.05, a triple 0.10, one stage 0.10, one nothing."""
    *strong, tenth, _ = cast(rng)
    a, b, c, d = strong
    mains = dict(zip(strong, split(0.45, 4, rng), strict=True)) | {tenth: TENTH}
    together = {
        frozenset({a, b}): 0.20,
        frozenset({c, d}): 0.10,
        frozenset({a, c}): 0.05,
        frozenset({a, b, c}): 0.10,
    }
    return {frozenset({stage}): share for stage, share in mains.items()} | together


def sparse_shares(rng: np.random.Generator) -> dict[Subset, float]:
    """Two stages share 0.90, one has 0.10, three nothing."""
    one, other, tenth, *_ = cast(rng)
    mains = dict(zip((one, other), split(1 - TENTH, 2, rng), strict=True)) | {tenth: TENTH}
    return {frozenset({stage}): share for stage, share in mains.items()}


def some_noise(rng: np.random.Generator) -> float:
    """A share of the scores' variance."""
    return float(rng.uniform(0.1, 0.2))


def spread_of(noise_share: float) -> float:
    """Standard deviation of noise that has this share beside a variance of 1."""
    return float(np.sqrt(noise_share / (1 - noise_share)))
