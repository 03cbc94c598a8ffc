"""Bayesian linear regression on groups of basis functions, each with a prior variance of its own.

    y = mean + sum_j X_j b_j + noise,    b_j ~ N(0, v_j diag(w_j)),    noise ~ N(0, s2) within a group of rows

Rows of one group (seeds of a config, rungs of a trial) share an effect of variance `ratio` * s2, which is
taken out by whitening. The variances are the likeliest ones in the light of the data (MacKay's fixed point,
1992, Neural Computation 4(3), with an exponential prior; it sends those of useless terms to 0); intervals
come from the whole posterior, variances included, with half-Cauchy priors on their roots (Gelman 2006; the
Gibbs steps of Makalic & Schmidt 2016, IEEE Signal Processing Letters 23(1)).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import linalg, special

from distiller.results.importance.decomposition import Floats

ITERATIONS, SETTLED = 40, 1e-3
NEGLIGIBLE = 1e-5
"""A term whose prior variance is this share of the scores' variance is left out."""

INSTEAD = 0.01
"""Prior variance, over the scores', from which a term that was left out begins anew."""
WIDE = 100.0
"""Prior variance of the constant, over the scores', whose mean was taken off: a wider one costs digits."""

LEAST_NOISE = 1e-6
"""The least sum of squared residuals that is supposed, over the scores' variance."""


@dataclass(frozen=True)
class Term:
    """Basis functions that share a prior variance.

    Attributes:
        matrix: [rows, k].
        weight: [k] prior variances beside each other, adding up to 1.
        expected: mean of the term's prior variance, itself exponential, over the scores' variance. What few
            rows have in common is else explained by terms that hardly any other row has a part in.
    """

    matrix: Floats
    weight: Floats
    expected: float = 1.0

    @classmethod
    def of(cls, matrix: Floats, spread: Floats | None = None, expected: float = 1.0) -> Term:
        """With prior variances in proportion to `spread` [k], else all the same."""
        weight = np.ones(matrix.shape[1]) if spread is None else spread
        return cls(matrix, weight / weight.sum(), expected)


@dataclass(frozen=True)
class Fit:
    """Coefficients with their posterior under the most likely variances.

    Attributes:
        mean: of the scores at coefficients 0.
        coefficients: [k] of each term; zeros where the term was left out.
        variance: [terms] prior variance of each.
        noise: variance within a group, s2.
        ratio: variance between groups, over `noise`.
    """

    mean: float
    coefficients: tuple[Floats, ...]
    variance: Floats
    noise: float
    ratio: float

    def predict(self, terms: Sequence[Term]) -> Floats:
        """[rows] the scores expected of rows with these basis functions."""
        parts = (t.matrix @ b for t, b in zip(terms, self.coefficients, strict=True) if b.any())
        return np.asarray(sum(parts, np.full(len(terms[0].matrix), self.mean)), dtype=np.float64)


class Whitened:
    """Rows of equal noise in which the effects of groups are gone, and their products.

    Args:
        spread: [rows] noise standard deviations beside each other.

    Attributes:
        middle: the scores' mean, which was taken off first.
        scale: the scores' variance.
    """

    def __init__(
        self, terms: Sequence[Term], y: Floats, group: npt.NDArray[np.intp], ratio: float, spread: Floats
    ):
        self._group, self._ratio, self._spread = group, ratio, spread
        shrunk = np.log1p(np.bincount(group) * ratio).sum() / 2
        self.log_volume = -float(np.log(spread).sum() + shrunk)
        # Whitening brings rows to different heights: the less of the scores' mean, the less they then differ.
        self.middle = float(y.mean())
        self.y = self.whitened((y - self.middle)[:, None])[:, 0]
        self.x = self.whitened(np.concatenate([np.ones((len(y), 1)), *(t.matrix for t in terms)], 1))
        self.weights = [term.weight for term in terms]
        self.expected = [term.expected for term in terms]
        self.gram, self.right = self.x.T @ self.x, self.x.T @ self.y
        self.square = float(self.y @ self.y)
        # Scores that are all the same, up to rounding, have some scale too.
        self.scale = max(float(y.var()), 1e-20 * float(np.square(y).mean()), 1e-100)
        ends = np.cumsum([1, *(len(weight) for weight in self.weights)])
        self.places = [np.arange(a, b) for a, b in itertools.pairwise(ends)]

    def whitened(self, matrix: Floats) -> Floats:
        """[rows, columns] of the same rows."""
        return _whiten(matrix / self._spread[:, None], self._group, self._ratio)

    def kernel(self, kernel: Floats, rows: npt.NDArray[np.intp]) -> Floats:
        """[rows, rows] covariance of some of the rows, of whole groups, as it is between whitened ones."""
        group = np.unique(self._group[rows], return_inverse=True)[1].reshape(-1)
        spread = self._spread[rows][:, None]
        half = _whiten(kernel / spread, group, self._ratio)
        return _whiten(half.T / spread, group, self._ratio)

    def at(self, kept: Sequence[int]) -> npt.NDArray[np.intp]:
        """Numbers of the columns of these terms, the constant's first."""
        return np.concatenate([[0], *(self.places[j] for j in kept)]).astype(np.intp)


