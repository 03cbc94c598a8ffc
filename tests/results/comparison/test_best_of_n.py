"""The expected best of n against all subsets, and its error against leaving each trial out."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller.results.comparison.best_of_n import curve, expected_best, headline_n, weights, with_error

SCORES = st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=8).map(np.array)


@given(scores=SCORES, data=st.data())
def test_it_is_the_mean_over_all_subsets(scores, data):
    n = data.draw(st.integers(1, len(scores)))
    truth = np.mean([max(some) for some in itertools.combinations(scores, n)])
    assert expected_best(scores, n) == pytest.approx(truth, abs=1e-9)


@given(scores=SCORES, data=st.data())
def test_its_variance_is_the_jackknife_of_leaving_each_out(scores, data):
    n = data.draw(st.integers(1, len(scores) - 1))
    value, variance = with_error(np.sort(scores), n)
    left = [float(expected_best(np.delete(scores, i), n)) for i in range(len(scores))]
    truth = (len(scores) - 1) / len(scores) * np.sum((left - np.mean(left)) ** 2)
    assert value == pytest.approx(float(expected_best(scores, n)), abs=1e-9)
    assert variance == pytest.approx(truth, abs=1e-9)


def test_ends_of_the_curve_are_the_mean_and_the_maximum():
    scores = np.random.default_rng(0).normal(size=300)
    found = curve(scores)
    assert found[0] == pytest.approx(scores.mean())
    assert found[-1] == pytest.approx(scores.max())
    assert (np.diff(found) >= 0).all()
    assert weights(300, 150).sum() == pytest.approx(1)


@pytest.mark.parametrize("n", [0, 4])
def test_more_than_all_and_none_are_refused(n):
    with pytest.raises(ValueError, match=f"best of {n} of 3 trials"):
        expected_best(np.arange(3.0), n)


def test_n_is_a_quarter_of_the_trials_up_to_ten():
    assert [headline_n(trials) for trials in (1, 7, 8, 30, 1000)] == [1, 1, 2, 7, 10]
