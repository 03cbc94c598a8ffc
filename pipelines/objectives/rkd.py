"""Relational knowledge distillation: how examples lie to each other, not where they lie."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.objectives.masking import SAME, comparable


def rkd(student: Tensor, teacher: Tensor, mask: None, *, angle_weight: Tensor | float) -> Tensor:
    """Smooth L1 of distances between pairs, plus angle_weight times that of cosines of angles in triples.

    Park et al. 2019 (arXiv 1904.05068), eq. 5 to 9, as means: distances over ordered pairs, each side's
    divided by their mean; angles at j of the triples (i, j, k) of three different examples, in which
    coinciding states make a cosine of 0. student [B, Hs], teacher [B, Ht]; memory B^3. A batch of one has
    no pairs, one of two no triples: 0.
    """
    size = student.shape[0]
    if size < 2:
        return student.sum() * 0.0
    student, teacher = comparable(student, teacher, mask)
    own_distances, own_angles = _relations(student)
    distances, angles = _relations(teacher)
    other = ~torch.eye(size, dtype=torch.bool, device=student.device)
    pairs = F.smooth_l1_loss(own_distances, distances, reduction="sum") / (size * (size - 1))
    if size < 3:
        return pairs
    # [j, i, k]: the eye at j, and i, k, j all different.
    triples = other.unsqueeze(-1) & other.unsqueeze(-2) & other
    losses = F.smooth_l1_loss(own_angles, angles, reduction="none") * triples.to(own_angles.dtype)
    return pairs + angle_weight * losses.sum() / (size * (size - 1) * (size - 2))


def _relations(states: Tensor) -> tuple[Tensor, Tensor]:
    """Distances [B, B] over their mean off the diagonal, and cosines [j, i, k] of the angles at j."""
    size = states.shape[0]
    # Differences, not dot products: [CLS] states lie close together, and float32 would cancel.
    differences = states.unsqueeze(0) - states.unsqueeze(1)
    squares = differences.square().sum(-1)
    apart = squares > SAME * states.detach().square().sum(-1).mean()
    roots = torch.where(apart, squares, torch.ones_like(squares)).sqrt()
    distances = torch.where(apart, roots, torch.zeros_like(roots))
    mean = distances.sum() / (size * (size - 1))
    directions = torch.where(apart, 1.0 / roots, torch.zeros_like(roots)).unsqueeze(-1) * differences
    angles = directions @ directions.transpose(-1, -2)
    return distances / mean.clamp_min(torch.finfo(mean.dtype).tiny), angles
