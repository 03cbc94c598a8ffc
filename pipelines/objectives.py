"""Parameter-free objectives that pull a student's representation to its teacher's.

`student` and `teacher` are vectors of one width H: [B, H] (one per example) with mask [B], or [B, T, H]
(one per token) with mask [B, T]; 1 = a real vector, no mask: all are. Every loss is the mean over real
vectors, 0 where there is none. What the mask hides, NaN included, changes neither value nor gradient.
Written for ONE student; `torch.func.vmap` adds the member axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.mutual_information import critic_parameters, mi_alpha_loss


def _visible(vectors: Tensor, mask: Tensor | None) -> Tensor:
    # where, not a product: 0 * NaN is NaN, and padding may hold anything. Squares of fp16 would overflow.
    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    if mask is None:
        return wide
    return torch.where(mask.unsqueeze(-1) > 0, wide, torch.zeros_like(wide))


def _mean_over_real(losses: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return losses.mean()
    weight = mask.to(losses.dtype)
    return (losses * weight).sum() / weight.sum().clamp_min(1.0)


def _unit(vectors: Tensor) -> Tensor:
    # The floor lies under the root: a zero vector stays zero and gets a finite gradient.
    return vectors * vectors.square().sum(-1, keepdim=True).clamp_min(1e-12).rsqrt()


def mse(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Squared difference, mean over the width (TinyBERT's hidden loss, arXiv 1909.10351, eq. 8)."""
    # One fused kernel each way, where a difference, its square and its mean are a pass over memory each.
    if mask is None:
        return F.mse_loss(_visible(student, None), _visible(teacher, None))
    squares = F.mse_loss(_visible(student, mask), _visible(teacher, mask), reduction="sum")
    return squares / (mask.to(squares.dtype).sum().clamp_min(1.0) * student.shape[-1])


def cosine(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """1 - cos(student, teacher), in [0, 2] (DistilBERT's L_cos, arXiv 1910.01108, section 3)."""
    similarity = (_unit(_visible(student, mask)) * _unit(_visible(teacher, mask))).sum(-1)
    return _mean_over_real(1.0 - similarity, mask)


def pkd(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Squared distance of the L2-normalised vectors, summed over the width, in [0, 4].

    Patient knowledge distillation: Sun et al. 2019 (arXiv 1908.09355), eq. 7, as a mean over vectors.
    For non-zero vectors it is twice `cosine`.
    """
    difference = _unit(_visible(student, mask)) - _unit(_visible(teacher, mask))
    return _mean_over_real(difference.square().sum(-1), mask)


@dataclass(frozen=True)
class State:
    """One thing that an objective reads of each model: its name, and how far under the pair's layer."""

    name: str
    below: int = 0


@dataclass(frozen=True)
class Objective:
    loss: Callable[..., Tensor]
    reads: tuple[State, ...] | None = None
    same_width: bool = False
    start: Callable[[int, int, torch.Generator], dict[str, Tensor]] | None = None
    remembers: bool = False


OBJECTIVES: dict[str, Objective] = {
    "mse": Objective(mse, same_width=True),
    "cosine": Objective(cosine, same_width=True),
    "pkd": Objective(pkd, same_width=True),
    "mi_alpha": Objective(
        lambda s, t, m, parameters, alpha: mi_alpha_loss(s, t, parameters, alpha),
        start=lambda s, t, g: critic_parameters(s, t, 128, g),
    ),
}


def reduce_representation(hidden: Tensor, mask: Tensor, representation: str) -> Tensor:
    """Reduce hidden states [B, T, H] with mask [B, T] to what an objective compares.

    "cls": the first token [B, H]; "mean": the mean over real tokens [B, H]; "tokens": unchanged.
    Raises ValueError for another name.
    """
    if representation == "cls":
        return hidden[:, 0]
    if representation == "mean":
        visible = _visible(hidden, mask)
        return visible.sum(-2) / mask.to(visible.dtype).sum(-1, keepdim=True).clamp_min(1.0)
    if representation == "tokens":
        return hidden
    raise ValueError(f"representation {representation!r} is none of 'cls', 'mean', 'tokens'")


CONTRAST_WIDTH = 128


def crd_embed(student, teacher, parameters):
    raise NotImplementedError


def remembered(old, new):
    raise NotImplementedError
