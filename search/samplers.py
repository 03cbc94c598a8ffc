"""Where configs come from: the prior, a grid, or Optuna's TPE; each is told what became of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
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
from distiller.spaces.config import PipelineConfig
from distiller.spaces.priors import Integers, OneOf, Prior, is_constant
from distiller.spaces.space import Space
from distiller.spaces.sweep import Search

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Sampler(Protocol):
    """Proposes configs of one dataset's space."""

    def propose(self) -> tuple[PipelineConfig, str] | None:
        """A config and its origin (prior or model); None where there is none left."""
        ...

    def tell(self, outcome: Outcome) -> None:
        """Learn what became of a config, proposed here or in an earlier launch."""
        ...


def make_sampler(space: Space, search: Search, stream: int) -> Sampler:
    """The sampler that a sweep asks for; `stream` makes datasets independent."""
    seed = [search.seed, stream]
    if search.sampler == "grid":
        return GridSampler(space, search.grid_levels)
    if search.sampler == "random":
        return PriorSampler(space, seed)
    return TpeSampler(space, search, seed)


class PriorSampler:
    """Independent draws from the prior."""

    def __init__(self, space: Space, seed: list[int]):
        self.space = space
        self.rng = np.random.Generator(np.random.PCG64(seed))

    def propose(self) -> tuple[PipelineConfig, str]:
        return self.space.sample(self.rng), "prior"

    def tell(self, outcome: Outcome) -> None:
        """Nothing to learn: draws are independent."""


class GridSampler:
    """Every combination once, in order."""

    def __init__(self, space: Space, levels: int):
        self.configs: Iterator[PipelineConfig] = space.grid(levels)

    def propose(self) -> tuple[PipelineConfig, str] | None:
        config = next(self.configs, None)
        return None if config is None else (config, "prior")

    def tell(self, outcome: Outcome) -> None:
        """Nothing to learn: the order is fixed."""


class TpeSampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate and group-aware.

    It is told the truth: completed trials with their score, stopped ones as pruned with the scores that
    they had, failed ones as bad as the worst seen, so that their region is avoided. A share of the trials
    is always drawn from the prior.
    """

    def __init__(self, space: Space, search: Search, seed: list[int]):
        self.space = space
        self.prior_share, self.startup = search.prior_share, search.startup
        self.rng = np.random.Generator(np.random.PCG64(seed))
        with warnings.catch_warnings():
            # Options that Optuna calls experimental, and that conditional spaces need.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=int(self.rng.integers(2**31)),
                multivariate=True,
                group=True,
                constant_liar=True,
                n_startup_trials=search.startup,
            )
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self.asked: dict[str, optuna.trial.Trial] = {}
        self.worst = math.inf
        self.proposed = 0

    def propose(self) -> tuple[PipelineConfig, str]:
        self.proposed += 1
        # The draw is made in any case, so that the prior's stream does not depend on what was told.
        from_prior = self.rng.random() < self.prior_share
        if from_prior or self.proposed <= self.startup:
            return self.space.sample(self.rng), "prior"
        trial = self.study.ask()
        config = self.space.suggest(trial)
        if config.config_id in self.asked:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.asked[config.config_id] = trial
        return config, "model"

    def tell(self, outcome: Outcome) -> None:
        scores = {step: score for step, score in outcome.curve if math.isfinite(score)}
        if outcome.status != "failed" and scores:
            self.worst = min(self.worst, *scores.values())
        asked = self.asked.pop(outcome.config.config_id, None)
        if asked is not None:
            self.study.tell(asked, state=TrialState.FAIL)
        if not self.space.contains(outcome.config):
            return
        failed = outcome.status == "failed"
        if failed and not math.isfinite(self.worst):
            worst = -1.0
        else:
            worst = self.worst
        stopped = outcome.status == "stopped"
        if not failed and not scores:
            return
        parameters, distributions = optuna_parameters(self.space, outcome.config)
        self.study.add_trial(
            create_trial(
                params=parameters,
                distributions=distributions,
                state=TrialState.PRUNED if stopped else TrialState.COMPLETE,
                value=None if stopped else worst if failed else scores[max(scores)],
                intermediate_values={} if failed else scores,
                user_attrs={"status": outcome.status},
            )
        )


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
