"""What a sweep comes to on each dataset: its space less what task and teacher make impossible."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path

from distiller.spaces.datasets import TaskKind
from distiller.spaces.errors import InputError
from distiller.spaces.priors import OneOf
from distiller.spaces.space import Branch, Group, Space
from distiller.spaces.sweep import CacheConfig, SweepConfig

NEEDS_CLASSES = ("ce", "kl", "reverse_kl", "js", "dkd", "dist")
NO_CLASSES = "a regression has no class probabilities"
WORD_BY_WORD = ("mixup", "back_translation")
IMPOSSIBLE: Mapping[TaskKind, Mapping[str, tuple[tuple[str, ...], str, str]]] = types.MappingProxyType(
    {
        "regression": {"prediction": (NEEDS_CLASSES, NO_CLASSES, "mse or l1")},
        "qa": {"augmentation": (WORD_BY_WORD, "it would lose the words of the answer", "none")},
        "token_classification": {"augmentation": (WORD_BY_WORD, "its words would have no tags", "none")},
    }
)
"""By task and stage: the choices that mean nothing there, why, and what does."""


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
    kind = sweep.datasets[dataset].kind
    for stage, (choices, reason, instead) in IMPOSSIBLE.get(kind, {}).items():
        for choice in choices:
            if not any(choice in node.choices for node in space.stages[stage] if isinstance(node, Branch)):
                continue
            try:
                space = space.without(stage, choice)
            except InputError:
                raise InputError(
                    f"space.{stage}: nothing is left for {dataset}, a {kind} "
                    f"({choice}: {reason}); add {instead}"
                ) from None
            removed.append(f"{dataset}: {stage} {choice} left out ({reason})")
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
