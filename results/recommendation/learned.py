"""The recommender that is learned: boosted trees that rank configs, given the dataset's meta-features."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import lightgbm
import numpy as np
import pandas as pd
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from distiller.results.importance.trees import TREES
from distiller.results.recommendation.boosting import settings
from distiller.results.recommendation.meta import MetaFeatures
from distiller.results.recommendation.recommender import Early, Ranking, Target, Unasking, best_first
from distiller.results.recommendation.simple import Portfolio
from distiller.results.recommendation.table import Floats, Ints
from distiller.results.recommendation.training import Training

GRADES = 15
"""Steps of how good a config is among those of its dataset; the square of one is its gain (LambdaMART, Burges
2010)."""
MOST_ROWS = 500
"""Configs of one dataset that are learned from, evenly over their ranks; more cost time and teach little."""
FOLDS = 5
FIRST = 5
"""Configs of a ranking that it is judged by."""
Kind = Literal["portfolio", "trees", "trees with meta-features"]
Variant = tuple[Kind, int]
"""A kind of model and how many trees of it."""
PLAIN: Variant = ("portfolio", 0)
TRIED: Mapping[Kind, Sequence[int]] = {"portfolio": (0,), "trees": TREES, "trees with meta-features": TREES}
"""Kinds with their numbers of trees, the simplest first."""


class Learned(Unasking):
    """By LambdaMART on the config, its mean share on other datasets, and its products with meta-features.

    A meta-feature alone ranks nothing, and trees that grow greedily do not find that it turns a parameter's
    effect round: the product of the two is a feature. Whether such trees are worth it beside the portfolio,
    and whether with meta-features, is decided by leaving groups of the earlier datasets out: the simpler of
    two unless the other loses less by more than a standard error.

    Attributes:
        variant: what was decided; the portfolio where there are less than two groups.
    """

    def __init__(self, training: Training):
        tested = list(_left_out(training))
        self.variant: Variant = _chosen(tested) if tested else PLAIN
        self._model = _model(training, self.variant[0])
        self._curve = _Calibration.of(tested, self.variant) if tested else None

    def rank(self, candidates: pd.DataFrame, target: Target, early: Early = None) -> Ranking:
        found = self._model.rank(candidates, target, self.variant[1])
        regret = found.regret.copy()
        if self._curve is not None:
            regret[found.order] = self._curve.regret(len(candidates))
        return Ranking(found.order, regret, found.predicted)


class _Model(Protocol):
    def rank(self, candidates: pd.DataFrame, target: Target, trees: int) -> Ranking: ...


class _Plain:
    """The portfolio, which has no trees to choose from."""

    def __init__(self, training: Training):
        self._portfolio = Portfolio(training)

    def rank(self, candidates: pd.DataFrame, target: Target, trees: int) -> Ranking:
        return self._portfolio.rank(candidates, target)


class _Trees:
    """One model; its first trees are a model too."""

    def __init__(self, training: Training, uses_meta: bool):
        self._training = training
        self._meta = MetaFeatures(training) if uses_meta else None
        middle = np.zeros(training.features.shape[1])
        self._middle = np.nanmean(training.features, axis=0) if len(middle) else middle
        tried, parts, grades, weights, sizes = training.tried, [], [], [], []
        for j in range(len(tried.datasets)):
            rows = _thinned(tried.of(j), training.rank[:, j])
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

    def rank(self, candidates: pd.DataFrame, target: Target, trees: int) -> Ranking:
        """Its values have a scale of their own: they predict no regret."""
        training = self._training
        number = training.known(candidates)
        share = np.where((number >= 0)[:, None], training.share[number], np.nan)
        at = None if self._meta is None else self._meta.of(target)
        matrix = self._matrix(training.encoded(candidates), _mean_share(share, training.weight), at)
        value = np.asarray(self._booster.predict(matrix, num_iteration=trees, num_threads=1))
        return Ranking(best_first(value, candidates), np.full(len(value), np.nan), 0.0)

    def _matrix(self, features: Floats, elsewhere: Floats, at: Floats | None) -> Floats:
        """[rows, features + 1, or as many again for each meta-feature]"""
        parts = [features, elsewhere[:, None]]
        if at is not None:
            # What is unknown of a dataset is taken for the mean.
            products = (features - self._middle)[:, :, None] * np.nan_to_num(at)
            parts.append(products.reshape(len(features), -1))
        return np.column_stack(parts)


def _model(training: Training, kind: Kind) -> _Model:
    return _Plain(training) if kind == "portfolio" else _Trees(training, kind != "trees")


@dataclass(frozen=True)
class _Tested:
    """Models that have not seen the group of a dataset, on it.

    Attributes:
        share: [configs] the true ones, `WORST` at least.
        order: by variant, [configs] their numbers, the best first.
    """

    group: str
    share: Floats
    order: dict[Variant, Ints]

    def agreement(self, variant: Variant) -> float:
        """Spearman's correlation of ranking and shares."""
        if np.ptp(self.share) == 0:
            return 0.0
        ordered = self.share[self.order[variant]]
        return float(stats.spearmanr(-np.arange(len(ordered)), ordered).statistic)

    def lost(self, variant: Variant) -> float:
        """The regret of the best of the first k, on average over k up to `FIRST`."""
        return float(1 - np.maximum.accumulate(self.share[self.order[variant]])[:FIRST].mean())


