"""Differences of two samples against plain versions, their p values and intervals under repetition."""

import numpy as np
import pytest
from scipy import stats

from distiller.results.comparison import differences
from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.differences import (
    contrasts,
    corrected,
    difference,
    holm,
    over_datasets,
    welch,
)
from distiller.results.comparison.resampling import Sample


def test_the_mean_has_the_p_value_of_a_permutation_of_welchs_t():
    rng = np.random.default_rng(0)
    one, other = rng.normal(0.5, 1, 12), rng.normal(0, 2, 20)

    def t(a, b, axis):
        return stats.ttest_ind(a, b, axis=axis, equal_var=False).statistic

    truth = stats.permutation_test((one, other), t, n_resamples=1999, rng=rng).pvalue
    found = difference(one, other, 1, rng)
    assert found.value == pytest.approx(one.mean() - other.mean())
    assert found.p == pytest.approx(truth, abs=0.04)
    assert found.low < found.value < found.high


def test_intervals_cover_and_p_values_are_as_rare_as_they_say(monkeypatch):
    """120 repetitions without a difference; more faults than allowed are chance once in a thousand times."""
    monkeypatch.setattr(differences, "PERMUTATIONS", 399)
    monkeypatch.setattr(differences, "DRAWS", 400)
    rng = np.random.default_rng(1)
    missed = rejected = 0
    for _ in range(120):
        one, other = rng.exponential(size=16), rng.exponential(size=24)
        found = difference(one, other, 4, rng)
        missed += not found.low <= 0 <= found.high
        rejected += found.p < 0.05
    assert missed <= stats.binom.ppf(0.999, 120, 0.10)
    assert rejected <= stats.binom.ppf(0.999, 120, 0.05)


def test_a_difference_is_found():
    rng = np.random.default_rng(2)
    found = difference(rng.normal(2, 1, 30), rng.normal(0, 1, 10), 2, rng)
    assert found.p < 0.001
    assert found.low > 0.5


def test_few_trials_have_a_difference_only():
    found = difference(np.array([1.0, 2.0]), np.arange(9.0), 1, np.random.default_rng(0))
    assert found.value == pytest.approx(-2.5)
    assert (found.low, found.high, found.p) == (None, None, None)


def test_equal_scores_differ_not_at_all():
    rng = np.random.default_rng(0)
    assert difference(np.ones(8), np.ones(9), 2, rng).p == 1
    assert difference(np.ones(8), np.zeros(9), 2, rng).p < 0.01


def test_equal_scores_that_are_summed_in_another_order_differ_not_at_all():
    """The mean of 38 and that of 44 scores of 0.6 are apart in the last digit."""
    one, other = np.full(38, 0.6), np.full(44, 0.6)
    assert one.mean() != other.mean()
    for n in (1, 9):
        found = difference(one, other, n, np.random.default_rng(0))
        assert (found.value, found.p) == (0.0, 1.0)


def test_over_datasets_is_students_t_of_their_differences():
    rng = np.random.default_rng(3)
    sides = [(rng.normal(0.3, 1, 20), rng.normal(0, 1, 20)) for _ in range(5)]
    found = over_datasets([contrasts(Sample(a, rng), Sample(b, rng), [1], rng)[0] for a, b in sides])
    gaps = [a.mean() - b.mean() for a, b in sides]
    truth = stats.ttest_1samp(gaps, 0).confidence_interval()
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(gaps), truth.low, truth.high))


def test_two_datasets_have_the_interval_of_both_together():
    rng = np.random.default_rng(4)
    sides = [(rng.normal(1, 1, 40), rng.normal(0, 1, 40)) for _ in range(2)]
    found = over_datasets([contrasts(Sample(a, rng), Sample(b, rng), [1], rng)[0] for a, b in sides])
    error = np.sqrt(sum(a.var(ddof=1) / 40 + b.var(ddof=1) / 40 for a, b in sides)) / 2
    assert (found.low, found.high) == pytest.approx(
        (found.value - 2 * error, found.value + 2 * error), abs=0.3 * error
    )
    assert found.p < 0.001


def test_holm_by_its_definition():
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    found = corrected([Estimate(0, p=0.01), None, Estimate(1), Estimate(2, p=0.04)])
    assert [one.p_holm if one else None for one in found] == [0.02, None, None, 0.04]


def test_welch_is_scipys():
    rng = np.random.default_rng(5)
    one, other = rng.normal(size=9), rng.normal(1, 3, size=14)
    truth = stats.ttest_ind(one, other, equal_var=False)
    found = welch(one, other)
    assert found.p == truth.pvalue
    assert (found.low, found.high) == pytest.approx(tuple(truth.confidence_interval()))
