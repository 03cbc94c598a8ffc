"""Losses on what a model predicts: its logits against labels (hard) or against a teacher (soft).

Every function takes ONE student's tensors and returns a scalar; `torch.func.vmap` adds the member axis.
The temperature may be a float or a 0-dim tensor. Soft losses need no labels: they see every row.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

SoftLoss = Callable[[Tensor, Tensor, Tensor | float], Tensor]


def _mean_over_labeled(losses: Tensor, labeled: Tensor) -> Tensor:
    weight = labeled.to(losses.dtype)
    return (losses * weight).sum() / weight.sum().clamp_min(1.0)


def _log_probabilities(logits: Tensor, temperature: Tensor | float) -> Tensor:
    # Cached teacher logits are fp16, autocast gives bf16: probabilities want float32 or wider.
    return F.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature, -1)


def hard_cross_entropy(logits: Tensor, labels: Tensor, labeled: Tensor) -> Tensor:
    """Cross-entropy with the labels, in nats: the mean over labelled rows, 0 where there is none.

    logits [B, C]; labels [B] int64, ignored where unlabelled; labeled [B], 1 = the row has a label.
    """
    known = torch.where(labeled > 0, labels, torch.zeros_like(labels))
    losses = -_log_probabilities(logits, 1.0).gather(-1, known.unsqueeze(-1)).squeeze(-1)
    return _mean_over_labeled(losses, labeled)


def hard_mse(logits: Tensor, labels: Tensor, labeled: Tensor) -> Tensor:
    """Squared error of a regression: the mean over labelled rows, 0 where there is none.

    logits [B, 1]; labels [B] float, ignored (NaN included) where unlabelled; labeled [B], 1 = has a label.
    """
    known = torch.where(labeled > 0, labels, torch.zeros_like(labels))
    return _mean_over_labeled((logits.squeeze(-1) - known).square(), labeled)


def ce(student_logits: Tensor, teacher_logits: Tensor, temperature: Tensor | float) -> Tensor:
    """Cross-entropy with the teacher's softened probabilities, times T^2; mean over rows.

    Hinton et al. 2015 (arXiv 1503.02531), eq. 1 and the T^2 scaling of section 2: it keeps the size of
    the gradient as T grows. Logits [B, C]. Differs from `kl` by the teacher's entropy, constant in the
    student: equal gradients, another value.
    """
    teacher = _log_probabilities(teacher_logits, temperature)
    student = _log_probabilities(student_logits, temperature)
    return -(teacher.exp() * student).sum(-1).mean() * temperature**2


def kl(student_logits: Tensor, teacher_logits: Tensor, temperature: Tensor | float) -> Tensor:
    """T^2 KL(teacher || student) of the softened probabilities, in nats; mean over rows. Logits [B, C].

    Hinton et al. 2015, section 2; 0 exactly where the student's probabilities are the teacher's.
    """
    teacher = _log_probabilities(teacher_logits, temperature)
    student = _log_probabilities(student_logits, temperature)
    return (teacher.exp() * (teacher - student)).sum(-1).mean() * temperature**2


def mse(student_logits: Tensor, teacher_logits: Tensor, temperature: Tensor | float) -> Tensor:
    """Mean squared difference of logits [B, C] (Ba and Caruana 2014, arXiv 1312.6184, eq. 1).

    It has no temperature: the argument is ignored. Also the soft loss of a regression, with C = 1.
    """
    return (student_logits - teacher_logits).square().mean()


SOFT: dict[str, SoftLoss] = {"ce": ce, "kl": kl, "mse": mse}
