"""Learned maps from the student's width to the teacher's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

DEVIATION = 0.02
"""Of a projection's weights at the start: with torch's own start students learn far less."""


def projection_start(
    kind: str, student_width: int, teacher_width: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Start values of a projection: "linear" [Ht, Hs]; "mlp" with a second layer [Ht, Ht]; "none": none."""
    if kind == "none":
        return {}
    weight = torch.randn(teacher_width, student_width, generator=generator) * DEVIATION
    start = {"projection_weight": weight, "projection_bias": torch.zeros(teacher_width)}
    if kind == "mlp":
        # The second layer keeps the size of what it reads, or two small layers would say nothing at first.
        outer = torch.randn(teacher_width, teacher_width, generator=generator) * teacher_width**-0.5
        start |= {"projection_outer_weight": outer, "projection_outer_bias": torch.zeros(teacher_width)}
    return start


def project(states: Tensor, parameters: dict[str, Tensor]) -> Tensor:
    """States [..., Hs] in the teacher's width [..., Ht]; as they are where there is no projection."""
    if "projection_weight" not in parameters:
        return states
    states = F.linear(states, parameters["projection_weight"], parameters["projection_bias"])
    if "projection_outer_weight" in parameters:
        outer = parameters["projection_outer_weight"], parameters["projection_outer_bias"]
        states = F.linear(F.gelu(states), *outer)
    return states