def _whiten(matrix: Floats, group: npt.NDArray[np.intp], ratio: float) -> Floats:
    if ratio == 0:
        return matrix
    count = np.bincount(group)
    mean = np.zeros((len(count), matrix.shape[1]))
    np.add.at(mean, group, matrix)
    mean /= count[:, None]
    share = 1 - 1 / np.sqrt(1 + count * ratio)
    return np.asarray(matrix - share[group, None] * mean[group], dtype=np.float64)


def fit(
    terms: Sequence[Term],
    y: Floats,
    group: npt.NDArray[np.intp],
    start: Fit | None = None,
    spread: Floats | None = None,
) -> tuple[Fit, Whitened]:
    """The most likely variances and what follows from them.

    Args:
        y: [rows] scores.
        group: [rows] numbers of the groups from 0.
        start: an earlier fit of the first of the terms, whose ratio is kept.
        spread: [rows] noise standard deviations beside each other; by default all the same.
    """
    spread = np.ones(len(y)) if spread is None else spread
    alone = len(np.unique(group)) == len(group)
    ratio = start.ratio if start else 0.0 if alone else 0.5
    for _ in range(1 if start or alone else 3):
        white = Whitened(terms, y, group, ratio, spread)
        found = _likeliest(white, ratio, start)
        if start is None and not alone:
            ratio = _between((y - found.predict(terms)) / spread, group)
    return found, white


def _likeliest(white: Whitened, ratio: float, start: Fit | None, without: Sequence[int] = ()) -> Fit:
    n, count = len(white.y), len(white.weights)
    scale = white.scale
    v = np.full(count, 0.7 * scale / max(count, 1))
    noise = 0.3 * scale
    if start is not None:
        v[: len(start.variance)], noise = start.variance, start.noise
    v[list(without)] = 0.0
    kept = [j for j in range(count) if v[j] > 0]
    for _ in range(ITERATIONS):
        at, prior = white.at(kept), _prior(white, kept, v, scale)
        posterior = Posterior(white, at, prior, noise)
        beta, known = posterior.mean, 1 - posterior.diagonal() / prior
        rss = white.square - 2 * beta @ white.right[at] + beta @ white.gram[np.ix_(at, at)] @ beta
        new, place = v.copy(), 1
        for j in kept:
            some = slice(place, place + len(white.weights[j]))
            place = some.stop
            gamma = max(float(known[some].sum()), 1e-12)
            square, mean = float((beta[some] ** 2 / white.weights[j]).sum()), scale * white.expected[j]
            new[j] = mean * (np.sqrt(gamma**2 / 4 + 2 * square / mean) - gamma / 2) / 2
        was, noise = noise, max(rss, LEAST_NOISE * scale) / max(n - known.sum(), 1.0)
        moved = np.abs(np.sqrt(new) - np.sqrt(v)).max(initial=0.0) / np.sqrt(scale)
        v = np.where(new < NEGLIGIBLE * scale, 0.0, new)
        kept = [j for j in kept if v[j] > 0]
        if moved < SETTLED and abs(noise / was - 1) < SETTLED:
            break
    at, prior = white.at(kept), _prior(white, kept, v, scale)
    return _fit(white, kept, Posterior(white, at, prior, noise).mean, v, noise, ratio)


