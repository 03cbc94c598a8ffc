"""Which configs of earlier sweeps a dataset can be distilled with, and as what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict

from distiller.search.in_space import fitted
from distiller.search.plan import Tokenizers, cuts_alike, impossible, pretrained_of, teachers_of
from distiller.spaces.choice import Union, id_of, parts
from distiller.spaces.config import STAGES, PipelineConfig
from distiller.spaces.datasets import TaskKind
from distiller.spaces.errors import InputError
from distiller.spaces.files import parse_yaml, validated
from distiller.spaces.narrowing import nearest
from distiller.spaces.optimization import Teacher
from distiller.spaces.presets import augmentation_on, prediction_on
from distiller.spaces.space import Space
from distiller.spaces.student import Student, TeacherLayers


@dataclass(frozen=True)
class Wanted:
    """What a user asks of the student.

    Attributes:
        student: parameters of the student stage that must have these values.
        parameters, latency_ms: at most; as measured on earlier datasets.
    """

    student: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    latency_ms: float | None = None

    @classmethod
    def of(cls, student: str | None, parameters: int | None = None, latency: float | None = None) -> Wanted:
        """`student` is written `svd,layers=2,width=128`; the bare word is the initialization.

        Raises:
            InputError: it is written otherwise, or no student is such.
        """
        asked: dict[str, Any] = {}
        for part in student.split(",") if student is not None else ():
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not name or (equals and not value):
                raise InputError(f"--student {student}: write svd, layers=2 or svd,layers=2,width=128")
            asked["initialization" if not equals else name] = parse_yaml(value or name, "--student")
        known = STAGES["student"].part
        assert isinstance(known, Union)
        initialization = asked.get("initialization", "svd")
        if initialization not in known.choices:
            raise InputError(f"--student {initialization}: unknown; {nearest(initialization, known.choices)}")
        for name in asked.keys() - {"initialization"}:
            of = [initialization] if "initialization" in asked else list(known.choices)
            names = dict.fromkeys(parameter for choice in of for parameter in parts(known.choices[choice]))
            if name not in names:
                raise InputError(f"--student {name}: no such parameter; {nearest(name, names)}")
        return cls(asked, parameters, latency)

    def has_student(self, config: PipelineConfig) -> bool:
        """Whether a config's student is as asked for."""
        return all(getattr(config.student, name, None) == value for name, value in self.student.items())

    def with_student(self, config: PipelineConfig) -> PipelineConfig:
        """The config with a student as asked for, otherwise its own where it can be.

        Raises:
            InputError: there is no such student.
        """
        own = config.student.model_dump()
        same = self.student.get("initialization", own["initialization"]) == own["initialization"]
        written = {**(own if same else {}), **self.student}
        student = validated(_Student, {"student": written}, "--student").student
        return config.model_copy(update={"student": student})

    def too_costly(self, cost: Mapping[Any, Any]) -> str | None:
        """Which limit a config exceeds, as far as is known; None where it exceeds none."""
        for column, limit in (("parameters", self.parameters), ("latency_ms", self.latency_ms)):
            if limit is not None and not cost.get(column, float("nan")) <= limit:
                return f"{column} above {limit:,}, or not measured"
        return None


class _Student(BaseModel):
    model_config = ConfigDict(extra="forbid")
    student: Student


@dataclass(frozen=True)
class Place:
    """Where configs are to be trained.

    Attributes:
        space: of the dataset, as planned.
        narrowed: whether its sweep's file says what to search: a config must then lie in the space.
        kind: the dataset's kind of task.
        teacher_layers: of the leading teacher, None where the space minds them.
    """

    space: Space
    narrowed: bool
    kind: TaskKind
    tokenizers: Tokenizers
    teacher_layers: int | None = None

    @property
    def start(self) -> PipelineConfig:
        """What presets start with: a student with SVD embeddings if any, the middle of the optimization."""
        students = sorted(self.space.points("student"), key=lambda one: one["initialization"] != "svd")
        return PipelineConfig.model_validate(
            {
                "student": students[0],
                "optimization": next(iter(self.space.points("optimization"))),
                "teacher": [{"checkpoint": name} for name in teachers_of(self.space)[0]],
            }
        )

    def fit(self, config: PipelineConfig) -> PipelineConfig:
        """The config with this dataset's teachers, in its space; what its task has no place for is left out
        or stood in for, as in presets.

        Raises:
            InputError: why the dataset has no place for it.
        """
        teams = teachers_of(self.space)
        if config.teacher_names not in teams:
            taught = tuple(Teacher(checkpoint=name) for name in teams[0])
            config = config.model_copy(update={"teacher": taught})
        changes = {
            "prediction": prediction_on(config.prediction, self.kind),
            "augmentation": augmentation_on(config.augmentation, self.kind),
        }
        config = config.model_copy(update=changes)
        for stage, (choices, reason, _) in impossible(self.kind).items():
            for choice in config.slots(stage):
                if id_of(type(choice)) in choices:
                    raise InputError(f"{stage} {id_of(type(choice))}: {reason}")
        if not cuts_alike(config, self.tokenizers):
            raise InputError("it compares tokens that student and teacher cut differently")
        checkpoint = getattr(config.student, "checkpoint", None)
        if checkpoint is not None and checkpoint not in pretrained_of(self.space):
            raise InputError(f"student {checkpoint}: not in the space")
        copied = config.student.layers if isinstance(config.student, TeacherLayers) else 0
        if self.teacher_layers is not None and copied > self.teacher_layers:
            raise InputError("student of more layers than the teacher")
        return fitted(self.space, config)[0] if self.narrowed else config


def fitting(
    configs: Mapping[str, PipelineConfig], costs: pd.DataFrame, place: Place, wanted: Wanted
) -> tuple[dict[str, PipelineConfig], list[str]]:
    """By id, the configs that are wanted and have a place, as they would be trained; and why others are left
    out, one sentence a reason.

    Where none has the student that is asked for, all are taken with it.

    Raises:
        InputError: there is no such student; or its cost is asked for, which nobody knows.
    """
    notes: list[str] = []
    taken = {name: config for name, config in configs.items() if wanted.has_student(config)}
    if configs and not taken:
        if wanted.parameters is not None or wanted.latency_ms is not None:
            raise InputError(
                "--student: none of the earlier configs has it, so that its cost is unknown; "
                "leave out --max-parameters and --max-latency"
            )
        taken = {name: wanted.with_student(config) for name, config in configs.items()}
        notes.append(
            "no earlier config has this student: the other stages are recommended, with it in place "
            "of theirs; what share of the teacher's score it reaches was seen with theirs"
        )
    found: dict[str, PipelineConfig] = {}
    why: Counter[str] = Counter()
    changed = 0
    known = {str(name): row for name, row in costs.to_dict("index").items()}
    for name, config in taken.items():
        reason = wanted.too_costly(known.get(name, {}))
        if reason is None:
            try:
                found[name] = fit = place.fit(config)
                changed += fit.prediction != config.prediction or fit.augmentation != config.augmentation
                continue
            except InputError as error:
                reason = str(error)
        why[reason] += 1
    if changed:
        notes.append(
            f"{changed} of {len(found)} configs have parts that a task of {place.kind} has no place for, and "
            "are taken with what stands in for these"
        )
    counted = [f"{count} of {len(taken)} configs left out: {reason}" for reason, count in why.most_common()]
    return found, notes + counted
