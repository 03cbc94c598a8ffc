"""Our side of Ray Tune: a Searcher that hands out preparations and assignments."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ray.exceptions import RayTaskError
from ray.tune.search import Searcher

from distiller.results.patience import StorageError
from distiller.results.store import Store
from distiller.search.agenda import Agenda
from distiller.search.assignment import Assignment, Launch, Outcome, Preparation, Task, outcomes_from_json
from distiller.search.guarding import ends_the_launch
from distiller.search.past import ended_outcomes
from distiller.search.prepared import Prepared
from distiller.search.progress import Progress
from distiller.search.rows import identity, now, one_line, space_columns, trial_row
from distiller.spaces.errors import InputError

AgendaOf = Callable[[str, list[Prepared]], Agenda]

STANDBY = {"standby": True}
"""What a worker is given while others decide what comes next: Tune would end its warm process."""


class AssignmentSearcher(Searcher):
    """Hands out preparations, then what the datasets' agendas have, dataset after dataset.

    A dataset's trials begin when it is prepared, while others still are.

    Attributes:
        problem: why the launch cannot go on, once something is wrong with a preparation, a node or
            the storage.
        prepared_at: `time.perf_counter()` when the last preparation had ended.
    """

    def __init__(
        self,
        launch: Launch,
        store: Store,
        progress: Progress,
        preparations: Sequence[Preparation],
        agenda_of: AgendaOf,
        errors: Mapping[str, Exception],
    ):
        """`agenda_of` is asked for a dataset's trials when all its preparations, in order, have ended.

        `errors`: by Ray trial, what the scheduler heard of assignments that Ray gave up.
        """
        super().__init__(metric="score", mode="max")
        self.errors = errors
        self.launch, self.store, self.progress = launch, store, progress
        self.agenda_of = agenda_of
        self.waiting = list(preparations)
        self.alone = False
        self.preparing: dict[str, Preparation] = {}
        self.prepared: dict[str, list[Prepared | None]] = {}
        for preparation in preparations:
            self.prepared.setdefault(preparation.dataset, []).append(None)
        self.places = {
            preparation: sum(p.dataset == preparation.dataset for p in preparations[:number])
            for number, preparation in enumerate(preparations)
        }
        self.prepared_at: float | None = None
        self.problem: Exception | None = None
        self.agendas: dict[str, Agenda] = {}
        self.running: dict[str, Assignment] = {}
        self.next: Assignment | None = None
        self.standing: set[str] = set()
        self.orphaned: Callable[[], bool] = lambda: False
        self.ray_died: Callable[[], InputError | None] = lambda: None
        self.workers = 0

    @property
    def finished(self) -> bool:
        """Whether every trial ended."""
        ready = len(self.agendas) == len(self.prepared)
        return ready and all(agenda.finished for agenda in self.agendas.values())

    def fail(self, error: Exception) -> None:
        """The launch cannot go on; what went wrong first is what it ends with."""
        self.problem = self.problem or error

    @ends_the_launch()
    def suggest(self, trial_id: str) -> Any:
        """The next preparation or assignment; None where what is in progress decides what comes next."""
        if self.alone or self.problem is not None:
            return None
        if self.waiting:
            preparation = self.waiting.pop(0)
            self.preparing[trial_id] = preparation
            self.alone = preparation.alone
            self._count_workers()
            return {"preparation": preparation.to_json()}
        assignment, self.next = self._look_ahead(), None
        if assignment is not None:
            self.running[trial_id] = assignment
            self.progress.started(assignment)
            self._count_workers()
            return {"assignment": assignment.to_json()}
        finished: str = Searcher.FINISHED
        if self.finished:
            return finished
        # Those stand by who have worked before; no process is started for that.
        if self._more_may_come() and self._busy() < self.workers and not self.orphaned():
            self.standing.add(trial_id)
            return STANDBY
        return None

    def _busy(self) -> int:
        return len(self.preparing) + len(self.running) + len(self.standing)

    def _count_workers(self) -> None:
        self.workers = max(self.workers, self._busy())

    def _look_ahead(self) -> Assignment | None:
        for dataset in self.prepared:
            if self.next is None and dataset in self.agendas:
                self.next = self.agendas[dataset].next()
        return self.next

    def _more_may_come(self) -> bool:
        """Whether trials in progress decide about trials to come."""
        ready = len(self.agendas) == len(self.prepared)
        return not ready or any(agenda.steps for agenda in self.agendas.values())

    def release(self) -> bool:
        """Whether a worker that stands by is to stop: there is work for it, or there will be none."""
        if self.problem is not None:
            return True
        return self._look_ahead() is not None or not self._more_may_come()

    @ends_the_launch()
    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A rung was reached: show it. A worker no longer needs to be alone: go on."""
        if trial_id in self.preparing:
            self.alone = False
        elif trial_id in self.running and not result.get("done"):
            for outcome in outcomes_from_json(result["outcomes"]):
                self.progress.reached(self.running[trial_id], outcome)

    @ends_the_launch()
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """What a worker was given ended; of an assignment, rows are written and the sampler is told."""
        preparation = self.preparing.pop(trial_id, None)
        assignment = self.running.pop(trial_id, None)
        self.standing.discard(trial_id)
        if self.problem is not None:  # the launch is being stopped: what was running is no one's failure
            return
        if preparation is not None:
            self._prepared(preparation, {} if error or result is None else result, self.errors.get(trial_id))
        if assignment is None:
            return
        if result is not None and "refused" in result:  # the node's fault: its trials stay to be run
            self.problem = InputError(result["refused"])
            return
        if error or result is None or "outcomes" not in result:
            outcomes = self._give_up(assignment, self.errors.get(trial_id))
            if self.problem is not None:  # its checkpoint stays too
                return
        else:
            outcomes = outcomes_from_json(result["outcomes"])
        if error or result is None or result.get("checkpoint"):
            for tasks in assignment.groups():
                self.store.remove_checkpoint(self.launch.sweep.name, replace(assignment, tasks=tasks).key)
        for outcome in outcomes:
            self.progress.ended(assignment, outcome)
            self.agendas[assignment.dataset].ended(assignment, outcome)

    def _prepared(self, preparation: Preparation, result: dict[str, Any], error: Exception | None) -> None:
        """A preparation ended: its dataset's trials can begin, or the launch cannot go on."""
        self.alone = False
        dataset = preparation.dataset
        if "prepared" not in result:
            self.problem = _problem_of(preparation, result, error)
            return
        said = self.prepared[dataset]
        said[self.places[preparation]] = prepared = Prepared.from_json(result["prepared"])
        self.progress.prepared(dataset, prepared.notes, prepared.said)
        complete = [one for one in said if one is not None]
        if len(complete) < len(said):
            return
        try:
            self.agendas[dataset] = self.agenda_of(dataset, complete)
        except InputError as wrong:
            self.problem = wrong
        if len(self.agendas) == len(self.prepared):
            self.prepared_at = time.perf_counter()

    def _give_up(self, assignment: Assignment, error: Exception | None) -> list[Outcome]:
        """A worker died, or could not start, once too often: what it was at failed; the driver says so."""
        said, trace, at_once = "the worker process died (killed, or out of memory)", None, assignment.together
        if isinstance(error, RayTaskError):
            if isinstance(error.cause, StorageError):  # no trial's fault: the launch ends
                self.problem = error.cause
                return []
            said, trace, at_once = one_line(error.cause), error.traceback_str, True
        elif (died := self.ray_died()) is not None:  # nor is this: Tune tried it again where nothing runs
            self.problem = died
            return []
        ended = ended_outcomes(self.store, self.launch, assignment, assignment.tasks)
        left = [task for task in assignment.tasks if task.config.config_id not in ended]
        failed = left if at_once else left[:1]  # one after another: those behind it were never begun
        outcomes = [*ended.values(), *(self._failed(assignment, task, said, trace) for task in failed)]
        if never_begun := left[len(failed) :]:
            self.progress.dropped(assignment.dataset, len(never_begun))
            self.agendas[assignment.dataset].take_back(never_begun)
        return outcomes

    def _failed(self, assignment: Assignment, task: Task, said: str, trace: str | None) -> Outcome:
        attempts = {row["trial_id"]: row for row in self.store.unfinished_attempts(self.launch.sweep.name)}
        begun = attempts.get(identity(self.launch, assignment, task)["trial_id"])
        attempt, started_at = (begun["attempt"], begun["started_at"]) if begun else (0, now())
        row = trial_row(self.launch, assignment, task, attempt, started_at, "failed", said, trace)
        self.store.write_trial(row, space_columns(task.config))
        return Outcome(task.config, task.origin, "failed", (), 0, said, row["wall_seconds"])

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles the searcher for a restore that a relaunch from the store stands in for."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a relaunch rebuilds the searcher from the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called: Ray's own state is not resumed."""
        raise NotImplementedError("launch again instead: the store is the truth")


def _problem_of(preparation: Preparation, result: dict[str, Any], error: Exception | None) -> Exception:
    if "refused" in result:
        return InputError(result["refused"])
    if "broke" in result:
        broke = RuntimeError(result["broke"])
        broke.add_note(result["traceback"])
        return broke
    why = (
        f"the worker process died ({error})"
        if error
        else "the worker process died (killed, or out of memory)"
    )
    return RuntimeError(f"preparing {preparation.dataset} with {preparation.teacher}: {why}")
