"""What a dataset and its teacher are like: the row of the `datasets` table, in a worker or right here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from distiller.pipelines.demand import Demand
from distiller.pipelines.material import Material, prepare_material
from distiller.pipelines.meta_features import Features, meta_features
from distiller.pipelines.own import adopt_own_parts
from distiller.results.store import Store
from distiller.search.plan import cache_from, planned_space, teachers_of
from distiller.search.teacher_shelf import TeacherShelf
from distiller.search.terminal import quiet_checkpoints
from distiller.spaces.config import MEAN
from distiller.spaces.sweep import SweepConfig


@dataclass(frozen=True)
class Described:
    """A dataset's row, as far as no trial is needed for it.

    Attributes:
        material: the dataset and its teacher.
        notes: what a person should know of the data.
    """

    row: dict[str, Any]
    material: Material
    notes: tuple[str, ...]


def described(sweep: SweepConfig, dataset: str, base: Path, store: Store | None) -> Described:
    """The dataset with its first teacher, made ready in this process; a launch finds both in its cache.

    Args:
        store: where fine-tuned teachers may lie already.

    Raises:
        InputError: data or teacher are not right.
    """
    adopt_own_parts()
    quiet_checkpoints()
    team = teachers_of(planned_space(sweep, dataset)[0])[0]
    shelf = TeacherShelf(store, keeps=False) if store else None
    material = prepare_material(
        dataset,
        sweep.datasets[dataset],
        team,
        sweep.teachers,
        cache_from(sweep.cache, base),
        base,
        torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        Demand(),
        shelf,
    )
    features = meta_features(material, sweep.teachers, shelf)
    row = dataset_row(sweep.name, MEAN.join(team), material, features)
    return Described(row, material, material.dataset.notes)


def dataset_row(sweep: str, teacher: str, material: Material, features: Features) -> dict[str, Any]:
    """A row of the `datasets` table."""
    data, task = material.dataset, material.dataset.task
    teacher_scores, majority = material.teacher_scores, material.majority_scores
    return {
        "sweep": sweep,
        "dataset": data.name,
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
        **features,
    }