def _fit(white: Whitened, kept: Sequence[int], beta: Floats, v: Floats, noise: float, ratio: float) -> Fit:
    coefficients = [np.zeros(len(weight)) for weight in white.weights]
    place = 1
    for j in kept:
        coefficients[j] = beta[place : place + len(white.weights[j])]
        place += len(white.weights[j])
    return Fit(white.middle + float(beta[0]), tuple(coefficients), v, float(noise), ratio)


def _prior(white: Whitened, kept: Sequence[int], v: Floats, scale: float) -> Floats:
    return np.concatenate([[WIDE * scale], *(v[j] * white.weights[j] for j in kept)])


class Posterior:
    """Of the coefficients of some columns under given variances; by the columns' products, or by the rows'
    where there are fewer of them.

    Attributes:
        mean: [columns].
    """

    def __init__(self, white: Whitened, at: npt.NDArray[np.intp], prior: Floats, noise: float):
        self._prior, self._noise = prior, noise
        if len(at) <= len(white.y):
            # In units of the prior the precision is 1 + something positive: sound where terms are null.
            self._root = np.sqrt(prior)
            precision = white.gram[np.ix_(at, at)] * (self._root[:, None] * self._root / noise)
            precision[np.diag_indices(len(at))] += 1
            self._factor = linalg.cholesky(precision, lower=True, overwrite_a=True, check_finite=False)
            self._left: Floats | None = None
            half = self._solve(self._root * white.right[at])
            self.mean: Floats = self._root * self._solve(half, transposed=True) / noise
            return
        scaled = white.x[:, at] * prior
        covariance = scaled @ white.x[:, at].T
        covariance[np.diag_indices(len(covariance))] += noise
        self._factor = linalg.cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        self._left = self._solve(scaled)
        self.mean = self._left.T @ self._solve(white.y)

    def _solve(self, right: Floats, transposed: bool = False) -> Floats:
        solved = linalg.solve_triangular(
            self._factor, right, lower=True, trans=int(transposed), check_finite=False
        )
        return np.asarray(solved, dtype=np.float64)

    def diagonal(self) -> Floats:
        """[columns] variances."""
        if self._left is not None:
            return np.asarray(self._prior - (self._left**2).sum(axis=0), dtype=np.float64)
        return np.asarray((self._solve(np.diag(self._root)) ** 2).sum(axis=0), dtype=np.float64)

    def of(self, combinations: Floats) -> Floats:
        """[k, k] covariance of linear combinations [columns, k] of the coefficients."""
        if self._left is not None:
            taken = self._left @ combinations
            return np.asarray((combinations.T * self._prior) @ combinations - taken.T @ taken)
        half = self._solve(self._root[:, None] * combinations)
        return np.asarray(half.T @ half, dtype=np.float64)


def _between(residual: Floats, group: npt.NDArray[np.intp]) -> float:
    """Variance between groups over the one within, by moments (one-way random effects)."""
    _, inverse, count = np.unique(group, return_inverse=True, return_counts=True)
    mean = np.bincount(inverse, residual) / count
    n, groups = len(residual), len(count)
    within = float(((residual - mean[inverse]) ** 2).sum()) / (n - groups)
    if within <= 0:
        return 100.0
    between = float((count * (mean - residual.mean()) ** 2).sum()) / max(groups - 1, 1)
    size = (n - float((count**2).sum()) / n) / max(groups - 1, 1)
    return float(np.clip((between - within) / size / within, 0, 100))


