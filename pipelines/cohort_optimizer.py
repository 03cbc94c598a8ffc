"""The optimizer of a cohort: what its students and terms learn, with each member's settings."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from distiller.pipelines.optimizer import (
    Settings,
    Solo,
    SoloAdamW,
    Stacked,
    StackedAdamW,
    decays,
    depths,
)
from distiller.pipelines.stack import StackedStudents
from distiller.pipelines.terms import TermGroup
from distiller.spaces.optimization import Optimization


def stacked_parameters(
    students: StackedStudents, terms: Sequence[TermGroup], device: torch.device
) -> list[Stacked]:
    """All leaves of several students and of their terms; what terms learn stands beside the head."""
    everyone, depth = torch.arange(students.count, device=device), depths(students.module)
    stacked = [
        Stacked(p, everyone, decays(name, p.dim() - 1), depth[name])
        for name, p in students.parameters.items()
    ]
    for group in terms:
        index = torch.tensor(group.members, device=device)
        stacked += [Stacked(p, index, decays(name, p.dim() - 2)) for name, p in group.parameters.items()]
    return stacked


def cohort_optimizer(
    students: StackedStudents,
    terms: Sequence[TermGroup],
    optimization: Sequence[Optimization],
    device: torch.device,
) -> SoloAdamW | StackedAdamW:
    """AdamW for one student, or for several on a leading axis, one `optimization` for each."""
    settings = [
        Settings(o.weight_decay, o.max_grad_norm, o.beta1, o.beta2, o.layer_decay) for o in optimization
    ]
    if students.stacked:
        return StackedAdamW(stacked_parameters(students, terms, device), settings)
    depth = depths(students.module)
    parameters = [Solo(p, decays(name, p.dim()), depth[name]) for name, p in students.parameters.items()]
    for group in terms:
        parameters += [Solo(p, decays(name, p.dim() - 2)) for name, p in group.parameters.items()]
    return SoloAdamW(parameters, settings[0])
