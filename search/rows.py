"""Rows of the results store, from what a worker knows."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from distiller.results.schema import trial_id
from distiller.search.assignment import Assignment, Launch, Task
from distiller.spaces.catalog import column_types
from distiller.spaces.config import PipelineConfig
from distiller.spaces.presets import PRESETS, preset_of

if TYPE_CHECKING:  # the driver uses this module without torch
    from distiller.pipelines.cohort import Progress
    from distiller.pipelines.distill import Cost, StudentResult
    from distiller.pipelines.material import Material

ARROW = {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}


def now() -> datetime:
    """The present in UTC."""
    return datetime.now(UTC)


def space_columns(config: PipelineConfig) -> dict[str, pa.DataType]:
    """Arrow types of a config's columns."""
    types = column_types()
    return {column: ARROW[types[column]] for column in config.columns()}


def identity(launch: Launch, assignment: Assignment, task: Task) -> dict[str, Any]:
    """The columns that say which trial a row belongs to."""
    config_id = task.config.config_id
    return {
        "sweep": launch.sweep.name,
        "trial_id": trial_id(assignment.dataset, config_id, assignment.seed, assignment.role),
        "dataset": assignment.dataset,
        "config_id": config_id,
        "seed": assignment.seed,
        "role": assignment.role,
    }


def attempt_row(
    launch: Launch,
    assignment: Assignment,
    task: Task,
    attempt: int,
    node: str,
    resumed_from: int | None = None,
) -> dict[str, Any]:
    """The row that records the start of an attempt; `resumed_from` is the step of what it found."""
    return {
        **identity(launch, assignment, task),
        "attempt": attempt,
        "origin": task.origin,
        "config": task.config.model_dump_json(),
        "started_at": now(),
        "host": platform.node(),
        "pid": os.getpid(),
        "node": node,
        "cohort": assignment.key,
        "member": assignment.tasks.index(task),
        "resumed_from": resumed_from,
    }


def trial_row(
    launch: Launch,
    assignment: Assignment,
    task: Task,
    attempt: int,
    started_at: datetime,
    status: str,
    error: str | None = None,
    trace: str | None = None,
) -> dict[str, Any]:
    """The part of a terminal row that is known even where nothing ran."""
    ended_at = now()
    task_kind = launch.sweep.datasets[assignment.dataset].kind
    return {
        **identity(launch, assignment, task),
        "attempt": attempt,
        "origin": task.origin,
        "preset": preset_of(task.config, task_kind),
        "config": task.config.model_dump_json(),
        "status": status,
        "error": error,
        "traceback": trace,
        "task_kind": task_kind,
        "metric": launch.sweep.datasets[assignment.dataset].headline,
        "teacher": task.config.teacher_name,
        "steps": 0,
        "budget_steps": launch.sweep.budget.steps,
        "fidelity": 0.0,
        "wall_seconds": (ended_at - started_at).total_seconds(),
        "host": platform.node(),
        "versions": json.dumps(launch.provenance["versions"]),
        "git_commit": launch.provenance["git_commit"],
        "distiller_version": launch.provenance["distiller_version"],
        "started_at": started_at,
        "ended_at": ended_at,
        **task.config.columns(),
    }


def result_columns(
    result: StudentResult,
    assignment: Assignment,
    material: Material,
    cost: Cost | None,
    architecture: str,
    budget_steps: int,
    device: str,
    notes: list[str],
) -> dict[str, Any]:
    """The columns that a trained student adds to its row."""
    task = material.dataset.task
    metric, preset = task.metric, preset_of(result.member.config, task.kind)
    lost = [] if preset is None else [f"preset {preset}: {d}" for d in PRESETS[preset].departures(task.kind)]
    metrics: dict[str, Mapping[str, float]] = {}
    columns: dict[str, Any] = {
        "student": architecture,
        "device": device,
        "teacher_score": material.teacher_scores["validation"][metric],
        "teacher_test_score": material.teacher_scores["test"][metric],
        "no_teacher_score": assignment.no_teacher.get(architecture),
        "adaptations": json.dumps([*lost, *result.adaptations, *notes]),
    }
    if result.curve:
        last, best = result.last, result.best
        columns |= {
            "score": _finite(last.score),
            "best_score": _finite(best.score),
            "best_step": best.step if _finite(best.score) is not None else None,
            "steps": last.step,
            "fidelity": last.step / budget_steps,
            "train_seconds": last.train_seconds,
            "examples": last.step * result.member.config.optimization.batch_size,
        }
        metrics["validation"] = last.metrics
    if result.test_metrics:
        metrics["test"] = result.test_metrics
        columns["test_score"] = result.test_metrics[metric]
    if cost is not None:
        columns |= {
            "parameters": cost.parameters,
            "flops": float(cost.flops),
            "latency_ms": cost.latency_ms,
            "peak_memory_bytes": cost.peak_memory_bytes,
        }
    columns["metrics"] = json.dumps(metrics)
    return columns


def epoch_rows(
    launch: Launch, assignment: Assignment, task: Task, attempt: int, curve: list[Progress]
) -> list[dict[str, Any]]:
    """One row per evaluation."""
    return [
        {
            **identity(launch, assignment, task),
            "attempt": attempt,
            "step": point.step,
            "fidelity": point.step / launch.sweep.budget.steps,
            "score": _finite(point.score),
            "loss": _finite(sum(point.losses.values())),
            "losses": json.dumps({k: _finite(v) for k, v in point.losses.items()}),
            "learning_rate": point.learning_rate,
            "train_seconds": point.train_seconds,
        }
        for point in curve
    ]


def one_line(error: BaseException) -> str:
    """What an error says, for a row."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def revived(payload: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row and epochs that travelled with a report, times read back."""
    data = json.loads(payload)
    row = data["row"]
    for column in ("started_at", "ended_at"):
        row[column] = datetime.fromisoformat(row[column])
    return row, data["epochs"]
