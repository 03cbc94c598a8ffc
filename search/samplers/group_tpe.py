"""Optuna's TPE for large conditional spaces: it models the parameters that a config has, and no others.

Optuna's `group=True` splits the history anew for every group of parameters, also for those under choices that
the config at hand does not take: 56 groups in the full space. Here the history is split once a config, and a
group is drawn when its first parameter is asked for. The estimator and its acquisition are Optuna's.
"""

from __future__ import annotations

import math
import warnings
from bisect import insort
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from distiller.results.pareto import pareto, spread

Distributions = Mapping[str, BaseDistribution]
Direction = Literal["minimize", "maximize"]
Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

GOOD_SHARE, MOST_GOOD = 0.1, 25
"""Optuna's default split: the best tenth counts as good; of one objective, at most so many trials."""


class Groups:
    """Parameters that always occur together: the coarsest partition in which each trial has whole groups."""

    def __init__(self) -> None:
        self.groups: list[dict[str, BaseDistribution]] = []
        self.seen: set[frozenset[str]] = set()

    def add(self, distributions: Distributions) -> None:
        """A trial had these parameters."""
        names = frozenset(distributions)
        if names in self.seen:
            return
        self.seen.add(names)
        refined, new = [], set(names)
        for group in self.groups:
            new -= group.keys()
            refined.append({name: group[name] for name in group if name in names})
            refined.append({name: group[name] for name in group if name not in names})
        refined.append({name: distributions[name] for name in sorted(new)})
        self.groups = [group for group in refined if group]

    def around(self, name: str, distribution: BaseDistribution) -> dict[str, BaseDistribution]:
        """The group of a parameter; itself alone where no trial had it."""
        return next((group for group in self.groups if name in group), {name: distribution})


