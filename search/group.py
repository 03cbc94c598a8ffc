"""Trials in progress: a solo trial or a cohort, from its attempts' start to its rows."""

from __future__ import annotations

import json
import logging
import math
import traceback
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import ray

from distiller.results.patience import StorageError
from distiller.results.store import Store
from distiller.search.assignment import Assignment, Launch, Outcome, Task, outcomes_to_json
from distiller.search.notes import Notes
from distiller.search.past import costs_of, ended_outcomes
from distiller.search.rows import attempt_row, epoch_rows, now, one_line, space_columns, trial_row
from distiller.search.time_limit import TimeLimit
from distiller.search.unfit import TooManyError, UnfitNodeError
from distiller.spaces.search import Halving

if TYPE_CHECKING:  # another trainer than ours does without torch
    from collections.abc import Sequence

    from distiller.pipelines.cohort import Progress
    from distiller.pipelines.distill import StudentResult
    from distiller.search.assignment import Preparation


log = logging.getLogger(__name__)

MOST_TRIES = 3
"""Of a student alone, before it counts as too large: its neighbours on the device come and go."""


class Work(Protocol):
    """Trials that are taken from evaluation to evaluation; `Distillation` documents the members."""

    @property
    def finished(self) -> bool: ...
    @property
    def results(self) -> Sequence[StudentResult]: ...
    def advance(self) -> list[Progress]: ...
    def keep(self, members: Sequence[int]) -> None: ...
    def test(self) -> None: ...
    def columns(self, number: int, measured: bool, notes: list[str]) -> dict[str, Any]: ...


class Resumption(Protocol):
    """What trials go on from after their worker died; `search.resumption` documents the members."""

    @property
    def found_step(self) -> int | None: ...
    def keep(self, work: Any) -> None: ...
    def report(self) -> dict[str, Any]: ...
    def columns(self, wall_seconds: float) -> dict[str, Any]: ...
    def remove(self) -> None: ...


class Trainer(Protocol):
    """What has a worker's work done: `search.training.Training`; the tests have a quicker one."""

    def measure(self) -> None: ...
    def prepare(self, preparation: Preparation) -> dict[str, Any]: ...
    def resumption(self, assignment: Assignment, store: Store) -> Resumption: ...
    def begin(self, assignment: Assignment, resumption: Any, retried: bool) -> Work: ...
    def recover(self) -> None: ...
    def is_short_of_memory(self, error: Exception) -> bool: ...
    def make_room(self, assignment: Assignment) -> None: ...
    def wait_for_memory(self) -> None: ...


