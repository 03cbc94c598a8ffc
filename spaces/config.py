"""One point of the space: a frozen config of all stages, its id and its flat columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_serializer

from distiller.spaces.augmentation import Augmentation, NoAugmentation
from distiller.spaces.choice import KIND, Choice, Parameter, Union, members, parts, union_of
from distiller.spaces.errors import InputError
from distiller.spaces.intermediate import FirstStage, Intermediate, NoIntermediate
from distiller.spaces.optimization import Optimization, Teacher
from distiller.spaces.prediction import Kl, LabelsOnly, Prediction
from distiller.spaces.priors import Value
from distiller.spaces.student import Student, SvdEmbeddings

MAX_SLOTS = 3
MEAN = "+"
"""Between the names of teachers whose mean is the teacher; no name holds it."""


@dataclass(frozen=True)
class Stage:
    """A part of the KD pipeline: a union of choices or one model, in one slot or up to three."""

    part: Union | type[Choice]
    slots: int = 1
    ordered: bool = True
    """Whether the order of slots matters (the sum of intermediate terms has none)."""


STAGES: dict[str, Stage] = {
    "augmentation": Stage(union_of(*members(Augmentation)), MAX_SLOTS),
    "intermediate": Stage(union_of(*members(Intermediate)), MAX_SLOTS, ordered=False),
    "prediction": Stage(union_of(*members(Prediction))),
    "student": Stage(union_of(*members(Student))),
    "teacher": Stage(Teacher, MAX_SLOTS, ordered=False),
    "optimization": Stage(Optimization),
}
"""Every stage; a user's own parts are added to it (`distiller.spaces.own`)."""

SLOTTED = tuple(name for name, stage in STAGES.items() if stage.slots > 1)


