"""Samples of scores drawn anew: by the bootstrap, and dealt out between two sides.

All of it is done on ascending scores, for which a resample needs no sorting: ordered uniform numbers are the
partial sums of exponential ones over their total (Devroye 1986, "Non-Uniform Random Variate Generation",
V.3.1), and those dealt to a side are met in their order. Draws are made by portions that stay in the
processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from distiller.results.comparison.best_of_n import Floats, with_error

PORTION = 1 << 17
"""Scores that are drawn at once."""
MOST_DEALT = 1000
"""Scores of a side that are dealt out, evenly over its order; a larger side has little error of its own."""


class Sample:
    """The scores of one choice, whose resamples serve all its comparisons.

    Attributes:
        scores: [trials], ascending.
    """

    def __init__(self, scores: Floats, rng: np.random.Generator):
        self.scores = np.sort(scores)
        self._rng = rng
        self._resampled: dict[tuple[int, int], tuple[Floats, Floats]] = {}

    def __len__(self) -> int:
        return len(self.scores)

    def resampled(self, ns: Sequence[int], draws: int) -> list[tuple[Floats, Floats]]:
        """For each n, [draws] V_n of every bootstrap sample, and its variance."""
        if new := [n for n in ns if (n, draws) not in self._resampled]:
            parts: list[list[tuple[Floats, Floats]]] = [[] for _ in new]
            for place in self._places(draws):
                for n, part in zip(new, parts, strict=True):
                    part.append(with_error(self.scores[place], n))
            self._resampled |= {(n, draws): _joined(part) for n, part in zip(new, parts, strict=True)}
        return [self._resampled[n, draws] for n in ns]

    def _places(self, draws: int) -> Iterator[npt.NDArray[np.intp]]:
        """[some, trials] places drawn with replacement, ascending."""
        total = len(self.scores)
        for some in _portions(draws, total):
            sums = np.cumsum(self._rng.standard_exponential((some, total + 1)), axis=1)
            places = (sums[:, :-1] * (total / sums[:, -1:])).astype(np.intp)
            yield np.minimum(places, total - 1, out=places)


def dealt(
    one: Floats, other: Floats, ns: Sequence[int], deals: int, rng: np.random.Generator
) -> list[tuple[Floats, Floats]]:
    """For each n, of V_n of the one side minus that of the other, [deals] differences and standard errors,
    with the scores (ascending) dealt out anew between the sides."""
    one, other = _thinned(one), _thinned(other)
    both = np.sort(np.concatenate([one, other]))
    found: list[list[tuple[Floats, Floats]]] = [[] for _ in ns]
    for some in _portions(deals, len(both)):
        lot = rng.random((some, len(both)))
        to_one = lot <= np.sort(lot, axis=1)[:, len(one) - 1 : len(one)]
        sides = [both[_places(side)] for side in (to_one, ~to_one)]
        for n, parts in zip(ns, found, strict=True):
            parts.append(studied(*(with_error(side, n) for side in sides)))
    return [_joined(parts) for parts in found]


def _places(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """[rows, k] where each row of `chosen` is true, k times in all of them."""
    rows, width = chosen.shape
    found = np.flatnonzero(chosen).reshape(rows, -1)
    return np.asarray(found - width * np.arange(rows)[:, None], dtype=np.intp)


def studied(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """The difference of two values and its standard error, from both with their variances."""
    (a, variance_a), (b, variance_b) = one, other
    return a - b, np.sqrt(variance_a + variance_b)


def _thinned(ascending: Floats) -> Floats:
    if len(ascending) <= MOST_DEALT:
        return ascending
    return ascending[((np.arange(MOST_DEALT) + 0.5) * len(ascending) / MOST_DEALT).astype(np.intp)]


def _joined(parts: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    return np.concatenate([one for one, _ in parts]), np.concatenate([other for _, other in parts])


def _portions(draws: int, width: int) -> Iterator[int]:
    """Numbers of draws that add up to `draws`."""
    size = max(1, PORTION // width)
    yield from (min(size, draws - begun) for begun in range(0, draws, size))
