"""The Pareto set of several objectives, and a small part of it that stands for the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")
Point = Sequence[float]

COST_COLUMNS = {"parameters": "parameters", "flops": "flops", "latency": "latency_ms"}
"""The column of the trials table behind each objective but the score."""


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` is nowhere worse and somewhere better; all coordinates higher is better."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and any(
        a > b for a, b in zip(one, other, strict=True)
    )


def pareto(points: Sequence[Point]) -> list[int]:
    """Places of the points that none dominates, best first coordinate first; of equal points the first."""
    order = sorted(range(len(points)), key=lambda i: ([-x for x in points[i]], i))
    kept: list[int] = []
    for i in order:  # whatever dominates a point comes before it
        if not any(dominates(points[j], points[i]) or list(points[j]) == list(points[i]) for j in kept):
            kept.append(i)
    return kept


def spread(points: Sequence[Point], count: int) -> list[int]:
    """Places of `count` points of a front that stand for it: both ends, then those in the widest gaps.

    The crowding distance of Deb et al. 2002 (NSGA-II, section III.B), taken out one after another.
    """
    left = list(range(len(points)))
    while len(left) > count:
        distances = [0.0] * len(left)
        for axis in range(len(points[0])):
            order = sorted(range(len(left)), key=lambda k: points[left[k]][axis])
            low, high = points[left[order[0]]][axis], points[left[order[-1]]][axis]
            distances[order[0]] = distances[order[-1]] = math.inf
            for before, here, after in zip(order, order[1:], order[2:], strict=False):
                gap = points[left[after]][axis] - points[left[before]][axis]
                distances[here] += gap / (high - low) if high > low else 0.0
        # Of equals the last goes: the best first coordinate, which `pareto` puts first, stays longest.
        del left[min(range(len(left)), key=lambda k: (distances[k], -k))]
    return left