class Group:
    """Trials of an assignment that train together.

    Attributes:
        tasks: those that had not ended already, under a worker that died after that.
        attempts: the number of this attempt at each of them, recorded in the store.
        outcomes: of trials that have ended.
    """

    def __init__(
        self, launch: Launch, store: Store, trainer: Trainer, assignment: Assignment, tasks: tuple[Task, ...]
    ):
        self.launch, self.store, self.trainer = launch, store, trainer
        self.notes = Notes()
        self.work: Work | None = None
        self.tries = 0
        self.started_at = now()
        self._of(assignment, tasks)
        fresh = [self._record(task, 1) for task in tasks]
        ended = {} if all(fresh) else ended_outcomes(store, launch, assignment, tasks)
        self.outcomes = list(ended.values())
        if ended:
            left = [(t, f) for t, f in zip(tasks, fresh, strict=True) if t.config.config_id not in ended]
            fresh = [first for _, first in left]
            self._of(assignment, tuple(task for task, _ in left))
        with self.notes.taken():
            self.attempts = [
                1 if first else self._next_attempt(task)
                for task, first in zip(self.tasks, fresh, strict=True)
            ]

    def _of(self, assignment: Assignment, tasks: tuple[Task, ...]) -> None:
        self.tasks, self.assignment = tasks, replace(assignment, tasks=tasks)
        self.resumption = self.trainer.resumption(self.assignment, self.store)

    def _record(self, task: Task, attempt: int, found: int | None = None) -> bool:
        node = ray.get_runtime_context().get_node_id()
        row = attempt_row(self.launch, self.assignment, task, attempt, node, found)
        return self.store.write_attempt(row)

    def _next_attempt(self, task: Task) -> int:
        attempt, found = 2, self.resumption.found_step
        while not self._record(task, attempt, found):
            attempt += 1
        return attempt

    def step(self) -> dict[str, Any] | None:
        """On to the next rung, and what is said there; None at the end."""
        if not self.tasks:
            return None
        minutes = self.launch.sweep.resources.trial_minutes
        with self.notes.taken(), TimeLimit(minutes, self.started_at, self._too_slow):
            return self._tried()

    def _tried(self) -> dict[str, Any] | None:
        while True:
            try:
                return self._step()
            except StorageError:  # what is wrong is not the trial
                raise
            except UnfitNodeError as error:
                return {"refused": str(error), "done": True}
            except Exception as error:
                said, trace = one_line(error), traceback.format_exc()
                if not self.trainer.is_short_of_memory(error):
                    self._failed(said, trace)
                    return None
            # Only here, where no frame of the error holds them any more, the tensors can go.
            self.work = None
            self.trainer.make_room(self.assignment)
            if len(self.tasks) > 1:
                log.warning("a cohort of %d did not fit into memory: trained in halves", len(self.tasks))
                raise TooManyError
            self.tries += 1
            if self.tries >= MOST_TRIES:
                self._failed(said, trace)
                return None
            log.warning("did not fit into memory beside its neighbours: tried again")
            self.trainer.wait_for_memory()

    def halves(self) -> list[Group]:
        """The two halves of a cohort, under the same attempts."""
        middle, found = (len(self.tasks) + 1) // 2, list[Group]()
        for span in (slice(middle), slice(middle, None)):
            half = copy(self)
            half.attempts, half.tries = self.attempts[span], 0
            half.outcomes = self.outcomes if not found else []
            half._of(self.assignment, self.tasks[span])
            found.append(half)
        return found

    def _step(self) -> dict[str, Any] | None:
        if self.work is None:
            retried = max(self.attempts) > 1
            self.work = self.trainer.begin(self.assignment, self.resumption, retried)
        alone = self.launch.sweep.search.cohort == 1
        reports: list[Progress] = []
        while not self.work.finished:
            self.resumption.keep(self.work)  # not sooner: whether the trial goes on from a rung is known now
            reports = self.work.advance()
            if reports[0].step in self.assignment.rungs and not self.work.finished:
                if alone:
                    return self._report_rung(reports[0])
                self.work.keep(self._survivors(reports))
        if self.assignment.test:
            self.work.test()
        for number, result in enumerate(self.work.results):
            status = "failed" if result.error else "completed" if result.completed else "stopped"
            row, epochs = self._rows(number, status)
            self._commit(number, row, epochs)
            self.outcomes.append(self._outcome(number, status, row))
        self.work = None
        self.resumption.remove()
        return None

    def _survivors(self, reports: list[Progress]) -> list[int]:
        """Successive halving inside a cohort: the best 1 / reduction of its members go on.

        Those that do not predict yet go on too, uncompared.
        """
        scheduler, steps = self.launch.sweep.search.scheduler, self.launch.sweep.budget.steps
        assert isinstance(scheduler, Halving)
        compared = [r for r in reports if self.tasks[r.member].config.predicts(r.step, steps)]
        best = sorted((r for r in compared if r.error is None), key=lambda r: -r.score)
        going = [r.member for r in best[: math.ceil(len(compared) / scheduler.reduction)]]
        return going + [r.member for r in reports if r.error is None and r not in compared]

    def _report_rung(self, progress: Progress) -> dict[str, Any]:
        row, epochs = self._rows(0, "stopped")
        return {
            "score": progress.score,
            "rung": self.assignment.rungs.index(progress.step),
            "outcomes": outcomes_to_json([self._outcome(0, "stopped", row)]),
            "if_stopped": json.dumps({"row": row, "epochs": epochs}, default=str),
            "done": False,
            **self.resumption.report(),
        }

    def _failed(self, said: str, trace: str) -> None:
        """All of them failed: out of memory, a bug, a teacher that will not load."""
        told = {outcome.config.config_id for outcome in self.outcomes}
        for number, task in enumerate(self.tasks):
            if task.config.config_id in told:
                continue
            row, epochs = self._rows(number, "failed")
            self._commit(number, row | {"error": said, "traceback": trace}, epochs)
            curve = tuple((e["step"], e["score"]) for e in epochs if e["score"] is not None)
            seconds = row["wall_seconds"]
            self.outcomes.append(
                Outcome(task.config, task.origin, "failed", curve, row["steps"], said, seconds)
            )
        self.work = None
        self.resumption.remove()
        self.trainer.recover()

    def _too_slow(self, minutes: float, trace: str) -> None:
        """From another thread, while the work hangs: the rows, without what it has learned so far."""
        said = f"time limit: not done after {minutes:g} minutes (resources.trial_minutes)"
        for task, attempt in zip(self.tasks, self.attempts, strict=True):
            row = trial_row(
                self.launch, self.assignment, task, attempt, self.started_at, "failed", said, trace
            )
            self.store.write_trial(row, space_columns(task.config))

    def _commit(self, number: int, row: dict[str, Any], epochs: list[dict[str, Any]]) -> None:
        self.store.write_epochs(epochs)
        self.store.write_trial(row, space_columns(self.tasks[number].config))

    def _outcome(self, number: int, status: str, row: dict[str, Any]) -> Outcome:
        assert self.work is not None
        task, result = self.tasks[number], self.work.results[number]
        curve = tuple((p.step, p.score) for p in result.curve if p.error is None)
        steps = result.curve[-1].step if result.curve else 0
        seconds = (now() - self.started_at).total_seconds()
        return Outcome(task.config, task.origin, status, curve, steps, result.error, seconds, costs_of(row))

    def _rows(self, number: int, status: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The terminal row of a trial as things stand, and its epochs."""
        task, attempt = self.tasks[number], self.attempts[number]
        row = trial_row(self.launch, self.assignment, task, attempt, self.started_at, status)
        row |= self.resumption.columns(row["wall_seconds"])
        if self.work is None:
            return row, []
        row |= self.work.columns(number, status != "failed", self.notes.texts)
        result = self.work.results[number]
        row["error"] = result.error
        return row, epoch_rows(self.launch, self.assignment, task, attempt, result.curve)
