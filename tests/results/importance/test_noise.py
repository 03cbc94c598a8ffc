"""Noise that runs carry on, against its covariance matrix."""

import numpy as np
import pytest

from distiller.results.importance.noise import Noise, whole_groups
from distiller.results.importance.regression import Term, Whitened, fit, log_evidence

RUN = np.array([2, 0, 1, 0, 0, 1])
SHARE = np.array([0.1, 1.0, 0.3, 0.1, 0.3, 0.1])


def made() -> Noise:
    """Of three runs with one, two and three rows, in no order."""
    noise = Noise.of_runs(np.array([1.0, 0.5, 0.7, 1.2, 0.8, 1.0]), RUN, SHARE)
    return Noise(noise.spread, noise.before, np.where(noise.before >= 0, [0, 0.4, 0.9, 0, 1.3, 0], 0.0))


def covariance(noise: Noise) -> np.ndarray:
    """Row by row from the definition."""
    n = len(noise.spread)
    found = np.zeros((n, n))
    for i in np.argsort(SHARE[:n], kind="stable"):
        if noise.before[i] >= 0:
            found[i] = noise.carried[i] * found[noise.before[i]]
            found[:, i] = found[i]
        last = found[noise.before[i], i] if noise.before[i] >= 0 else 0.0
        found[i, i] = noise.carried[i] * last + noise.spread[i] ** 2
    return found


def test_rows_go_on_from_the_last_one_of_their_run():
    assert made().before.tolist() == [-1, 4, 5, -1, 3, -1]
    assert made().carries
    assert not Noise.alone(np.ones(3)).carries


def test_freed_rows_are_independent_and_the_volume_is_theirs():
    noise = made()
    dense = covariance(noise)
    freed = noise.freed(np.eye(6))
    np.testing.assert_allclose(freed @ dense @ freed.T, np.eye(6), atol=1e-12)
    assert noise.log_volume == pytest.approx(-np.linalg.slogdet(dense)[1] / 2)


def test_some_whole_runs_have_the_noise_that_they_had():
    rows = np.array([True, False, True, False, False, True])
    np.testing.assert_allclose(
        made().at(rows).freed(np.eye(3)), made().freed(np.eye(6))[np.ix_(rows, rows)], atol=1e-12
    )
    with pytest.raises(ValueError, match="stay together"):
        made().at(SHARE > 0.1)


def test_likelihood_is_that_of_the_dense_gaussian():
    rng = np.random.default_rng(0)
    terms, y = [Term.of(rng.normal(size=(6, 2)))], rng.normal(size=6)
    found, white = fit(terms, y, np.arange(6), noise=made())
    dense = found.noise * covariance(made()) + 100 * white.scale
    dense += found.variance[0] * (terms[0].matrix * terms[0].weight) @ terms[0].matrix.T
    apart = y - y.mean()
    exact = -(np.linalg.slogdet(dense)[1] + apart @ np.linalg.solve(dense, apart)) / 2
    assert log_evidence(found, white) == pytest.approx(exact, abs=1e-6)
    rows = np.flatnonzero(RUN == 0)
    kernel = np.cov(rng.normal(size=(3, 9)))
    freed = made().freed(np.eye(6))[np.ix_(rows, rows)]
    again = Whitened(terms, y, np.arange(6), 0.0, made()).kernel(kernel, rows)
    np.testing.assert_allclose(again, freed @ kernel @ freed.T, atol=1e-12)


def test_groups_are_taken_whole_and_some_first():
    group = np.repeat(np.arange(40), 3)
    every = np.ones(120, dtype=bool)
    taken = whole_groups(group, every, 60)
    assert taken.sum() == 60
    assert set(np.bincount(group[taken], minlength=40)) == {0, 3}
    first = whole_groups(group, every, 60, group >= 30)
    assert first[group >= 30].all()
    assert whole_groups(group, group < 5, 1000).tolist() == (group < 5).tolist()
