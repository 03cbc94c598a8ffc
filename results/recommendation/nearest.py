"""The recommender that asks the datasets most like the one at hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from distiller.results.recommendation.meta import MetaFeatures
from distiller.results.recommendation.recommender import Early, Ranking, Target, Unasking, best_first
from distiller.results.recommendation.table import Floats
from distiller.results.recommendation.training import Training

FEWEST_GROUPS = 4
"""Of fewer, nothing can be learned about which meta-features matter: they all count alike."""

MOST_CONFIGS = 1000
"""Configs by which two datasets are called alike; their ids, by which they are taken, are hashes."""


class Nearest(Unasking):
    """By the mean over earlier datasets, those with like meta-features counting more.

    How much a meta-feature counts is learned: by how well a small difference in it goes with alike rankings
    of the configs (minus Spearman's correlation of the two over pairs of datasets, not below 0). A dataset
    counts exp(-(distance / typical distance)^2).
    """

    def __init__(self, training: Training):
        self._weight, self._filler = training.weight, training.filler
        self._meta = MetaFeatures(training)
        self._matters, self._typical = self._learn(training)

    def rank(self, candidates: pd.DataFrame, target: Target, early: Early = None) -> Ranking:
        filled = self._filler.fill(candidates, "share")
        weight = self.weights(target)
        share = filled.value @ weight
        return Ranking(best_first(share, candidates), 1 - share, float(filled.predicted.mean()))

    def weights(self, target: Target) -> Floats:
        """[datasets] what each counts for the target, adding up to 1; as always where nothing tells."""
        at = self._meta.of(target)
        use = ~np.isnan(at) & (self._matters > 0)
        if not use.any():
            return self._weight
        matters = self._matters[use] / self._matters[use].sum()
        square = (self._meta.matrix[:, use] - at[use]) ** 2 @ matters
        # Of the nearest one the weight is 1, however far all are.
        near = self._weight * np.exp(-(square - square.min()) / self._typical**2)
        return np.asarray(near / near.sum())

    def _learn(self, training: Training) -> tuple[Floats, float]:
        """[meta-features] how much each counts, and the median distance of datasets of different groups."""
        groups, matrix = training.tried.groups, self._meta.matrix
        pairs = [(i, j) for i, j in itertools.combinations(range(len(groups)), 2) if groups[i] != groups[j]]
        matters = np.ones(matrix.shape[1])
        if not pairs or not len(matters):
            return matters, 1.0
        one, other = (np.array(side) for side in zip(*pairs, strict=True))
        gaps = np.abs(matrix[one] - matrix[other])
        if len(set(groups)) >= FEWEST_GROUPS:
            configs = training.tried.configs
            some = configs.iloc[:: 1 + len(configs) // MOST_CONFIGS]
            ranks = self._filler.fill(some, "rank").value
            alike = np.array([_correlation(ranks[:, i], ranks[:, j]) for i, j in pairs])
            matters = np.array([max(0.0, -_correlation(gap, alike)) for gap in gaps.T])
        whole = matters.sum()
        distance = np.sqrt(gaps**2 @ (matters / whole)) if whole > 0 else np.zeros(len(pairs))
        typical = float(np.median(distance))
        return matters, typical if typical > 0 else 1.0


def _correlation(one: Floats, other: Floats) -> float:
    """Spearman's, 0 where a side is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(stats.spearmanr(one, other).statistic)
