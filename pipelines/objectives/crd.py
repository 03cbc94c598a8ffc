"""Contrastive representation distillation: tell the teacher's state of the same example from a memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.objectives.masking import comparable, unit

MEMORY_WIDTH = 128
MOMENTUM = 0.5
NOTHING = -1e4
"""A score that counts for nothing, and leaves a sum of nothing else finite."""


def crd_parameters(student_width: int, teacher_width: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Start values of the two linear heads to MEMORY_WIDTH: weights N(0, 1/fan_in), biases 0."""

    def normal(columns: int) -> Tensor:
        return torch.randn(MEMORY_WIDTH, columns, generator=generator) / math.sqrt(columns)

    return {
        "student_weight": normal(student_width),
        "student_bias": torch.zeros(MEMORY_WIDTH),
        "teacher_weight": normal(teacher_width),
        "teacher_bias": torch.zeros(MEMORY_WIDTH),
    }


def crd_embed(student: Tensor, teacher: Tensor, parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What is compared and remembered: both sides' heads [B, MEMORY_WIDTH], scaled to length 1."""
    student, teacher = comparable(student, teacher, None)
    own = F.linear(student, parameters["student_weight"], parameters["student_bias"])
    said = F.linear(teacher, parameters["teacher_weight"], parameters["teacher_bias"])
    return unit(own), unit(said)


def remembered(old: Tensor, new: Tensor) -> Tensor:
    """A memory's rows [B, MEMORY_WIDTH] after a batch: half old, half new, of length 1, no gradient.

    Wu et al. 2018 (arXiv 1805.01978), section 3.1, whose memory Tian et al. take over.
    """
    return unit(MOMENTUM * old + (1 - MOMENTUM) * new.to(old.dtype)).detach()


def crd(
    student: Tensor,
    teacher: Tensor,
    mask: None,
    *,
    parameters: dict[str, Tensor],
    temperature: Tensor | float,
    negatives: int,
    student_others: Tensor,
    teacher_others: Tensor,
    own: Tensor,
) -> Tensor:
    """Minus the log-likelihood of telling the pair from `negatives` others, both ways; mean over examples.

    Tian et al. 2020 (arXiv 1910.10699), eq. 17 to 19: a score s = <u, v> of unit vectors makes
    h = e^(s/T) / (e^(s/T) + K Z / N), and the loss is -log h(pair) - sum over others of log(1 - h), with the
    student's vector against the teacher's memory and the teacher's against the student's. Z is the constant
    of noise-contrastive estimation, without which h is near 1 for every pair. Departure: the authors' code
    takes it from the first batch, here it is N times the mean of e^(s/T) over the others of each batch,
    without a gradient, so that N cancels.

    Args:
        student, teacher: [B, Hs] and [B, Ht].
        negatives: the setting that sizes the draw; K is what was drawn.
        student_others, teacher_others: [K, MEMORY_WIDTH] remembered vectors, the same for all the batch.
        own: [B, K], True where that row is the example's own.
    """
    student_vectors, teacher_vectors = crd_embed(student, teacher, parameters)
    pairs = (student_vectors * teacher_vectors).sum(-1) / temperature

    def told_apart(anchors: Tensor, others: Tensor) -> Tensor:
        scores = anchors @ others.detach().to(anchors.dtype).transpose(-1, -2) / temperature
        raised = scores.detach().masked_fill(own, NOTHING).flatten().logsumexp(0)
        noise = raised - (~own).sum().clamp_min(1).log() + math.log(others.shape[0])
        strangers = F.logsigmoid(noise - scores).masked_fill(own, 0.0).sum(-1)
        return F.logsigmoid(pairs - noise) + strangers

    return -(told_apart(student_vectors, teacher_others) + told_apart(teacher_vectors, student_others)).mean()
