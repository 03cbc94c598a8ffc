"""`random`: EDA's swap, deletion and insertion (Wei & Zou 2019, arXiv 1901.11196).

One operation a text, on a share `strength` of its free words. Departures: deletion removes that share
exactly rather than each word with that probability (no text ends up empty, none unchanged); insertion
repeats words of the same text, so that it needs no thesaurus; EDA's synonyms are the method `synonym`.
"""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np

from distiller.pipelines.augment.rows import Edited, Row, share_of


def swap(row: Row, count: int, rng: np.random.Generator) -> list[Edited]:
    """Exchange pairs of free words, `count` words in all, rounded up to pairs while they last."""
    free = row.free
    pairs = min((count + 1) // 2, len(free) // 2)
    chosen = rng.permutation(len(free))[: 2 * pairs]
    result = row.unchanged()
    for i, j in chosen.reshape(-1, 2):
        one, other = free[i], free[j]
        result[one], result[other] = result[other], result[one]
    return result


def delete(row: Row, count: int, rng: np.random.Generator) -> list[Edited]:
    """Remove `count` free words, but never the last one left, of the text or between two protected words."""
    free = row.free
    gap = list(itertools.accumulate(row.protected, initial=0))  # protected words before each word
    left = Counter(gap[i] for i in free)
    gone: set[int] = set()
    for i in rng.permutation(len(free)):
        word = free[i]
        keeps_apart = gap[-1] == 0 or 0 < gap[word] < gap[-1]
        if len(gone) == count or (keeps_apart and left[gap[word]] == 1):
            continue
        left[gap[word]] -= 1
        gone.add(word)
    return [edited for edited in row.unchanged() if edited.origin not in gone]


def insert(row: Row, count: int, rng: np.random.Generator) -> list[Edited]:
    """Put `count` copies of free words in at random places, none of them between protected neighbours."""
    free = row.free
    result = row.unchanged()
    held = list(row.protected)
    for _ in range(count):
        places = [at for at in range(len(held) + 1) if not (0 < at < len(held) and held[at - 1] and held[at])]
        place = places[int(rng.integers(len(places)))]
        result.insert(place, Edited(row.words[free[int(rng.integers(len(free)))]], None))
        held.insert(place, False)
    return result


def random_edit(row: Row, strength: float, rng: np.random.Generator) -> list[Edited]:
    """Swap, delete or insert max(1, round(strength * free words)) words.

    A text of two words or more, one of them free, always changes; any other has nothing to give and stays.
    """
    free = row.free
    if len(row.words) < 2 or not free:
        return row.unchanged()
    count = share_of(strength, len(free))
    operation = (swap, delete, insert)[int(rng.integers(3))]
    for attempt in (operation, delete, insert):
        # Equal words may have changed places, and a word that keeps protected ones apart stays.
        edited = attempt(row, count, rng)
        if [word for word, _ in edited] != list(row.words):
            break
    return edited
