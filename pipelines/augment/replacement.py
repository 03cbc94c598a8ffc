"""Words replaced one for one: which of them, and by which of their alternatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from distiller.pipelines.augment.rows import Edited, Row, core_of, share_of, with_core

Alternatives = Callable[[str], Sequence[str]]
"""What may stand for a word (without punctuation), the best first, the word itself not among them."""

Pick = Callable[[int, np.random.Generator], int]
"""The number of alternatives -> which one is taken."""


def chosen(row: Row, able: Sequence[int], strength: float, rng: np.random.Generator) -> list[int]:
    """The words to replace, ascending: a share `strength` of the free words, all of them from `able`."""
    if not able:
        return []
    picked = rng.permutation(len(able))[: share_of(strength, len(row.free))]
    return sorted(able[i] for i in picked)


def replace_words(
    row: Row, alternatives: Alternatives, pick: Pick, strength: float, rng: np.random.Generator
) -> list[Edited]:
    """Replace a share `strength` of the free words, or as many as have an alternative.

    Case (capitalised, all capitals) and punctuation around a word stay.
    """
    found = {i: alternatives(core_of(row.words[i])[1]) for i in row.free}
    result = row.unchanged()
    for i in chosen(row, [i for i in row.free if found[i]], strength, rng):
        new = found[i][pick(len(found[i]), rng)]
        result[i] = Edited(with_core(row.words[i], new), i)
    return result


def uniformly(count: int, rng: np.random.Generator) -> int:
    """Each alternative as likely as the others."""
    return int(rng.integers(count))


def by_halves(count: int, rng: np.random.Generator) -> int:
    """Each alternative half as likely as the one before it (Zhang et al. 2015, section 2.4)."""
    reached = rng.random() * (1 - 2.0**-count)
    return min(count - 1, int(-math.log2(1 - reached)))
