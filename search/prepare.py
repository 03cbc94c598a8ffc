"""Before the first trial: teachers, their outputs and latencies, once per node; facts for the tables."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from transformers import AutoConfig, PretrainedConfig

from distiller.pipelines.checkpoint import from_pretrained, located
from distiller.pipelines.cost import latency_ms
from distiller.pipelines.data import load_dataset
from distiller.pipelines.streams import views_of
from distiller.pipelines.student import architecture, untrained
from distiller.results.store import Store
from distiller.search.assignment import Launch, Preparation
from distiller.search.materials import Notes, material_for, worker_device
from distiller.search.plan import planned_space
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.space import Space
from distiller.spaces.student import Student
from distiller.spaces.sweep import SweepConfig

MOST_ARCHITECTURES = 16
"""Architectures whose latency and no-teacher score are found before the search; others when first met."""


@dataclass(frozen=True)
class Prepared:
    """A dataset with one teacher, ready; its row and what a person should know."""

    dataset: str
    teacher: str
    teacher_layers: int
    row: dict[str, Any]
    architectures: dict[str, Student]
    notes: list[str]

    @property
    def said(self) -> str:
        """How well the teacher does, in a line."""
        score = self.row["teacher_score"]
        return f"{self.dataset}: teacher {self.teacher} has {self.row['metric']} {score:.4f} on validation"

    def to_json(self) -> str:
        """As text, for the way back through Ray."""
        students = {name: student.model_dump(mode="json") for name, student in self.architectures.items()}
        return json.dumps({**vars(self), "architectures": students})

    @classmethod
    def from_json(cls, text: str) -> Prepared:
        """What `to_json` wrote."""
        data = json.loads(text)
        data["architectures"] = {
            name: PipelineConfig.model_validate({"student": student}).student
            for name, student in data["architectures"].items()
        }
        return cls(**data)


def pairs_of(sweep: SweepConfig) -> list[tuple[str, str]]:
    """Every dataset with each of its teachers, in order."""
    pairs = []
    for dataset in sweep.datasets:
        space, _ = planned_space(sweep, dataset)
        teachers = {str(point["checkpoint"]) for point in space.points("teacher")}
        pairs += [(dataset, teacher) for teacher in sorted(teachers)]
    return pairs


def prepare(launch: Launch, dataset: str, teacher: str) -> Prepared:
    """Runs in a worker: load, fine-tune the teacher if asked, fill the cache for every view of the space."""
    notes = Notes()
    with notes.taken():
        material = material_for(launch, dataset, teacher)
        space, removed = planned_space(launch.sweep, dataset, material.teacher.layers)
        for written in space.points("augmentation"):
            config = PipelineConfig.model_validate({"augmentation": written})
            for view in views_of(config.augmentation):
                material.outputs(view)
    data, task = material.dataset, material.dataset.task
    teacher_scores, majority = material.teacher_scores, material.majority_scores
    row = {
        "sweep": launch.sweep.name,
        "dataset": dataset,
        "task_kind": task.kind,
        "metric": task.metric,
        "labels": task.outputs,
        "train_rows": len(data.splits["train"]),
        "unlabeled_rows": len(data.splits["unlabeled"]),
        "validation_rows": len(data.splits["validation"]),
        "test_rows": len(data.splits["test"]),
        "teacher": teacher,
        "teacher_score": teacher_scores["validation"][task.metric],
        "teacher_test_score": teacher_scores["test"][task.metric],
        "majority_score": majority["validation"][task.metric],
        "fingerprint": data.fingerprint,
    }
    found = architectures(space, material.teacher.model.config)
    said = [f"{dataset}: {note}" for note in (*data.notes, *notes.texts)]
    return Prepared(dataset, teacher, material.teacher.layers, row, found, [*removed, *said])


def answer(launch: Launch, preparation: Preparation) -> dict[str, Any]:
    """Runs in a worker: what came of a preparation, or why nothing did, for the driver."""
    try:
        return {"prepared": prepare(launch, preparation.dataset, preparation.teacher).to_json(), "done": True}
    except InputError as error:
        return {"refused": str(error), "done": True}
    except Exception as error:
        said = f"preparing {preparation.dataset} with {preparation.teacher}: {type(error).__name__}: {error}"
        return {"broke": said, "traceback": traceback.format_exc(), "done": True}


def architectures(space: Space, teacher: PretrainedConfig) -> dict[str, Student]:
    """One student choice per architecture of the space, up to a limit; SVD starts before random ones."""
    points = [
        PipelineConfig.model_validate({"student": written}).student
        for written in space.points("student", levels=8)
    ]
    points.sort(key=lambda student: student.initialization != "svd")
    found: dict[str, Student] = {}
    for student in points:
        if len(found) < MOST_ARCHITECTURES:
            found.setdefault(architecture(student, teacher), student)
    return found


def measure_latencies(launch: Launch) -> None:
    """Runs in the first worker while nothing else does: each architecture's latency, kept on its node.

    Raises:
        InputError: a teacher that cannot be read.
    """
    cache = Path(launch.sweep.cache.path)
    for dataset, name in pairs_of(launch.sweep):
        teacher, place = launch.sweep.teachers[name], f"teachers.{name}.model"
        source = located(teacher.model, Path(launch.base), place)
        config = from_pretrained(AutoConfig, source, teacher.revision, place)
        space, _ = planned_space(launch.sweep, dataset, int(config.num_hidden_layers))
        for known, student in architectures(space, config).items():
            model = untrained(student, config)
            latency_ms(cast(Any, model).to(worker_device()), known, cache)


def check_inputs(sweep: SweepConfig, base: Path) -> None:
    """Read every dataset and look for every teacher, here and now.

    Raises:
        InputError: what is wrong with one of them.
    """
    for name, teacher in sweep.teachers.items():
        located(teacher.model, base, f"teachers.{name}.model")
    for name, dataset in sweep.datasets.items():
        load_dataset(name, dataset, base)


def record_dataset(launch: Launch, prepared: Prepared) -> None:
    """Write the row of the `datasets` table.

    Raises:
        InputError: the dataset's rows changed since the sweep's first trial.
    """
    store, sweep = Store.open(launch.store), launch.sweep.name
    before = {row["dataset"]: row["fingerprint"] for row in store.read("datasets", sweep).to_pylist()}
    begun = any(row["dataset"] == prepared.dataset for row in store.read("attempts", sweep).to_pylist())
    row = prepared.row
    if begun and before.get(prepared.dataset, row["fingerprint"]) != row["fingerprint"]:
        raise InputError(
            f"datasets.{prepared.dataset}: its rows changed since sweep {sweep!r} was launched; "
            "restore them or give the sweep another name"
        )
    store.write_dataset(row)
