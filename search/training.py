"""A worker's real work: datasets and teachers made ready, students distilled and measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from distiller.pipelines.cohort import Member, Progress
from distiller.pipelines.cost import device_name
from distiller.pipelines.distill import Cohort, StudentResult
from distiller.pipelines.student import architecture
from distiller.results.store import Store
from distiller.search.assignment import Assignment, Launch, Preparation
from distiller.search.materials import keep_only, trial_material, worker_device
from distiller.search.memory import give_back, wait_for_memory
from distiller.search.prepare import answer, measure_latencies
from distiller.search.resumption import Resumption
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

    def resumption(self, assignment: Assignment, store: Store) -> Resumption:
        """The student checkpoint of trials that train together."""
        return Resumption(self.launch, assignment, store)

    def begin(self, assignment: Assignment, resumption: Resumption, retried: bool) -> DistillationWork:
        """Students that train together, at step 0 or where an earlier attempt left them."""
        return DistillationWork(self.launch, assignment, resumption, retried)

    def recover(self) -> None:
        """Give back the memory of work that failed."""
        if worker_device().type == "cuda":
            torch.cuda.empty_cache()

    def is_short_of_memory(self, error: Exception) -> bool:
        """Whether the device, not the config, was the reason."""
        return isinstance(error, torch.OutOfMemoryError)

    def make_room(self, assignment: Assignment) -> None:
        """Let go of everything but what these trials need."""
        keep_only(self.launch, assignment.dataset, assignment.tasks[0].config.teacher_name)
        give_back(worker_device())

    def wait_for_memory(self) -> None:
        """Until neighbours on the device may have ended."""
        wait_for_memory(worker_device())


class DistillationWork:
    """A cohort of an assignment; says what its students add to their rows."""

    def __init__(self, launch: Launch, assignment: Assignment, resumption: Resumption, retried: bool):
        self.launch, self.assignment, self.resumption = launch, assignment, resumption
        members = tuple(Member(task.config, assignment.seed) for task in assignment.tasks)
        budget = launch.sweep.budget
        cohort = Cohort(members, budget.steps, assignment.seed, budget.evaluations, assignment.rungs)
        material = trial_material(launch, assignment.dataset, assignment.tasks[0].config.teacher_name)
        self.distillation = resumption.begin(cohort, material, retried)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.distillation.finished

    @property
    def results(self) -> list[StudentResult]:
        """One a task, as things stand."""
        return self.distillation.results

    def advance(self) -> list[Progress]:
        """On to the next evaluation; student checkpoints are written on the way."""
        return self.distillation.advance(lambda: self.resumption.keep(self))

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members only."""
        self.distillation.keep(members)

    def test(self) -> None:
        """Score those that are left on the test split."""
        self.distillation.test()

    def columns(self, number: int, measured: bool, notes: list[str]) -> dict[str, Any]:
        """What student `number` adds to its row; its cost too where it is to be `measured`."""
        result, material = self.results[number], self.distillation.material
        student = result.member.config.student
        return result_columns(
            result,
            self.assignment,
            material,
            self.distillation.cost() if measured else None,
            architecture(student, material.origin(student).config),
            self.launch.sweep.budget.steps,
            device_name(material.device),
            notes,
        )
