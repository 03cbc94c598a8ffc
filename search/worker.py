"""What a worker does: prepares datasets, runs the trials of assignments and writes their rows.

One process serves many assignments (`reuse_actors`), and keeps datasets, teachers and their outputs warm.
A trial that ends here (completed, failed, or dropped inside its cohort) is written here. A trial that
Tune's scheduler stops is written by the driver, which alone knows that it was stopped: the worker sends
the row along with each report.
"""

from __future__ import annotations

import json
import logging
import math
import time
import traceback
from typing import Any

import ray
import torch

from distiller.pipelines.cohort import Member, Progress
from distiller.pipelines.cost import device_name
from distiller.pipelines.distill import Cohort, Distillation
from distiller.pipelines.student import architecture
from distiller.results.store import Store
from distiller.search.agenda import cohort_group
from distiller.search.assignment import (
    Assignment,
    Launch,
    Outcome,
    Preparation,
    Task,
    outcomes_from_json,
    outcomes_to_json,
)
from distiller.search.materials import Notes, UnfitNodeError, keep_only, trial_material, worker_device
from distiller.search.memory import MOST_TRIES, give_back, halves, wait_for_memory
from distiller.search.prepare import answer, measure_latencies
from distiller.search.rows import attempt_row, epoch_rows, now, result_columns, space_columns, trial_row
from distiller.spaces.errors import InputError

log = logging.getLogger(__name__)

STANDBY_SECONDS = 0.2
"""Between two questions of a worker that stands by whether there is work."""


