"""Expected best of n trials: what a search of n trials may hope for, however many were run.

Trials of two choices are seldom equally many, and the best of more trials is better by luck alone. The
expected maximum of n of the N scores x_(1) <= ... <= x_(N), drawn without replacement, is the U-statistic

    V_n = sum_i x_(i) C(i - 1, n - 1) / C(N, n)

unbiased for every n <= N (Dodge et al. 2019, "Show Your Work", section 3.1, has the biased form with
replacement; Tang et al. 2020 this one). V_1 is the mean, V_N the maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

Floats = npt.NDArray[np.float64]

DRAWS = 2000
"""Bootstrap samples of an interval."""
PERMUTATIONS = 9999
LEVEL = 0.95
SHARE = 4
"""The best of n is compared at n = trials / SHARE: closer to all trials, intervals no longer hold."""
MOST = 10
MOST_OF_CURVE = 1000
"""Points of a curve over n."""


@dataclass(frozen=True)
class Estimate:
    """A difference in the metric's unit, with its interval.

    Attributes:
        low, high: 95% interval; None where there are too few trials for one.
        p: two-sided, of no difference; None where nothing was tested.
        p_holm: corrected for all comparisons of the same measure that are shown.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None


def expected_best(scores: Floats, n: int) -> Floats:
    """[...] V_n of the scores [..., N]; ValueError unless 1 <= n <= N."""
    return np.asarray(np.sort(scores, axis=-1) @ weights(scores.shape[-1], n))


def curve(scores: Floats, most: int = MOST_OF_CURVE) -> Floats:
    """[min(N, most)] V_1, V_2, ..."""
    total, ordered = len(scores), np.sort(scores)
    weight, i = np.full(total, 1 / total) if total else np.empty(0), np.arange(1.0, total + 1)
    found = np.empty(min(total, most))
    for n in range(1, len(found) + 1):
        found[n - 1] = ordered @ weight
        weight *= (i - n) * ((n + 1) / n / max(total - n, 1))  # of C(i - 1, n) / C(N, n + 1)
    return found


def weights(total: int, n: int) -> Floats:
    """[total] the weight of each score from the lowest on: C(i - 1, n - 1) / C(total, n)."""
    if not 1 <= n <= total:
        raise ValueError(f"best of {n} of {total} trials")
    i = np.arange(n, total + 1)
    log = gammaln(i) - gammaln(i - n + 1) - gammaln(n)
    log -= gammaln(total + 1) - gammaln(n + 1) - gammaln(total - n + 1)
    return np.concatenate([np.zeros(n - 1), np.exp(log)])


def with_error(ordered: Floats, n: int) -> tuple[Floats, Floats]:
    """[...] V_n of ascending scores [..., N] and its variance by the jackknife, which for n = 1 is s^2 / N.

    Needs n < N.
    """
    total = ordered.shape[-1]
    if n == 1:
        return np.asarray(ordered.mean(axis=-1)), np.asarray(ordered.var(axis=-1, ddof=1) / total)
    less = weights(total - 1, n)
    without = np.zeros(ordered.shape)
    np.cumsum(ordered[..., :-1] * less, axis=-1, out=without[..., 1:])
    without[..., :-1] += np.cumsum((ordered[..., 1:] * less)[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray(ordered @ weights(total, n)), (total - 1) * without.var(axis=-1)


def headline_n(trials: int) -> int:
    """The n at which the best of n is compared where the smaller side has so many trials."""
    return int(np.clip(trials // SHARE, 1, MOST))
