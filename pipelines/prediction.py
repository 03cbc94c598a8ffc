"""Losses on what a model predicts: its logits against labels (hard) or against a teacher (soft).

Every function takes ONE student's tensors and returns a scalar; `torch.func.vmap` adds the member axis.
A row is one decision among C classes: an example, a token, or the start of an answer among the positions
of a text. `seen` [N, C] marks the classes that a row has, None where every row has all of them. What is not
seen takes no part in softmax or mean, and may hold anything, NaN included: it changes neither value nor
gradient. A row with nothing seen does not count. Losses are means over the rows that count, 0 where there
is none. Settings that members of a cohort may differ in are 0-dim tensors (or floats).

Soft losses need no labels: they see every row. The teacher's side never gets a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Number = Tensor | float


def hard_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    labeled: Tensor,
    seen: Tensor | None = None,
    smoothing: Number | None = None,
) -> Tensor:
    """Cross-entropy with the labels, in nats: the mean over labelled rows.

    Label smoothing s (Szegedy et al. 2016, arXiv 1512.00567, section 7): the label's class has 1 - s of the
    mass, and s is spread evenly over all classes that the row has.

    Args:
        logits: [N, C].
        labels: [N] int64, anything where unlabelled. A row whose label is not among its classes has none.
        labeled: [N], above 0 where the row has a label.
    """
    known = torch.where(labeled > 0, labels, 0).unsqueeze(-1)
    weight = labeled > 0 if seen is None else (labeled > 0) & seen.gather(-1, known).squeeze(-1)
    log_probabilities = _log_probabilities(logits, 1.0, seen)
    losses = -log_probabilities.gather(-1, known).squeeze(-1)
    if smoothing is not None:
        losses = (1 - smoothing) * losses - smoothing * _mean_over_classes(log_probabilities, seen)
    return _mean_over(losses, weight)


def hard_binary_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    labeled: Tensor,
    seen: Tensor | None = None,
    smoothing: Number | None = None,
) -> Tensor:
    """Cross-entropy of C yes-or-no questions, in nats: the mean over questions and labelled rows.

    logits [N, C]; labels [N, C] of 0 and 1, anything where unlabelled; labeled [N]. Smoothing draws labels
    towards 1/2: y (1 - s) + s / 2.
    """
    counts = (labeled > 0).unsqueeze(-1).expand(logits.shape)
    counts = counts if seen is None else counts & seen
    visible = _visible(logits, seen)
    known = torch.where(counts, labels.to(visible.dtype), 0)
    wanted = known if smoothing is None else known * (1 - smoothing) + smoothing / 2
    losses = F.binary_cross_entropy_with_logits(visible, wanted, reduction="none")
    return _mean_over(_mean_over_classes(losses, seen), counts.any(-1))


def hard_mse(logits: Tensor, labels: Tensor, labeled: Tensor) -> Tensor:
    """Squared error of a regression: the mean over labelled rows.

    logits [N, 1]; labels [N] float, ignored (NaN included) where unlabelled; labeled [N].
    """
    return _mean_over(_errors(logits, labels, labeled).square(), labeled > 0)


def hard_l1(logits: Tensor, labels: Tensor, labeled: Tensor) -> Tensor:
    """Absolute error of a regression: the mean over labelled rows. Arguments as of `hard_mse`."""
    return _mean_over(_errors(logits, labels, labeled).abs(), labeled > 0)


def ce(student: Tensor, teacher: Tensor, seen: Tensor | None, *, temperature: Number) -> Tensor:
    """Cross-entropy with the teacher's softened probabilities, times T^2.

    Hinton et al. 2015 (arXiv 1503.02531), eq. 1 and the T^2 scaling of section 2: it keeps the size of
    the gradient as T grows. Logits [N, C]. Differs from `kl` by the teacher's entropy, constant in the
    student: equal gradients, another value.
    """
    said, wanted = _softened(student, teacher, seen, temperature)
    return _mean_over_rows(-(wanted.exp() * said).sum(-1), seen) * temperature**2


def kl(student: Tensor, teacher: Tensor, seen: Tensor | None, *, temperature: Number) -> Tensor:
    """T^2 KL(teacher || student) of the softened probabilities, in nats. Logits [N, C].

    Hinton et al. 2015, section 2; 0 exactly where the student's probabilities are the teacher's.
    """
    said, wanted = _softened(student, teacher, seen, temperature)
    return _mean_over_rows(_divergence(wanted, said), seen) * temperature**2


def reverse_kl(student: Tensor, teacher: Tensor, seen: Tensor | None, *, temperature: Number) -> Tensor:
    """T^2 KL(student || teacher) of the softened probabilities, in nats. Logits [N, C].

    Gu et al. 2024 (arXiv 2306.08543), eq. 1, whose sequence is one decision here: the student may leave
    out what the teacher holds possible, and pays for what the teacher excludes.
    """
    said, wanted = _softened(student, teacher, seen, temperature)
    return _mean_over_rows(_divergence(said, wanted), seen) * temperature**2


def js(student: Tensor, teacher: Tensor, seen: Tensor | None, *, temperature: Number) -> Tensor:
    """T^2 Jensen-Shannon divergence of the softened probabilities, in nats: at most T^2 log 2. [N, C].

    Lin 1991, eq. 4.1 with equal weights: the mean of both sides' KL divergence to their mixture.
    """
    said, wanted = _softened(student, teacher, seen, temperature)
    mixture = torch.logaddexp(said, wanted) - math.log(2.0)
    halves = _divergence(wanted, mixture) + _divergence(said, mixture)
    return _mean_over_rows(halves / 2, seen) * temperature**2


def dkd(
    student: Tensor,
    teacher: Tensor,
    seen: Tensor | None,
    *,
    target: Tensor,
    temperature: Number,
    target_weight: Number,
    rest_weight: Number,
) -> Tensor:
    """T^2 (target_weight TCKD + rest_weight NCKD): KL divergence taken apart at the target class.

    Zhao et al. 2022 (arXiv 2203.08679), eq. 7. TCKD is the KL divergence of (target, all others), NCKD
    that of the others among themselves; with p the teacher's softened probability of the target,
    KL(teacher || student) = TCKD + (1 - p) NCKD. Of two classes, NCKD is 0.

    Args:
        student, teacher: logits [N, C].
        target: [N] int64, a class that the row has.
    """
    is_target = torch.arange(student.shape[-1], device=student.device) == target.unsqueeze(-1)
    said, wanted = _softened(student, teacher, seen, temperature)
    said_pair, said_rest = _apart(said, is_target)
    wanted_pair, wanted_rest = _apart(wanted, is_target)
    rows = target_weight * _divergence(wanted_pair, said_pair)
    rows = rows + rest_weight * _divergence(wanted_rest, said_rest)
    return _mean_over_rows(rows, seen) * temperature**2


def dist(
    student: Tensor,
    teacher: Tensor,
    seen: Tensor | None,
    *,
    temperature: Number,
    batch_weight: Number,
    binary: bool = False,
) -> Tensor:
    """1 - Pearson's r of softened probabilities over a row's classes, plus the same over a class's rows.

    Huang et al. 2022 (arXiv 2205.10536), eq. 8 to 11; `batch_weight` is their gamma / beta. There is no T^2:
    a correlation does not shrink as T grows. Where the teacher does not vary (a uniform row, a batch of one)
    there is no correlation: such rows and classes do not count. Of two classes a row's r is 1 or -1, with no
    gradient: there only the term over the batch teaches.

    Args:
        student, teacher: logits [N, C].
        binary: classes do not exclude each other: probabilities are sigmoids, not a softmax.
    """
    said = _probabilities(student, seen, temperature, binary)
    wanted = _probabilities(teacher.detach(), seen, temperature, binary)
    over_batch = _decorrelation(said.mT, wanted.mT, None if seen is None else seen.mT)
    return _decorrelation(said, wanted, seen) + batch_weight * over_batch


def mse(student: Tensor, teacher: Tensor, seen: Tensor | None) -> Tensor:
    """Mean squared difference of logits [N, C] (Ba and Caruana 2014, arXiv 1312.6184, eq. 1).

    Also the soft loss of a regression, with C = 1.
    """
    return _mean_over_rows_and_classes(_difference(student, teacher, seen).square(), seen)


def l1(student: Tensor, teacher: Tensor, seen: Tensor | None) -> Tensor:
    """Mean absolute difference of logits [N, C]; of a regression's scores with C = 1."""
    return _mean_over_rows_and_classes(_difference(student, teacher, seen).abs(), seen)


