"""What became of trials, read back from the store: of earlier launches, or of a worker that died."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from distiller.results.pareto import COST_COLUMNS
from distiller.results.schema import ROLES
from distiller.results.store import Store
from distiller.search.assignment import Assignment, Launch, Outcome, Task
from distiller.search.rows import identity
from distiller.spaces.config import PipelineConfig


def past_outcomes(store: Store, sweep: str, dataset: str) -> dict[str, list[Outcome]]:
    """The trials of a dataset that earlier launches finished, by role, in the order in which they ended."""
    found: dict[str, list[Outcome]] = {role: [] for role in ROLES}
    for row, outcome in _ended(store, sweep, lambda row: row["dataset"] == dataset):
        found[row["role"]].append(outcome)
    return found


def ended_outcomes(
    store: Store, launch: Launch, assignment: Assignment, tasks: tuple[Task, ...]
) -> dict[str, Outcome]:
    """By config_id, those of these trials that have their terminal row."""
    ids = {identity(launch, assignment, task)["trial_id"] for task in tasks}
    ended = _ended(store, launch.sweep.name, lambda row: row["trial_id"] in ids)
    return {row["config_id"]: outcome for row, outcome in ended}


def _ended(
    store: Store, sweep: str, wanted: Callable[[dict[str, Any]], bool]
) -> list[tuple[dict[str, Any], Outcome]]:
    rows = [row for row in store.read("trials", sweep).sort_by("ended_at").to_pylist() if wanted(row)]
    curves: dict[tuple[str, int], list[tuple[int, float]]] = {
        (row["trial_id"], row["attempt"]): [] for row in rows
    }
    for point in store.read("epochs", sweep).to_pylist():
        curve = curves.get((point["trial_id"], point["attempt"]))
        if curve is not None and point["score"] is not None:
            curve.append((point["step"], point["score"]))
    return [(row, _outcome(row, curves[row["trial_id"], row["attempt"]])) for row in rows]


def _outcome(row: dict[str, Any], curve: list[tuple[int, float]]) -> Outcome:
    return Outcome(
        PipelineConfig.model_validate_json(row["config"]),
        row["origin"],
        row["status"],
        tuple(sorted(curve)),
        row["steps"],
        row["error"],
        row["wall_seconds"] or 0.0,
        costs_of(row),
    )


def costs_of(row: Mapping[str, Any]) -> dict[str, float]:
    """What of a student's cost was measured, by objective."""
    return {cost: float(row[column]) for cost, column in COST_COLUMNS.items() if row.get(column) is not None}
