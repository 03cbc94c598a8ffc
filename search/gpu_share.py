"""`resources: {gpus: auto}`: the share of a GPU that a trial, or a cohort, takes by the memory plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from distiller.search.assignment import Launch
from distiller.search.nodes import check_nodes, on_each, trial_nodes, wait_for_nodes
from distiller.spaces.sweep import SweepConfig

if TYPE_CHECKING:  # the driver starts without torch
    from distiller.pipelines.footprint import Footprint

MOST_PROCESSES = 8
"""Processes on one GPU at most: more only take turns, where cohorts do their work at once."""
USABLE = 0.95
"""Share of a GPU's memory that processes may fill."""
NODES_SECONDS = 1800.0
"""How long a launch waits for its `--nodes`."""


@dataclass(frozen=True)
class MemoryPlan:
    """What the largest cohort of a sweep takes of a GPU.

    Attributes:
        student: its architecture.
        members: students in it.
        gib: of one GPU.
        processes: how many such cohorts share it; 0 where it does not hold one.
    """

    student: str
    dataset: str
    members: int
    footprint: Footprint
    gib: float
    processes: int

    @property
    def students(self) -> int:
        """How many students train at once on a GPU."""
        return self.processes * self.members

    @property
    def said(self) -> str:
        """The plan in a line."""
        each = self.footprint.peak / (1 << 30)
        cohort = "a student" if self.members == 1 else f"a cohort of {self.members} students"
        plan = (
            f"{cohort} ({self.student}, {self.dataset}) takes about {each:.1f} GiB of a GPU's {self.gib:.0f}"
        )
        if self.processes:
            return f"{plan}: {self.processes} at a time, {self.students} students"
        return f"{plan}: more than there is; it is halved until it fits"


def memory_plan(sweep: SweepConfig, base: Path, gib: float) -> MemoryPlan:
    """The plan for the student, dataset and teacher of a sweep that take most; loads configs, no weights.

    Raises:
        InputError: a checkpoint that cannot be loaded.
    """
    found = max(_footprints(sweep, base), key=lambda each: each[2].peak)
    student, dataset, most = found
    processes = int(USABLE * gib * (1 << 30) // most.peak)
    return MemoryPlan(student, dataset, sweep.search.cohort, most, gib, min(processes, MOST_PROCESSES))


def _footprints(sweep: SweepConfig, base: Path) -> Iterator[tuple[str, str, Footprint]]:
    from distiller.pipelines.demand import Demand
    from distiller.pipelines.footprint import footprint
    from distiller.pipelines.pretrained import own_config
    from distiller.pipelines.student import layers_of
    from distiller.pipelines.task import Task
    from distiller.search.checkpoints import teacher_config
    from distiller.search.plan import planned_space, teachers_of
    from distiller.search.prepare import architectures, largest_batch

    for dataset, data in sweep.datasets.items():
        task = Task(kind=data.kind, labels=(), metric=data.headline, outputs=2, pair=False)
        for team in teachers_of(sweep.space_of(dataset)):
            teacher = teacher_config(sweep, team[0], base)
            layers = int(teacher.num_hidden_layers)
            space, _ = planned_space(sweep, dataset, layers)
            for name, choice in architectures(space, teacher, base).items():
                origin = own_config(choice, teacher, base)
                demand = Demand.of_space(space, [layers_of(choice, origin)], layers)
                size = (sweep.search.cohort, largest_batch(space), data.max_length)
                yield name, dataset, footprint(choice, origin, teacher, task, demand, *size)


def needs_share(launch: Launch) -> bool:
    """Whether the sweep leaves the share to the plan."""
    return launch.sweep.resources.gpus == "auto"


def with_gpu_share(launch: Launch, gib: Sequence[float], console: Console) -> Launch:
    """The launch with the plan's share in place of `auto`, for the smallest of the GPUs."""
    plan = memory_plan(launch.sweep, Path(launch.base), min(gib))
    return _with_share(launch, plan, console)


def _with_share(launch: Launch, plan: MemoryPlan, console: Console) -> Launch:
    console.print(plan.said, soft_wrap=True, highlight=False)
    resources = launch.sweep.resources.model_copy(update={"gpus": 1 / max(1, plan.processes)})
    return replace(launch, sweep=launch.sweep.model_copy(update={"resources": resources}))


def placed_on_nodes(launch: Launch, nodes: int, console: Console) -> Launch:
    """The launch once its nodes have joined and each can carry trials, its share of a GPU known.

    Raises:
        InputError: too few nodes join, or one cannot carry a trial.
    """
    wait_for_nodes(launch.sweep.resources, nodes, NODES_SECONDS, console)
    answers = check_nodes(launch, console)
    if not needs_share(launch):
        return launch
    gib = min(each for about in answers for each in about["gpu_gib"])
    # Asked of a node: the machine that launches need not see the teachers.
    first = trial_nodes(launch.sweep.resources)[:1]
    (plan,) = on_each(first, memory_plan, launch.sweep, Path(launch.base), gib)
    return _with_share(launch, plan, console)