@dataclass(frozen=True)
class SoftLoss:
    """A loss against the teacher.

    Attributes:
        loss: `loss(student [N, C], teacher [N, C], seen, **settings)`, the settings by the names that the
            choice's fields have.
        targeted: whether it also takes `target` [N], the row's label or else the teacher's best class.
        zero_at_equal: whether it is 0 where the student's logits are the teacher's.
        multi_label: how it takes C labels that do not exclude each other: as rows of two classes each
            ("pairs"), as they are ("scores"), or as they are with `binary=True` ("binary").
    """

    loss: Callable[..., Tensor]
    targeted: bool = False
    zero_at_equal: bool = True
    multi_label: Literal["pairs", "scores", "binary"] = "pairs"


SOFT: dict[str, SoftLoss] = {
    "ce": SoftLoss(ce, zero_at_equal=False),
    "kl": SoftLoss(kl),
    "reverse_kl": SoftLoss(reverse_kl),
    "js": SoftLoss(js),
    "dkd": SoftLoss(dkd, targeted=True),
    "dist": SoftLoss(dist, multi_label="binary"),
    "mse": SoftLoss(mse, multi_label="scores"),
    "l1": SoftLoss(l1, multi_label="scores"),
}


def _visible(logits: Tensor, seen: Tensor | None) -> Tensor:
    # Cached teacher logits are fp16, autocast gives bf16: probabilities and squares want float32 or wider.
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide if seen is None else torch.where(seen, wide, 0)


