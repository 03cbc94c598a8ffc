"""The regression against dense formulas: likelihood, posterior, whitening, tests and draws."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from distiller.results.importance.draws import draws
from distiller.results.importance.regression import (
    WIDE,
    Posterior,
    ScoreTest,
    Term,
    Whitened,
    expected_squares,
    fit,
    log_evidence,
    noise_of,
)

ALONE = np.arange(80)


def problem(seed=0, rows=80):
    rng = np.random.default_rng(seed)
    terms = [
        Term.of(rng.normal(size=(rows, k)), spread) for k, spread in ((3, None), (5, 1 / np.arange(1, 6.0)))
    ]
    y = 2.0 + terms[0].matrix @ [1.0, -0.5, 0.3] + 0.4 * rng.normal(size=rows)
    return terms, y


def dense(terms, found, white, group, spread):
    """Covariance of the scores, the constant's wide prior included."""
    same = (group[:, None] == group[None]) * found.ratio * found.noise + np.eye(len(group)) * found.noise
    noise = same * spread[:, None] * spread
    signal = sum(v * (t.matrix * t.weight) @ t.matrix.T for t, v in zip(terms, found.variance, strict=True))
    return noise + signal + WIDE * white.scale


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("uneven", [False, True])
def test_likelihood_and_posterior_are_those_of_the_dense_gaussian(grouped, uneven):
    terms, y = problem()
    group = ALONE // 3 if grouped else ALONE
    spread = np.where(ALONE % 2 == 0, 1.0, 1.7) if uneven else np.ones(80)
    found, white = fit(terms, y, group, spread=spread)
    assert grouped or found.ratio == 0
    covariance = dense(terms, found, white, group, spread)
    apart = y - y.mean()
    here = stats.multivariate_normal(np.zeros(80), covariance, allow_singular=True).logpdf(apart)
    exact = here + 0.5 * 80 * np.log(2 * np.pi)
    assert log_evidence(found, white) - exact == pytest.approx(0.0, abs=1e-4)
    for j, term in enumerate(terms):
        mean = found.variance[j] * term.weight * (term.matrix.T @ np.linalg.solve(covariance, apart))
        np.testing.assert_allclose(found.coefficients[j], mean, atol=1e-5)
        prior = found.variance[j] * np.diag(term.weight)
        left = prior - prior @ term.matrix.T @ np.linalg.solve(covariance, term.matrix @ prior)
        squares = expected_squares(found, white)[j]
        if found.variance[j] > 0:
            np.testing.assert_allclose(squares, mean**2 + np.diag(left), rtol=1e-4)


def test_the_variances_are_the_most_likely_ones():
    terms, y = problem()
    terms = [dataclasses.replace(term, expected=1e6) for term in terms]  # no prior to speak of
    found, white = fit(terms, y, ALONE)
    best = log_evidence(found, white)
    assert found.noise == pytest.approx(0.16, rel=0.35)
    for j, v in enumerate(found.variance):
        for factor in (0.8, 1.25):
            if v > 0:
                other = found.variance.copy()
                other[j] *= factor
                assert (
                    log_evidence(
                        found.__class__(found.mean, found.coefficients, other, found.noise, 0.0), white
                    )
                    < best
                )
    for factor in (0.9, 1.1):
        other = found.__class__(found.mean, found.coefficients, found.variance, found.noise * factor, 0.0)
        assert log_evidence(other, white) < best + 1e-6


def test_effects_of_groups_are_found_and_cost_their_information():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(150), 3)
    x = np.repeat(rng.normal(size=(150, 4)), 3, axis=0)
    y = x @ [0.5, 0, 0, 0] + np.repeat(rng.normal(size=150), 3) + 0.5 * rng.normal(size=450)
    found, _ = fit([Term.of(x)], y, group)
    assert found.noise == pytest.approx(0.25, rel=0.2)
    assert found.ratio == pytest.approx(4, rel=0.4)
    alone, _ = fit([Term.of(x)], y, np.arange(450))
    assert alone.ratio == 0


