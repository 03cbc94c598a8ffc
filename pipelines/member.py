"""A member of a cohort, what it reports, and which configs can be members of one cohort."""

from __future__ import annotations

from dataclasses import dataclass

from distiller.pipelines.material import Material
from distiller.pipelines.student import architecture, width_of
from distiller.spaces.augmentation import Mixup
from distiller.spaces.config import PipelineConfig


@dataclass(frozen=True)
class Member:
    """One student of a cohort: its config, and the seed of all that it starts from."""

    config: PipelineConfig
    seed: int


@dataclass(frozen=True)
class Progress:
    """One member at one evaluation.

    Attributes:
        score: the task's metric on validation; NaN once the member has diverged.
        losses: means since the last evaluation, by part; their sum is the loss.
        error: why the member cannot go on, None while it can.
    """

    member: int
    step: int
    score: float
    metrics: dict[str, float]
    losses: dict[str, float]
    learning_rate: float
    train_seconds: float
    error: str | None = None


def cohort_key(config: PipelineConfig, material: Material) -> tuple[object, ...]:
    """Equal for configs that can train in one cohort."""
    return (
        architecture(config.student, material.teacher.model.config),
        config.optimization.batch_size,
        config.optimization.dropout,
        config.uses_teacher,
        config.teacher,
    )


def adaptations(config: PipelineConfig, material: Material) -> list[str]:
    """What of a config was given a meaning that it does not say by itself."""
    teacher = material.teacher.model.config
    width = width_of(config.student, teacher)
    said = []
    for slot, term in enumerate(config.intermediate, 1):
        if getattr(term, "projection", None) == "none" and width != teacher.hidden_size:
            said.append(
                f"intermediate {slot}: projected, as widths differ ({width} and {teacher.hidden_size})"
            )
    if config.optimization.label_smoothing and material.dataset.task.kind == "regression":
        said.append("optimization: label_smoothing unused, as scores have no classes")
    mixups = [slot for slot, choice in enumerate(config.augmentation, 1) if isinstance(choice, Mixup)]
    said += [f"augmentation {slot}: unused, as slot {mixups[0]} mixes already" for slot in mixups[1:]]
    return said
