"""Two samples of scores: the difference of their expected best of n, its interval and its p value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from distiller.results.comparison.best_of_n import (
    DRAWS,
    LEVEL,
    PERMUTATIONS,
    Estimate,
    Floats,
    expected_best,
    with_error,
)
from distiller.results.comparison.resampling import Sample, dealt, studied

FEWEST = 5
"""Full runs of each choice below which a difference has neither interval nor p value."""
DATASETS = 3
"""Datasets from which on they count as a sample of others."""
TINY = 1e-12
"""Equal scores have no error; a difference between such is beyond every other."""
ROUNDING = 1e-13
"""A difference this small beside the scores is none."""
FARTHEST = 1e6
"""An end this far off comes of resampled scores that are all equal: no interval then."""
LARGE, EVEN, VERY_LARGE = 120, 2, 1000
"""Trials of each side from which on they need not be dealt out: of sides of which one is at most `EVEN` times
the other, and of any."""
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True)
class Contrast:
    """V_n of `one` minus that of `other` on one dataset, and what chance makes of it.

    Attributes:
        value, error: the difference and its standard error; no error where a side has too few trials.
        bootstrap: [DRAWS] studentised errors of resampled trials.
        chance: [PERMUTATIONS] studentised differences with the trials dealt out anew between the sides, or
            draws of the limit that they have.
        freedom: of that limit, Student's t; None where the trials were dealt.
    """

    value: float
    error: float | None
    bootstrap: Floats
    chance: Floats
    freedom: float | None = None

    @property
    def estimate(self) -> Estimate:
        """With a bootstrap-t interval (Efron & Tibshirani 1993, 12.5) and a permutation p value.

        Over four shapes of scores and 8 to 30 trials the interval covered 90 to 97% at nominal 95%, the
        percentile bootstrap 84 to 95%. The p value is exact where the two sides are distributed alike, and
        right in large samples where only V_n agrees (Janssen 1997).
        """
        if self.error is None:
            return Estimate(self.value)
        low, high = _interval(self.value, self.error, self.bootstrap)
        observed = abs(self.value) / max(self.error, TINY)
        if self.freedom is not None:
            return Estimate(self.value, low, high, 2 * float(stats.t.sf(observed, self.freedom)))
        return Estimate(self.value, low, high, _p_value(np.abs(self.chance), observed))


def contrasts(one: Sample, other: Sample, ns: Sequence[int], rng: np.random.Generator) -> list[Contrast]:
    """One for each n; for n = 1 it is of the means. All are made of the same deals."""
    values = [float(expected_best(one.scores, n) - expected_best(other.scores, n)) for n in ns]
    rounding = ROUNDING * float(max(np.abs(one.scores).max(), np.abs(other.scores).max()))
    values = [value if abs(value) > rounding else 0.0 for value in values]
    if min(len(one), len(other)) < FEWEST:
        return [Contrast(value, None, np.empty(0), np.empty(0)) for value in values]
    chance: list[tuple[Floats, float | None]] = []
    if _at_the_limit(len(one), len(other)):
        for n in ns:
            least = 2 * min(len(one), len(other)) / n
            chance.append((rng.standard_t(least, PERMUTATIONS), least))
    else:
        for gap, noise in dealt(one.scores, other.scores, ns, PERMUTATIONS, rng):
            chance.append((gap / np.maximum(noise, TINY), None))
    found = []
    resamples = zip(one.resampled(ns, DRAWS), other.resampled(ns, DRAWS), strict=True)
    for n, value, (by_chance, freedom), sides in zip(ns, values, chance, resamples, strict=True):
        _, error = studied(with_error(one.scores, n), with_error(other.scores, n))
        drawn, spread = studied(*sides)
        bootstrap = (drawn - value) / np.maximum(spread, TINY)
        found.append(Contrast(value, float(error), bootstrap, by_chance, freedom))
    return found


def _at_the_limit(one: int, other: int) -> bool:
    """Whether dealing out so many trials would only draw Student's t.

    With 2 min(one, other) / n degrees of freedom it is exceeded as often as it should be: see the test.
    Between sides of unequal size a long tail of scores shows longer.
    """
    small, large = sorted((one, other))
    return (small >= LARGE and large <= EVEN * small) or small >= VERY_LARGE


def difference(one: Floats, other: Floats, n: int, rng: np.random.Generator) -> Estimate:
    """V_n of `one` minus that of `other`; for n = 1 the difference of the means."""
    return contrasts(Sample(one, rng), Sample(other, rng), [n], rng)[0].estimate


def over_datasets(found: Sequence[Contrast]) -> Estimate:
    """The mean over datasets of their differences.

    From 3 datasets on the interval is Student's t over them, and so speaks of datasets like these: with 3 to
    10 that differ it covered 92 to 97% at nominal 95%, a percentile bootstrap over datasets and trials 80 to
    95%. With 2, trials are drawn, and the interval is for these two. The p value permutes trials inside each
    dataset: of no difference on any of them.
    """
    values = np.array([one.value for one in found])
    mean = float(values.mean())
    low, high = student(values)
    errors = [one.error for one in found if one.error is not None]
    if len(errors) < len(found):
        return Estimate(mean, low, high)
    error = float(np.sqrt(np.square(errors).sum())) / len(found)
    if len(found) < DATASETS:
        drawn = np.mean([one.bootstrap * e for one, e in zip(found, errors, strict=True)], axis=0)
        low, high = _interval(mean, error, drawn / max(error, TINY))
    observed = float(abs(sum(v / max(e, TINY) for v, e in zip(values, errors, strict=True))))
    known = [one.freedom for one in found if one.freedom is not None]
    if len(known) == len(found):
        p = 2 * float(stats.t.sf(observed / np.sqrt(len(found)), min(known)))
    else:
        p = _p_value(np.abs(np.sum([one.chance for one in found], axis=0)), observed)
    return Estimate(mean, low, high, p)


def student(values: Floats) -> tuple[float | None, float | None]:
    """Student's t interval of the mean of the values; None of fewer than 3, or of equal ones."""
    if len(values) < DATASETS or not np.ptp(values) > 0:
        return None, None
    half = stats.t.ppf(TAILS[1], len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def welch(one: Floats, other: Floats) -> Estimate:
    """The difference of the means with Welch's t interval and p value."""
    value = float(one.mean() - other.mean())
    if min(len(one), len(other)) < FEWEST or not np.ptp(one) + np.ptp(other) > 0:
        return Estimate(value)
    found = stats.ttest_ind(one, other, equal_var=False)
    interval = found.confidence_interval(LEVEL)
    return Estimate(value, float(interval.low), float(interval.high), float(found.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values corrected for being several (Holm 1979), in the order given."""
    found = np.empty(len(p_values))
    highest = 0.0
    for rank, place in enumerate(np.argsort(p_values)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        found[place] = highest
    return [float(p) for p in found]


def corrected(estimates: Sequence[Estimate | None]) -> list[Estimate | None]:
    """The estimates with `p_holm`, over all among them that were tested."""
    tested = [place for place, one in enumerate(estimates) if one is not None and one.p is not None]
    found = list(estimates)
    for place, p in zip(tested, holm([_p(estimates[place]) for place in tested]), strict=True):
        one = found[place]
        assert one is not None
        found[place] = replace(one, p_holm=p)
    return found


def _p(estimate: Estimate | None) -> float:
    assert estimate is not None
    assert estimate.p is not None
    return estimate.p


def _interval(value: float, error: float, t: Floats) -> tuple[float | None, float | None]:
    if not error > 0:
        return None, None
    low, high = np.quantile(t, TAILS)
    ends = float(value - high * error), float(value - low * error)
    return ends if max(map(abs, ends)) < FARTHEST * (abs(value) + error) else (None, None)


def _p_value(chance: Floats, observed: float) -> float:
    """With the observed deal among the others (Phipson & Smyth 2010)."""
    at_least: npt.NDArray[np.bool_] = chance >= observed * (1 - 1e-9)
    return float((1 + at_least.sum()) / (1 + len(chance)))
