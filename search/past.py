"""What earlier launches found, as the sampler and the scheduler of a later one are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distiller.results.pareto import COST_COLUMNS
from distiller.results.schema import ROLES
from distiller.results.store import Store
from distiller.search.assignment import Outcome
from distiller.spaces.config import PipelineConfig


def past_outcomes(store: Store, sweep: str, dataset: str) -> dict[str, list[Outcome]]:
    """The trials of a dataset that earlier launches finished, by role, in the order in which they ended."""
    curves: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for row in store.read("epochs", sweep).to_pylist():
        if row["dataset"] == dataset and row["score"] is not None:
            curves.setdefault((row["trial_id"], row["attempt"]), []).append((row["step"], row["score"]))
    found: dict[str, list[Outcome]] = {role: [] for role in ROLES}
    for row in store.read("trials", sweep).sort_by("ended_at").to_pylist():
        if row["dataset"] == dataset:
            curve = tuple(sorted(curves.get((row["trial_id"], row["attempt"]), [])))
            config = PipelineConfig.model_validate_json(row["config"])
            outcome = Outcome(
                config, row["origin"], row["status"], curve, row["steps"], row["error"], costs_of(row)
            )
            found[row["role"]].append(outcome)
    return found


def costs_of(row: Mapping[str, Any]) -> dict[str, float]:
    """What of a student's cost was measured, by objective."""
    return {cost: float(row[column]) for cost, column in COST_COLUMNS.items() if row.get(column) is not None}
