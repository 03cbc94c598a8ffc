"""The recommender that is learned: boosted trees that rank configs, given the dataset's meta-features."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from distiller.results.recommendation.meta import MetaFeatures
from distiller.results.recommendation.proof import Calibration, Tested, agrees_best, loses_least
from distiller.results.recommendation.ranking_trees import FEWER_ROWS, RankingTrees
from distiller.results.recommendation.recommender import Early, Ranking, Target, Unasking
from distiller.results.recommendation.simple import Portfolio
from distiller.results.recommendation.table import Ints
from distiller.results.recommendation.training import Training

Kind = Literal["portfolio", "trees", "trees with meta-features"]
Variant = tuple[Kind, int]
"""A kind of model and how many trees of it."""
PLAIN: Variant = ("portfolio", 0)


class Learned(Unasking):
    """Boosted trees, where they are worth it beside the portfolio, with meta-features where those are:
    decided by leaving groups of the earlier datasets out.

    Attributes:
        tested: every earlier dataset, its group left out; none where there are less than two groups.
        variant: what was decided; the portfolio where nothing was tested.
    """

    def __init__(self, training: Training):
        self.tested = _tested(training)
        self.variant: Variant = _chosen(self.tested) if self.tested else PLAIN
        self._portfolio = Portfolio(training)
        kind = self.variant[0]
        self._trees = None if kind == "portfolio" else RankingTrees(training, kind != "trees")
        self._losses = Calibration.of(self.tested, self.variant) if self.tested else None

    def rank(self, candidates: pd.DataFrame, target: Target, early: Early = None) -> Ranking:
        if self._trees is None:
            found = self._portfolio.rank(candidates, target)
        else:
            order = self._trees.orders(candidates, target)[self.variant[1]]
            found = Ranking(order, np.full(len(order), np.nan), 0.0)
        regret = found.regret if self._losses is None else self._losses.regret(found.order)
        return Ranking(found.order, regret, found.predicted)


@functools.lru_cache(maxsize=1)
def learned(training: Training) -> Learned:
    """Fitted once, also for those who build on it."""
    return Learned(training)


def _tested(training: Training) -> list[Tested[Variant]]:
    """Every dataset, some groups left out at a time."""
    tried, found = training.tried, []
    kinds: list[Kind] = ["trees", "trees with meta-features"] if MetaFeatures(training).names else ["trees"]
    for rest, out in training.folds:
        portfolio = Portfolio(rest)
        models = {kind: RankingTrees(rest, kind != "trees", FEWER_ROWS) for kind in kinds}
        for j in out:
            configs, target = tried.configs.iloc[tried.of(j)], tried.target(j)
            order: dict[Variant, Ints] = {PLAIN: portfolio.rank(configs, target).order}
            for kind, model in models.items():
                order |= {(kind, trees): one for trees, one in model.orders(configs, target).items()}
            found.append(Tested(j, tried.groups[j], training.share[tried.of(j), j], order))
    return found


def _chosen(tested: Sequence[Tested[Variant]]) -> Variant:
    """Of each kind the number of trees whose rankings agree best with the shares, then the kind."""
    kinds: dict[Kind, list[Variant]] = {}
    for variant in tested[0].order:
        kinds.setdefault(variant[0], []).append(variant)
    return loses_least(tested, [agrees_best(tested, variants) for variants in kinds.values()])
