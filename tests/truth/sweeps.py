"""Cases that a sweep steers or stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from distiller.results.design import Question
from tests.truth.response import Products, Subset, Truth
from tests.truth.shares import LEVEL, UNIT, generator, paired_shares, parted, some_noise, spread_of
from tests.truth.spaces import design_of, space_of
from tests.truth.tables import Case, curves, distinct, table
from tests.truth.trails import RUNGS, Halving, halved, steered
from tests.truth.tree import Floats, Places, read_places


def tpe(trials: int, seed: int, kept: Path | None = None) -> Case:
    """The trail of a sweep's own sampler, which steers by noisy scores: its origins say what it drew from
    the prior.

    Args:
        kept: where the rows are kept, or were: a trail of 1,000 trials takes half a minute.
    """
    rng = generator("tpe", seed)
    response, noise_share = parted(paired_shares(rng), rng), some_noise(rng)
    noise = spread_of(noise_share) * rng.normal(size=trials)

    def run(places: Places, trial: int) -> list[float]:
        return [LEVEL + UNIT * float(response.at(places)[0] + noise[trial])] * len(RUNGS)

    rows, _ = steered_rows(response.questions, run, trials, seed, kept)
    return Case(rows, curves(rows), design_of(), response.truth(design_of(), noise_share))


def steered_rows(
    questions: Sequence[Question],
    run: Callable[[Places, int], list[float]],
    trials: int,
    seed: int,
    kept: Path | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the trials and epochs tables of a steered sweep, made or as they were kept."""
    if kept is None or not kept.exists():
        scores: list[list[float]] = []

        def noted(places: Places, trial: int) -> list[float]:
            scores.append(run(places, trial))
            return scores[-1]

        configs, origins = steered(space_of(), questions, noted, trials, seed)
        drawn = pd.DataFrame([config.columns() for config in configs]).astype(object)
        drawn = drawn.where(drawn.notna(), None).reindex(columns=list(design_of().draw(1, generator("", 0))))
        reached = np.array([curve + [np.nan] * (len(RUNGS) - len(curve)) for curve in scores]).T
        rows, epochs = ended(drawn, reached, np.array([len(curve) - 1 for curve in scores]))
        rows = rows.assign(origin=origins)
        if kept is None:
            return rows, epochs
        rows.to_parquet(kept)
        epochs.to_parquet(kept.with_suffix(".epochs"))
    return pd.read_parquet(kept), pd.read_parquet(kept.with_suffix(".epochs"))


def ended(
    drawn: pd.DataFrame, reached: Floats, ends: npt.NDArray[np.intp]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the trials and epochs tables of configs with scores [rungs, trials] that end at `ends`."""
    rows = table(
        drawn,
        reached[ends, np.arange(len(ends))],
        fidelity=np.array(RUNGS)[ends],
        status=np.where(ends == len(RUNGS) - 1, "completed", "stopped"),
    )
    passed = [
        curves(rows.assign(fidelity=share, score=scores)[ends >= rung])
        for rung, (share, scores) in enumerate(zip(RUNGS, reached, strict=True))
    ]
    return rows, pd.concat(passed, ignore_index=True)


EARLY: dict[Subset, float] = {
    frozenset({"optimization"}): 0.6,
    frozenset({"student"}): 0.25,
    frozenset({"prediction"}): 0.15,
}
"""What early scores depend on besides: mostly on how fast a student learns, whatever matters in the end."""
ALIKE = (0.6, 0.85, 1.0)
"""Weight of the final score in that of each rung; squared with that of the early one 1."""
BELOW, SHRUNK = (0.10, 0.04, 0.0), (0.6, 0.8, 1.0)
"""Of each rung: how far its scores are below the final ones, and how much less they are apart."""
OWN_NOISE = 0.5
"""Share of the noise that each evaluation draws anew; the rest goes with the run."""


@dataclass(frozen=True)
class Learning:
    """Scores at rungs of runs: low fidelities have importances of their own (`EARLY`).

    Attributes:
        noise: [rungs, trials] of each evaluation.
    """

    final: Products
    early: Products
    noise_share: float
    noise: Floats

    @classmethod
    def random(
        cls,
        trials: int,
        rng: np.random.Generator,
        own_noise: float = OWN_NOISE,
        noise_of: Callable[[np.random.Generator], float] = some_noise,
    ) -> Learning:
        final, early, noise_share = parted(paired_shares(rng), rng), parted(EARLY, rng), noise_of(rng)
        own, of_run = rng.normal(size=(len(RUNGS), trials)), rng.normal(size=trials)
        noise = own_noise**0.5 * own + (1 - own_noise) ** 0.5 * of_run
        return cls(final, early, noise_share, spread_of(noise_share) * noise)

    @property
    def questions(self) -> list[Question]:
        return [*self.final.questions, *self.early.questions]

    def scores(self, places: Places, trials: npt.NDArray[np.intp]) -> Floats:
        """[rungs, trials] of the trials with these numbers."""
        final, early = self.final.at(places), self.early.at(places)
        alike = np.array(ALIKE)[:, None]
        values = alike * final + np.sqrt(1 - alike**2) * early + self.noise[:, trials]
        return LEVEL - np.array(BELOW)[:, None] + UNIT * np.array(SHRUNK)[:, None] * values

    def truth(self) -> Truth:
        """At the full budget."""
        return self.final.truth(design_of(), self.noise_share)


@dataclass(frozen=True)
class Stopped:
    """Trials from the prior under asynchronous successive halving at 1/9, 1/3 and all of the budget, with
    their curves. The null stage may have a part in early scores.

    Attributes:
        own_noise: as `OWN_NOISE`.
        noise: draws the share of the noise.
    """

    name: str
    own_noise: float = OWN_NOISE
    noise: Callable[[np.random.Generator], float] = some_noise

    def __call__(self, trials: int, seed: int) -> Case:
        rng = generator(self.name, seed)
        learning = Learning.random(trials, rng, self.own_noise, self.noise)
        drawn = distinct(design_of(), trials, rng)
        reached = learning.scores(read_places(learning.questions, drawn), np.arange(trials))
        return Case(*ended(drawn, reached, halved(reached)), design_of(), learning.truth())


def no_noise(rng: np.random.Generator) -> float:
    """None at all: a run's curve follows from its config."""
    return 0.0


STOPPED = {
    shape.name: shape
    for shape in (Stopped("stopped"), Stopped("stopped-smooth", 0.1), Stopped("stopped-exact", 0.0, no_noise))
}
"""By name: noise half of it each evaluation's own; nearly all of it a run's; none."""


def swept(trials: int, seed: int, kept: Path | None = None) -> Case:
    """What a sweep's defaults leave: the sampler steers and trials are stopped, as in `tpe` and `stopped`."""
    learning, halving = Learning.random(trials, generator("swept", seed)), Halving()

    def run(places: Places, trial: int) -> list[float]:
        return halving.reached(learning.scores(places, np.array([trial]))[:, 0].tolist())

    rows, epochs = steered_rows(learning.questions, run, trials, seed, kept)
    return Case(rows, epochs, design_of(), learning.truth())
