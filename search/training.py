"""A worker's real work: datasets and teachers made ready, students distilled and measured."""

from __future__ import annotations

from typing import Any

import torch

from distiller.pipelines.cohort import Member
from distiller.pipelines.cost import device_name
from distiller.pipelines.distill import Cohort, Distillation
from distiller.pipelines.student import architecture
from distiller.search.assignment import Assignment, Launch, Preparation, Task
from distiller.search.materials import material_for, worker_device
from distiller.search.prepare import answer, measure_latencies
from distiller.search.rows import result_columns


class Training:
    """The `Trainer` of a launch."""

    def __init__(self, launch: Launch):
        torch.set_num_threads(max(1, int(launch.sweep.resources.cpus)))
        self.launch = launch

    def measure(self) -> None:
        """Every architecture's latency, while nothing else runs."""
        measure_latencies(self.launch)

    def prepare(self, preparation: Preparation) -> dict[str, Any]:
        """What came of making a dataset and a teacher ready."""
        return answer(self.launch, preparation)

    def begin(self, assignment: Assignment, tasks: tuple[Task, ...]) -> DistillationWork:
        """Students that train together, at step 0."""
        return DistillationWork(self.launch, assignment, tasks)

    def recover(self) -> None:
        """Give back the memory of work that failed."""
        if worker_device().type == "cuda":
            torch.cuda.empty_cache()


class DistillationWork(Distillation):
    """A cohort of an assignment; says what its students add to their rows."""

    def __init__(self, launch: Launch, assignment: Assignment, tasks: tuple[Task, ...]):
        self.launch, self.assignment = launch, assignment
        members = tuple(Member(task.config, assignment.seed) for task in tasks)
        budget = launch.sweep.budget
        super().__init__(
            Cohort(members, budget.steps, assignment.seed, budget.evaluations, assignment.rungs),
            material_for(launch, assignment.dataset, tasks[0].config.teacher_name),
        )

    def columns(self, number: int, measured: bool, notes: list[str]) -> dict[str, Any]:
        """What student `number` adds to its row; its cost too where it is to be `measured`."""
        result, material = self.results[number], self.material
        student = result.member.config.student
        return result_columns(
            result,
            self.assignment,
            material,
            self.cost() if measured else None,
            architecture(student, material.origin(student).config),
            self.launch.sweep.budget.steps,
            device_name(material.device),
            notes,
        )