class PipelineConfig(BaseModel):
    """A whole KD pipeline. Slotted stages take one choice or a list of up to three."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    augmentation: tuple[Augmentation, ...] = (NoAugmentation(),)
    intermediate: tuple[Intermediate, ...] = (NoIntermediate(),)
    prediction: Prediction = Kl()
    student: Student = SvdEmbeddings()
    teacher: tuple[Teacher, ...] = (Teacher(),)
    optimization: Optimization = Optimization()

    @field_validator(*SLOTTED, mode="before")
    @classmethod
    def _accept_one_slot(cls, written: Any) -> Any:
        return list(written) if isinstance(written, (list, tuple)) else [written]

    @field_validator("prediction", "student", mode="before")
    @classmethod
    def _accept_bare_id(cls, written: Any, info: Any) -> Any:
        part = STAGES[info.field_name].part
        return {part.tag: written} if isinstance(part, Union) and isinstance(written, str) else written

    @field_validator("augmentation", "intermediate", mode="before")
    @classmethod
    def _accept_bare_ids(cls, written: Any, info: Any) -> Any:
        part = STAGES[info.field_name].part
        assert isinstance(part, Union)
        slots = written if isinstance(written, (list, tuple)) else [written]
        return [{part.tag: w} if isinstance(w, str) else w for w in slots]

    @field_validator(*SLOTTED)
    @classmethod
    def _count_slots(cls, slots: tuple[Choice, ...]) -> tuple[Choice, ...]:
        if not 1 <= len(slots) <= MAX_SLOTS:
            raise ValueError(f"takes 1 to {MAX_SLOTS} slots, not {len(slots)}")
        return slots

    @model_serializer(mode="wrap")
    def _write_one_slot_plainly(self, dump: Any) -> dict[str, Any]:
        written: dict[str, Any] = dump(self)
        for name in SLOTTED:
            slots = written.get(name)
            if slots is not None and len(slots) == 1:
                written[name] = slots[0]
        return written

    @property
    def uses_teacher(self) -> bool:
        """Whether any part looks at the teacher: else unlabelled rows are of no use to it."""
        return self.teacher_ends > 0

    @property
    def teacher_ends(self) -> float:
        """The share of the budget after which no part looks at the teacher, 1 where one does to the end."""
        if not isinstance(self.prediction, LabelsOnly):
            return 1.0
        terms = [term for term in self.intermediate if not isinstance(term, NoIntermediate)]
        schedules = [getattr(term, "schedule", None) for term in terms]
        return max((s.share if isinstance(s, FirstStage) else 1.0 for s in schedules), default=0.0)

    @property
    def prediction_starts(self) -> float:
        """The share of the budget after which the prediction loss counts: that of the last first stage."""
        schedules = [getattr(term, "schedule", None) for term in self.intermediate]
        return max((s.share for s in schedules if isinstance(s, FirstStage)), default=0.0)

    def predicts(self, step: int, steps: int) -> bool:
        """Whether a student that has made `step` of `steps` steps has learned to predict in any of them.

        Before, its score is that of an untrained head and says nothing about the config.
        """
        return (step - 1) / steps >= self.prediction_starts

    @property
    def teacher_names(self) -> tuple[str, ...]:
        """The teachers in order of their names; the first leads: students share its tokenizer, family and
        width, and learn from its hidden states. One that fills two slots counts twice in the mean."""
        return tuple(sorted(teacher.checkpoint for teacher in self.teacher))

    @property
    def teacher_name(self) -> str:
        """One name for the teacher, `a+b` for the mean of two."""
        return MEAN.join(self.teacher_names)

    def slots(self, stage: str) -> tuple[Choice, ...]:
        """The stage's choices in order; a stage without slots has one."""
        value = getattr(self, stage)
        return value if isinstance(value, tuple) else (value,)

    def columns(self) -> dict[str, Value]:
        """The active parameters by column name (`intermediate_objective`, `intermediate_2_weight`, …)."""
        return {
            column: value
            for stage in STAGES
            for number, choice in enumerate(self.slots(stage), start=1)
            for column, value, _ in active(choice, STAGES[stage].part, column_prefix(stage, number))
        }

    @classmethod
    def from_columns(cls, row: Mapping[str, Any]) -> PipelineConfig:
        """The config whose `columns()` stand in `row`; other columns are ignored, null is None, NaN or NA.

        A row from before a parameter existed reads as that parameter's default.

        Raises:
            InputError: a stage's choice is missing, or a value is not what its column holds.
        """
        written: dict[str, Any] = {}
        for name, stage in STAGES.items():
            written[name] = [
                _gather(stage.part, column_prefix(name, number), row)
                for number in range(1, stage.slots + 1)
                if number == 1
                or any(c.startswith(column_prefix(name, number)) and not is_null(v) for c, v in row.items())
            ]
            if stage.slots == 1:
                written[name] = written[name][0]
        try:
            return cls.model_validate(written)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(f"columns of {place}: {first['input']!r}: {first['msg']}") from None

    def canonical(self) -> str:
        """JSON that is equal for equal pipelines: no `none` slot, no inactive parameter, no order
        where there is none, and no parameter at its default (so that a parameter added later does not
        rename old configs)."""
        stages = {}
        for name, stage in STAGES.items():
            slots = [
                {
                    column: value + 0.0 if isinstance(value, float) else value  # -0.0 is 0.0
                    for column, value, default in active(choice, stage.part, "")
                    if value != default
                }
                for choice in self.slots(name)
                if not isinstance(choice, (NoAugmentation, NoIntermediate))
            ]
            stages[name] = slots if stage.ordered else sorted(slots, key=_as_json)
        return _as_json(stages)

    @property
    def config_id(self) -> str:
        """12 hexadecimal digits of the SHA-256 of `canonical()`: the same on every machine."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:12]


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def column_prefix(stage: str, number: int) -> str:
    """`intermediate_` for the first slot, `intermediate_2_` for the second."""
    return f"{stage}_" if number == 1 else f"{stage}_{number}_"


def is_null(value: Any) -> bool:
    """Whether a table's cell is empty: None, NaN, or pandas' NA (which has no truth value)."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def active(
    choice: Choice, part: Union | type[Choice], prefix: str, default_id: str | None = None
) -> Iterator[tuple[str, Value, Any]]:
    """(column, value, default) of each active parameter; a stage's own tag has no default."""
    if isinstance(part, Union):
        name = getattr(choice, part.tag)
        yield (prefix.removesuffix("_") if part.tag == KIND else prefix + part.tag), name, default_id
    for name, inner in parts(type(choice)).items():
        value = getattr(choice, name)
        if isinstance(inner, Parameter):
            yield prefix + name, value, inner.default
        else:
            yield from active(value, inner, f"{prefix}{name}_", _default_id(type(choice), name, inner))


def _default_id(model: type[Choice], name: str, union: Union) -> str | None:
    """The id of the inner choice that `model` takes where none is named; None where one must be."""
    return getattr(model.model_fields[name].default, union.tag, None)


def _gather(
    part: Union | type[Choice], prefix: str, row: Mapping[str, Any], default_id: str | None = None
) -> dict[str, Any]:
    if isinstance(part, Union):
        tag_column = prefix.removesuffix("_") if part.tag == KIND else prefix + part.tag
        name = row.get(tag_column)
        if is_null(name):
            name = default_id
        if name is None:
            raise InputError(f"column {tag_column}: missing or null; a config needs it")
        if name not in part.choices:
            raise InputError(f"column {tag_column}: {name!r} is none of {', '.join(part.choices)}")
        model, written = part.choices[name], {part.tag: name}
    else:
        model, written = part, {}
    for name, inner in parts(model).items():
        if isinstance(inner, Parameter):
            column = prefix + name
            value = row.get(column)
            written[name] = inner.default if is_null(value) else _typed(column, value, inner.python_type)
        else:
            written[name] = _gather(inner, f"{prefix}{name}_", row, _default_id(model, name, inner))
    return written


def _typed(column: str, value: Any, python_type: type) -> Value:
    """`value` as `python_type`, nothing lost: tables write integers beside nulls as floats."""
    try:
        typed: Value | None = python_type(value)
    except (TypeError, ValueError, OverflowError):
        typed = None
    if typed is None or typed != value:
        raise InputError(f"column {column}: {value!r} is no {python_type.__name__}; mend the row")
    return typed
