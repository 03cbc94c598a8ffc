"""How much terms count as training goes on."""

from __future__ import annotations

from distiller.spaces.choice import Choice
from distiller.spaces.intermediate import FirstStage, Linear


def steps_before(share: float, steps: int) -> int:
    """How many of `steps` steps begin before `share` of the budget is behind."""
    return sum(step / steps < share for step in range(steps))


def scheduled(schedule: Choice | None, progress: float) -> float:
    """The share of its weight that a term has once `progress` of the budget is behind, in [0, 1]."""
    if isinstance(schedule, Linear):
        return 1.0 - progress
    if isinstance(schedule, FirstStage):
        return 1.0 if progress < schedule.share else 0.0
    return 1.0