class ScoreTest:
    """Of "this term's prior variance is 0" beside the terms of a fit: the score test for a variance
    component, its distribution by matching two moments (Zhang & Lin 2003, Biostatistics 4(1)), with the tails
    of F, since the noise is an estimate too.

    Args:
        without: numbers of terms that are taken out of the fit, which is settled anew, for the test.
        noise: variance that is at least supposed; that of few rows is often far too small.
        instead: numbers of terms that may take the place of those taken out, though the fit has none of them.
    """

    def __init__(
        self,
        found: Fit,
        white: Whitened,
        without: Sequence[int] = (),
        noise: float = 0.0,
        instead: Sequence[int] = (),
    ):
        if any(found.variance[j] > 0 for j in without):
            start = found.variance.copy()
            start[list(instead)] = np.maximum(start[list(instead)], INSTEAD * white.scale)
            found = _likeliest(white, found.ratio, replace(found, variance=start), without)
        self._white, self._noise = white, max(found.noise, noise)
        kept = [j for j in range(len(white.weights)) if found.variance[j] > 0 and j not in without]
        at = white.at(kept)
        prior = _prior(white, kept, found.variance, white.scale)
        self._posterior = Posterior(white, at, prior, self._noise)
        self._x = white.x[:, at]
        self._residual = white.y - self._x @ self._posterior.mean
        known = float((1 - self._posterior.diagonal() / prior).sum())
        self._freedom = max(len(white.y) - known, 1.0)

    def p_value(self, candidate: Term) -> float:
        """Of a term that is not in the fit."""
        return self._test(self._white.whitened(candidate.matrix), candidate.weight)

    def p_value_of(self, number: int) -> float:
        """Of one of the fit's own terms, which must be among those taken out."""
        return self._test(self._white.x[:, self._white.places[number]], self._white.weights[number])

    def _test(self, matrix: Floats, weight: Floats) -> float:
        f = matrix * np.sqrt(weight)
        middle = (f.T @ f - self._posterior.of(self._x.T @ f) / self._noise) / self._noise
        first, second = float(np.trace(middle)), float((middle**2).sum())
        if second <= 0:
            return 1.0
        score = float(((f.T @ self._residual / self._noise) ** 2).sum())
        return float(special.fdtrc(first**2 / second, self._freedom, score / first))


def covariance(found: Fit, white: Whitened, rows: npt.NDArray[np.intp]) -> Floats:
    """[rows, rows] prior covariance of some whitened scores, without the noise."""
    kept = [j for j in range(len(white.weights)) if found.variance[j] > 0]
    at = white.at(kept)
    x = white.x[np.ix_(rows, at)]
    return np.asarray((x * _prior(white, kept, found.variance, white.scale)) @ x.T, dtype=np.float64)


def log_evidence(found: Fit, white: Whitened) -> float:
    """Log likelihood of the scores under the prior variances, up to a constant of the rows."""
    kept = [j for j in range(len(white.weights)) if found.variance[j] > 0]
    at = white.at(kept)
    root = np.sqrt(_prior(white, kept, found.variance, white.scale))
    precision = white.gram[np.ix_(at, at)] * (root[:, None] * root / found.noise)
    precision[np.diag_indices(len(at))] += 1
    factor = linalg.cholesky(precision, lower=True, check_finite=False)
    half = linalg.solve_triangular(factor, root * white.right[at] / found.noise, lower=True)
    square = white.square / found.noise - float(half @ half)
    likelihood = -float(np.log(np.diag(factor)).sum()) - (len(white.y) * np.log(found.noise) + square) / 2
    return float(likelihood + white.log_volume)


def noise_of(found: Fit, white: Whitened, rows: npt.NDArray[np.bool_]) -> float:
    """Noise variance of some of the rows, from their residuals and leverages."""
    kept = [j for j in range(len(white.weights)) if found.variance[j] > 0]
    at = white.at(kept)
    posterior = Posterior(white, at, _prior(white, kept, found.variance, white.scale), found.noise)
    x = white.x[np.ix_(np.flatnonzero(rows), at)]
    leverage = np.diag(posterior.of(x.T)) / found.noise
    return float(((white.y[rows] - x @ posterior.mean) ** 2).sum() / max(float((1 - leverage).sum()), 1.0))


def expected_squares(found: Fit, white: Whitened) -> list[Floats]:
    """[k] of each term the posterior expectation of its squared coefficients: their means' squares and their
    variances, which is what shrinkage took from the former."""
    kept = [j for j in range(len(white.weights)) if found.variance[j] > 0]
    at = white.at(kept)
    prior = _prior(white, kept, found.variance, white.scale)
    posterior = Posterior(white, at, prior, found.noise)
    square = posterior.mean**2 + posterior.diagonal()
    squares, place = [np.zeros(len(weight)) for weight in white.weights], 1
    for j in kept:
        squares[j] = square[place : place + len(white.weights[j])]
        place += len(white.weights[j])
    return squares
