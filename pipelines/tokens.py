"""Token ids without padding, the batches that are cut from them, and the vocabulary that they use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    """

    ids: Tensor
    types: Tensor
    offsets: IntArray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> IntArray:
        """[N] tokens per row, special tokens included."""
        return np.diff(self.offsets)

    def remapped(self, new_ids: Tensor) -> Tokens:
        """The same rows with id i replaced by new_ids[i]."""
        return Tokens(new_ids[self.ids], self.types, self.offsets)

    def padded(self, rows: IntArray, pad_id: int, length: int | None = None) -> Batch:
        """The given rows as rectangles, padded at the right to the longest of them (or to `length`)."""
        position, mask = self.positions(rows, length)
        ids = torch.where(mask, self.ids[position], pad_id)
        types = torch.where(mask, self.types[position], 0)
        return Batch(ids, types, mask)

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
        kept: [v] the old ids, ascending.
        new_ids: [V] the new id of each old id, -1 where it is not kept.
    """

    kept: Tensor
    new_ids: Tensor

    @classmethod
    def of(cls, tokens: Sequence[Tokens], vocabulary_size: int, special: Sequence[int]) -> Vocabulary:
        """The vocabulary of `tokens` and the special ids."""
        kept = torch.unique(torch.cat([torch.tensor(list(special), dtype=torch.int64), *(t.ids for t in tokens)]))
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


def training_batches(
    lengths: IntArray, batch_size: int, seed: int, window: int = 50
) -> Iterator[tuple[IntArray, IntArray]]:
    """Endless batches of row numbers and of how often each row was drawn before (its round).

    Rows come in passes over a fresh permutation; inside windows of `window` batches they are sorted by
    length, so that a batch holds rows of like length, and the window's batches are shuffled.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = np.empty(0, dtype=np.int64)
    rounds = np.empty(0, dtype=np.int64)
    passes = 0
    while True:
        while len(rows) < window * batch_size:
            rows = np.concatenate([rows, rng.permutation(len(lengths))])
            rounds = np.concatenate([rounds, np.full(len(lengths), passes)])
            passes += 1
        head, rows = rows[: window * batch_size], rows[window * batch_size :]
        head_rounds, rounds = rounds[: window * batch_size], rounds[window * batch_size :]
        order = np.argsort(lengths[head], kind="stable").reshape(window, batch_size)
        for batch in rng.permutation(window):
            yield head[order[batch]], head_rounds[order[batch]]
