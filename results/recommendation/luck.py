"""What random search gets: configs of a dataset drawn without replacement, in closed form."""

from __future__ import annotations

import numpy as np

from distiller.results.comparison.best_of_n import expected_best
from distiller.results.recommendation.table import Floats


def best_of_random(scores: Floats, n: int) -> float:
    """The expected best of n configs drawn without replacement, of all where there are fewer."""
    return float(expected_best(scores, min(n, len(scores))))


def until_as_good(scores: Floats, value: float) -> float:
    """How many random trials it takes, on average, until one scores at least `value`.

    Of N configs K are as good; the place of the first of them in a random order is the first order statistic
    of K places drawn from N without replacement (negative hypergeometric), with mean (N + 1) / (K + 1).

    Raises:
        ValueError: no config is as good.
    """
    good = int(np.count_nonzero(scores >= value))
    if not good:
        raise ValueError(f"none of {len(scores)} scores reaches {value}")
    return (len(scores) + 1) / (good + 1)
