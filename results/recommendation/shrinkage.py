"""Scores of noisy runs without the optimism of picking the best of them.

The best of many noisy scores is high partly by luck. What a config is worth, given its scores, is the mean of
its posterior; the prior is the distribution of all configs of the dataset, of any shape, by maximum
likelihood (Kiefer & Wolfowitz 1956; as an estimator of many means Jiang & Zhang 2009, Ann. Statist. 37(4)).
Under it a config that was picked by its score is worth, on average, what is said of it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import digamma

Floats = npt.NDArray[np.float64]

POINTS = 300
"""Most values that the prior may put weight on."""
ROUNDS = 300
SAME = 1e-9
"""Relative differences of scores up to this are rounding."""
FINEST = 0.25
"""The values lie this far apart, in standard deviations of a single run, where `POINTS` are enough."""


def noise_of(runs: pd.DataFrame) -> float:
    """The standard deviation between runs of a typical config; NaN where none was repeated.

    It is the geometric mean over configs, freed of its bias (of a chi squared number with 2a degrees of
    freedom the mean logarithm of half is digamma(a)): else one config that breaks down on some seeds would
    stand for all. Runs of different roles are kept apart, since a finalist's search score is high partly by
    luck; configs whose runs are all equal (they predict one class) say nothing, unless all configs are such.

    Args:
        runs: full runs of one dataset, with `config_id`, `role` and `score`.
    """
    scores = runs["score"].astype(float).groupby([runs["role"], runs["config_id"]])
    variance = scores.var(ddof=1).to_numpy(dtype=np.float64)
    half = (scores.count().to_numpy(dtype=np.float64) - 1) / 2
    repeated = half > 0
    if not repeated.any():
        return float("nan")
    telling = repeated & (variance > (SAME * scores.mean().to_numpy(dtype=np.float64)) ** 2)
    if not telling.any():
        return 0.0
    logs = np.log(variance[telling]) - digamma(half[telling]) + np.log(half[telling])
    return float(np.exp(np.average(logs, weights=half[telling]) / 2))


def shrunk(scores: Floats, repeats: npt.NDArray[np.intp], noise: float) -> Floats:
    """[configs] posterior means.

    Args:
        scores: [configs] means over each config's runs.
        repeats: [configs] runs of each.
        noise: standard deviation between runs of one config, in the score's unit; 0 changes nothing.
    """
    low, high = float(scores.min()), float(scores.max())
    if noise <= 0 or high <= low:
        return np.array(scores)
    points = int(np.clip(np.ceil((high - low) / (FINEST * noise)), 2, POINTS - 1)) + 1
    grid = np.linspace(low, high, points)
    # Never narrower than the grid: between two of its points a config would belong to neither.
    error = np.maximum(noise / np.sqrt(repeats), (grid[1] - grid[0]) / 2)
    log = -0.5 * ((scores[:, None] - grid) / error[:, None]) ** 2
    likelihood = np.exp(log - log.max(axis=1, keepdims=True))
    weight = np.full(points, 1 / points)
    for _ in range(ROUNDS):  # expectation and maximisation
        posterior = likelihood * weight
        posterior /= posterior.sum(axis=1, keepdims=True)
        weight = posterior.mean(axis=0)
    posterior = likelihood * weight
    posterior /= posterior.sum(axis=1, keepdims=True)
    return np.asarray(posterior @ grid)
