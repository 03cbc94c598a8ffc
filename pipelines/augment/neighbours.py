"""`embedding`: words replaced by neighbours in the teacher's own input embeddings.

TinyBERT (Jiao et al. 2020, algorithm 1, arXiv 1909.10351) takes GloVe's neighbours, and BERT's predictions
for words of one token; here the teacher's table stands for both, with no further download. Words that are
no single token stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distiller.pipelines.augment.replacement import replace_words, uniformly
from distiller.pipelines.augment.rows import Edited, Row, core_of
from distiller.pipelines.augment.whole_words import WholeWords, single_tokens

WORDS_AT_ONCE = 256


class Neighbours:
    """The nearest whole words of words, by the cosine of their embeddings; what was found is kept."""

    def __init__(self, tokenizer: Any, table: Tensor):
        """`table` [V, E] holds the tokens' embeddings."""
        self.tokenizer = tokenizer
        self.whole = WholeWords.of(tokenizer, len(table))
        # On one device and in double precision: what is near must not depend on the machine.
        rows = table.detach().cpu().double()[torch.from_numpy(self.whole.ids)]
        self.directions = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        self._found: dict[tuple[str, int], tuple[str, ...]] = {}

    def learn(self, words: Sequence[str], count: int) -> None:
        """Find the `count` nearest neighbours of words, all at once."""
        new = [word for word in dict.fromkeys(words) if (word, count) not in self._found]
        places: dict[int | None, int] = {int(token): place for place, token in enumerate(self.whole.ids)}
        tokens = single_tokens(self.tokenizer, new)
        known = {word: places[t] for word, t in zip(new, tokens, strict=True) if t in places}
        self._found |= {(word, count): () for word in new if word not in known}
        queries = list(known)
        for start in range(0, len(queries), WORDS_AT_ONCE):
            asked = queries[start : start + WORDS_AT_ONCE]
            at = torch.tensor([known[word] for word in asked])
            cosines = self.directions[at] @ self.directions.T
            folded = torch.from_numpy(self.whole.folded)
            cosines[folded[at][:, None] == folded] = -torch.inf  # the word itself, in any case
            values, nearest = cosines.topk(min(count, len(folded)))
            for word, scores, row in zip(asked, values.tolist(), nearest.tolist(), strict=True):
                others = [self.whole.words[i] for i, s in zip(row, scores, strict=True) if s > -np.inf]
                self._found[word, count] = tuple(others)

    def nearest(self, word: str, count: int) -> tuple[str, ...]:
        """The `count` whole words nearest to a word, nearest first; none where it is no single token."""
        if (word, count) not in self._found:
            self.learn([word], count)
        return self._found[word, count]


def neighbour_edits(
    rows: Sequence[Row],
    neighbours: Neighbours,
    count: int,
    strength: float,
    generators: Sequence[np.random.Generator],
) -> list[list[Edited]]:
    """Replace words by one of their `count` nearest neighbours, each as likely as the others."""
    neighbours.learn([core_of(row.words[i])[1] for row in rows for i in row.free], count)
    return [
        replace_words(row, lambda word: neighbours.nearest(word, count), uniformly, strength, rng)
        for row, rng in zip(rows, generators, strict=True)
    ]
