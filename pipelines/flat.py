"""A model's parameters in one tensor, so that an optimizer passes over memory once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Flat:
    """Parameters end to end in one tensor: a norm or an update is one pass, not one call for each of them.

    The parameters stay what they were, as views. Sparse gradients (of word embeddings) are spread over
    rows of a gradient that is kept, so that only the rows of two steps are written, not the whole table.
    """

    def __init__(self, parameters: Sequence[Tensor], sparse: Sequence[Tensor]):
        """Those of `parameters` that are `sparse` have sparse gradients."""
        self.dense = [p for p in parameters if not any(p is other for other in sparse)]
        ends = [0]
        for parameter in (*self.dense, *sparse):
            ends.append(ends[-1] + -(-parameter.numel() // 16) * 16)  # every part starts on a cache line
        self.tensor = parameters[0].new_zeros(ends[-1])
        self.tensor.grad = torch.zeros_like(self.tensor)
        self.parameters = [*self.dense, *sparse]
        self.starts = starts = ends[:-1]
        self.gradients = [
            self.tensor.grad[start : start + p.numel()].view(p.shape)
            for start, p in zip(starts, self.dense, strict=False)
        ]
        self.head = self.tensor.grad[: ends[len(self.dense)]]
        self.tables = [
            _Table(p, self.tensor.grad[start : start + p.numel()].view(p.shape))
            for start, p in zip(starts[len(self.dense) :], sparse, strict=True)
        ]
        for place, parameter in zip(self.views(self.tensor), self.parameters, strict=True):
            place.copy_(parameter.detach())
            parameter.data = place

    def views(self, like: Tensor) -> list[Tensor]:
        """Each parameter's part of a tensor that is laid out as `tensor` is, in the order of `parameters`."""
        return [
            like[start : start + p.numel()].view(p.shape)
            for start, p in zip(self.starts, self.parameters, strict=True)
        ]

    def gather(self) -> list[Tensor]:
        """Take over the parameters' gradients; what their norm and their scaling concern."""
        found = [(g, p.grad) for g, p in zip(self.gradients, self.dense, strict=True)]
        torch._foreach_copy_(
            [g for g, new in found if new is not None], [new for _, new in found if new is not None]
        )
        for gradient, new in found:
            if new is None:
                gradient.zero_()
        return [self.head, *(table.gather() for table in self.tables)]

    def spread(self) -> None:
        """Write the sparse gradients, scaled by now, to their rows."""
        for table in self.tables:
            table.spread()


class _Table:
    """A parameter with sparse gradients, and its dense gradient [V, H]: zero but for the last step's rows."""

    def __init__(self, parameter: Tensor, gradient: Tensor):
        self.parameter, self.gradient = parameter, gradient
        self.rows = torch.empty(0, dtype=torch.int64, device=parameter.device)

    def gather(self) -> Tensor:
        self.gradient.index_fill_(0, self.rows, 0.0)
        if self.parameter.grad is None:
            self.rows, self.values = self.rows[:0], self.gradient[:0]
        else:
            found = self.parameter.grad.coalesce()
            self.rows, self.values = found.indices()[0], found.values()
        return self.values

    def spread(self) -> None:
        self.gradient.index_copy_(0, self.rows, self.values)
