"""What `distiller plan` says of a sweep's cost: the estimate, and how many students share a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distiller.search.capacity import available_cpus
from distiller.search.estimate import Estimate, estimate
from distiller.search.gpu_memory import gpu_gib
from distiller.search.gpu_share import MemoryPlan, memory_plan
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import SweepConfig


@dataclass(frozen=True)
class Costs:
    """An estimate and, for a sweep that asks for GPUs, the plan of their memory.

    Attributes:
        unplanned: why there is no plan for a sweep that asks for GPUs.
    """

    estimate: Estimate
    gpu: MemoryPlan | None = None
    unplanned: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        plan = self.gpu
        memory = plan and {
            "student": plan.student,
            "dataset": plan.dataset,
            "bytes": {**vars(plan.footprint), "peak": plan.footprint.peak},
            "gib": plan.gib,
            "processes": plan.processes,
            "students": plan.students,
        }
        return {**self.estimate.to_dict(), "gpu": memory, "unplanned": self.unplanned}


def costs_of(
    sweep: SweepConfig,
    base: Path,
    workers: int | None,
    gib: float | None,
    timed: bool,
    say: Callable[[str], None],
) -> Costs:
    """The costs of a sweep on `workers` trials at a time, by default as many as this machine carries.

    `gib` is a GPU's memory, by default that of the smallest one here.

    Raises:
        InputError: a checkpoint cannot be loaded, or choices of the sweep do not fit together.
    """
    plan, unplanned = None, None
    if sweep.resources.gpus != 0:
        try:
            plan = memory_plan(sweep, base, gib if gib is not None else min(gpu_gib()))
        except InputError as error:
            if gib is not None:
                raise
            unplanned = f"{error}, or --gpu-gib"
    at_a_time = workers or _workers_here(sweep, plan)
    return Costs(estimate(sweep, base, at_a_time, timed, say), plan, unplanned)


def _workers_here(sweep: SweepConfig, plan: MemoryPlan | None) -> int:
    """Trials at a time on this machine; at least one, as a launch says what does not fit."""
    resources = sweep.resources
    fitting = int(available_cpus() / resources.cpus + 1e-9)
    if resources.gpus != 0:
        import torch

        if resources.gpus == "auto":
            share = 1 / max(1, plan.processes) if plan else 1.0
        else:
            share = float(resources.gpus)
        fitting = min(fitting, int(torch.cuda.device_count() / share + 1e-9))
    return max(1, min(fitting, resources.max_concurrent or fitting))


def render_costs(costs: Costs) -> RenderableType:
    """The same for a person."""
    found = costs.estimate
    columns = ("dataset", "active", "teacher passes", "texts", "cache", "teacher", "a full trial", "trials")
    table = Table(*columns)
    for cost in found.datasets:
        table.add_row(
            cost.dataset,
            f"{cost.active_parameters:.1f}",
            str(cost.teacher_passes),
            f"{cost.teacher_rows:,}",
            f"{cost.cache_gib:.2f} GiB",
            _seconds(cost.preparation_seconds),
            _seconds(cost.trial_seconds),
            _seconds(cost.trials_seconds),
        )
    said = [f"{cost.dataset}: {note}" for cost in found.datasets for note in cost.notes]
    if found.hours is not None and found.worker_gib is not None:
        said.append(
            f"about {found.hours:.2f} hours on {found.workers} worker{'s' * (found.workers != 1)}, each of "
            f"{found.worker_gib:.1f} GiB; nothing cached yet, within a factor of two"
        )
    said += [*found.notes, *([costs.gpu.said] if costs.gpu else []), *filter(None, [costs.unplanned])]
    return Group(table, *(Text(line) for line in said))


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
