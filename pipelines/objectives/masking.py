"""What a mask hides and what half precision loses: neither may change a loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_mixed: ContextVar[bool] = ContextVar("mixed", default=False)

SAME = 1e-10
"""Vectors whose squared distance is below this share of their squared length count as equal.

What float32 leaves of the difference of equal states is rounding; scaled to unit length it would be a
gradient of noise. So it is with [CLS] at the embedding layer: the same vector for every example.
"""


def visible(states: Tensor, mask: Tensor | None) -> Tensor:
    """Real vectors as they are, in float32 or wider, and 0 where the mask is 0. [..., H], mask [...]."""
    # where, not a product: 0 * NaN is NaN, and padding may hold anything. Squares of fp16 would overflow.
    wide = states.to(torch.promote_types(states.dtype, torch.float32))
    if mask is None:
        return wide
    return torch.where(mask.unsqueeze(-1) > 0, wide, torch.zeros_like(wide))


def comparable(student: Tensor, teacher: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both sides `visible` in the student's precision; the teacher without a gradient, mixtures apart."""
    own = visible(student, mask)
    return own, visible(teacher if _mixed.get() else teacher.detach(), mask).to(own.dtype)


@contextmanager
def mixed_teacher() -> Iterator[None]:
    """Inside, what stands for the teacher is a mixture of its layers, whose weights learn through it."""
    token = _mixed.set(True)
    try:
        yield
    finally:
        _mixed.reset(token)


def mean_over_real(losses: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of losses [...] over the real vectors of mask [...], 0 where there is none."""
    if mask is None:
        return losses.mean()
    weight = (mask > 0).to(losses.dtype)
    return (losses * weight).sum() / weight.sum().clamp_min(1.0)


def mean_over_examples(losses: Tensor, mask: Tensor) -> Tensor:
    """The mean of losses [B] over the examples that have a real token in mask [B, T]."""
    return mean_over_real(losses, mask.amax(-1))


def unit(vectors: Tensor, dim: int = -1) -> Tensor:
    """Vectors along `dim` scaled to length 1; a zero vector stays zero and gets a finite gradient."""
    # The floor lies under the root, where the gradient of a length is not finite.
    return vectors * vectors.square().sum(dim, keepdim=True).clamp_min(1e-12).rsqrt()
