"""Draws from the whole posterior of a `regression`, its variances included, by Gibbs sampling."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from distiller.results.importance.decomposition import Floats
from distiller.results.importance.regression import LEAST_NOISE, WIDE, Fit, Whitened


def draws(
    found: Fit, white: Whitened, count: int, rng: np.random.Generator, warm_up: int = 40
) -> list[Floats]:
    """[count, k] coefficients of each term from the posterior, prior variances and noise drawn too.

    v_j = local_j * overall, both with half-Cauchy roots (a horseshoe over terms). Terms that the fit left out
    stay at 0.
    """
    n, scale = len(white.y), white.scale
    kept = [j for j in range(len(white.weights)) if found.variance[j] > 0]
    at = white.at(kept)
    gram, right = white.gram[np.ix_(at, at)], white.right[at]
    overall, noise = float(np.mean(found.variance[kept])) if kept else scale, found.noise
    local = found.variance[kept] / overall
    mixing, wide = np.ones(len(kept)), 1 / scale
    sizes = np.array([len(white.weights[j]) for j in kept], dtype=np.intp)
    weights = np.concatenate([white.weights[j] for j in kept]) if kept else np.zeros(0)
    owner = np.repeat(np.arange(len(kept)), sizes)
    coefficients = np.empty((count, len(weights)))
    for i in range(-warm_up, count):
        precision = gram / noise
        precision[np.diag_indices(len(at))] += np.concatenate(
            [[1 / (WIDE * scale)], 1 / (overall * local[owner] * weights)]
        )
        factor = linalg.cholesky(precision, lower=True, check_finite=False)
        half = linalg.solve_triangular(factor, right / noise, lower=True, check_finite=False)
        half += rng.standard_normal(len(at))
        beta = linalg.solve_triangular(factor, half, lower=True, trans=1, check_finite=False)
        square = np.maximum(np.bincount(owner, beta[1:] ** 2 / weights, minlength=len(kept)), 1e-12 * scale)
        local = (1 / mixing + square / 2 / overall) / rng.gamma((sizes + 1) / 2)
        mixing = (1 + 1 / local) / rng.gamma(1.0, size=len(kept))
        overall = (1 / wide + float((square / local).sum()) / 2) / rng.gamma((len(weights) + 1) / 2)
        wide = (len(kept) / scale + 1 / overall) / rng.gamma(1.0)
        rss = white.square - 2 * beta @ right + beta @ gram @ beta
        noise = max(rss, LEAST_NOISE * scale) / 2 / rng.gamma(n / 2)
        if i >= 0:
            coefficients[i] = beta[1:]
    found_draws = [np.zeros((count, len(weight))) for weight in white.weights]
    for j, place in zip(kept, np.cumsum([0, *sizes]), strict=False):
        found_draws[j] = coefficients[:, place : place + len(white.weights[j])]
    return found_draws
