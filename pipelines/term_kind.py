"""What terms must share to be computed together, read off their choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distiller.pipelines.demand import reads_of
from distiller.pipelines.objectives import OBJECTIVES, State
from distiller.spaces.choice import Choice, Parameter, parts
from distiller.spaces.intermediate import Intermediate, NoIntermediate


@dataclass(frozen=True)
class Sizes:
    """What terms must know of student and teacher; `rows` is the size of the pool."""

    student_layers: int
    teacher_layers: int
    student_width: int
    teacher_width: int
    student_heads: int
    teacher_heads: int
    rows: int


@dataclass(frozen=True)
class TermKind:
    """What terms must share to be computed together: all but their floats."""

    slot: int
    objective: str
    reads: tuple[State, ...]
    mapping: tuple[tuple[str, Any], ...]
    projection: str
    shared: bool
    settings: tuple[tuple[str, Any], ...]


def kind_of(term: Intermediate, slot: int, sizes: Sizes) -> TermKind:
    """The kind of a term that is not `none`; projected where that is asked for or widths differ."""
    assert not isinstance(term, NoIntermediate)
    objective = OBJECTIVES[term.objective]
    asked = getattr(term, "projection", None)
    projection = "none" if asked is None or not objective.same_width else str(asked.kind)
    if projection == "none" and objective.same_width and sizes.student_width != sizes.teacher_width:
        projection = "linear"
    mapping = {n: v for n, v in term.mapping.model_dump().items() if not isinstance(v, float)}
    return TermKind(
        slot,
        term.objective,
        reads_of(term),
        tuple(sorted(mapping.items())),
        projection,
        bool(getattr(asked, "shared", False)),
        tuple(sorted(settings_of(term, structural=True).items())),
    )


def settings_of(term: Choice, structural: bool) -> dict[str, Any]:
    """What the objective is told by name: floats, which vary within a group, or all else."""
    return {
        name: getattr(term, name)
        for name, part in parts(type(term)).items()
        if isinstance(part, Parameter)
        and name not in ("weight", "representation")
        and (part.python_type is not float) == structural
    }
