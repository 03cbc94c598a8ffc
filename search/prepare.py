"""Before the first trial: teachers, their outputs and latencies, once per node; facts for the tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ray
import torch
from torch import nn

from distiller.pipelines.checkpoint import located
from distiller.pipelines.cost import latency_ms
from distiller.pipelines.data import load_dataset
from distiller.pipelines.streams import views_of
from distiller.pipelines.student import architecture, build_model
from distiller.results.store import Store
from distiller.search.assignment import Launch
from distiller.search.plan import planned_space
from distiller.search.session import concurrency
from distiller.search.worker import Notes, material_for
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


def prepare(launch: Launch, dataset: str, teacher: str, threads: int) -> Prepared:
    """Runs in a worker: load, fine-tune the teacher if asked, fill the cache for every view of the space."""
    torch.set_num_threads(threads)
    notes = Notes()
    logging.getLogger("distiller").addHandler(notes)
    try:
        material = material_for(launch, dataset, teacher)
        space, removed = planned_space(launch.sweep, dataset, material.teacher.layers)
        for written in space.points("augmentation"):
            config = PipelineConfig.model_validate({"augmentation": written})
            for view in views_of(config.augmentation):
                material.outputs(view)
    finally:
        logging.getLogger("distiller").removeHandler(notes)
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


def architectures(space: Space, teacher: Any) -> dict[str, Student]:
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


def measure_latencies(launch: Launch, prepared: Prepared) -> None:
    """Runs in a worker while nothing else does: the latency of each architecture, kept on the node."""
    torch.set_num_threads(max(1, int(launch.sweep.resources.cpus)))
    material = material_for(launch, prepared.dataset, prepared.teacher)
    for name, student in prepared.architectures.items():
        table = material.word_table(student, 0)
        model = build_model(student, material.teacher.model, material.dataset.task, table, None, 0)
        cast(nn.Module, model).to(material.device)
        latency_ms(model, name, Path(launch.sweep.cache.path).expanduser())


def check_inputs(sweep: SweepConfig, base: Path) -> None:
    """Read every dataset and look for every teacher, here and now.

    Raises:
        InputError: what is wrong with one of them.
    """
    for name, teacher in sweep.teachers.items():
        located(teacher.model, base, f"teachers.{name}.model")
    for name, dataset in sweep.datasets.items():
        load_dataset(name, dataset, base)


def cpus_of_tasks(tasks: int, slots: int, cpus: float) -> list[float]:
    """Cores of each of `tasks` tasks that run `slots` at a time: those left for the end share all of them."""
    late = tasks % slots
    return [cpus] * (tasks - late) + [cpus * (slots // late)] * late if late else [cpus] * tasks


def prepare_all(launch: Launch, pairs: Sequence[tuple[str, str]]) -> list[Prepared]:
    """Prepare every (dataset, teacher), side by side, and write the rows of the `datasets` table.

    Raises:
        InputError: what a worker found wrong with a dataset or a teacher, or rows that changed since the
            sweep's first trial.
    """
    resources = launch.sweep.resources
    options: dict[str, Any] = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "max_retries": 2}
    remote_prepare = ray.remote(**options)(prepare)
    remote_measure = ray.remote(**options)(measure_latencies)
    cpus = cpus_of_tasks(len(pairs), concurrency(resources), resources.cpus)
    try:
        prepared: list[Prepared] = ray.get(
            [
                remote_prepare.options(num_cpus=share).remote(launch, *pair, max(1, int(share)))
                for pair, share in zip(pairs, cpus, strict=True)
            ]
        )
        by_teacher = {p.teacher: p for p in reversed(prepared)}
        for one in by_teacher.values():
            ray.get(remote_measure.remote(launch, one))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(str(error.cause)) from None
        raise
    store = Store.open(launch.store)
    first_teacher: dict[str, Prepared] = {}
    for one in prepared:
        first_teacher.setdefault(one.dataset, one)
    begun = store.read("attempts", launch.sweep.name).num_rows > 0
    before = {
        row["dataset"]: row["fingerprint"] for row in store.read("datasets", launch.sweep.name).to_pylist()
    }
    for one in first_teacher.values():
        if begun and before.get(one.dataset, one.row["fingerprint"]) != one.row["fingerprint"]:
            raise InputError(
                f"datasets.{one.dataset}: its rows changed since sweep {launch.sweep.name!r} was launched; "
                "restore them or give the sweep another name"
            )
    for one in first_teacher.values():
        store.write_dataset(one.row)
    return prepared
