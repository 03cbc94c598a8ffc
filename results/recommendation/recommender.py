"""The one interface of all recommenders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from distiller.results.recommendation.table import Floats, Ints
from distiller.results.recommendation.training import Training

Target = Mapping[str, float] | None
"""Meta-features of the dataset that is asked about; None, or NaN, where they are unknown."""
Early = Floats | None
"""[candidates] scores of cheap trials on the dataset that is asked about, all at one share of the budget, in
the dataset's unit; NaN where a candidate was not probed, None where none was."""


@dataclass(frozen=True)
class Ranking:
    """Candidates, the best first.

    Attributes:
        order: [candidates] their numbers, each once.
        regret: [candidates] what each is predicted to lose against the dataset's best, in units of what the
            median config loses; in the order of the candidates, not of the ranking.
        predicted: share of the earlier scores behind it that are predicted: the config did not run there.
    """

    order: Ints
    regret: Floats
    predicted: float


class Recommender(Protocol):
    """Fitted to earlier datasets. Candidates are rows as in `Tried.configs`, by config id, in any order."""

    def probes(self, candidates: pd.DataFrame, target: Target) -> Ints:
        """Numbers of the candidates, each once, whose early scores on the dataset would help to rank: cheap
        trials to run before. May be given fewer candidates than `rank`: those that can be probed."""
        ...

    def rank(self, candidates: pd.DataFrame, target: Target, early: Early = None) -> Ranking:
        """Any early scores will do, also fewer than it asked for, or none."""
        ...


@dataclass(frozen=True)
class Method:
    """A way to recommend.

    Attributes:
        name: short and stable.
        says: what it does, in words.
        fit: of earlier datasets; the same input gives the same recommender.
        asks: whether it asks for probes, and learns from the early scores of earlier datasets.
    """

    name: str
    says: str
    fit: Callable[[Training], Recommender]
    asks: bool = False


class Unasking:
    """A recommender that wants no probes."""

    def probes(self, candidates: pd.DataFrame, target: Target) -> Ints:
        return np.zeros(0, dtype=np.intp)


def best_first(value: Floats, candidates: pd.DataFrame) -> Ints:
    """[candidates] numbers by value, the highest first; of equal ones by config id."""
    ids = candidates.index.to_numpy(dtype=str)
    return np.asarray(np.lexsort((ids, -np.round(value, 9))), dtype=np.intp)
