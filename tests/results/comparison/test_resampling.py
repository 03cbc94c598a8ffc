"""Resamples against plain ones, and the limit of large samples against how often it is exceeded."""

import numpy as np
import pytest
from scipy import stats

from distiller.results.comparison import differences, resampling
from distiller.results.comparison.best_of_n import with_error
from distiller.results.comparison.differences import LARGE, contrasts, over_datasets
from distiller.results.comparison.resampling import MOST_DEALT, Sample, dealt


def plainly_dealt(one, other, n, deals, rng):
    """[deals] differences of V_n, and their errors, of shuffled scores."""
    both, found = np.concatenate([one, other]), []
    for _ in range(deals):
        rng.shuffle(both)
        sides = np.sort(both[: len(one)]), np.sort(both[len(one) :])
        (a, first), (b, second) = (with_error(side, n) for side in sides)
        found.append((a - b, np.sqrt(first + second)))
    return np.array(found).T


@pytest.mark.parametrize("n", [1, 3])
def test_dealing_is_shuffling(n):
    rng = np.random.default_rng(0)
    one, other = np.sort(rng.exponential(size=14)), np.sort(rng.exponential(size=9) + 1)
    ((gap, error),) = dealt(one, other, [n], 3000, rng)
    for mine, plain in zip((gap, error), plainly_dealt(one, other, n, 3000, rng), strict=True):
        assert stats.ks_2samp(mine, plain).pvalue > 0.001


@pytest.mark.parametrize("portion", [7, 1 << 17])
def test_resamples_are_drawn_with_replacement(portion, monkeypatch):
    monkeypatch.setattr(resampling, "PORTION", portion)
    rng = np.random.default_rng(1)
    scores = rng.exponential(size=12)
    (mean, variance), (best, _) = Sample(scores, rng).resampled([1, 3], 3000)
    plain = np.sort(scores[rng.integers(12, size=(3000, 12))], axis=1)
    truth, spread = with_error(plain, 1)
    assert stats.ks_2samp(mean, truth).pvalue > 0.001
    assert stats.ks_2samp(variance, spread).pvalue > 0.001
    assert stats.ks_2samp(best, with_error(plain, 3)[0]).pvalue > 0.001


def test_each_score_is_as_likely_in_a_resample():
    """Chi squared of how often each of 9 scores is drawn, over 4,000 samples."""
    rng = np.random.default_rng(2)
    drawn = np.concatenate([place.ravel() for place in Sample(np.arange(9.0), rng)._places(4000)])
    assert stats.chisquare(np.bincount(drawn, minlength=9)).pvalue > 0.001


def test_a_large_side_is_dealt_in_part():
    rng = np.random.default_rng(3)
    one, other = np.sort(rng.normal(size=20)), np.sort(rng.normal(size=20 * MOST_DEALT))
    ((gap, error),) = dealt(one, other, [2], 2000, rng)
    plain = plainly_dealt(one, other, 2, 300, rng)
    assert stats.ks_2samp(gap / error, plain[0] / plain[1]).pvalue > 0.001


@pytest.mark.parametrize("draw", ["normal", "exponential", "lognormal", "halves"])
def test_large_samples_are_at_the_limit(draw, monkeypatch):
    """Without a difference a p below 0.05 is chance, and intervals of the smallest large samples hold."""
    monkeypatch.setattr(differences, "DRAWS", 300)
    rng = np.random.default_rng(4)
    shapes = {
        "normal": rng.normal,
        "exponential": rng.exponential,
        "lognormal": rng.lognormal,
        "halves": lambda size: rng.normal(0.5 * rng.integers(2, size=size), 0.03),
    }
    rejected = missed = 0
    for _ in range(150):
        one, other = (Sample(shapes[draw](size=size), rng) for size in (LARGE, round(1.2 * LARGE)))
        (found,) = contrasts(one, other, [10], rng)
        assert found.freedom is not None
        rejected += found.estimate.p < 0.05
        missed += not found.estimate.low <= 0 <= found.estimate.high
    assert rejected <= stats.binom.ppf(0.999, 150, 0.05)
    assert missed <= stats.binom.ppf(0.999, 150, 0.10)


def test_at_the_limit_p_is_that_of_dealing():
    rng = np.random.default_rng(5)
    one, other = rng.exponential(size=LARGE), rng.exponential(1.25, size=LARGE)
    (limit,) = contrasts(Sample(one, rng), Sample(other, rng), [10], rng)
    ((gap, error),) = dealt(np.sort(one), np.sort(other), [10], 4000, rng)
    truth = float((np.abs(gap / error) >= abs(limit.value) / limit.error).mean())
    assert limit.estimate.p == pytest.approx(truth, abs=0.03)
    few = contrasts(Sample(one[:30], rng), Sample(other[:30], rng), [1], rng)[0]
    assert few.freedom is None
    mixed, both = over_datasets([limit, few]).p, over_datasets([limit, limit]).p
    assert 0 < mixed <= 1
    assert both < limit.estimate.p
