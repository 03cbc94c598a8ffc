"""Our side of Ray's schedulers: one stopping rule per dataset, and the rows of the trials that it stops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from distiller.results.store import Store
from distiller.search.assignment import Assignment, Outcome, outcomes_from_json
from distiller.search.guarding import ends_the_launch
from distiller.search.rows import revived, space_columns
from distiller.search.stopping import Curve, Reached, StoppingRule, make_rule
from distiller.spaces.config import PipelineConfig
from distiller.spaces.search import Scheduler


class RungScheduler(FIFOScheduler):
    """Asks a dataset's rule at every rung: scores of different datasets are never compared.

    A trial takes part only in rungs at which it predicts: the score of one that is still in its first stage
    is neither judged nor held against others. A trial that is stopped gets its row here, since only here it
    is known. A worker that stands by is stopped once `release` says so, or a trial waits for its place.
    `fail` hears of what goes wrong here.
    """

    def __init__(self, store: Store, rungs: Sequence[int], scheduler: Scheduler | None):
        super().__init__()  # type: ignore[no-untyped-call]
        self.store, self.scheduler = store, scheduler
        self.rungs = list(rungs)
        self.errors: dict[str, Exception] = {}
        self.lost: dict[str, Any] = {}
        self.release: Callable[[], bool] = lambda: True
        self.fail: Callable[[Exception], None] = _raise
        self.by_dataset: dict[str, StoppingRule] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as with the searcher."""
        return {}

    def rule(self, dataset: str) -> StoppingRule:
        """What compares the trials of a dataset."""
        if dataset not in self.by_dataset:
            self.by_dataset[dataset] = make_rule(self.scheduler, len(self.rungs))
        return self.by_dataset[dataset]

    def _judges(self, config: PipelineConfig, step: int) -> bool:
        return config.predicts(step, steps=self.rungs[-1])

    def _judged(self, config: PipelineConfig, curve: Curve) -> Curve:
        return tuple((s, v) for s, v in curve if math.isfinite(v) and self._judges(config, s))

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Metric and mode are ours."""
        return True

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None: Tune starts what waits in any case, and gives a worker that is free what is newest.

        A trial named here would be taken from the worker that is being started for it, again and again where
        trials are shorter than a start, and one worker would do the work of all.
        """

    def learn(self, dataset: str, outcome: Outcome) -> None:
        """Take a finished trial of an earlier launch into the rungs that it reached."""
        if outcome.status == "failed":
            return
        self._learn(dataset, f"earlier-{outcome.config.config_id}", outcome, until=self.rungs[-1])

    def _learn(self, dataset: str, trial_id: str, outcome: Outcome, until: int) -> None:
        """Take scores of an outcome, up to a step, into the rungs; a rung that knows the trial stays."""
        config_id, curve = outcome.config.config_id, self._judged(outcome.config, outcome.curve)
        for number, (step, score) in enumerate(curve, 1):
            if step in self.rungs[:-1] and step <= until:
                rung = self.rungs.index(step)
                self.rule(dataset).stops(Reached(trial_id, config_id, rung, score, curve[:number]))

    @ends_the_launch(TrialScheduler.CONTINUE)
    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on, or stop here and now."""
        if "standby" in result:
            stops = self.orphaned() or self.release()
            ended: str = TrialScheduler.STOP if stops else TrialScheduler.CONTINUE
            return ended
        go_on: str = TrialScheduler.CONTINUE
        if "rung" not in result:
            return go_on
        assignment = _assigned(trial)
        self._learn_passed(assignment, trial, result)
        config, rung = assignment.tasks[0].config, result["rung"]
        if not self._judges(config, self.rungs[rung]):
            return go_on
        (outcome,) = outcomes_from_json(result["outcomes"])
        curve = self._judged(config, outcome.curve)
        reached = Reached(trial.trial_id, config.config_id, rung, result["score"], curve)
        if not self.rule(assignment.dataset).stops(reached):
            return go_on
        row, epochs = revived(result["if_stopped"])
        self.store.write_epochs(epochs)
        self.store.write_trial(row, space_columns(config))
        return str(TrialScheduler.STOP)

    def _learn_passed(self, assignment: Assignment, trial: Any, result: dict[str, Any]) -> None:
        """Rungs that a resumed trial passed before count for others; it is not judged there again."""
        if "resumed_from" in result and assignment.rungs:
            (outcome,) = outcomes_from_json(result["outcomes"])
            self._learn(assignment.dataset, trial.trial_id, outcome, int(result["resumed_from"]))

    @ends_the_launch()
    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """The last step is no rung: nothing to compare, but rungs that were passed before a crash count."""
        if "resumed_from" in result and len(_assigned(trial).tasks) == 1:
            self._learn_passed(_assigned(trial), trial, result)

    def orphaned(self) -> bool:
        """Whether a trial whose worker died waits for another one.

        Where a node died too, there is no room for it but that of workers that stand by.
        """
        over = (Trial.TERMINATED, Trial.ERROR)
        self.lost = {name: trial for name, trial in self.lost.items() if trial.status not in over}
        return any(trial.status == Trial.PENDING for trial in self.lost.values())

    @ends_the_launch()
    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to compare, but the searcher, which Ray tells less, wants the reason."""
        self.lost[trial.trial_id] = trial
        error = trial.get_error()
        if error is not None:
            self.errors[trial.trial_id] = error


def _raise(error: Exception) -> None:
    raise error


def _assigned(trial: Any) -> Assignment:
    return Assignment.from_json(trial.config["assignment"])