def test_where_the_scores_have_their_zero_does_not_matter():
    """Neither where groups differ in size nor where rows differ in noise."""
    terms, y = problem()
    group = np.r_[np.arange(60), np.arange(20)]
    spread = np.where(ALONE % 2 == 0, 1.0, 1.6)
    found, white = fit(terms, y, group, spread=spread)
    again, moved = fit(terms, y + 5000, group, spread=spread)
    assert 0 < found.ratio < 100
    np.testing.assert_allclose(again.variance, found.variance, rtol=1e-6)
    np.testing.assert_allclose(again.predict(terms), found.predict(terms) + 5000, rtol=1e-9)
    assert again.noise == pytest.approx(found.noise, rel=1e-6)
    assert moved.scale == pytest.approx(white.scale, rel=1e-6)
    assert white.scale == pytest.approx(y.var())


def test_noise_of_some_rows_is_unbiased_however_many_terms_fit_them():
    ratios = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(120, 40))
        few = np.arange(120) < 40
        y = x @ rng.normal(size=40) * 0.3 + np.where(few, 1.0, 0.5) * rng.normal(size=120)
        found, white = fit([Term.of(x)], y, np.arange(120))
        ratios.append(noise_of(found, white, few) / noise_of(found, white, ~few))
    assert np.mean(ratios) == pytest.approx(4, rel=0.35)


def test_p_values_are_uniform_where_nothing_is_and_small_where_something_is():
    null, real = [], []
    for seed in range(150):
        terms, y = problem(seed)
        rng = np.random.default_rng(seed + 1000)
        extra = Term.of(rng.normal(size=(80, 4)))
        test = ScoreTest(*fit(terms, y, ALONE))
        null.append(test.p_value(extra))
        found, white = fit(terms, y + 0.3 * extra.matrix[:, 0], ALONE)
        real.append(ScoreTest(found, white).p_value(extra))
    assert stats.kstest(null, "uniform").pvalue > 1e-3
    assert np.mean(np.array(null) < 0.05) < 0.11
    assert np.mean(np.array(real) < 0.01) > 0.9


def test_a_term_of_the_fit_is_tested_as_if_it_were_not_in_it():
    terms, y = problem()
    both, white = fit(terms, y, ALONE)
    outside = ScoreTest(*fit(terms[1:], y, ALONE)).p_value(terms[0])  # its noise is that of a fit without it
    inside = ScoreTest(both, white, without=[0]).p_value_of(0)
    assert np.log(inside) == pytest.approx(np.log(outside), rel=0.02)
    assert outside < 1e-6


def test_draws_have_the_posteriors_mean_and_cover():
    hits, ranks = 0, []
    for seed in range(25):
        terms, y = problem(seed)
        found, white = fit(terms, y, ALONE)
        drawn = draws(found, white, 300, np.random.default_rng(seed))
        np.testing.assert_allclose(drawn[0].mean(axis=0), found.coefficients[0], atol=0.05)
        low, high = np.quantile(drawn[0][:, 0], (0.025, 0.975))
        hits += low <= 1.0 <= high
        ranks.append((drawn[0][:, 0] < 1.0).mean())
    assert hits >= 21  # 95% of 25, less three standard errors
    assert stats.kstest(ranks, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("rows", [30, 31, 32, 200])
def test_few_rows_and_many_say_the_same_of_the_posterior(rows):
    """By the products of 31 columns or by those of the rows, against the dense formula."""
    rng = np.random.default_rng(rows)
    terms = [Term.of(rng.normal(size=(rows, 20))), Term.of(rng.normal(size=(rows, 10)))]
    y = terms[0].matrix[:, 0] + rng.normal(size=rows)
    white = Whitened(terms, y, np.arange(rows), 0.0, np.ones(rows))
    prior, noise = np.r_[WIDE * white.scale, rng.uniform(0.1, 2, size=30)], 0.7
    posterior = Posterior(white, np.arange(31), prior, noise)
    covariance = np.linalg.inv(white.gram / noise + np.diag(1 / prior))
    np.testing.assert_allclose(posterior.mean, covariance @ white.right / noise, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(posterior.diagonal(), np.diag(covariance), rtol=1e-6, atol=1e-8)
    some = rng.normal(size=(31, 4))
    np.testing.assert_allclose(posterior.of(some), some.T @ covariance @ some, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("y", [np.zeros(80), np.full(80, 0.7), np.r_[np.zeros(79), 1e-9]])
def test_scores_without_spread_are_no_reason_to_fail(y):
    terms, _ = problem()
    found, white = fit(terms, y, ALONE)
    assert np.isfinite(found.predict(terms)).all()
    assert np.abs(found.predict(terms) - y).max() < 1e-3
    draws(found, white, 5, np.random.default_rng(0))