class History:
    """Trials as the estimator wants them: parameters by trial number (NaN where one has it not), and ranks.

    What a trial drew never changes, nor how it ended: each is looked at once, not for every config to come.

    Attributes:
        ended: trials that completed or were pruned, in the order of their numbers.
        running: numbers of those that run.
    """

    def __init__(self, directions: Sequence[Direction]) -> None:
        self.signs = [1.0 if direction == "maximize" else -1.0 for direction in directions]
        self.columns: dict[str, Floats] = {}
        self.trials = 0
        self.ended: list[FrozenTrial] = []
        self.running: set[int] = set()
        self._ranked: list[tuple[Rank, int]] = []

    def extend(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in those that are new; `trials` are all, by number."""
        for trial in trials[self.trials :]:
            for name, value in trial.params.items():
                self._put(name, trial.number, trial.distributions[name].to_internal_repr(value))
            if trial.params and trial.state == TrialState.RUNNING:
                self.running.add(trial.number)
            elif trial.params and trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                self.ended.append(trial)
                if len(self.signs) == 1:
                    insort(self._ranked, (_rank(trial, self.signs[0]), trial.number))
        self.trials = len(trials)
        self.running = {number for number in self.running if trials[number].state == TrialState.RUNNING}

    def _put(self, name: str, number: int, value: float) -> None:
        column = self.columns.get(name, np.full(64, np.nan))
        if number >= len(column):
            column = np.append(column, np.full(max(len(column), number + 1 - len(column)), np.nan))
        column[number] = value
        self.columns[name] = column

    def halves(self) -> tuple[Numbers, Numbers]:
        """Numbers of the good trials and of the bad ones, running ones among these, each in their order."""
        most = math.ceil(GOOD_SHARE * len(self.ended))
        if len(self.signs) == 1:
            good = {number for _, number in self._ranked[: min(most, MOST_GOOD)]}
        else:
            good = {trial.number for trial in best_of(self.ended, self.signs, most)}
        bad = sorted([*(t.number for t in self.ended if t.number not in good), *self.running])
        return np.array(sorted(good), np.int64), np.array(bad, np.int64)

    def of(self, names: Sequence[str], numbers: Numbers) -> dict[str, Floats]:
        """The values of those trials among `numbers` that have all of `names`."""
        values = np.full((len(names), len(numbers)), np.nan)
        for row, name in zip(values, names, strict=True):
            column = self.columns.get(name, values[0, :0])
            known = numbers < len(column)
            row[known] = column[numbers[known]]
        return dict(zip(names, values[:, ~np.isnan(values).any(axis=0)], strict=True))


class GroupTpeSampler(optuna.samplers.TPESampler):
    """Draws one config: multivariate inside each group, running trials counted among the bad ones."""

    def __init__(self, seed: int, groups: Groups, history: History):
        with warnings.catch_warnings():
            # Options that Optuna has called experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=1)
        self.groups, self.history = groups, history
        self.drawn: dict[str, Any] = {}
        self.study: optuna.Study | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing: groups are drawn when a parameter of theirs is asked for."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing, as above."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter's value; with the first of its group the others are drawn too."""
        if param_name not in self.drawn:
            self.study = study
            self.drawn |= self._draw(study, self.groups.around(param_name, param_distribution))
        return self.drawn[param_name]

    def _draw(self, study: optuna.Study, group: dict[str, BaseDistribution]) -> dict[str, Any]:
        good, bad = (self.history.of(list(group), half) for half in self._halves)
        # The default weighs old trials less; among good ones of several directions none is older.
        equal = [np.ones(len(next(iter(good.values()))))] if len(study.directions) > 1 else []
        of_good = self._parzen_estimator_cls(good, group, self._parzen_estimator_parameters, *equal)
        of_bad = self._parzen_estimator_cls(bad, group, self._parzen_estimator_parameters)
        candidates = of_good.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(candidates, self._compute_acquisition_func(candidates, of_good, of_bad))
        return {name: group[name].to_external_repr(value) for name, value in best.items()}

    @cached_property
    def _halves(self) -> tuple[Numbers, Numbers]:
        """The good and the bad trials, each in the order in which they came; a sampler draws once."""
        assert self.study is not None
        *before, current = self.study.get_trials(deepcopy=False)
        assert not current.params
        self.history.extend(before)
        return self.history.halves()


Rank = tuple[int, float, float]


def best_of(trials: Sequence[FrozenTrial], signs: Sequence[float], count: int) -> list[FrozenTrial]:
    """The `count` best: completed ones by value, then pruned ones by step and the value there, then those
    without any value.

    With several directions (`signs` 1 where more is better) completed ones stand in fronts, the last of which
    is thinned out by crowding.
    """
    if len(signs) == 1:
        return sorted(trials, key=lambda t: _rank(t, signs[0]))[:count]
    whole = _by_fronts([t for t in trials if t.state == TrialState.COMPLETE], signs, count)
    pruned = sorted((t for t in trials if t.state == TrialState.PRUNED), key=lambda t: _rank(t, signs[0]))
    return [*whole, *pruned][:count]


def _rank(trial: FrozenTrial, sign: float) -> Rank:
    if trial.state == TrialState.COMPLETE:
        return 0, -sign * trial.values[0], 0.0
    if not trial.intermediate_values:
        return 2, 0.0, 0.0
    step, value = max(trial.intermediate_values.items())
    return 1, -step, -sign * value


def _by_fronts(trials: list[FrozenTrial], signs: Sequence[float], count: int) -> list[FrozenTrial]:
    points = [tuple(sign * value for sign, value in zip(signs, t.values, strict=True)) for t in trials]
    left, found = list(range(len(trials))), list[int]()
    while left and len(found) < count:
        front = [left[place] for place in pareto([points[i] for i in left])]
        room = count - len(found)
        if len(front) > room:
            front = [front[place] for place in spread([points[i] for i in front], room)]
        found += front
        left = [i for i in left if i not in set(front)]
    return [trials[i] for i in found]
