"""Boosted trees that rank configs, given what a dataset is like."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd

from distiller.results.recommendation.boosting import settings, staged
from distiller.results.recommendation.meta import MetaFeatures
from distiller.results.recommendation.recommender import Target, best_first
from distiller.results.recommendation.table import Floats, Ints
from distiller.results.recommendation.training import Training

TREES = (15, 30, 60, 120)
"""Numbers of trees to choose from."""
GRADES = 15
"""Steps of how good a config is among those of its dataset; the square of one is its gain (LambdaMART, Burges
2010)."""

MOST_ROWS = 500
"""Configs of one dataset that are learned from, evenly over their ranks; more cost time and teach little."""
FEWER_ROWS = 150
"""Enough to tell whether trees are worth it."""


class RankingTrees:
    """LambdaMART on the config, its mean share on other datasets, and its products with meta-features.

    A meta-feature alone ranks nothing, and trees that grow greedily do not find that it turns a parameter's
    effect round: the product of the two is a feature.
    """

    def __init__(self, training: Training, uses_meta: bool, most: int = MOST_ROWS):
        self._training = training
        self._meta = MetaFeatures(training) if uses_meta else None
        middle = np.zeros(training.features.shape[1])
        self._middle = np.nanmean(training.features, axis=0) if len(middle) else middle
        tried, parts, grades, weights, sizes = training.tried, [], [], [], []
        for j in range(len(tried.datasets)):
            rows = _thinned(tried.of(j), training.rank[:, j], most)
            others = np.array([group != tried.groups[j] for group in tried.groups])
            elsewhere = _mean_share(training.share[rows], training.weight * others)
            at = None if self._meta is None else self._meta.matrix[j]
            parts.append(self._matrix(training.features[rows], elsewhere, at))
            grades.append(np.minimum((training.rank[rows, j] * GRADES).astype(int), GRADES - 1))
            weights.append(np.full(len(rows), training.weight[j] / len(rows)))
            sizes.append(len(rows))
        weight = np.concatenate(weights)
        settled = settings(len(weight), training.seed) | {
            "objective": "lambdarank",
            "label_gain": [grade**2 for grade in range(GRADES)],
        }
        data = lightgbm.Dataset(
            np.concatenate(parts),
            np.concatenate(grades),
            weight=weight * len(weight),
            group=sizes,
            params=settled,
        )
        self._booster = lightgbm.train(settled, data, TREES[-1])

    def orders(self, candidates: pd.DataFrame, target: Target) -> dict[int, Ints]:
        """By each of `TREES`, [candidates] numbers, the best first: so many first trees are a model too."""
        training = self._training
        number = training.known(candidates)
        share = np.where((number >= 0)[:, None], training.share[number], np.nan)
        at = None if self._meta is None else self._meta.of(target)
        matrix = self._matrix(training.encoded(candidates), _mean_share(share, training.weight), at)
        values = staged(self._booster, matrix, TREES)
        return {trees: best_first(value, candidates) for trees, value in zip(TREES, values, strict=True)}

    def _matrix(self, features: Floats, elsewhere: Floats, at: Floats | None) -> Floats:
        """[rows, features + 1, or as many again for each meta-feature]"""
        parts = [features, elsewhere[:, None]]
        if at is not None:
            # What is unknown of a dataset is taken for the mean.
            products = (features - self._middle)[:, :, None] * np.nan_to_num(at)
            parts.append(products.reshape(len(features), -1))
        return np.column_stack(parts)


def _mean_share(share: Floats, weight: Floats) -> Floats:
    """[configs] the weighted mean over the datasets on which each ran, NaN where on none that count."""
    counted = ~np.isnan(share) * weight
    whole = counted.sum(axis=1)
    summed = (np.nan_to_num(share) * counted).sum(axis=1)
    return np.where(whole > 0, summed / np.where(whole > 0, whole, 1.0), np.nan)


def _thinned(rows: Ints, rank: Floats, most: int) -> Ints:
    if len(rows) <= most:
        return rows
    by_rank = rows[np.argsort(rank[rows], kind="stable")]
    kept = by_rank[np.linspace(0, len(rows) - 1, most).round().astype(int)]
    return np.sort(kept)
