"""The benchmark: tables of trials whose importance is known, in the shapes that sweeps have.

Every shape is a function `make(trials, seed) -> Case`. The seed draws the stage functions, which stage plays
which part, and the shares. Every shape has at least one null stage, one stage whose main and total share are
0.10, and, but for a few seeds, null parameters under active choices. Scores are 0.7 + 0.05 * (f + noise) with
Var f = 1, and the noise has 0.10 to 0.20 of the scores' variance unless a shape says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tests.truth.rates import Rates
from tests.truth.response import Composed, Response, Subset, Values
from tests.truth.shares import (
    LEVEL,
    TENTH,
    UNIT,
    additive_shares,
    cast,
    generator,
    paired_shares,
    parted,
    some_noise,
    sparse_shares,
    spread_of,
    tangled_shares,
)
from tests.truth.spaces import STAGES, design_of
from tests.truth.sweeps import STOPPED, swept, tpe
from tests.truth.tables import Case, curves, distinct, table
from tests.truth.tree import Floats, stage_mix


class Make(Protocol):
    def __call__(self, trials: int, seed: int) -> Case: ...


Shares = Callable[[np.random.Generator], dict[Subset, float]]


def full_runs(
    response: Response, noise_share: float, trials: int, rng: np.random.Generator, listed: bool = False
) -> Case:
    """Trials from the prior that all ran the whole budget."""
    design = design_of(listed)
    drawn = distinct(design, trials, rng)
    noise = spread_of(noise_share) * rng.normal(size=trials)
    rows = table(drawn, LEVEL + UNIT * (response.score(drawn) + noise))
    return Case(rows, curves(rows), design, response.truth(design, noise_share))


@dataclass(frozen=True)
class FullRuns:
    """Trials from the prior that all ran the whole budget, of products with these shares."""

    name: str
    shares: Shares
    noise: Callable[[np.random.Generator], float] = some_noise
    listed: bool = False

    def __call__(self, trials: int, seed: int) -> Case:
        rng = generator(self.name, seed)
        response = parted(self.shares(rng), rng, self.listed)
        return full_runs(response, self.noise(rng), trials, rng, self.listed)


@dataclass(frozen=True)
class Bent:
    """The same of a function of four stages that is no sum of products, beside the stage that has 0.10."""

    name: str
    function: Callable[[Sequence[Floats]], Floats]

    def __call__(self, trials: int, seed: int) -> Case:
        rng = generator(self.name, seed)
        return full_runs(self.response(rng), some_noise(rng), trials, rng)

    def response(self, rng: np.random.Generator) -> Composed:
        """A random one."""
        *strong, tenth, _ = cast(rng)
        mixes = {stage: stage_mix(design_of(), stage, rng) for stage in (*strong, tenth)}

        def bent(values: Values) -> Floats:
            return self.function([values[stage] for stage in strong])

        return Composed(STAGES, mixes, function=bent, beside=(tenth, TENTH))


def switch(values: Sequence[Floats]) -> Floats:
    """Products of indicators: what a stage does depends on whether others are above their mean."""
    a, b, c, d = values
    return 2.0 * (a > 0) * (b > 0) + (c > 0) * d + (b > 0) * (c > 0) * (d > 0)


def saturating(values: Sequence[Floats]) -> Floats:
    """What is good already cannot be made much better."""
    a, b, c, d = values
    return np.tanh(0.5 + 0.8 * a + 0.6 * b + 0.4 * c + 0.3 * d)


def repeats(trials: int, seed: int) -> Case:
    """Every fourth config on three seeds, which count among the trials."""
    rng = generator("repeats", seed)
    response, noise_share = parted(paired_shares(rng), rng), some_noise(rng)
    drawn = distinct(design_of(), -(-2 * trials // 3), rng)
    times = np.where(np.arange(len(drawn)) % 4 == 0, 3, 1)
    again = drawn.loc[drawn.index.repeat(times)].head(trials).reset_index(drop=True)
    seeds = np.concatenate([np.arange(count) for count in times])[:trials]
    noise = spread_of(noise_share) * rng.normal(size=trials)
    rows = table(again, LEVEL + UNIT * (response.score(again) + noise), seed=seeds)
    return Case(rows, curves(rows), design_of(), response.truth(design_of(), noise_share))


def half(rng: np.random.Generator) -> float:
    """As much noise as signal."""
    return 0.5


SHAPES: dict[str, Make] = {
    "additive": FullRuns("additive", additive_shares),
    "interaction": FullRuns("interaction", tangled_shares),
    "switch": Bent("switch", switch),
    "saturating": Bent("saturating", saturating),
    "null": FullRuns("null", sparse_shares),
    "categorical": FullRuns("categorical", paired_shares, listed=True),
    "noise": FullRuns("noise", paired_shares, half),
    "repeats": repeats,
    "tpe": tpe,
    **STOPPED,
    "stopped-rates": Rates("stopped-rates"),
    "swept": swept,
}

STEERED: Mapping[str, Callable[[int, int, Path | None], Case]] = {"tpe": tpe, "swept": swept}
"""Shapes whose rows are worth keeping: the sampler needs half a minute for a thousand."""
