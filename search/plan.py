"""What a sweep comes to on each dataset: its space less what task and teacher make impossible."""

from __future__ import annotations

from pathlib import Path

from distiller.spaces.errors import InputError
from distiller.spaces.priors import OneOf
from distiller.spaces.space import Branch, Group, Space
from distiller.spaces.sweep import CacheConfig, SweepConfig

NEEDS_CLASSES = ("kl", "ce")
"""Prediction losses on class probabilities: a regression has none."""


def planned_space(
    sweep: SweepConfig, dataset: str, teacher_layers: int | None = None
) -> tuple[Space, list[str]]:
    """The dataset's space as it will be searched, and what was taken out of it, by name.

    Raises:
        InputError: nothing would be left of a stage, or several teachers are asked of one trial.
    """
    space = sweep.space_of(dataset)
    removed = []
    if len(space.stages["teacher"]) > 1:
        raise InputError(
            "space.teacher.slots: a trial has one teacher; give checkpoint a list to choose from"
        )
    prediction = space.stages["prediction"][0]
    assert isinstance(prediction, Branch)
    if sweep.datasets[dataset].kind == "regression":
        for loss in NEEDS_CLASSES:
            if loss in prediction.choices:
                try:
                    space = space.without("prediction", loss)
                except InputError:
                    raise InputError(
                        f"space.prediction: {dataset} is a regression, where kl and ce mean nothing; add mse"
                    ) from None
                removed.append(
                    f"{dataset}: prediction {loss} left out (a regression has no class probabilities)"
                )
    if teacher_layers is not None:
        _check_student_layers(space, teacher_layers)
    return space, removed


def _check_student_layers(space: Space, teacher_layers: int) -> None:
    student = space.stages["student"][0]
    assert isinstance(student, Branch)
    group = student.choices.get("teacher_layers")
    if group is None:
        return
    layers = group.children["layers"]
    assert not isinstance(layers, (Branch, Group))
    most = max(layers.values) if isinstance(layers, OneOf) else layers.high
    if int(most) > teacher_layers:
        raise InputError(
            f"space.student.teacher_layers.layers: {most} is more than the teacher's {teacher_layers}; "
            "ask for at most that many"
        )


def cache_from(cache: CacheConfig, base: Path) -> CacheConfig:
    """The cache with its path absolute: like every path in the file, it starts from the file's folder."""
    return cache.model_copy(update={"path": str(base / Path(cache.path).expanduser())})
