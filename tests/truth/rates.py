"""Trials that were stopped, on a small space, whose learning curves fall in no simple family.

A run's distance from its final score is a power law of the budget, its exponent a product of stage functions:
early scores are dominated by who learns fast, far apart at the bottom, and follow no sum of stages' effects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.truth.response import Products
from tests.truth.shares import LEVEL, TENTH, UNIT, generator, some_noise, split, spread_of
from tests.truth.small import small_design
from tests.truth.sweeps import ended
from tests.truth.tables import Case, distinct
from tests.truth.trails import RUNGS, halved
from tests.truth.tree import Floats, read_places, stage_mix

MIDDLE, SPREAD = np.exp(-0.7), 0.3
"""Of the exponents: their median, and the standard deviation of their logarithms."""
BEGINNING = 0.05
"""Added to shares of the budget: where curves begin."""
OWN_NOISE = 0.05
"""Share of the noise that each evaluation draws anew."""


@dataclass(frozen=True)
class Rates:
    """As `Stopped`. Two stages have 0.90 of the final score, one 0.10, the others nothing; two stages, null
    ones maybe, set the rate.

    Attributes:
        height: how far scores are from their final ones at the median rate where that distance is 1 by the
            power law, in standard deviations of the latter.
    """

    name: str
    height: float = 1.0

    def __call__(self, trials: int, seed: int) -> Case:
        rng, design = generator(self.name, seed), small_design()
        stages = design.searched_stages()
        one, other, tenth, *_ = rng.permutation(stages).tolist()
        shares = dict(zip((one, other), split(1 - TENTH, 2, rng), strict=True)) | {tenth: TENTH}
        mixes = {stage: stage_mix(design, stage, rng) for stage in shares}
        final = Products(tuple(stages), mixes, {frozenset({s}): v**0.5 for s, v in shares.items()})
        part = float(rng.uniform())
        rates = {
            stage: (stage_mix(design, stage, rng), weight**0.5)
            for stage, weight in zip(rng.permutation(stages).tolist(), (part, 1 - part), strict=False)
        }
        drawn = distinct(design, trials, rng)
        places = read_places(list(design.searched()), drawn)
        rate = MIDDLE * np.exp(SPREAD * sum(weight * mix.at(places) for mix, weight in rates.values()))
        noise_share = some_noise(rng)
        own, of_run = rng.normal(size=(len(RUNGS), trials)), rng.normal(size=trials)
        noise = spread_of(noise_share) * (OWN_NOISE**0.5 * own + (1 - OWN_NOISE) ** 0.5 * of_run)
        reached = LEVEL + UNIT * (final.at(places) - self.height * distances(rate) + noise)
        return Case(*ended(drawn, reached, halved(reached)), design, final.truth(design, noise_share))


def distances(rate: Floats) -> Floats:
    """[rungs, trials] (z + beginning)^-rate, less what it is at the whole budget."""
    shares = np.array(RUNGS)[:, None] + BEGINNING
    return np.asarray(shares**-rate - (1 + BEGINNING) ** -rate, dtype=np.float64)
