"""Objectives on Gram matrices: what of the states remains when single coordinates are forgotten.

student and teacher may differ in width for `cka` and `nst`. What the mask hides changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distiller.pipelines.objectives.masking import SAME, comparable, mean_over_examples, unit


def cka(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """1 - linear CKA, in [0, 1]: blind to rotation, shift and scale. [N, H], or [B, T, H] with mask [B, T].

    Kornblith et al. 2019 (arXiv 1905.00414), section 3: ||Y'X||^2 / (||X'X|| ||Y'Y||) for the centred
    states of the batch's examples, or of all its real tokens. A teacher that is the same everywhere (a
    batch of one) says nothing: 0. A student that is the same everywhere has no direction in which to go: 1,
    without a gradient.
    """
    student, teacher = comparable(student, teacher, mask)
    if mask is not None:
        student, teacher, mask = student.flatten(-3, -2), teacher.flatten(-3, -2), mask.flatten(-2)
    own, _ = _centred(student, mask)
    said, varies = _centred(teacher, mask)
    sizes = _product_norm(own, own) * _product_norm(said, said)
    alignment = _product_norm(own, said) * sizes.clamp_min(1e-12).rsqrt()
    return torch.where(varies, 1.0 - alignment, torch.zeros_like(alignment))


def nst(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of the neurons' patterns, kernel (x.y)^2; mean over examples.

    Huang and Wang 2017 (arXiv 1707.01219), section 4. A neuron's pattern is its states over an
    example's real tokens, scaled to length 1. Sums of this kernel over pairs of neurons are inner products
    of token Gram matrices, G = F F' / H over the H unit patterns F [T, H]: the loss is ||G_s - G_t||^2.
    """
    student, teacher = comparable(student, teacher, mask)
    own, said = unit(student, -2), unit(teacher, -2)
    own_gram = own @ own.transpose(-1, -2) / own.shape[-1]
    said_gram = said @ said.transpose(-1, -2) / said.shape[-1]
    return mean_over_examples((own_gram - said_gram).square().sum((-1, -2)), mask)


def fsp(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Squared difference of flow matrices, mean over their entries and over examples.

    Yim et al. 2017 (CVPR 2017, "A gift from knowledge distillation"), eq. 1 and 2. States [B, T, 2 H] are
    a layer's input and output side by side; the flow is input' output / number of real tokens, [H, H].
    """
    student, teacher = comparable(student, teacher, mask)
    tokens = (mask > 0).to(student.dtype).sum(-1).clamp_min(1.0)
    own_in, own_out = student.chunk(2, -1)
    said_in, said_out = teacher.chunk(2, -1)
    # own_in' own_out - said_in' said_out as one product, with the second half's sign turned.
    inputs, outputs = torch.cat([own_in, said_in], -2), torch.cat([own_out, -said_out], -2)
    squares = _product_norm(inputs, outputs) / tokens.square()
    return mean_over_examples(squares / (own_in.shape[-1] * own_out.shape[-1]), mask)


def _centred(states: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """States [N, H] about their mean, of Frobenius norm 1, and whether they vary; zeros where not."""
    real = torch.ones_like(states[:, :1]) if mask is None else (mask > 0).to(states.dtype).unsqueeze(-1)
    mean = states.sum(0) / real.sum().clamp_min(1.0)
    deviations = (states - mean) * real
    spread = deviations.square().sum()
    varies = spread > SAME * states.square().sum()
    scale = torch.where(varies, torch.where(varies, spread, torch.ones_like(spread)).rsqrt(), 0.0)
    return deviations * scale, varies


def _product_norm(left: Tensor, right: Tensor) -> Tensor:
    """||left' right||^2 (Frobenius) of left [..., N, H1] and right [..., N, H2], as a scalar or [...].

    Through the N x N Gram matrices where rows are few: <left left', right right'> is the same number.
    """
    if left.shape[-2] < min(left.shape[-1], right.shape[-1]):
        grams = (left @ left.transpose(-1, -2)) * (right @ right.transpose(-1, -2))
        return grams.sum((-1, -2))
    return (left.transpose(-1, -2) @ right).square().sum((-1, -2))
