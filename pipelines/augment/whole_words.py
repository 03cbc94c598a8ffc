"""The words that a tokenizer writes as one token, whatever marks its tokens carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller.pipelines.tokens import IntArray


def single_tokens(tokenizer: Any, words: Sequence[str]) -> list[int | None]:
    """The one token that each word is inside a text, None where it takes several or is unknown."""
    if not words:
        return []
    # The space stands for the words before it, without which Ġ and ▁ would be missing.
    encoded = tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    special = set(tokenizer.all_special_ids)
    return [ids[0] if len(ids) == 1 and ids[0] not in special else None for ids in encoded]


@dataclass(frozen=True, eq=False)
class WholeWords:
    """The whole words of a vocabulary.

    Attributes:
        ids: [W] their tokens, ascending.
        words: [W] as the tokenizer writes them.
        folded: [W] numbers that are equal for words that differ in case alone.
    """

    ids: IntArray
    words: tuple[str, ...]
    folded: IntArray
    _numbers: dict[str, int]

    @classmethod
    def of(cls, tokenizer: Any, vocabulary_size: int) -> WholeWords:
        """Tokens of letters and digits, at least one letter, that encode to themselves."""
        decoded = tokenizer.batch_decode(
            [[i] for i in range(min(len(tokenizer), vocabulary_size))], clean_up_tokenization_spaces=False
        )
        spelt = [(i, word.strip()) for i, word in enumerate(decoded)]
        spelt = [(i, word) for i, word in spelt if word.isalnum() and any(map(str.isalpha, word))]
        again = single_tokens(tokenizer, [word for _, word in spelt])
        kept = [(i, word) for (i, word), same in zip(spelt, again, strict=True) if same == i]
        numbers: dict[str, int] = {}
        folded = [numbers.setdefault(word.casefold(), len(numbers)) for _, word in kept]
        return cls(
            np.array([i for i, _ in kept], np.int64),
            tuple(word for _, word in kept),
            np.array(folded, np.int64),
            numbers,
        )

    def fold(self, word: str) -> int:
        """The number in `folded` of words that are `word` but for their case; -1 where there is none."""
        return self._numbers.get(word.casefold(), -1)
