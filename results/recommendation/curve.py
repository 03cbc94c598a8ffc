"""The learned recommender, and what a few cheap trials on the dataset at hand say."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from distiller.results.recommendation.learned import learned
from distiller.results.recommendation.proof import Calibration, Tested, better
from distiller.results.recommendation.recommender import Early, Ranking, Target
from distiller.results.recommendation.simple import Portfolio, complementing
from distiller.results.recommendation.table import Floats, Ints
from distiller.results.recommendation.training import Training, places

PROBES = 6
"""Cheap trials; at a third of the budget they cost two full ones."""
NOISE = 0.03
"""Variance of a probe's place that no earlier dataset explains; places without any order have 1/12."""
Variant = Literal["learned", "probed"]


class Curve:
    """The portfolio moved by probes where that is worth it beside the learned recommender, which else ranks.

    It is worth it where on earlier datasets, groups of them left out, rankings agree better with the scores
    and their first configs lose less, both by more than a standard error.

    Attributes:
        listens: whether it is; without, no probe is asked for.
    """

    def __init__(self, training: Training):
        self._learned, self._moved = learned(training), Moved(training)
        tested = _tested(training)
        self.listens = (
            bool(tested)
            and better(tested, "probed", "learned", Tested.agreement)
            and better(tested, "learned", "probed", Tested.lost)
        )
        self._losses = Calibration.of(tested, "probed") if self.listens else None

    def probes(self, candidates: pd.DataFrame, target: Target) -> Ints:
        return self._moved.probes(candidates) if self.listens else np.zeros(0, dtype=np.intp)

    def rank(self, candidates: pd.DataFrame, target: Target, early: Early = None) -> Ranking:
        if self._losses is None or early is None or not _differ(early):
            return self._learned.rank(candidates, target)
        order, predicted = self._moved.order(candidates, early)
        return Ranking(order, self._losses.regret(order), predicted)


class Moved:
    """The portfolio of earlier datasets whose scores were moved to where the probes say that they are here.

    Of config c on earlier dataset j let F_cj be the share, and E_pj the place of probe p among the probes by
    early scores; e_p is that place on the dataset at hand. For j as if it were that one, F_cj becomes

        F_cj + sum_pq K_cp (G + 2 n I)^-1_pq (e_q - E_qj)
        K_cp = cov(F_c, E_p) + n [c = p],  G_pq = cov(E_p, E_q)

    with covariances over the datasets, by their weight: the posterior of a Gaussian process. n is `NOISE`,
    once for what is a config's own on a dataset and once for what is early scores' own; as the latter grows
    nothing moves, which is the plain portfolio.
    """

    def __init__(self, training: Training):
        self._weight, self._filler = training.weight, training.filler
        self._portfolio = Portfolio(training)

    def probes(self, candidates: pd.DataFrame) -> Ints:
        """The first of the portfolio."""
        return self._portfolio.rank(candidates, None).order[:PROBES]

    def order(self, candidates: pd.DataFrame, early: Floats) -> tuple[Ints, float]:
        """[candidates] numbers, the best first, and the share of shares that are predicted."""
        filled = self._filler.fill(candidates, "share")
        probes = np.flatnonzero(~np.isnan(early))
        place = places(self._filler.fill(candidates.iloc[probes], "early").value)
        share = self._centred(filled.value)
        at = self._centred(place)
        between = (share * self._weight) @ at.T
        between[probes, np.arange(len(probes))] += NOISE
        among = (at * self._weight) @ at.T + 2 * NOISE * np.eye(len(probes))
        moved = filled.value + between @ np.linalg.solve(among, places(early[probes, None]) - place)
        return complementing(moved, self._weight, candidates), float(filled.predicted.mean())

    def _centred(self, values: Floats) -> Floats:
        """[configs, datasets] less the mean over datasets."""
        return values - (values @ self._weight)[:, None]


def _tested(training: Training) -> list[Tested[Variant]]:
    """Every dataset, some groups left out at a time; ranked as learned where probes tell nothing."""
    tried, before, found = training.tried, learned(training), []
    known = {one.dataset: one for one in before.tested}
    for rest, out in training.folds:
        moved = Moved(rest)
        for j in out:
            rows, order = tried.of(j), known[j].order[before.variant]
            candidates, early = tried.configs.iloc[rows], np.full(len(rows), np.nan)
            able = np.flatnonzero(~np.isnan(tried.early[rows, j]))
            both: dict[Variant, Ints] = {"learned": order, "probed": order}
            if len(able) and not np.isnan(rest.tried.early).all():
                probes = able[moved.probes(candidates.iloc[able])]
                early[probes] = tried.early[rows[probes], j]
            if _differ(early):
                both["probed"], _ = moved.order(candidates, early)
            found.append(Tested(j, tried.groups[j], known[j].share, both))
    return found


def _differ(early: Floats) -> bool:
    """Else there is nothing to compare."""
    known = early[~np.isnan(early)]
    return len(known) > 0 and bool((known != known[0]).any())
