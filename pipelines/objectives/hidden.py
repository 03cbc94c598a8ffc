"""Objectives that compare vectors one by one: a student's state with the teacher's of the same place.

student and teacher are vectors of one width H: [B, H] or, token-wise, [B, T, H] with mask [B, T]. Every
loss is the mean over real vectors, 0 where there is none. What the mask hides, NaN included, changes
neither value nor gradient.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.objectives.masking import comparable, mean_over_real, unit


def mse(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Squared difference, mean over the width (TinyBERT's hidden loss, arXiv 1909.10351, eq. 8)."""
    student, teacher = comparable(student, teacher, mask)
    # One fused kernel each way, where a difference, its square and its mean are a pass over memory each.
    if mask is None:
        return F.mse_loss(student, teacher)
    squares = F.mse_loss(student, teacher, reduction="sum")
    return squares / ((mask > 0).to(squares.dtype).sum().clamp_min(1.0) * student.shape[-1])


def l1(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Absolute difference, mean over the width (factor transfer with p = 1, arXiv 1802.04977)."""
    student, teacher = comparable(student, teacher, mask)
    return mean_over_real((student - teacher).abs().mean(-1), mask)


def cosine(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """1 - cos(student, teacher), in [0, 2] (DistilBERT's L_cos, arXiv 1910.01108, section 2)."""
    student, teacher = comparable(student, teacher, mask)
    return mean_over_real(1.0 - (unit(student) * unit(teacher)).sum(-1), mask)


def pkd(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Squared distance of the L2-normalised vectors, summed over the width, in [0, 4].

    Patient knowledge distillation: Sun et al. 2019 (arXiv 1908.09355), eq. 7, as a mean over vectors.
    For non-zero vectors it is twice `cosine`.
    """
    student, teacher = comparable(student, teacher, mask)
    return mean_over_real((unit(student) - unit(teacher)).square().sum(-1), mask)


def ce(student: Tensor, teacher: Tensor, mask: Tensor | None, *, temperature: Tensor | float) -> Tensor:
    """Cross-entropy in nats of softmax(student / T) relative to softmax(teacher / T), over the width.

    He et al. 2021 (arXiv 2109.11105), section 3. It is `kl` plus the teacher's entropy: equal gradients.
    """
    student, teacher = comparable(student, teacher, mask)
    probabilities = F.softmax(teacher / temperature, -1)
    return mean_over_real(-(probabilities * F.log_softmax(student / temperature, -1)).sum(-1), mask)


def kl(student: Tensor, teacher: Tensor, mask: Tensor | None, *, temperature: Tensor | float) -> Tensor:
    """KL(softmax(teacher / T) || softmax(student / T)) in nats, over the width.

    He et al. 2021 (arXiv 2109.11105), section 3. Without the factor T^2 that logits get.
    """
    student, teacher = comparable(student, teacher, mask)
    own, said = F.log_softmax(student / temperature, -1), F.log_softmax(teacher / temperature, -1)
    return mean_over_real((said.exp() * (said - own)).sum(-1), mask)
