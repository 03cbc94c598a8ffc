"""What an intermediate objective is made of: its loss, what it reads, and what it learns by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Start = Callable[[int, int, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class State:
    """One thing that is read from each model at a layer.

    Attributes:
        name: "hidden" (the layer's output), "queries", "keys" or "values" (all heads side by side).
        below: read at so many layers under the pair's layer.
    """

    name: str
    below: int = 0


@dataclass(frozen=True)
class Objective:
    """An intermediate objective, one line of `OBJECTIVES`.

    Attributes:
        loss: `loss(student, teacher, mask, **settings)`, a scalar for ONE student. student and teacher
            are [B, H] with mask None (one vector per example), [B, T, H] with mask [B, T] (1 = a real
            token), or [N, H] with mask None where the caller has put real tokens end to end, which only
            objectives without `reads` are given. settings are the choice's parameters by name: floats as
            0-dim tensors, others as Python values. Where queries, keys or values are read, also the ints
            `student_heads` and `teacher_heads`. The teacher gets no gradient.
        reads: token-wise states, put side by side along the last axis in this order; None for the
            representation that the choice names.
        same_width: the student's states are projected to the teacher's width first, each state by itself.
        start: the objective's own learned parameters from (student width, teacher width, generator); the
            loss gets them as `parameters`.
        remembers: the loss also gets vectors of earlier batches, as `crd` does.
        at_equal: what the loss is where the student's states are the teacher's: 0, the least that this
            teacher allows, or None where that is not known (learned parameters come between).
    """

    loss: Callable[..., Tensor]
    reads: tuple[State, ...] | None = None
    same_width: bool = False
    start: Start | None = None
    remembers: bool = False
    at_equal: Literal["zero", "least"] | None = None

    @property
    def reads_heads(self) -> bool:
        """Whether the loss gets the numbers of attention heads."""
        return any(state.name in ("queries", "keys", "values") for state in self.reads or ())
