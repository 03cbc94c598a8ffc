"""What a word-level method is given and gives: words, some of them protected, and what became of each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

AFFIXES = re.compile(r"([\W_]*)(.*?)([\W_]*)", re.DOTALL)


class Edited(NamedTuple):
    """A word of a changed text.

    Attributes:
        origin: the index of the original word that it stands for (itself, or a replacement of it); None
            for a word that was put in.
    """

    word: str
    origin: int | None


@dataclass(frozen=True)
class Row:
    """A text as words.

    Attributes:
        protected: one flag a word. A protected word stays as it is; protected neighbours stay neighbours
            with nothing between them, and words between two of them do not all vanish.
    """

    words: tuple[str, ...]
    protected: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.words) != len(self.protected):
            raise ValueError(f"{len(self.words)} words with {len(self.protected)} flags of protection")

    @classmethod
    def of(cls, text: str) -> Row:
        """The words of a text, none protected."""
        words = tuple(text.split())
        return cls(words, (False,) * len(words))

    @property
    def free(self) -> list[int]:
        """The words that may change."""
        return [i for i, held in enumerate(self.protected) if not held]

    def unchanged(self) -> list[Edited]:
        """The row as it is."""
        return [Edited(word, i) for i, word in enumerate(self.words)]


Editor = Callable[[Sequence[Row], Sequence[np.random.Generator]], list[list[Edited]]]
"""A word-level method with its parameters: rows and one generator each -> the changed rows, in order."""

RowEdit = Callable[[Row, np.random.Generator], list[Edited]]
"""The same for one row, for methods that gain nothing from seeing many."""


def row_generator(text: str, *key: object) -> np.random.Generator:
    """A generator that depends on the text and `key` alone: not on row order, process or hash seed."""
    content = "\x1f".join([*map(str, key), text]).encode("utf-8", "surrogatepass")
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(content).digest()[:16], "big")))


def by_row(edit: RowEdit) -> Editor:
    """The editor that changes one row after another."""
    return lambda rows, generators: [edit(r, rng) for r, rng in zip(rows, generators, strict=True)]


def share_of(strength: float, words: int) -> int:
    """How many of `words` words a strength stands for: at least one."""
    return max(1, round(strength * words))


def core_of(word: str) -> tuple[str, str, str]:
    """Punctuation before, the word itself, punctuation after: `"Why?"` is `"`, `Why`, `?"`."""
    found = AFFIXES.fullmatch(word)
    assert found is not None
    return found[1], found[2], found[3]


def like(new: str, old: str) -> str:
    """`new` with the case of `old`, where that is capitalised or in capitals."""
    if len(old) > 1 and old.isupper():
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


def with_core(word: str, new: str) -> str:
    """`word` with another core, in the same case and punctuation."""
    before, core, after = core_of(word)
    return before + like(new, core) + after
