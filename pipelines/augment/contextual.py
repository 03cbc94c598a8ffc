"""`contextual`: words masked and drawn again by a masked language model (Kobayashi 2018, arXiv 1805.06201).

All chosen words of a text are masked at once, each by one mask token, and drawn independently from the
nucleus of the model's distribution over whole words. Words that lie beyond what the model can read stay.
Which texts are computed together matters only to the rounding of the model's sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, PreTrainedModel

from distiller.pipelines.augment.nucleus import draw, nucleus
from distiller.pipelines.augment.replacement import chosen
from distiller.pipelines.augment.rows import Edited, Row, core_of, with_core
from distiller.pipelines.augment.whole_words import WholeWords
from distiller.pipelines.checkpoint import complete, forward, load_tokenizer, longest_input
from distiller.pipelines.tokens import by_tokens, tokenize
from distiller.spaces.errors import InputError

TOKENS_PER_BATCH = 2048


@dataclass(frozen=True)
class Gap:
    """A masked word: which row and word, the how manieth mask token of its text, the number that draws it."""

    row: int
    word: int
    number: int
    uniform: float


def masking_tokenizer(source: str, place: str) -> Any:
    """The tokenizer of a masked language model.

    Raises:
        InputError: it cannot be loaded, or has no mask token; `place` is where the sweep names it.
    """
    tokenizer = load_tokenizer(source, None, place)
    if tokenizer.mask_token is None:
        raise InputError(f"{place}: {source!r} has no mask token; name a masked language model")
    return tokenizer


class MaskedModel:
    """A masked language model that fills gaps with whole words."""

    def __init__(self, source: str, place: str, device: torch.device):
        """Load it from a folder or by its hub name.

        Raises:
            InputError: it cannot be loaded, has no head for masked words or no mask token; `place` is where
                the sweep names it.
        """
        model = complete(AutoModelForMaskedLM, source, place, "masked-language-model")
        self.model: PreTrainedModel = model.to(device).eval().requires_grad_(False)
        self.tokenizer: Any = masking_tokenizer(source, place)
        self.whole = WholeWords.of(self.tokenizer, int(self.model.config.vocab_size))
        if not self.whole.words:
            raise InputError(f"{place}: {source!r} has no token that is a whole word; name another model")
        self.longest = min(longest_input(self.model), int(self.tokenizer.model_max_length))

    def edits(
        self, rows: Sequence[Row], strength: float, top_p: float, generators: Sequence[np.random.Generator]
    ) -> list[list[Edited]]:
        """Draw a share `strength` of each row's free words anew, others than they were.

        A word stays as it is only where the nucleus holds nothing else.
        """
        texts, gaps = [], []
        for number, (row, rng) in enumerate(zip(rows, generators, strict=True)):
            able = [i for i in row.free if any(map(str.isalpha, core_of(row.words[i])[1]))]
            words = chosen(row, able, strength, rng)
            text, marks = self._masked(row, words)
            texts.append(text)
            gaps += [Gap(number, *gap) for gap in zip(words, marks, rng.random(len(words)), strict=True)]
        results = [row.unchanged() for row in rows]
        tokens = tokenize(self.tokenizer, texts, None, self.longest)
        own: dict[int, list[Gap]] = {}
        for gap in gaps:
            own.setdefault(gap.row, []).append(gap)
        masked = np.array(sorted(own), np.int64)
        for picked in by_tokens(tokens.lengths[masked], TOKENS_PER_BATCH):
            batch = tokens.padded(masked[picked], self.tokenizer.pad_token_id)
            open_gaps, at = [], []
            for line, ids in enumerate(batch.ids):
                columns = torch.nonzero(ids == self.tokenizer.mask_token_id)[:, 0].tolist()
                seen = [gap for gap in own[int(masked[picked[line]])] if gap.number < len(columns)]
                open_gaps += seen
                at += [(line, columns[gap.number]) for gap in seen]
            if not at:
                continue
            batch = batch.to(self.model.device)
            with torch.no_grad():
                logits = forward(self.model, batch.ids, batch.types, batch.mask).logits
            lines, columns = torch.tensor(at, device=logits.device).T
            asked = [core_of(rows[gap.row].words[gap.word])[1] for gap in open_gaps]
            found = self.fill(logits[lines, columns], asked, top_p, [gap.uniform for gap in open_gaps])
            for gap, new in zip(open_gaps, found, strict=True):
                word = rows[gap.row].words[gap.word]
                results[gap.row][gap.word] = Edited(with_core(word, new), gap.word)
        return results

    def fill(
        self, logits: Tensor, words: Sequence[str], top_p: float, uniforms: Sequence[float]
    ) -> list[str]:
        """One word for each of G gaps; `logits` [G, V] are the model's, `words` what stood there."""
        whole = torch.from_numpy(self.whole.ids).to(logits.device)
        weights = nucleus(logits[:, whole], top_p)
        folds = torch.tensor([self.whole.fold(word) for word in words])
        itself = (folds[:, None] == torch.from_numpy(self.whole.folded)).to(logits.device)
        others = weights.masked_fill(itself, 0)
        weights = torch.where(others.sum(-1, keepdim=True) > 0, others, weights)
        drawn = draw(weights.cpu(), torch.tensor(uniforms, dtype=torch.float64))
        return [self.whole.words[i] for i in drawn.tolist()]

    def _masked(self, row: Row, chosen_words: Sequence[int]) -> tuple[str, list[int]]:
        """The text with masks in place of words, and the how manieth mask token each of them is."""
        mask, words, numbers, met = self.tokenizer.mask_token, list(row.words), [], 0
        for i in range(len(words)):
            if i in chosen_words:
                before, _, after = core_of(words[i])
                words[i] = before + mask + after
                numbers.append(met)
            met += words[i].count(mask)  # a text may hold the mask token itself
        return " ".join(words), numbers
