"""Ranks against the worked example of Demsar 2006, and the signed-rank test against a slow one."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from distiller.results.comparison.ranks import critical_difference
from distiller.results.comparison.signed_rank import signed_rank

DEMSAR = """\
0.763 0.768 0.771 0.798
0.599 0.591 0.590 0.569
0.954 0.971 0.968 0.967
0.628 0.661 0.654 0.657
0.882 0.888 0.886 0.898
0.936 0.931 0.916 0.931
0.661 0.668 0.609 0.685
0.583 0.583 0.563 0.625
0.775 0.838 0.866 0.875
1.000 1.000 1.000 1.000
0.940 0.962 0.965 0.962
0.619 0.666 0.614 0.669
0.972 0.981 0.975 0.9749
0.957 0.978 0.946 0.970
"""
"""Table 6 there: AUC of four C4.5 on 14 datasets; the 13th as it is ranked there, not as it is rounded."""


def demsar():
    scores = [[float(x) for x in line.split()] for line in DEMSAR.splitlines()]
    return pd.DataFrame(scores, columns=["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"])


def test_demsars_example():
    found = critical_difference(demsar(), "AUC")
    assert dict(zip(found.choices, found.ranks, strict=True)) == pytest.approx(
        {"C4.5+m+cf": 1.964, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5": 3.143}, abs=5e-4
    )
    assert found.chi_squared == pytest.approx(9.28, abs=0.01)
    assert found.f == pytest.approx(3.69, abs=0.01)
    assert found.difference == pytest.approx(1.25, abs=0.005)
    assert found.f_p < 0.05
    assert found.groups == (("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"),)
    assert {p > 0.05 for p in found.p_values.values()} == {True}


def test_friedman_is_scipys_where_nothing_ties():
    scores = np.random.default_rng(0).normal(size=(9, 5)) + np.arange(5) / 2
    found = critical_difference(pd.DataFrame(scores, columns=list("vwxyz")), "score")
    truth = stats.friedmanchisquare(*scores.T)
    assert (found.chi_squared, found.p) == pytest.approx((truth.statistic, truth.pvalue))
    assert found.choices[0] == "z"


def test_groups_and_p_values_tell_the_same():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(12, 6)) + np.arange(6) * 0.9
    found = critical_difference(pd.DataFrame(scores, columns=list("abcdef")), "score")
    assert 1 <= len(found.groups) <= 5
    for (one, other), p in found.p_values.items():
        together = any(one in group and other in group for group in found.groups)
        assert together == (p > 0.05)


def test_equal_ranks_everywhere():
    found = critical_difference(pd.DataFrame(np.ones((4, 3)), columns=list("abc")), "score")
    assert found.chi_squared == pytest.approx(0)
    assert found.p == pytest.approx(1)
    perfect = critical_difference(pd.DataFrame(np.tile([1.0, 2, 3], (4, 1)), columns=list("abc")), "score")
    assert perfect.f is None
    assert perfect.to_dict()["f_p"] is None


def slow_signed_rank(differences, rope, rng, samples):
    """The same by loops over gamma draws (Ferguson's construction of a Dirichlet)."""
    z = [0.0, *differences]
    wins = np.zeros(3)
    for _ in range(samples):
        g = [rng.gamma(0.5), *(rng.gamma(1.0) for _ in differences)]
        mass = [0.0, 0.0, 0.0]
        for i, a in enumerate(z):
            for j, b in enumerate(z):
                place = 0 if a + b > 2 * rope else 2 if a + b < -2 * rope else 1
                mass[place] += g[i] * g[j]
        wins[int(np.argmax(mass))] += 1
    return wins / samples


@pytest.mark.parametrize("differences", [[0.02, 0.005, -0.01, 0.03], [0.0, 0.004, -0.02, -0.03, -0.001]])
def test_signed_rank_is_the_slow_one(differences):
    rng = np.random.default_rng(0)
    found = signed_rank(np.array(differences), 0.01, rng)
    truth = slow_signed_rank(differences, 0.01, rng, 2500)
    assert sum(found) == pytest.approx(1)
    assert np.abs(np.array(found) - truth).max() < 0.04


def test_signed_rank_mirrors_and_saturates():
    rng = np.random.default_rng(0)
    gaps = np.array([0.03, 0.05, -0.02, 0.04, 0.02, 0.06])
    above, within, below = signed_rank(gaps, 0.01, rng)
    mirrored = signed_rank(-gaps, 0.01, rng)
    assert mirrored == pytest.approx((below, within, above), abs=0.02)
    assert signed_rank(np.full(20, 0.001), 0.01, rng) == (0, 1, 0)
    assert signed_rank(np.full(20, 0.5), 0.01, rng)[0] > 0.99