def _left_out(training: Training) -> Iterator[_Tested]:
    """Every dataset, some groups left out at a time; nothing where less than two groups are there."""
    tried = training.tried
    groups = sorted(set(tried.groups))
    if len(groups) < 2:
        return
    order = np.random.default_rng(training.seed).permutation(len(groups))
    for k in range(min(FOLDS, len(groups))):
        out = [groups[i] for i in order[k::FOLDS]]
        rest = Training(tried.without(*out), training.seed)
        models = {kind: _model(rest, kind) for kind in TRIED}
        for j in (j for j, group in enumerate(tried.groups) if group in out):
            configs, target = tried.configs.iloc[tried.of(j)], tried.target(j)
            ranked = {
                (kind, trees): model.rank(configs, target, trees).order
                for kind, model in models.items()
                for trees in TRIED[kind]
            }
            yield _Tested(tried.groups[j], training.share[tried.of(j), j], ranked)


def _chosen(tested: list[_Tested]) -> Variant:
    """Of each kind the number of trees whose rankings agree best with the shares; of the kinds the one that
    loses least, unless a simpler one is within a standard error."""
    able = [
        max(
            ((kind, trees) for trees in numbers),
            key=lambda variant: float(_over_groups(tested, lambda one: one.agreement(variant)).mean()),
        )
        for kind, numbers in TRIED.items()
    ]
    lost = {v: _over_groups(tested, functools.partial(_Tested.lost, variant=v)) for v in able}
    best = min(able, key=lambda variant: float(lost[variant].mean()))
    for variant in able:
        more = lost[variant] - lost[best]
        if more.mean() <= more.std(ddof=1) / np.sqrt(len(more)):
            return variant
    return best


def _over_groups(tested: list[_Tested], of: Callable[[_Tested], float]) -> Floats:
    """[groups] means over the datasets of each."""
    values = pd.Series([of(one) for one in tested])
    means = values.groupby([one.group for one in tested]).mean()
    return np.asarray(means, dtype=np.float64)


class _Calibration:
    """What the config at a place of the ranking loses, as groups that were left out say; never less further
    down (isotonic regression)."""

    def __init__(self, place: Floats, lost: Floats, weight: Floats):
        self._fitted = IsotonicRegression(out_of_bounds="clip").fit(place, lost, sample_weight=weight)

    @classmethod
    def of(cls, tested: list[_Tested], variant: Variant) -> _Calibration:
        place, lost, weight = [], [], []
        for one in tested:
            count = len(one.share)
            place.append((np.arange(count) + 0.5) / count)
            lost.append(1 - one.share[one.order[variant]])
            weight.append(np.full(count, 1 / count))
        return cls(np.concatenate(place), np.concatenate(lost), np.concatenate(weight))

    def regret(self, configs: int) -> Floats:
        """[configs] in the order of the ranking."""
        return np.asarray(self._fitted.predict((np.arange(configs) + 0.5) / configs))


def _mean_share(share: Floats, weight: Floats) -> Floats:
    """[configs] the weighted mean over the datasets on which each ran, NaN where on none that count."""
    counted = ~np.isnan(share) * weight
    whole = counted.sum(axis=1)
    summed = (np.nan_to_num(share) * counted).sum(axis=1)
    return np.where(whole > 0, summed / np.where(whole > 0, whole, 1.0), np.nan)


def _thinned(rows: Ints, rank: Floats) -> Ints:
    if len(rows) <= MOST_ROWS:
        return rows
    by_rank = rows[np.argsort(rank[rows], kind="stable")]
    kept = by_rank[np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(int)]
    return np.sort(kept)
