"""What earlier launches began and did not finish: cohorts stay together, as their checkpoint is of all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from distiller.search.assignment import Assignment, Task
from distiller.spaces.config import PipelineConfig


def begun_together(rows: Iterable[Mapping[str, Any]]) -> list[tuple[Task, ...]]:
    """Trials by cohort, from the rows of their last attempts; alone where a part of the cohort has ended."""
    cohorts: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        # Rows of earlier versions do not say their cohort.
        cohorts.setdefault(row["cohort"] or row["trial_id"], []).append(row)
    found: list[tuple[Task, ...]] = []
    for key, members in cohorts.items():
        members.sort(key=lambda row: row["member"] or 0)
        tasks = tuple(
            Task(PipelineConfig.model_validate_json(row["config"]), row["origin"]) for row in members
        )
        first = members[0]
        whole = Assignment(first["dataset"], first["role"], first["seed"], tasks).key == key
        found += [tasks] if whole else [(task,) for task in tasks]
    return found
