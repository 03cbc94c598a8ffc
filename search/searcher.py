"""Our side of Ray Tune: a Searcher that hands out assignments, and ASHA per dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayTaskError
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from distiller.results.store import Store
from distiller.search.agenda import Agenda
from distiller.search.assignment import Assignment, Launch, Outcome, outcomes_from_json
from distiller.search.progress import Progress
from distiller.search.rows import identity, now, space_columns, trial_row
from distiller.search.worker import revived


class AssignmentSearcher(Searcher):
    """Hands out what the datasets' agendas have, dataset after dataset, so that workers stay warm."""

    def __init__(
        self,
        launch: Launch,
        store: Store,
        progress: Progress,
        agendas: Sequence[Agenda],
        errors: Mapping[str, Exception],
    ):
        """`errors`: by Ray trial, what the scheduler heard of assignments that Ray gave up."""
        super().__init__(metric="score", mode="max")
        self.errors = errors
        self.launch, self.store, self.progress = launch, store, progress
        self.agendas = {agenda.dataset: agenda for agenda in agendas}
        self.running: dict[str, Assignment] = {}

    @property
    def finished(self) -> bool:
        """Whether every trial ended."""
        return all(agenda.finished for agenda in self.agendas.values())

    def suggest(self, trial_id: str) -> Any:
        """The next assignment; None where trials in progress decide what comes next."""
        for agenda in self.agendas.values():
            assignment = agenda.next()
            if assignment is not None:
                self.running[trial_id] = assignment
                self.progress.started(assignment)
                return {"assignment": assignment.to_json()}
        finished: str = Searcher.FINISHED
        return finished if self.finished else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A rung was reached: show it."""
        if not result.get("done"):
            for outcome in outcomes_from_json(result["outcomes"]):
                self.progress.reached(self.running[trial_id], outcome)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """An assignment ended: its rows are written, its outcomes told to the sampler."""
        assignment = self.running.pop(trial_id, None)
        if assignment is None:
            return
        if error or result is None or "outcomes" not in result:
            outcomes = self._give_up(assignment, self.errors.get(trial_id))
        else:
            outcomes = outcomes_from_json(result["outcomes"])
        for outcome in outcomes:
            self.progress.ended(assignment, outcome)
            self.agendas[assignment.dataset].ended(assignment, outcome)

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


class RungScheduler(FIFOScheduler):
    """Ray's ASHA, once per dataset: scores of different datasets are never compared.

    Rung i is time reduction ** i. A trial that it stops gets its row here, since only here it is known.
    """

    def __init__(self, store: Store, rungs: Sequence[int], reduction: int):
        super().__init__()  # type: ignore[no-untyped-call]
        self.store, self.reduction = store, reduction
        self.rungs = list(rungs)
        self.errors: dict[str, Exception] = {}
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
            if step in self.rungs[:-1] and math.isfinite(score):
                time = self.reduction ** self.rungs.index(step)
                asha.on_trial_result(None, past, {"time": time, "score": score})

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial starts."""
        self._asha(_assigned(trial).dataset).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on, or stop here and now."""
        if "rung" not in result:
            go_on: str = TrialScheduler.CONTINUE
            return go_on
        said = {"time": self.reduction ** result["rung"], "score": result["score"]}
        decision: str = self._asha(_assigned(trial).dataset).on_trial_result(tune_controller, trial, said)
        if decision == TrialScheduler.STOP:
            row, epochs = revived(result["if_stopped"])
            self.store.write_epochs(epochs)
            self.store.write_trial(row, space_columns(_assigned(trial).tasks[0].config))
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
