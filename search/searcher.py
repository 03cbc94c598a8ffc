"""Our side of Ray Tune: a Searcher that hands out preparations and assignments, and ASHA per dataset."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayTaskError
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from distiller.results.store import Store
from distiller.search.agenda import Agenda
from distiller.search.assignment import Assignment, Launch, Outcome, Preparation, outcomes_from_json
from distiller.search.prepared import Prepared
from distiller.search.progress import Progress
from distiller.search.rows import identity, now, revived, space_columns, trial_row
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError

AgendaOf = Callable[[str, list[Prepared]], Agenda]

STANDBY = {"standby": True}
"""What a worker is given while others decide what comes next: Tune would end its warm process."""


class AssignmentSearcher(Searcher):
    """Hands out preparations, then what the datasets' agendas have, dataset after dataset.

    A dataset's trials begin when it is prepared, while others still are.

    Attributes:
        problem: why the launch cannot go on, once something is wrong with a preparation or a node.
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
        self.workers = 0

    @property
    def finished(self) -> bool:
        """Whether every trial ended."""
        ready = len(self.agendas) == len(self.prepared)
        return ready and all(agenda.finished for agenda in self.agendas.values())

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
        if self._more_may_come() and self._busy() < self.workers:
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

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A rung was reached: show it. A worker no longer needs to be alone: go on."""
        if trial_id in self.preparing:
            self.alone = False
        elif trial_id in self.running and not result.get("done"):
            for outcome in outcomes_from_json(result["outcomes"]):
                self.progress.reached(self.running[trial_id], outcome)

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
        else:
            outcomes = outcomes_from_json(result["outcomes"])
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
        """A worker died, or could not start, once too often: its trials failed, and the driver says so."""
        said, trace = "the worker process died (killed, or out of memory)", None
        if isinstance(error, RayTaskError):
            said = f"{type(error.cause).__name__}: {' '.join(str(error.cause).split())}"[:500]
            trace = error.traceback_str
        attempts = {row["trial_id"]: row for row in self.store.unfinished_attempts(self.launch.sweep.name)}
        outcomes = []
        for task in assignment.tasks:
            begun = attempts.get(identity(self.launch, assignment, task)["trial_id"])
            attempt, started_at = (begun["attempt"], begun["started_at"]) if begun else (0, now())
            row = trial_row(self.launch, assignment, task, attempt, started_at, "failed", said, trace)
            self.store.write_trial(row, space_columns(task.config))
            outcomes.append(Outcome(task.config, task.origin, "failed", (), 0, said))
        return outcomes

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


class RungScheduler(FIFOScheduler):
    """Ray's ASHA, once per dataset: scores of different datasets are never compared.

    Rung i is time reduction ** i. A trial takes part only in rungs at which it predicts: the score of one
    that is still in its first stage is neither judged nor held against others. A trial that ASHA stops gets
    its row here, since only here it is known. A worker that stands by is stopped once `release` says so.
    """

    def __init__(self, store: Store, rungs: Sequence[int], reduction: int):
        super().__init__()  # type: ignore[no-untyped-call]
        self.store, self.reduction = store, reduction
        self.rungs = list(rungs)
        self.errors: dict[str, Exception] = {}
        self.release: Callable[[], bool] = lambda: True
        self.by_dataset: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as with the searcher."""
        return {}

    def _asha(self, dataset: str) -> Any:
        if dataset not in self.by_dataset:
            self.by_dataset[dataset] = AsyncHyperBandScheduler(
                time_attr="time",
                metric="score",
                mode="max",
                grace_period=1,
                reduction_factor=self.reduction,
                # Ray takes a logarithm of this: half a unit more keeps it from rounding a rung away.
                max_t=self.reduction ** (len(self.rungs) - 1) + 0.5,
            )
        return self.by_dataset[dataset]

    def _judges(self, config: PipelineConfig, step: int) -> bool:
        return config.predicts(step, steps=self.rungs[-1])

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Metric and mode are ours."""
        return True

    def learn(self, dataset: str, outcome: Outcome) -> None:
        """Take a finished trial of an earlier launch into the rungs that it reached."""
        if outcome.status == "failed":
            return
        past = _Past(f"earlier-{outcome.config.config_id}")
        asha = self._asha(dataset)
        asha.on_trial_add(None, past)
        for step, score in outcome.curve:
            if step in self.rungs[:-1] and math.isfinite(score) and self._judges(outcome.config, step):
                time = self.reduction ** self.rungs.index(step)
                asha.on_trial_result(None, past, {"time": time, "score": score})

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial starts."""
        if "assignment" in trial.config:
            self._asha(_assigned(trial).dataset).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on, or stop here and now."""
        if "standby" in result:
            ended: str = TrialScheduler.STOP if self.release() else TrialScheduler.CONTINUE
            return ended
        if "rung" not in result:
            go_on: str = TrialScheduler.CONTINUE
            return go_on
        assignment = _assigned(trial)
        if not self._judges(assignment.tasks[0].config, self.rungs[result["rung"]]):
            return str(TrialScheduler.CONTINUE)
        said = {"time": self.reduction ** result["rung"], "score": result["score"]}
        decision: str = self._asha(assignment.dataset).on_trial_result(tune_controller, trial, said)
        if decision == TrialScheduler.STOP:
            row, epochs = revived(result["if_stopped"])
            self.store.write_epochs(epochs)
            self.store.write_trial(row, space_columns(assignment.tasks[0].config))
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """The last step is no rung: nothing to compare."""

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to compare, but the searcher, which Ray tells less, wants the reason."""
        error = trial.get_error()
        if error is not None:
            self.errors[trial.trial_id] = error


@dataclass(frozen=True)
class _Past:
    trial_id: str


def _assigned(trial: Any) -> Assignment:
    return Assignment.from_json(trial.config["assignment"])
