"""Token ids without padding, the batches that are cut from them, and the vocabulary that they use."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token ids of N rows end to end: row i is ids[offsets[i]:offsets[i + 1]].

    Attributes:
        ids: [total] int64.
        types: [total] int64, the segment of each token (0 in single texts).
        offsets: [N + 1] int64.
        sources: [N] int64, the text that each row was cut from; None where every text is one row.
        units: [total, 2] int64, what each token stands for in its text, [first, end): the characters of a
            context, the word that it speaks for; -1 where a task does not read its outputs. None where
            outputs are of whole rows.
    """

    ids: Tensor
    types: Tensor
    offsets: IntArray
    sources: IntArray | None = None
    units: IntArray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> IntArray:
        """[N] tokens per row, special tokens included."""
        return np.diff(self.offsets)

    def remapped(self, new_ids: Tensor) -> Tokens:
        """The same rows with id i replaced by new_ids[i]."""
        return replace(self, ids=new_ids[self.ids])

    def take(self, rows: IntArray) -> Tokens:
        """These rows, in this order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Tokens(
            self.ids[places],
            self.types[places],
            offsets,
            None if self.sources is None else self.sources[rows],
            None if self.units is None else self.units[places],
        )

    def padded(self, rows: IntArray, pad_id: int, length: int | None = None) -> Batch:
        """The given rows as rectangles, padded at the right to the longest of them (or to `length`)."""
        position, mask = self.positions(rows, length)
        ids = torch.where(mask, self.ids[position], pad_id)
        types = torch.where(mask, self.types[position], 0)
        return Batch(ids, types, mask)

    def write(self, outputs: npt.NDArray[Any], rows: IntArray, logits: Tensor) -> None:
        """Put a batch's logits, [B, C] or [B, T, C], where they belong in [..., N, C] or [..., total, C]."""
        if self.units is None:
            outputs[..., rows, :] = logits.numpy()
        else:
            position, mask = self.positions(rows, logits.shape[-2])
            outputs[..., position[mask].numpy(), :] = logits[..., mask, :].numpy()

    def positions(self, rows: IntArray, length: int | None = None) -> tuple[Tensor, Tensor]:
        """[B, T] index of each token in `ids`, and [B, T] bool: whether it is one (else the index is 0)."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        steps = np.arange(length or int(lengths.max()))
        mask = steps[None, :] < lengths[:, None]
        return torch.from_numpy(np.where(mask, starts[:, None] + steps, 0)), torch.from_numpy(mask)


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded rows: ids, types [B, T] int64 and mask [B, T] bool, True at real tokens."""

    ids: Tensor
    types: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(*(t.to(device, non_blocking=True) for t in (self.ids, self.types, self.mask)))


def tokenize(tokenizer: Any, text_a: Sequence[str], text_b: Sequence[str] | None, max_length: int) -> Tokens:
    """Token ids of texts or pairs, each cut to `max_length` tokens."""
    if not text_a:
        empty = torch.empty(0, dtype=torch.int64)
        return Tokens(empty, empty, np.zeros(1, dtype=np.int64))
    pairs = (list(text_a),) if text_b is None else (list(text_a), list(text_b))
    encoded = tokenizer(
        *pairs, truncation=True, max_length=max_length, padding=False, return_attention_mask=False
    )
    rows = encoded["input_ids"]
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    ids = torch.from_numpy(np.concatenate([np.asarray(r, dtype=np.int64) for r in rows]))
    if "token_type_ids" in encoded:
        types = torch.from_numpy(np.concatenate([np.asarray(r, np.int64) for r in encoded["token_type_ids"]]))
    else:
        types = torch.zeros_like(ids)
    return Tokens(ids, types, offsets)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The token ids that a dataset can contain, numbered anew, so that only their rows are trained.

    Attributes:
        kept: [v] the old ids by new id: ascending, but for padding (see `of`).
        new_ids: [V] the new id of each old id, -1 where it is not kept.
    """

    kept: Tensor
    new_ids: Tensor

    @classmethod
    def of(
        cls, tokens: Sequence[Tokens], vocabulary_size: int, special: Sequence[int], pad_id: int
    ) -> Vocabulary:
        """The vocabulary of `tokens`, the special ids and padding.

        Padding keeps its id wherever that is below v: RoBERTa counts positions from it.
        """
        always = torch.tensor([*special, pad_id], dtype=torch.int64)
        kept = torch.unique(torch.cat([always, *(t.ids for t in tokens)]))
        if pad_id < len(kept):
            others = kept[kept != pad_id]
            kept = torch.cat([others[:pad_id], always[-1:], others[pad_id:]])
        new_ids = torch.full((vocabulary_size,), -1, dtype=torch.int64)
        new_ids[kept] = torch.arange(len(kept))
        return cls(kept, new_ids)

    def to(self, device: torch.device) -> Vocabulary:
        """The vocabulary with its table of new ids on another device."""
        return Vocabulary(self.kept, self.new_ids.to(device))


def by_length(lengths: IntArray, batch_size: int) -> Iterator[IntArray]:
    """All rows once, in batches of like length, the longest first (so that memory peaks at the start)."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def by_tokens(lengths: IntArray, tokens: int, fewest: int = 16) -> Iterator[IntArray]:
    """All rows once, the longest first, in batches of at most `tokens` tokens (or one row).

    A batch ends where the length changes, so that it needs no padding, unless it would hold fewer than
    `fewest` rows then.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        end = min(len(order), start + max(1, tokens // max(1, longest)))
        alike = int((lengths[order[start:end]] == longest).sum())
        if alike >= fewest:
            end = start + alike
        yield order[start:end]
        start = end


def training_batches(
    lengths: IntArray, batch_size: int, seed: int, window: int = 50
) -> Iterator[tuple[IntArray, IntArray]]:
    """Endless batches of row numbers and of how often each row was drawn before (its round).

    Every pass over the rows is a fresh permutation, cut into windows of `window` batches; inside a window
    rows are sorted by length, so that a batch holds rows of like length, and the batches are shuffled.
    What a pass leaves over opens the next one. No batch holds a row twice, unless there are fewer rows
    than a batch takes.
    """
    if len(lengths) == 0:
        raise ValueError("no rows to draw batches from")
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = rounds = np.empty(0, dtype=np.int64)
    for passes in itertools.count():
        drawn = rng.permutation(len(lengths))
        late = np.isin(drawn, rows)  # left over from the last pass, so they open this one: not again so soon
        drawn = np.concatenate([drawn[~late], drawn[late]])
        opening = batch_size if len(rows) else 0
        rows = np.concatenate([rows, drawn])
        rounds = np.concatenate([rounds, np.full(len(drawn), passes)])
        whole = len(rows) - len(rows) % batch_size
        if opening and whole:
            yield rows[:opening], rounds[:opening]
        for start in range(opening, whole, window * batch_size):
            inside = slice(start, min(start + window * batch_size, whole))
            order = np.argsort(lengths[rows[inside]], kind="stable").reshape(-1, batch_size)
            for batch in rng.permutation(len(order)):
                yield rows[inside][order[batch]], rounds[inside][order[batch]]
        rows, rounds = rows[whole:], rounds[whole:]
