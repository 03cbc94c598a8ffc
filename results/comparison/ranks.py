"""Average ranks over datasets and when they differ: Friedman's test and Nemenyi's critical difference.

After Demsar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, section 3.2.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from distiller.results.comparison.report import CriticalDifference

ALPHA = 0.05


def critical_difference(scores: pd.DataFrame, measure: str) -> CriticalDifference:
    """Ranks of the choices (columns) over datasets (rows), higher scores first; needs two of each.

    Friedman's chi squared is without a correction for ties, as in the paper: with ties it is conservative.
    """
    number, k = scores.shape
    ranks = np.array([stats.rankdata(-row) for row in scores.to_numpy(dtype=np.float64)])
    average = ranks.mean(axis=0)
    chi = 12 * number / (k * (k + 1)) * float((average**2).sum() - k * (k + 1) ** 2 / 4)
    left = number * (k - 1) - chi
    f = (number - 1) * chi / left if left > 1e-9 else None
    order = sorted(range(k), key=lambda i: average[i])
    error = np.sqrt(k * (k + 1) / (6 * number))
    difference = float(stats.studentized_range.ppf(1 - ALPHA, k, np.inf)) / np.sqrt(2) * error
    names = [str(name) for name in scores.columns]
    p_values = {
        (names[i], names[j]): float(
            stats.studentized_range.sf(abs(average[i] - average[j]) / error * np.sqrt(2), k, np.inf)
        )
        for i, j in itertools.combinations(order, 2)
    }
    return CriticalDifference(
        choices=tuple(names[i] for i in order),
        ranks=tuple(float(average[i]) for i in order),
        datasets=tuple(map(str, scores.index)),
        measure=measure,
        chi_squared=chi,
        p=float(stats.chi2.sf(chi, k - 1)),
        f=f,
        f_p=None if f is None else float(stats.f.sf(f, k - 1, (k - 1) * (number - 1))),
        difference=float(difference),
        groups=_alike([names[i] for i in order], [float(average[i]) for i in order], float(difference)),
        p_values=p_values,
    )


def _alike(names: Sequence[str], ranks: Sequence[float], difference: float) -> tuple[tuple[str, ...], ...]:
    """The largest runs of neighbours whose ends differ by less than the critical difference."""
    found: list[tuple[int, int]] = []
    for start in range(len(names)):
        end = max(i for i in range(start, len(names)) if ranks[i] - ranks[start] < difference)
        if end > start and not any(e >= end for _, e in found):
            found.append((start, end))
    return tuple(tuple(names[start : end + 1]) for start, end in found)
