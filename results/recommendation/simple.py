"""Recommenders that know nothing of the dataset that is asked about: chance, best on average, portfolio."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from distiller.results.recommendation.recommender import Early, Ranking, Target, Unasking, best_first
from distiller.results.recommendation.table import Floats, Ints
from distiller.results.recommendation.training import Training

PORTFOLIO = 10
"""Configs that complement each other; the ranking goes on with those that are best on average."""


class Chance(Unasking):
    """Any order is as good as another."""

    def __init__(self, training: Training):
        lost = np.nansum((1 - training.share) / training.tried.tried.sum(axis=0), axis=0)
        self._seed, self._regret = training.seed, float(lost @ training.weight)

    def rank(self, candidates: pd.DataFrame, target: Target, early: Early = None) -> Ranking:
        drawn = [hashlib.sha256(f"{self._seed} {name}".encode()).hexdigest() for name in candidates.index]
        order = np.array(sorted(range(len(drawn)), key=lambda i: drawn[i]), dtype=np.intp)
        return Ranking(order, np.full(len(candidates), self._regret), 0.0)


class AverageRank(Unasking):
    """By the mean of ranks over earlier datasets."""

    def __init__(self, training: Training):
        self._weight, self._filler = training.weight, training.filler

    def rank(self, candidates: pd.DataFrame, target: Target, early: Early = None) -> Ranking:
        rank, share = (self._filler.fill(candidates, value) for value in ("rank", "share"))
        order = best_first(rank.value @ self._weight, candidates)
        return Ranking(order, 1 - share.value @ self._weight, float(rank.predicted.mean()))


class Portfolio(Unasking):
    """Configs that complement each other: each next one lowers the mean regret of the best of those before it
    and itself the most (greedy; within 1 - 1/e of the best gain, Nemhauser et al. 1978)."""

    def __init__(self, training: Training):
        self._weight, self._filler = training.weight, training.filler

    def rank(self, candidates: pd.DataFrame, target: Target, early: Early = None) -> Ranking:
        filled = self._filler.fill(candidates, "share")
        order = complementing(filled.value, self._weight, candidates)
        return Ranking(order, 1 - filled.value @ self._weight, float(filled.predicted.mean()))


def complementing(share: Floats, weight: Floats, candidates: pd.DataFrame) -> Ints:
    """[candidates] numbers: at most `PORTFOLIO` that complement each other, then by their mean share.

    Args:
        share: [candidates, datasets].
        weight: [datasets] adding up to 1.
    """
    order = best_first(share @ weight, candidates)
    first = greedy(1 - share[order], weight, PORTFOLIO)
    rest = np.setdiff1d(np.arange(len(order)), first)
    return np.asarray(order[np.concatenate([first, rest])], dtype=np.intp)


def greedy(regret: Floats, weight: Floats, most: int) -> Ints:
    """Numbers of at most `most` rows of [configs, datasets], each of which lowers the weighted mean of the
    columns' least regret as much as any; of equal ones the first. Ends where none lowers it any more."""
    found: list[int] = []
    least = np.full(regret.shape[1], np.inf)
    while len(found) < min(most, len(regret)):
        together = np.round(np.minimum(regret, least) @ weight, 12)
        chosen = int(together.argmin())
        if found and together[chosen] >= np.round(least @ weight, 12):
            break
        found.append(chosen)
        least = np.minimum(least, regret[chosen])
    return np.array(found, dtype=np.intp)
