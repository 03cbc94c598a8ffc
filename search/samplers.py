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


PATIENCE = 100
"""Known configs in a row after which random proposals count as exhausted."""


class Sampler(Protocol):
    """Proposes configs of one dataset's space; what it proposes depends on its seed, on how many proposals
    came before and on what it was told, so that a relaunch goes on as if nothing had happened."""

    patience: float
    """Proposals in a row, all known already, after which asking on is pointless."""

    def resume(self, proposed: int) -> None:
        """Earlier launches had `proposed` configs."""
        ...

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

    patience: float = PATIENCE

    def __init__(self, space: Space, seed: list[int]):
        self.space, self.seed = space, seed
        self.proposed = 0

    def resume(self, proposed: int) -> None:
        self.proposed = proposed

    def propose(self) -> tuple[PipelineConfig, str]:
        rng = np.random.Generator(np.random.PCG64([*self.seed, self.proposed]))
        self.proposed += 1
        return self.space.sample(rng), "prior"

    def tell(self, outcome: Outcome) -> None:
        """Nothing to learn: draws are independent."""


class GridSampler:
    """Every combination once, in order."""

    patience: float = math.inf

    def __init__(self, space: Space, levels: int):
        self.configs: Iterator[PipelineConfig] = space.grid(levels)

    def resume(self, proposed: int) -> None:
        """Nothing to do: what is known already is proposed again, and refused."""

    def propose(self) -> tuple[PipelineConfig, str] | None:
        config = next(self.configs, None)
        return None if config is None else (config, "prior")

    def tell(self, outcome: Outcome) -> None:
        """Nothing to learn: the order is fixed."""


class TpeSampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate and group-aware.

    It is told the truth: completed trials with their score, stopped ones as pruned with the scores that
    they had, failed ones as pruned without any, which ranks them below every score. A share of the trials
    is always drawn from the prior.
    """

    patience: float = PATIENCE

    def __init__(self, space: Space, search: Search, seed: list[int]):
        self.space, self.seed = space, seed
        self.prior_share, self.startup = search.prior_share, search.startup
        self.study = optuna.create_study(direction="maximize")
        self.asked: dict[str, optuna.trial.Trial] = {}
        self.known: set[str] = set()
        self.proposed = self.told = 0

    def resume(self, proposed: int) -> None:
        self.proposed = proposed

    def propose(self) -> tuple[PipelineConfig, str]:
        rng = np.random.Generator(np.random.PCG64([*self.seed, self.proposed]))
        self.proposed += 1
        if rng.random() < self.prior_share or self.told < self.startup:
            config = self.space.sample(rng)
            self.known.add(config.config_id)
            return config, "prior"
        # A fresh sampler, as the seed of one cannot be set: the history is in the study.
        self.study.sampler = _tpe(int(rng.integers(2**31)))
        trial = self.study.ask()
        config = self.space.suggest(trial)
        if config.config_id in self.known:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.known.add(config.config_id)
            self.asked[config.config_id] = trial
        return config, "model"

    def tell(self, outcome: Outcome) -> None:
        self.known.add(outcome.config.config_id)
        asked = self.asked.pop(outcome.config.config_id, None)
        if asked is not None:
            self.study.tell(asked, state=TrialState.FAIL)  # what follows stands in for it
        if not self.space.contains(outcome.config):
            return
        self.told += 1
        failed = outcome.status == "failed"
        scores = {} if failed else {step: score for step, score in outcome.curve if math.isfinite(score)}
        completed = outcome.status == "completed" and bool(scores)
        parameters, distributions = optuna_parameters(self.space, outcome.config)
        self.study.add_trial(
            create_trial(
                params=parameters,
                distributions=distributions,
                state=TrialState.COMPLETE if completed else TrialState.PRUNED,
                value=scores[max(scores)] if completed else None,
                intermediate_values=scores,
                user_attrs={"status": outcome.status},
            )
        )


def _tpe(seed: int) -> optuna.samplers.TPESampler:
    with warnings.catch_warnings():
        # Options that Optuna calls experimental, and that conditional spaces need.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=1,
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
