"""What the driver knows of datasets and teachers: whether they are there, and what preparing them gave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distiller.pipelines.augment.requirements import check_choice
from distiller.pipelines.data import load_dataset
from distiller.pipelines.places import located
from distiller.results.store import Store
from distiller.search.assignment import Launch
from distiller.search.plan import (
    OneTokenizer,
    Tokenizers,
    place_of,
    planned_space,
    pretrained_of,
    teachers_of,
)
from distiller.spaces.augmentation import Augmentation
from distiller.spaces.config import MEAN, PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.space import slot_paths
from distiller.spaces.student import Student
from distiller.spaces.sweep import SweepConfig


def pairs_of(sweep: SweepConfig) -> list[tuple[str, str]]:
    """Every dataset with each of its teachers, in order; `a+b` is the mean of two."""
    return [
        (dataset, MEAN.join(team))
        for dataset in sweep.datasets
        for team in teachers_of(planned_space(sweep, dataset)[0])
    ]


@dataclass(frozen=True)
class Prepared:
    """A dataset with one teacher, ready; its row and what a person should know.

    Attributes:
        several_kinds: whether the teacher's layers are of several kinds.
    """

    dataset: str
    teacher: str
    teacher_layers: int
    row: dict[str, Any]
    architectures: dict[str, Student]
    notes: list[str]
    tokenizers: Tokenizers = OneTokenizer
    several_kinds: bool = False

    @property
    def said(self) -> str:
        """How well the teacher does, in a line."""
        score = self.row["teacher_score"]
        return f"{self.dataset}: teacher {self.teacher} has {self.row['metric']} {score:.4f} on validation"

    def to_json(self) -> str:
        """As text, for the way back through Ray."""
        students = {name: student.model_dump(mode="json") for name, student in self.architectures.items()}
        return json.dumps({**vars(self), "architectures": students, "tokenizers": self.tokenizers.to_json()})

    @classmethod
    def from_json(cls, text: str) -> Prepared:
        """What `to_json` wrote."""
        data = json.loads(text)
        data["architectures"] = {
            name: PipelineConfig.model_validate({"student": student}).student
            for name, student in data["architectures"].items()
        }
        data["tokenizers"] = Tokenizers.from_json(data["tokenizers"])
        return cls(**data)


def check_inputs(sweep: SweepConfig, base: Path) -> dict[str, str]:
    """Read every dataset, look for every checkpoint and what augmentation draws on, here and now.

    The fingerprint of each dataset's rows.

    Raises:
        InputError: what is wrong with one of them.
    """
    for name, teacher in sweep.teachers.items():
        located(teacher.model, base, f"teachers.{name}.model")
    for name in sweep.datasets:
        check_augmentation_inputs(sweep, name, base)
    fingerprints = {}
    for name, dataset in sweep.datasets.items():
        for checkpoint in pretrained_of(sweep.space_of(name)):
            located(checkpoint, base, f"{place_of(sweep, name, 'student')}.student.pretrained.checkpoint")
        fingerprints[name] = load_dataset(name, dataset, base).fingerprint
    return fingerprints


def check_augmentation_inputs(sweep: SweepConfig, dataset: str, base: Path) -> None:
    """Look for the checkpoints and the data that a dataset's augmentation draws on; loads none of them.

    Raises:
        InputError: one is missing; names the place in the sweep.
    """
    for choice, place in augmentation_choices(sweep, dataset):
        check_choice(choice, base, place)


def augmentation_choices(sweep: SweepConfig, dataset: str) -> Iterator[tuple[Augmentation, str]]:
    """What each slot of a dataset's augmentation may hold, and the slot's place in the sweep's file."""
    space, _ = planned_space(sweep, dataset)
    top = place_of(sweep, dataset, "augmentation")
    for slot, path in enumerate(slot_paths("augmentation", space.stages["augmentation"])):
        for written in space.points("augmentation", slot=slot):
            (choice,) = PipelineConfig.model_validate({"augmentation": written}).augmentation
            yield choice, f"{top}.{path}"


def record_dataset(launch: Launch, prepared: Prepared) -> None:
    """Write the row of the `datasets` table.

    Raises:
        InputError: the dataset's rows changed since the sweep's first trial.
    """
    store, sweep = Store.open(launch.store).patient(), launch.sweep.name
    before = {row["dataset"]: row["fingerprint"] for row in store.read("datasets", sweep).to_pylist()}
    begun = any(row["dataset"] == prepared.dataset for row in store.read("attempts", sweep).to_pylist())
    row = prepared.row
    if begun and before.get(prepared.dataset, row["fingerprint"]) != row["fingerprint"]:
        raise InputError(
            f"datasets.{prepared.dataset}: its rows changed since sweep {sweep!r} was launched; "
            "restore them or give the sweep another name"
        )
    store.write_dataset(row)
