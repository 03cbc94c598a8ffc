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
    """Fitted to earlier datasets."""

    def rank(self, candidates: pd.DataFrame, target: Target) -> Ranking:
        """Candidates are rows as in `Tried.configs`, by config id, in any order."""
        ...


@dataclass(frozen=True)
class Method:
    """A way to recommend.

    Attributes:
        name: short and stable.
        says: what it does, in words.
        fit: of earlier datasets; the same input gives the same recommender.
    """

    name: str
    says: str
    fit: Callable[[Training], Recommender]


def best_first(value: Floats, candidates: pd.DataFrame) -> Ints:
    """[candidates] numbers by value, the highest first; of equal ones by config id."""
    ids = candidates.index.to_numpy(dtype=str)
    return np.asarray(np.lexsort((ids, -np.round(value, 9))), dtype=np.intp)
