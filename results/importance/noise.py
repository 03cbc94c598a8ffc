"""The noise of rows of which some go on from others, as the evaluations of one run do.

    n_i = c_i n_before(i) + s_i z_i,    z_i ~ N(0, noise) independent

So each evaluation carries on a part of what the run's last one had, and draws the rest anew (antedependence
of first order, Gabriel 1962, Annals of Mathematical Statistics 33(1)). Whether a run went on depends on
what was seen of it before: given that, the new part is as if nothing had been chosen, and so are its variance
and what is carried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distiller.results.importance.decomposition import Floats

LEAST_NEW = 0.3
"""Standard deviation of the noise that a rung at least adds, beside that of all: where a curve follows from
its first score, small errors of the model of its growth would count for everything."""
Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Noise:
    """Attributes:
    spread: [rows] s, standard deviations beside each other.
    before: [rows] the number of the row that each goes on from; -1 for none.
    carried: [rows] c; 0 where there is none before.
    """

    spread: Floats
    before: Numbers
    carried: Floats

    @classmethod
    def alone(cls, spread: Floats) -> Noise:
        """Rows that have nothing in common."""
        return cls(spread, np.full(len(spread), -1), np.zeros(len(spread)))

    @classmethod
    def of_runs(cls, spread: Floats, run: Numbers, share: Floats) -> Noise:
        """Rows of one run each go on from its last one before, nothing being carried as yet.

        Args:
            run: [rows] numbers of runs.
            share: [rows] of the budget.
        """
        order = np.lexsort([share, run])
        before = np.full(len(run), -1)
        follows = run[order][1:] == run[order][:-1]
        before[order[1:][follows]] = order[:-1][follows]
        return cls(spread, before, np.zeros(len(run)))

    @property
    def carries(self) -> bool:
        """Whether any rows go on from others."""
        return bool((self.before >= 0).any())

    @property
    def log_volume(self) -> float:
        """Log determinant of `freed`."""
        return -float(np.log(self.spread).sum())

    def freed(self, matrix: Floats) -> Floats:
        """[rows, columns] less what is carried, over the standard deviation of what is new."""
        late = self.before >= 0
        if late.any():
            earlier = matrix[self.before[late]]
            matrix = matrix.copy()
            matrix[late] -= self.carried[late, None] * earlier
        return np.asarray(matrix / self.spread[:, None], dtype=np.float64)

    def at(self, rows: npt.NDArray[np.bool_]) -> Noise:
        """That of some of the rows, whole runs."""
        number = np.cumsum(rows) - 1
        before = self.before[rows]
        if not rows[before[before >= 0]].all():
            raise ValueError("rows of one run must stay together")
        return Noise(self.spread[rows], np.where(before >= 0, number[before], -1), self.carried[rows])


def whole_groups(
    group: Numbers, some: npt.NDArray[np.bool_], most: int, first: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.bool_]:
    """[rows] whether among about `most` rows of those that are `some`, at random, groups being kept whole.

    Args:
        first: [rows] groups that have such rows go before all others.
    """
    _, number = np.unique(group, return_inverse=True)
    number = number.reshape(-1)
    size = np.bincount(number, some)
    order = np.random.default_rng(0).permutation(len(size))
    if first is not None:
        order = order[np.argsort(np.bincount(number, first)[order] == 0, kind="stable")]
    taken = np.zeros(len(size), dtype=bool)
    taken[order[np.cumsum(size[order]) <= most]] = True
    return np.asarray(taken[number] & some, dtype=bool)
