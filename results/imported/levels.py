"""The prior of a column from what the table holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distiller.spaces.priors import Integers, OneOf, Prior, Uniform, Value

MOST_LEVELS = 10
"""A column of numbers with more different ones is a range."""


def prior_seen(values: Sequence[Value | None]) -> Prior:
    """Levels in order, or the range from the least to the greatest number; of values at least one is needed.

    The range is uniform or log-uniform, whichever is nearer to what was seen (Kolmogorov-Smirnov distance).
    """
    seen = [value for value in values if value is not None]
    levels = dict.fromkeys(seen)
    if isinstance(seen[0], (bool, str)) or len(levels) <= MOST_LEVELS:
        return OneOf(*sorted(levels))
    low, high = min(levels), max(levels)
    assert not isinstance(low, str)
    assert not isinstance(high, str)
    drawn = np.array(seen, dtype=np.float64)
    if low > 0 and _distance(np.log(drawn)) < _distance(drawn):
        return Uniform(low, high, log=True)
    return Integers(int(low), int(high)) if isinstance(seen[0], int) else Uniform(low, high)


def _distance(drawn: npt.NDArray[np.float64]) -> float:
    """Of the empirical distribution from the uniform one between its ends."""
    low, high = drawn.min(), drawn.max()
    shares = (np.sort(drawn) - low) / (high - low)
    steps = np.arange(1, len(drawn) + 1) / len(drawn)
    return float(max(np.max(steps - shares), np.max(shares - steps + 1 / len(drawn))))
