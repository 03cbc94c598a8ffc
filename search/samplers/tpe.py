"""Optuna's TPE over a space, and the sampler that asks it for all but the prior's share of the trials."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from distiller.search.assignment import Outcome
from distiller.search.samplers.base import PATIENCE
from distiller.search.samplers.group_tpe import Direction, Groups, GroupTpeSampler, History
from distiller.spaces.config import PipelineConfig
from distiller.spaces.priors import Integers, OneOf, Prior, is_constant
from distiller.spaces.search import Search
from distiller.spaces.space import Space

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Tpe:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate and group-aware.

    With several directions, of Ozaki et al. 2022: what is not dominated counts as good.
    """

    def __init__(self, space: Space, directions: Sequence[Direction] = ("maximize",)):
        self.space = space
        self.study = optuna.create_study(directions=directions)
        self.groups, self.history = Groups(), History(directions)
        self.running: dict[str, tuple[int, PipelineConfig]] = {}

    def suggest(self, seed: int, known: Collection[str]) -> PipelineConfig:
        """A config; unless its id is `known` it counts as running from now on."""
        # A fresh sampler, as the seed of one cannot be set: the history is in the study.
        self.study.sampler = GroupTpeSampler(seed, self.groups, self.history)
        trial = self.study.ask()
        config = self.space.suggest(trial)
        if config.config_id in known:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.running[config.config_id] = trial.number, config
        return config

    def expect(self, config: PipelineConfig) -> None:
        """A config is running."""
        self.running[config.config_id] = len(self.study.get_trials(deepcopy=False)), config
        self._add(config, TrialState.RUNNING)

    def observe(
        self,
        config: PipelineConfig,
        values: Sequence[float] | None,
        intermediate: Mapping[int, float] | None = None,
    ) -> None:
        """What became of a config; without `values` it ranks below all that have some, and without
        `intermediate` ones below those too. One outside the space teaches nothing."""
        self.forget(config.config_id)  # what follows stands in for it
        self._add(config, TrialState.PRUNED if values is None else TrialState.COMPLETE, values, intermediate)

    def forget(self, config_id: str) -> None:
        """A config is no longer running."""
        if config_id in self.running:
            number, _ = self.running.pop(config_id)
            self.study.tell(number, state=TrialState.FAIL)

    def pending(self) -> list[PipelineConfig]:
        """The configs that are running."""
        return [config for _, config in self.running.values()]

    def _add(
        self,
        config: PipelineConfig,
        state: TrialState,
        values: Sequence[float] | None = None,
        intermediate: Mapping[int, float] | None = None,
    ) -> None:
        parameters, distributions = optuna_parameters(self.space, config)
        if state != TrialState.RUNNING:
            self.groups.add(distributions)
        self.study.add_trial(
            create_trial(
                params=parameters,
                distributions=distributions,
                state=state,
                values=values,
                intermediate_values=dict(intermediate or {}),
            )
        )


class Knowledge(Protocol):
    """What a model is told of the trials so far.

    Attributes:
        model: what proposes, once there is enough to learn from.
        ready: whether there is.
    """

    model: Tpe

    @property
    def ready(self) -> bool: ...

    def tell(self, outcome: Outcome) -> None:
        """A trial of the space ended."""
        ...


class ModelSampler:
    """Asks a model, except for a share of the trials that is always drawn from the prior."""

    patience: float = PATIENCE

    def __init__(self, space: Space, search: Search, seed: Sequence[int], knowledge: Knowledge):
        self.space, self.seed, self.knowledge = space, seed, knowledge
        self.prior_share = search.prior_share
        self.known: set[str] = set()
        self.proposed = 0

    def resume(self, proposed: int) -> None:
        self.proposed = proposed

    def propose(self) -> tuple[PipelineConfig, str]:
        rng = np.random.Generator(np.random.PCG64([*self.seed, self.proposed]))
        self.proposed += 1
        if rng.random() < self.prior_share or not self.knowledge.ready:
            config, origin = self.space.sample(rng), "prior"
        else:
            config, origin = self.knowledge.model.suggest(int(rng.integers(2**31)), self.known), "model"
        self.known.add(config.config_id)
        return config, origin

    def tell(self, outcome: Outcome) -> None:
        self.known.add(outcome.config.config_id)
        if self.space.contains(outcome.config):
            self.knowledge.tell(outcome)


def optuna_parameters(
    space: Space, config: PipelineConfig
) -> tuple[dict[str, object], dict[str, BaseDistribution]]:
    """A config as Optuna sees it: the searched decisions that lead to it, and their distributions."""
    parameters: dict[str, object] = {}
    distributions: dict[str, BaseDistribution] = {}
    for decision, value in space.decisions(config):
        if not is_constant(decision.prior):
            parameters[decision.path] = value
            distributions[decision.path] = _distribution(decision.prior)
    return parameters, distributions


def _distribution(prior: Prior) -> BaseDistribution:
    if isinstance(prior, OneOf):
        return CategoricalDistribution(prior.values)
    if isinstance(prior, Integers):
        return IntDistribution(prior.low, prior.high)
    return FloatDistribution(prior.low, prior.high, log=prior.log)
