"""What ways to rank lose on earlier datasets that they have not seen, and which of them that speaks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from distiller.results.recommendation.table import Floats, Ints

FIRST = 5
"""Configs of a ranking that it is judged by."""
Variant = TypeVar("Variant")


@dataclass(frozen=True)
class Tested(Generic[Variant]):
    """One earlier dataset, ranked by models that have not seen its group.

    Attributes:
        dataset: its number.
        share: [configs] the true ones, `WORST` at least.
        order: by variant, [configs] their numbers, the best first.
    """

    dataset: int
    group: str
    share: Floats
    order: dict[Variant, Ints]

    @cached_property
    def _rank(self) -> Floats:
        """[configs] centred."""
        rank = stats.rankdata(self.share)
        return np.asarray(rank - rank.mean())

    def agreement(self, variant: Variant) -> float:
        """Spearman's correlation of ranking and shares, 0 where all are equal."""
        count, spread = len(self._rank), float(np.sqrt((self._rank**2).sum()))
        place = (count - 1) / 2 - np.arange(count)
        if spread == 0:
            return 0.0
        return float(place @ self._rank[self.order[variant]]) / (spread * float(np.sqrt((place**2).sum())))

    def lost(self, variant: Variant) -> float:
        """The regret of the best of the first k, on average over k up to `FIRST`."""
        return float(1 - np.maximum.accumulate(self.share[self.order[variant]])[:FIRST].mean())


def agrees_best(tested: Sequence[Tested[Variant]], variants: Sequence[Variant]) -> Variant:
    """The one whose rankings agree best with the shares; of equal ones the first."""
    return max(
        variants,
        key=lambda variant: float(over_groups(tested, lambda one: one.agreement(variant)).mean()),
    )


def loses_least(tested: Sequence[Tested[Variant]], variants: Sequence[Variant]) -> Variant:
    """Of variants, the simplest first, the one that loses least, unless a simpler one is within a standard
    error of the difference."""
    best = min(variants, key=lambda one: float(over_groups(tested, lambda on: on.lost(one)).mean()))
    return next(one for one in variants if not better(tested, one, best, Tested.lost))


def better(
    tested: Sequence[Tested[Variant]],
    one: Variant,
    other: Variant,
    measure: Callable[[Tested[Variant], Variant], float],
) -> bool:
    """Whether a measure is higher for the one, by more than a standard error over groups."""
    more = over_groups(tested, lambda on: measure(on, one) - measure(on, other))
    return bool(more.mean() > more.std(ddof=1) / np.sqrt(len(more)))


def over_groups(tested: Sequence[Tested[Variant]], of: Callable[[Tested[Variant]], float]) -> Floats:
    """[groups] means over the datasets of each."""
    _, group = np.unique([one.group for one in tested], return_inverse=True)
    return np.asarray(np.bincount(group, [of(one) for one in tested]) / np.bincount(group))


class Calibration:
    """What the config at a place of the ranking loses, as groups that were left out say; never less further
    down (isotonic regression)."""

    def __init__(self, place: Floats, lost: Floats, weight: Floats):
        self._fitted = IsotonicRegression(out_of_bounds="clip").fit(place, lost, sample_weight=weight)

    @classmethod
    def of(cls, tested: Sequence[Tested[Variant]], variant: Variant) -> Calibration:
        place, lost, weight = [], [], []
        for one in tested:
            count = len(one.share)
            place.append((np.arange(count) + 0.5) / count)
            lost.append(1 - one.share[one.order[variant]])
            weight.append(np.full(count, 1 / count))
        return cls(np.concatenate(place), np.concatenate(lost), np.concatenate(weight))

    def regret(self, order: Ints) -> Floats:
        """[configs] in the order of the configs, not of the ranking."""
        found = np.empty(len(order))
        found[order] = self._fitted.predict((np.arange(len(order)) + 0.5) / len(order))
        return found
