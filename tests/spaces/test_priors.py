import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from distiller.spaces.errors import InputError
from distiller.spaces.priors import (
    Integers,
    LogUniform,
    OneOf,
    Uniform,
    is_constant,
    parse_prior,
    significant,
)

N = 5000


@pytest.mark.parametrize(
    ("prior", "truth"),
    [
        (Uniform(0, 0.9), stats.uniform(0, 0.9)),
        (Uniform(-2, 3), stats.uniform(-2, 5)),
        (LogUniform(2e-4, 4e-3), stats.loguniform(2e-4, 4e-3)),
        (LogUniform(0.01, 10), stats.loguniform(0.01, 10)),
    ],
)
def test_ranges_are_drawn_as_they_say(prior, truth):
    rng = np.random.default_rng(1)
    drawn = [prior.sample(rng) for _ in range(N)]
    assert stats.kstest(drawn, truth.cdf).pvalue > 1e-3
    assert all(prior.contains(v) and v == significant(v) for v in drawn)


@pytest.mark.parametrize(
    "prior", [Integers(2, 7), OneOf(1, 2, 4), OneOf("a", "b"), OneOf(0.1, 0.2, 0.3, 0.4)]
)
def test_values_are_equally_likely(prior):
    rng = np.random.default_rng(2)
    counts = Counter(prior.sample(rng) for _ in range(N))
    assert set(counts) == set(prior.grid(100))
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


@given(
    st.lists(st.floats(1e-9, 1e9), min_size=2, max_size=2).map(sorted),
    st.booleans(),
    st.integers(1, 9),
    st.integers(0, 99),
)
def test_a_range_holds_its_draws_and_its_grid(ends, log, levels, seed):
    prior = Uniform(*ends, log=log)
    grid = prior.grid(levels)
    assert prior.contains(prior.sample(np.random.default_rng(seed)))
    assert all(map(prior.contains, grid))
    assert list(grid) == sorted(set(grid))
    assert len(grid) <= levels
    if levels > 1 and all(v == significant(v) for v in ends):
        assert (grid[0], grid[-1]) == tuple(ends)


def test_grids_are_evenly_spaced():
    assert Uniform(0, 1).grid(3) == (0, 0.5, 1)
    assert LogUniform(0.01, 100).grid(3) == (0.01, 1, 100)
    assert LogUniform(0.01, 100).grid(1) == (1,)
    assert Integers(1, 3).grid(9) == (1, 2, 3)
    assert Integers(0, 100).grid(3) == (0, 50, 100)
    assert Uniform(2, 2).grid(3) == (2,)


def test_what_a_prior_contains():
    assert Uniform(0, 1).contains(0)
    assert not Uniform(0, 1).contains(math.nan)
    assert not Uniform(0, 1).contains(True)
    assert not Integers(0, 3).contains(1.0)
    assert not Integers(0, 3).contains(True)
    assert not OneOf(1, 2).contains(True)
    assert OneOf(1.0, 2.0).contains(1)


@pytest.mark.parametrize("prior", [Uniform(2, 2), LogUniform(2, 2), Integers(2, 2), OneOf(2)])
def test_a_constant_asks_no_trial(prior):
    assert is_constant(prior)
    assert prior.suggest(None, "never.asked") == 2


@pytest.mark.parametrize(
    "prior",
    [
        Uniform(0, 1),
        LogUniform(1e-5, 0.1),
        Integers(1, 9),
        OneOf(3),
        OneOf(1, 2),
        OneOf("a", "b"),
        OneOf(True),
    ],
)
def test_a_written_prior_is_read_back(prior):
    assert parse_prior(prior.written(), "here") == prior


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (None, "x: None is no prior; write a value"),
        ({}, "x: {} is no prior"),
        ({"normal": [0, 1]}, "x: {'normal': [0, 1]} is no prior"),
        ({"uniform": [0, 1], "integers": [0, 1]}, "is no prior"),
        ([], "x: [] is no list of values"),
        ([1, None], "x: [1, None] is no list of values"),
        ([[1]], "x: [[1]] is no list of values"),
        ([1, 2, 1], "x: [1, 2, 1] names a value twice"),
        ([1, 1.0], "names a value twice"),
        ({"uniform": [2, 1]}, "x.uniform: 2 is above 1; write the lower end first"),
        ({"uniform": [1]}, "x.uniform: [1] is not two finite numbers"),
        ({"uniform": 1}, "x.uniform: 1 is not two finite numbers"),
        ({"uniform": [0, math.inf]}, "is not two finite numbers"),
        ({"uniform": [math.nan, 1]}, "is not two finite numbers"),
        ({"uniform": [False, True]}, "is not two finite numbers"),
        ({"uniform": ["0", "1"]}, "is not two finite numbers"),
        ({"uniform": [0, 10**400]}, "is not two finite numbers"),
        ({"integers": [1, 2.5]}, "x.integers: [1, 2.5] is not two integers"),
        ({"loguniform": [0, 1]}, "x.loguniform: 0 is not above 0"),
        (math.nan, "x: nan holds a number that is not finite"),
        ([1, math.inf], "not finite"),
    ],
)
def test_what_is_no_prior_is_refused_in_one_line(written, says):
    with pytest.raises(InputError) as refused:
        parse_prior(written, "x")
    assert says in str(refused.value)
    assert str(refused.value).startswith("x")
    assert str(refused.value).isprintable()
