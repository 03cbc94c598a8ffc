"""Text augmentation: plain functions of (text, strength, generator).

`random` follows EDA (Wei & Zou 2019, arXiv 1901.11196): one operation a text, swap, delete or insert, on a
share `strength` of its words. Departures: deletion removes that share exactly rather than each word with that
probability (no text ends up empty, none unchanged); insertion repeats words of the same text, for want of a
thesaurus; EDA's synonym replacement is left out for the same reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np


def row_generator(text: str, *key: object) -> np.random.Generator:
    """A generator that depends on the text and `key` alone: not on row order, process or hash seed."""
    content = "\x1f".join([*map(str, key), text]).encode("utf-8", "surrogatepass")
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(content).digest()[:16], "big")))


def swap(words: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """Exchange pairs of distinct positions, `count` positions in all, rounded up to pairs while they last."""
    pairs = min((count + 1) // 2, len(words) // 2)
    chosen = rng.permutation(len(words))[: 2 * pairs]
    result = list(words)
    for i, j in chosen.reshape(-1, 2):
        result[i], result[j] = words[j], words[i]
    return result


def delete(words: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """Remove `count` positions, but never the last word left."""
    gone = set(rng.permutation(len(words))[: min(count, len(words) - 1)].tolist())
    return [word for i, word in enumerate(words) if i not in gone]


def insert(words: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """Put `count` words of the text in at random places."""
    result = list(words)
    for _ in range(count):
        result.insert(int(rng.integers(len(result) + 1)), words[int(rng.integers(len(words)))])
    return result


def random_edit(text: str, strength: float, rng: np.random.Generator) -> str:
    """EDA's swap, deletion or insertion on max(1, round(strength * words)) words.

    A text of two words or more always changes; a shorter one has nothing to give and is returned as it is.
    """
    words = text.split()
    if len(words) < 2:
        return text
    count = max(1, round(strength * len(words)))
    operation = (swap, delete, insert)[int(rng.integers(3))]
    edited = operation(words, count, rng)
    if edited == words:  # equal words changed places
        edited = delete(words, count, rng)
    return " ".join(edited)


AUGMENTATIONS: dict[str, Callable[[str, float, np.random.Generator], str]] = {"random": random_edit}
