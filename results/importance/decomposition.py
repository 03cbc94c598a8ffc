"""Exact variance decomposition of a sum of boxes under a product measure.

A tree ensemble is f(x) = sum_l v_l 1[x in box l], and a box is a product over blocks of features. With
the blocks independent, every term of the Sobol-Hoeffding decomposition is a quadratic form in v:

    V_U = v' [ prod_{s in U} (G_s - P_s P_s') * prod_{s not in U} P_s P_s' ] v        (products elementwise)

P_s[l] is the mass of block s inside box l, G_s[l, m] the mass inside both l and m. This is the fANOVA of
Hutter, Hoos & Leyton-Brown 2014 (ICML) for all trees at once, with the terms of Sobol 1993; the covariance
in place of G_s gives each term directly, where subtracting mean^2 and lower terms would cancel digits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """The condition low < x <= high on one feature; `missing` says whether NaN meets it too."""

    low: float = -np.inf
    high: float = np.inf
    missing: bool = True

    def holds(self, x: Floats) -> npt.NDArray[np.bool_]:
        """For each entry of `x` whether it meets the condition."""
        inside = (x > self.low) & (x <= self.high)
        return inside | np.isnan(x) if self.missing else inside


Box = Mapping[int, Interval]
"""Conditions by feature number; a feature that is not named is free."""


def merged(
    boxes: Iterable[Box], values: Iterable[float], features: Collection[int]
) -> tuple[list[Box], Floats]:
    """The boxes restricted to `features`, equal ones made one with the sum of their values."""
    total: dict[frozenset[tuple[int, Interval]], float] = {}
    for box, value in zip(boxes, values, strict=True):
        key = frozenset((f, interval) for f, interval in box.items() if f in features)
        total[key] = total.get(key, 0.0) + value
    return [dict(sorted(key)) for key in total], np.array(list(total.values()))


def membership(boxes: Sequence[Box], matrix: Floats, features: Collection[int]) -> npt.NDArray[np.bool_]:
    """[rows, boxes]: whether the row of `matrix` [rows, all features] meets the box's conditions on
    `features`."""
    inside = np.ones((len(matrix), len(boxes)), dtype=bool, order="F")
    known: dict[tuple[int, Interval], npt.NDArray[np.bool_]] = {}
    for j, box in enumerate(boxes):
        for f, interval in box.items():
            if f in features:
                if (f, interval) not in known:
                    known[f, interval] = interval.holds(matrix[:, f])
                inside[:, j] &= known[f, interval]
    return inside


class Block:
    """One independent block of features, seen through the boxes.

    Attributes:
        mass: [boxes] P_s, the share of the block's reference rows inside each box.
    """

    def __init__(self, boxes: Sequence[Box], matrix: Floats, features: Collection[int]):
        faces: dict[frozenset[tuple[int, Interval]], int] = {}
        self._face = np.array(
            [
                faces.setdefault(frozenset((f, i) for f, i in box.items() if f in features), len(faces))
                for box in boxes
            ]
        )
        distinct = [dict(face) for face in faces]
        self._inside = membership(distinct, matrix, features)
        self._face_mass = self._inside.mean(axis=0)
        self.mass: Floats = self._face_mass[self._face]

    def joint(self) -> Floats:
        """[boxes, boxes] G_s, the share of reference rows inside both boxes."""
        packed, counts = np.unique(np.packbits(self._inside, axis=1), axis=0, return_counts=True)
        rows = np.unpackbits(packed, axis=1, count=self._inside.shape[1]).astype(np.float32)
        both = (rows.T * counts.astype(np.float32)) @ rows  # whole numbers below 2^24: exact in float32
        shares = both.astype(np.float64) / len(self._inside)
        joint: Floats = shares[np.ix_(self._face, self._face)]
        return joint

    def covariance(self) -> Floats:
        """[boxes, boxes] G_s - P_s P_s'."""
        return self.joint() - np.outer(self.mass, self.mass)

    def function(self, values: Floats) -> Floats:
        """[reference rows] sum of the values of the boxes that each row is inside of."""
        per_face = np.bincount(self._face, weights=values, minlength=self._inside.shape[1])
        return np.asarray(self._inside @ per_face, dtype=np.float64)


def others(blocks: Sequence[Block], values: Floats) -> list[Floats]:
    """For each block the box values averaged over all other blocks: v_l prod_{t != s} P_t[l]."""
    return [
        values * np.prod([b.mass for j, b in enumerate(blocks) if j != i] or [np.ones_like(values)], axis=0)
        for i in range(len(blocks))
    ]


def variance(values: Floats, blocks: Sequence[Block]) -> float:
    """Var f under the product of the blocks' reference rows."""
    both = np.ones((len(values), len(values)))
    apart = np.ones(len(values))
    for block in blocks:
        both *= block.joint()
        apart = apart * block.mass
    return float(values @ both @ values - (values @ apart) ** 2)


def components(values: Floats, blocks: Sequence[Block]) -> dict[frozenset[int], float]:
    """The variance V_U of every non-empty set U of blocks (numbers into `blocks`); they add up to Var f.

    The main effect of block i is V_{i}, its total effect the sum over all U with i (Homma & Saltelli 1996),
    its Shapley share the sum of V_U / |U| over them (Owen 2014).
    """
    found: dict[frozenset[int], float] = {}
    covariances = [block.covariance() for block in blocks]

    def descend(i: int, chosen: frozenset[int], v: Floats, product: Floats | None) -> None:
        if i == len(blocks):
            if product is not None:
                found[chosen] = max(0.0, float(v @ product @ v))
            return
        descend(i + 1, chosen, v * blocks[i].mass, product)
        inner = covariances[i] if product is None else product * covariances[i]
        descend(i + 1, chosen | {i}, v, inner)

    descend(0, frozenset(), values, None)
    return found
