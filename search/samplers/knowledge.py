"""What a model is told, always the truth: by whole runs, by one fidelity, or by several objectives."""

from __future__ import annotations

import math
from collections import Counter

from distiller.search.assignment import Outcome
from distiller.search.samplers.group_tpe import Direction
from distiller.search.samplers.tpe import Tpe
from distiller.spaces.coordinates import depth
from distiller.spaces.search import Search
from distiller.spaces.space import Space


class WholeRuns:
    """Completed trials with their score, stopped ones as pruned with the scores that they had, failed ones
    as pruned without any, which ranks them below every score."""

    def __init__(self, space: Space, search: Search):
        self.model = Tpe(space)
        self.startup, self.told = search.startup, 0

    @property
    def ready(self) -> bool:
        return self.told >= self.startup

    def tell(self, outcome: Outcome) -> None:
        self.told += 1
        scores = _scores(outcome)
        completed = outcome.status == "completed" and bool(scores)
        self.model.observe(outcome.config, [scores[max(scores)]] if completed else None, scores)


class HighestFidelity:
    """The scores at one step: the highest that enough trials have reached (BOHB, Falkner et al. 2018,
    section 3.2: d + 3 for d parameters, here the most that a config has).

    Failed trials rank below every score. Scores of trials that do not predict yet are no observations.
    Departure: the estimator is Optuna's, which knows conditional parameters.
    """

    def __init__(self, space: Space, budget_steps: int):
        self.space, self.budget_steps = space, budget_steps
        self.enough = depth(space) + 3
        self.outcomes: list[Outcome] = []
        self.reached: Counter[int] = Counter()
        self.step: int | None = None
        self.model = Tpe(space)

    @property
    def ready(self) -> bool:
        return self.step is not None

    def tell(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        scores = self._observed(outcome)
        self.reached.update(scores.keys())
        step = max((s for s in scores if self.reached[s] >= self.enough), default=None)
        if step is not None and (self.step is None or step > self.step):
            self.step = step
            self._model_anew()
        else:
            self._show(outcome)

    def _model_anew(self) -> None:
        before, self.model = self.model, Tpe(self.space)
        for outcome in self.outcomes:
            before.forget(outcome.config.config_id)
            self._show(outcome)
        for config in before.pending():
            self.model.expect(config)

    def _show(self, outcome: Outcome) -> None:
        score = self._observed(outcome).get(self.step) if self.step is not None else None
        if score is not None:
            self.model.observe(outcome.config, [score])
        elif outcome.status == "failed":
            self.model.observe(outcome.config, None)
        else:
            self.model.forget(outcome.config.config_id)

    def _observed(self, outcome: Outcome) -> dict[int, float]:
        scores = _scores(outcome)
        return {s: v for s, v in scores.items() if outcome.config.predicts(s, self.budget_steps)}


class SeveralObjectives:
    """Completed trials with their score and costs; failed ones rank below them. One whose costs were not
    measured teaches nothing."""

    def __init__(self, space: Space, search: Search):
        self.costs = search.costs
        down: list[Direction] = ["minimize"] * len(self.costs)
        self.model = Tpe(space, ["maximize", *down])
        self.startup, self.told = search.startup, 0

    @property
    def ready(self) -> bool:
        return self.told >= self.startup

    def tell(self, outcome: Outcome) -> None:
        scores = _scores(outcome)
        if outcome.status == "failed":
            self.model.observe(outcome.config, None)
        elif scores and all(cost in outcome.costs for cost in self.costs):
            values = [scores[max(scores)], *(outcome.costs[cost] for cost in self.costs)]
            self.model.observe(outcome.config, values)
        else:
            self.model.forget(outcome.config.config_id)
            return
        self.told += 1


def _scores(outcome: Outcome) -> dict[int, float]:
    if outcome.status == "failed":
        return {}
    return {step: score for step, score in outcome.curve if math.isfinite(score)}
