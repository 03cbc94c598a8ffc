"""How sweeps look at a space: a sampler that steers, and a scheduler that stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from distiller.results.design import Question
from distiller.search.assignment import Outcome
from distiller.search.samplers import make_sampler
from distiller.spaces.config import PipelineConfig
from distiller.spaces.search import Search
from distiller.spaces.space import Space
from tests.truth.tables import STEPS
from tests.truth.tree import Floats, Places, place

RUNGS = (1 / 9, 1 / 3, 1.0)
REDUCTION = 3


Curve = list[float]
"""A trial's scores at the rungs that it reached, lowest first."""


def steered(
    space: Space, questions: Sequence[Question], run: Callable[[Places, int], Curve], trials: int, seed: int
) -> tuple[list[PipelineConfig], list[str]]:
    """Configs and their origins, as a sweep's TPE with its usual share of prior draws asks for them.

    Args:
        questions: those that scores depend on.
        run: the curve of a config, by the [1] places of its answers and the trial's number.
    """
    sampler = make_sampler(space, Search(trials=trials, seed=seed), 0, STEPS)
    configs, origins = [], []
    for trial in range(trials):
        proposed = sampler.propose()
        assert proposed is not None
        config, origin = proposed
        places = dict.fromkeys((question.path for question in questions), np.zeros(1))
        places |= {asked.path: place(asked.prior, [answer]) for asked, answer in space.decisions(config)}
        scores = run(places, trial)
        curve = tuple((round(share * STEPS), score) for share, score in zip(RUNGS, scores, strict=False))
        status = "completed" if len(scores) == len(RUNGS) else "stopped"
        sampler.tell(Outcome(config, origin, status, curve, curve[-1][0]))
        configs.append(config)
        origins.append(origin)
    return configs, origins


class Halving:
    """Asynchronous successive halving of trials that run one after another.

    As the scheduler that sweeps use, it stops a trial below the (1 - 1 / reduction) quantile of the scores
    that were seen at its rung before (Li et al. 2020, the variant that stops).
    """

    def __init__(self) -> None:
        self.seen: list[list[float]] = [[] for _ in RUNGS[:-1]]

    def reached(self, scores: Sequence[float]) -> Curve:
        """The scores of a trial, lowest rung first, up to where it is stopped."""
        for rung, before in enumerate(self.seen):
            score = scores[rung]
            stops = bool(before) and score < np.percentile(before, 100 * (1 - 1 / REDUCTION))
            before.append(score)
            if stops:
                return list(scores[: rung + 1])
        return list(scores)


def halved(scores: Floats) -> npt.NDArray[np.intp]:
    """[trials] the rung at which each trial ends, of the scores [rungs, trials] that they have there."""
    halving = Halving()
    return np.array([len(halving.reached(curve)) - 1 for curve in scores.T.tolist()], dtype=np.intp)