class TrialRunner:
    """Runs one preparation or assignment after another."""

    def __init__(self, launch: Launch):
        torch.set_num_threads(max(1, int(launch.sweep.resources.cpus)))
        self.launch = launch
        self.store = Store.open(launch.store)
        # By what a cohort shares, how many fitted into memory where more did not.
        self.fitting: dict[tuple[Any, ...], int] = {}

    def take(self, new_config: dict[str, Any]) -> None:
        """Turn to what the driver asks for: a key and its text."""
        self.preparation: Preparation | None = None
        self.stands_by = "standby" in new_config
        if self.stands_by:
            return
        if "preparation" in new_config:
            self.preparation = Preparation.from_json(new_config["preparation"])
            self.waits = self.preparation.alone
            return
        self.assignment = Assignment.from_json(new_config["assignment"])
        self.notes = Notes()
        self.work: Distillation | None = None
        self.attempts: list[int] = []
        self.tries = 0

    def _record_attempt(self, task: Task) -> int:
        node = ray.get_runtime_context().get_node_id()
        attempt = 1
        while not self.store.write_attempt(attempt_row(self.launch, self.assignment, task, attempt, node)):
            attempt += 1
        return attempt

    def step(self) -> dict[str, Any]:
        """On to the next rung (or to the end, where trials are compared inside the cohort)."""
        if self.stands_by:
            time.sleep(STANDBY_SECONDS)
            return {"standby": True, "done": False}
        if self.preparation is not None:
            return self._prepare(self.preparation)
        if not self.attempts:
            # Not in `setup`: where Ray has found a faster worker meanwhile, a slow one is set up and dropped.
            self.started_at = now()
            self.attempts = [self._record_attempt(task) for task in self.assignment.tasks]
        with self.notes.taken():
            return self._tried()

    def _tried(self) -> dict[str, Any]:
        tasks = self.assignment.tasks
        if len(tasks) > self.fitting.get(group := cohort_group(tasks[0].config), len(tasks)):
            return self._halved()
        try:
            return self._step()
        except UnfitNodeError as error:
            return {"refused": str(error), "done": True}
        except torch.OutOfMemoryError as error:
            said, trace = str(error), traceback.format_exc()
        except Exception as error:
            return self._failed(error, traceback.format_exc())
        # Only here, where no frame of the error holds them any more, the tensors can go.
        self.work = None
        keep_only(self.launch, self.assignment.dataset, tasks[0].config.teacher_name)
        give_back(worker_device())
        self.tries += 1
        if len(tasks) > 1:
            log.warning("a cohort of %d did not fit into memory: trained in halves", len(tasks))
            self.fitting[group] = (len(tasks) + 1) // 2
            return self._halved()
        if self.tries < MOST_TRIES:
            log.warning("did not fit into memory beside its neighbours: tried again")
            wait_for_memory(worker_device())
            return self._tried()
        return self._failed(torch.OutOfMemoryError(said), trace)

    def _halved(self) -> dict[str, Any]:
        """The two halves of a cohort, one after the other; each runs to its end."""
        whole, attempts, outcomes = self.assignment, self.attempts, []
        for self.assignment, self.attempts in halves(whole, attempts):
            self.tries = 0
            report = self._tried()
            if "outcomes" not in report:
                return report
            outcomes += outcomes_from_json(report["outcomes"])
        self.assignment, self.attempts = whole, attempts
        return {"outcomes": outcomes_to_json(outcomes), "done": True}

    def _prepare(self, preparation: Preparation) -> dict[str, Any]:
        if not self.waits:
            return answer(self.launch, preparation)
        self.waits = False
        try:
            measure_latencies(self.launch)
        except InputError as error:
            return {"refused": str(error), "done": True}
        return {"waits": False, "done": False}

    def _step(self) -> dict[str, Any]:
        if self.work is None:
            self.work = self._begin()
        alone = self.launch.sweep.search.cohort == 1
        reports: list[Progress] = []
        while not self.work.finished:
            reports = self.work.advance()
            if reports[0].step in self.assignment.rungs and not self.work.finished:
                if alone:
                    return self._report_rung(reports[0])
                self.work.keep(self._survivors(reports))
        if self.assignment.test:
            self.work.test()
        return self._finish()

    def _begin(self) -> Distillation:
        tasks = self.assignment.tasks
        material = trial_material(self.launch, self.assignment.dataset, tasks[0].config.teacher_name)
        members = tuple(Member(task.config, self.assignment.seed) for task in tasks)
        budget = self.launch.sweep.budget
        return Distillation(
            Cohort(members, budget.steps, self.assignment.seed, budget.evaluations, self.assignment.rungs),
            material,
        )

    def _survivors(self, reports: list[Progress]) -> list[int]:
        """Successive halving inside a cohort: the best 1 / reduction of its members go on.

        Those that do not predict yet go on too, uncompared.
        """
        scheduler, steps = self.launch.sweep.search.scheduler, self.launch.sweep.budget.steps
        assert scheduler is not None
        tasks = self.assignment.tasks
        compared = [r for r in reports if tasks[r.member].config.predicts(r.step, steps)]
        best = sorted((r for r in compared if r.error is None), key=lambda r: -r.score)
        going = [r.member for r in best[: math.ceil(len(compared) / scheduler.reduction)]]
        return going + [r.member for r in reports if r.error is None and r not in compared]

    def _report_rung(self, progress: Progress) -> dict[str, Any]:
        row, epochs = self._rows(0, "stopped")
        return {
            "score": progress.score,
            "rung": self.assignment.rungs.index(progress.step),
            "outcomes": outcomes_to_json([self._outcome(0, "stopped")]),
            "if_stopped": json.dumps({"row": row, "epochs": epochs}, default=str),
            "done": False,
        }

    def _finish(self) -> dict[str, Any]:
        assert self.work is not None
        outcomes = []
        for number, result in enumerate(self.work.results):
            status = "failed" if result.error else "completed" if result.completed else "stopped"
            row, epochs = self._rows(number, status)
            self._commit(number, row, epochs)
            outcomes.append(self._outcome(number, status))
        self.work = None
        return {"outcomes": outcomes_to_json(outcomes), "done": True}

    def _failed(self, error: Exception, trace: str) -> dict[str, Any]:
        """The whole assignment failed: out of memory, a bug, a teacher that will not load."""
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
        outcomes = []
        for number, task in enumerate(self.assignment.tasks):
            row, epochs = self._rows(number, "failed")
            self._commit(number, row | {"error": said, "traceback": trace}, epochs)
            curve = tuple((e["step"], e["score"]) for e in epochs if e["score"] is not None)
            outcomes.append(Outcome(task.config, task.origin, "failed", curve, row["steps"], said))
        self.work = None
        if worker_device().type == "cuda":
            torch.cuda.empty_cache()
        return {"outcomes": outcomes_to_json(outcomes), "done": True}

    def _commit(self, number: int, row: dict[str, Any], epochs: list[dict[str, Any]]) -> None:
        self.store.write_epochs(epochs)
        self.store.write_trial(row, space_columns(self.assignment.tasks[number].config))

    def _outcome(self, number: int, status: str) -> Outcome:
        assert self.work is not None
        task, result = self.assignment.tasks[number], self.work.results[number]
        curve = tuple((p.step, p.score) for p in result.curve if p.error is None)
        steps = result.curve[-1].step if result.curve else 0
        return Outcome(task.config, task.origin, status, curve, steps, result.error)

    def _rows(self, number: int, status: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The terminal row of a trial as things stand, and its epochs."""
        task, attempt = self.assignment.tasks[number], self.attempts[number]
        row = trial_row(self.launch, self.assignment, task, attempt, self.started_at, status)
        if self.work is None:
            return row, []
        result, material = self.work.results[number], self.work.material
        row |= result_columns(
            result,
            self.assignment,
            material,
            self.work.cost() if status != "failed" else None,
            architecture(task.config.student, material.origin(task.config.student).config),
            self.launch.sweep.budget.steps,
            device_name(material.device),
            self.notes.texts,
        )
        row["error"] = result.error
        return row, epoch_rows(self.launch, self.assignment, task, attempt, result.curve)
