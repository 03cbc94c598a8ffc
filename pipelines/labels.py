"""Hard labels of a pool's rows in one view, in the form in which the losses take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.tokens import IntArray, Tokens

NO_LABEL = -100
"""What stands for a token's label where it has none."""


@dataclass(frozen=True, eq=False)
class LabelBatch:
    """Labels of B rows.

    Attributes:
        values: [B] classes or scores, [B, C] float 0/1 labels, [B, 2] places of a span's first and last
            token, [B, T] tags with -100 for none.
        labeled: [B] bool, whether a row has a label; elsewhere `values` hold anything.
        read: [B, T] bool, the tokens whose outputs count; None where outputs are of whole rows.
        tags: whether `values` are tags.
    """

    values: Tensor
    labeled: Tensor
    read: Tensor | None = None
    tags: bool = False

    @classmethod
    def joined(cls, batches: Sequence[LabelBatch], order: Tensor) -> LabelBatch:
        """Batches of one length one after another, their rows then put in `order`."""
        read = [batch.read for batch in batches if batch.read is not None]
        return cls(
            torch.cat([batch.values for batch in batches])[order],
            torch.cat([batch.labeled for batch in batches])[order],
            torch.cat(read)[order] if read else None,
            batches[0].tags,
        )

    def lengthened(self, more: int) -> LabelBatch:
        """The same rows with `more` tokens of padding."""
        values = F.pad(self.values, (0, more), value=NO_LABEL) if self.tags else self.values
        return replace(self, values=values, read=None if self.read is None else F.pad(self.read, (0, more)))

    def to(self, device: torch.device) -> LabelBatch:
        """The labels on another device."""
        values, labeled = (t.to(device, non_blocking=True) for t in (self.values, self.labeled))
        read = None if self.read is None else self.read.to(device, non_blocking=True)
        return replace(self, values=values, labeled=labeled, read=read)


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of a pool's N rows, as `LabelBatch` has them; tags end to end, [total], as their tokens are."""

    tokens: Tokens
    values: Tensor
    labeled: Tensor
    tags: bool = False

    def of(self, rows: IntArray, length: int) -> LabelBatch:
        """The labels of `rows`, of tokens padded to `length`."""
        picked = torch.from_numpy(rows)
        if self.tokens.units is None:
            return LabelBatch(self.values[picked], self.labeled[picked])
        position, mask = self.tokens.positions(rows, length)
        read = mask & torch.from_numpy(self.tokens.units[:, 0] >= 0)[position]
        values = torch.where(read, self.values[position], NO_LABEL) if self.tags else self.values[picked]
        return LabelBatch(values, self.labeled[picked], read, self.tags)
