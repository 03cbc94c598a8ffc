"""What a recommender learns from: earlier datasets, each brought to its own scale."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats

from distiller.results.importance.rows import encode
from distiller.results.recommendation.boosting import Filler
from distiller.results.recommendation.table import Floats, Ints, Tried
from distiller.spaces.encoding import Encoding

FOLDS = 5
WORST = -1.0
"""Share of the range below which a config is as bad as any: how far a score falls when training breaks down
says more about the metric than about the config."""


class Training:
    """Earlier datasets. Whatever is computed here is computed from them alone.

    Attributes:
        tried: their configs and scores.
        seed: same table, same seed, same recommender.
    """

    def __init__(self, tried: Tried, seed: int = 0):
        self.tried, self.seed = tried, seed

    @cached_property
    def rank(self) -> Floats:
        """[configs, datasets] the config's place among those of the dataset, 1 the best and 0 the worst."""
        return places(self.tried.score)

    @cached_property
    def early(self) -> Floats:
        """[configs, datasets] the same by early scores, among the configs whose early score is known."""
        return places(self.tried.early)

    @cached_property
    def share(self) -> Floats:
        """[configs, datasets] the share of the way from the median config to the best, `WORST` at least; 0
        for all where they do not differ."""
        found = np.full(self.tried.score.shape, np.nan)
        for j in range(len(self.tried.datasets)):
            rows = self.tried.of(j)
            found[rows, j] = np.maximum(shares(self.tried.score[rows, j]), WORST)
        return found

    @cached_property
    def weight(self) -> Floats:
        """[datasets] adding up to 1: groups count alike, and in a group its datasets."""
        return even_weights(self.tried.groups)

    @cached_property
    def encoding(self) -> Encoding:
        return Encoding.of(*self.tried.designs)

    @cached_property
    def _all_features(self) -> Floats:
        return encode(self.tried.configs, self.encoding)

    @cached_property
    def _varying(self) -> list[int]:
        """By name: in which order a design lists its levels may depend on datasets that were left out."""
        found = [j for j, column in enumerate(self._all_features.T) if _varies(column)]
        return sorted(found, key=lambda j: self.encoding.features[j].name)

    @property
    def features(self) -> Floats:
        """[configs, features] the configs as numbers, NaN where inactive; constants left out."""
        return self._all_features[:, self._varying]

    def encoded(self, configs: pd.DataFrame) -> Floats:
        """[rows, features] other configs likewise; a value that no earlier config had is no value."""
        return encode(configs, self.encoding)[:, self._varying]

    @cached_property
    def filler(self) -> Filler:
        """One for all recommenders that are fitted to it."""
        return Filler(self)

    @cached_property
    def folds(self) -> tuple[tuple[Training, tuple[int, ...]], ...]:
        """Some groups left out at a time, each once: what is left, and the numbers of the datasets left out;
        nothing where less than two groups are there."""
        tried, groups = self.tried, sorted(set(self.tried.groups))
        if len(groups) < 2:
            return ()
        order, found = np.random.default_rng(self.seed).permutation(len(groups)), []
        for k in range(min(FOLDS, len(groups))):
            out = [groups[i] for i in order[k::FOLDS]]
            rest = Training(tried.without(*out), self.seed)
            found.append((rest, tuple(j for j, group in enumerate(tried.groups) if group in out)))
        return tuple(found)

    def of_teacher(self, configs: pd.DataFrame) -> Floats:
        """[rows] the score as a share of the teacher's, mean over earlier datasets whose teacher's score is
        known, by their weight; where a config did not run, predicted. NaN without any."""
        tried = self.tried
        use = [j for j in range(len(tried.datasets)) if tried.teacher[j] > 0]
        if not use:
            return np.full(len(configs), np.nan)
        middle = np.array([np.median(tried.score[tried.of(j), j]) for j in use])
        best = np.array([tried.score[tried.of(j), j].max() for j in use])
        share = self.filler.fill(configs, "share").value[:, use]
        reached = (middle + share * (best - middle)) / tried.teacher[use]
        return np.asarray(reached @ self.weight[use] / self.weight[use].sum())

    def known(self, configs: pd.DataFrame) -> Ints:
        """[rows] each config's number among the earlier ones, -1 where it is new."""
        return np.asarray(self.tried.configs.index.get_indexer(configs.index), dtype=np.intp)


def places(score: Floats) -> Floats:
    """[configs, datasets] of each column's numbers, from 0 for the lowest to 1 for the highest; NaN stays."""
    found = np.full(score.shape, np.nan)
    for j, column in enumerate(score.T):
        known = ~np.isnan(column)
        if count := int(known.sum()):
            found[known, j] = (stats.rankdata(column[known]) - 1) / max(count - 1, 1)
    return found


def shares(score: Floats) -> Floats:
    """[configs] 1 for the best score, 0 for the median; 0 for all where those are equal."""
    middle, best = float(np.median(score)), float(score.max())
    return (score - middle) / (best - middle) if best > middle else np.zeros(len(score))


def even_weights(groups: tuple[str, ...]) -> Floats:
    """[datasets] adding up to 1: every group has the same, dealt evenly to its datasets."""
    sizes = {name: groups.count(name) for name in groups}
    return np.array([1 / sizes[name] / len(sizes) for name in groups])


def _varies(column: Floats) -> bool:
    known = column[~np.isnan(column)]
    return len(known) > 0 and bool(len(known) < len(column) or (known != known[0]).any())