def _impossible(dtype: torch.dtype) -> float:
    # Finite, so that rows with nothing seen stay finite; a quarter, so that no difference overflows.
    return torch.finfo(dtype).min / 4


def _log_probabilities(logits: Tensor, temperature: Number, seen: Tensor | None) -> Tensor:
    scaled = _visible(logits, seen) / temperature
    if seen is not None:
        scaled = torch.where(seen, scaled, _impossible(scaled.dtype))
    return F.log_softmax(scaled, -1)


def _softened(
    student: Tensor, teacher: Tensor, seen: Tensor | None, temperature: Number
) -> tuple[Tensor, Tensor]:
    wanted = _log_probabilities(teacher.detach(), temperature, seen)
    return _log_probabilities(student, temperature, seen), wanted


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of each row, given log-probabilities."""
    return (p.exp() * (p - q)).sum(-1)


def _apart(log_probabilities: Tensor, is_target: Tensor) -> tuple[Tensor, Tensor]:
    """Logs of (target, all others) [N, 2], and of the others among themselves [N, C]."""
    own = torch.where(is_target, log_probabilities, 0).sum(-1, keepdim=True)
    others = torch.where(is_target, _impossible(log_probabilities.dtype), log_probabilities)
    together = others.logsumexp(-1, keepdim=True)
    return torch.cat([own, together], -1), others - together


def _probabilities(logits: Tensor, seen: Tensor | None, temperature: Number, binary: bool) -> Tensor:
    if binary:
        return torch.sigmoid(_visible(logits, seen) / temperature)
    return _log_probabilities(logits, temperature, seen).exp()


def _decorrelation(said: Tensor, wanted: Tensor, seen: Tensor | None) -> Tensor:
    """1 - Pearson's r along the last axis, mean over the rows in which `wanted` varies."""
    said, wanted = _centred(said, seen), _centred(wanted, seen)
    squares = wanted.square().sum(-1)
    # The floor lies under the root: what does not vary at all gets a finite gradient.
    scale = (said.square().sum(-1).clamp_min(1e-12) * squares.clamp_min(1e-12)).rsqrt()
    return _mean_over(1 - (said * wanted).sum(-1) * scale, squares > 1e-12)


def _centred(values: Tensor, seen: Tensor | None) -> Tensor:
    centred = values - _mean_over_classes(values, seen).unsqueeze(-1)
    return centred if seen is None else torch.where(seen, centred, 0)


def _difference(student: Tensor, teacher: Tensor, seen: Tensor | None) -> Tensor:
    return _visible(student, seen) - _visible(teacher.detach(), seen)


def _errors(logits: Tensor, labels: Tensor, labeled: Tensor) -> Tensor:
    return _visible(logits, None).squeeze(-1) - torch.where(labeled > 0, labels, 0)


def _mean_over(losses: Tensor, counts: Tensor) -> Tensor:
    weight = counts.to(losses.dtype)
    return (losses * weight).sum() / weight.sum().clamp_min(1.0)


def _mean_over_rows(losses: Tensor, seen: Tensor | None) -> Tensor:
    return losses.mean() if seen is None else _mean_over(losses, seen.any(-1))


def _mean_over_classes(values: Tensor, seen: Tensor | None) -> Tensor:
    if seen is None:
        return values.mean(-1)
    return torch.where(seen, values, 0).sum(-1) / seen.to(values.dtype).sum(-1).clamp_min(1.0)


def _mean_over_rows_and_classes(values: Tensor, seen: Tensor | None) -> Tensor:
    # One reduction where two would do: rows are of equal size.
    return values.mean() if seen is None else _mean_over_rows(_mean_over_classes(values, seen), seen)
