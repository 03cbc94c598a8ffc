"""Which recommender to use: the one that loses least, of those that are as good the simplest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distiller.results.recommendation.evaluation import Evaluation, Result, group_means
from distiller.results.recommendation.methods import METHODS, PORTFOLIO, RANDOM

K = 5
"""Trials that a recommendation is for."""
FEWEST_GROUPS = 3
"""Of fewer groups of datasets the evaluation says nothing."""


@dataclass(frozen=True)
class Chosen:
    """The recommender to use.

    Attributes:
        method: its name.
        reason: in words, with the numbers.
        beats_random: by more than a standard error.
    """

    method: str
    reason: str
    beats_random: bool


def choose(found: Evaluation, probing: bool = True) -> Chosen:
    """The lowest mean regret of what `K` full trials buy, probes paid from them; whatever is within a
    standard error of it and comes earlier in `METHODS` is taken instead. Random recommends nothing: it is
    only compared with.

    The standard error is that of the difference of the two over groups of datasets.

    Args:
        probing: whether cheap trials can be run; else methods that ask for them are left out.
    """
    results = {one.method: one for one in found.results}
    if len(found.groups) < FEWEST_GROUPS:
        return too_few_to_choose(len(found.groups))
    asking = {method.name for method in METHODS if method.asks and not probing}
    able = [one for one in found.results if one.method not in {RANDOM, *asking} and K in one.paid]
    best = min(able, key=lambda one: one.paid[K].value)
    taken = next(one for one in able if _behind(one, best)[0] <= _behind(one, best)[1])
    lost = {one.method: one.paid[K].value for one in [results[RANDOM], *able]}
    said = f"{taken.method}: the best of its first {_bought(taken)} loses {lost[taken.method]:.3f}"
    said += " of what the median loses"
    if taken is not best:
        gap, error = _behind(taken, best)
        said += (
            f"; {best.method} loses {lost[best.method]:.3f}, but {gap:.3f} less is within a standard error "
            f"({error:.3f}), and {taken.method} is simpler"
        )
    gap, error = _behind(results[RANDOM], taken)
    beats = gap > error
    than = "" if beats else ", which is no more than a standard error better"
    return Chosen(taken.method, f"{said}; random loses {lost[RANDOM]:.3f}{than}", beats)


def _bought(one: Result) -> str:
    """How many of its first `K` trials pay for themselves."""
    if not one.probes:
        return str(K)
    return f"{K - one.probes:.1f} (its probes cost {one.probes:.1f} of {K} trials)"


def too_few_to_choose(groups: int) -> Chosen:
    """What is taken where the evaluation says nothing."""
    few = "1 group of datasets is" if groups == 1 else f"{groups} groups of datasets are"
    reason = f"{few} too few to choose by ({FEWEST_GROUPS} are needed): the portfolio, which needs least"
    return Chosen(PORTFOLIO, reason, False)


def _behind(one: Result, other: Result) -> tuple[float, float]:
    """How much more the one loses than the other, and the standard error of that."""
    gaps = group_means([(on.group, on.paid[K]) for on in one.datasets]) - group_means(
        [(on.group, on.paid[K]) for on in other.datasets]
    )
    return float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
