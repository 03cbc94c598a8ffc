"""Our side of Ray's schedulers: one stopping rule per dataset, and the rows of the trials that it stops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from distiller.results.store import Store
from distiller.search.assignment import Assignment, Outcome, outcomes_from_json
from distiller.search.rows import revived, space_columns
from distiller.search.stopping import Curve, Reached, StoppingRule, make_rule
from distiller.spaces.config import PipelineConfig
from distiller.spaces.search import Scheduler


class RungScheduler(FIFOScheduler):
    """Asks a dataset's rule at every rung: scores of different datasets are never compared.

    A trial takes part only in rungs at which it predicts: the score of one that is still in its first stage
    is neither judged nor held against others. A trial that is stopped gets its row here, since only here it
    is known. A worker that stands by is stopped once `release` says so.
    """

    def __init__(self, store: Store, rungs: Sequence[int], scheduler: Scheduler | None):
        super().__init__()  # type: ignore[no-untyped-call]
        self.store, self.scheduler = store, scheduler
        self.rungs = list(rungs)
        self.errors: dict[str, Exception] = {}
        self.release: Callable[[], bool] = lambda: True
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

    def learn(self, dataset: str, outcome: Outcome) -> None:
        """Take a finished trial of an earlier launch into the rungs that it reached."""
        if outcome.status == "failed":
            return
        config_id, curve = outcome.config.config_id, self._judged(outcome.config, outcome.curve)
        for number, (step, score) in enumerate(curve, 1):
            if step in self.rungs[:-1]:
                rung = self.rungs.index(step)
                reached = Reached(f"earlier-{config_id}", config_id, rung, score, curve[:number])
                self.rule(dataset).stops(reached)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on, or stop here and now."""
        if "standby" in result:
            ended: str = TrialScheduler.STOP if self.release() else TrialScheduler.CONTINUE
            return ended
        go_on: str = TrialScheduler.CONTINUE
        if "rung" not in result:
            return go_on
        assignment = _assigned(trial)
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

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """The last step is no rung: nothing to compare."""

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to compare, but the searcher, which Ray tells less, wants the reason."""
        error = trial.get_error()
        if error is not None:
            self.errors[trial.trial_id] = error


def _assigned(trial: Any) -> Assignment:
    return Assignment.from_json(trial.config["assignment"])
