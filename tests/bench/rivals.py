"""What others make of the same trials: Optuna's importances per stage, and intervals by a plain bootstrap."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import optuna
import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import create_trial

from distiller.results.design import Design, Question
from distiller.spaces.priors import Integers, OneOf, Prior, is_constant
from tests.truth.tables import Case

with contextlib.suppress(ImportError):
    import optuna_fast_fanova

Floats = np.ndarray[Any, np.dtype[np.float64]]
SLOW = "optuna fANOVA"
RESAMPLES = 50
REFERENCE = 2048


@dataclass(frozen=True)
class Answer:
    """Shares of stages by a rival.

    Attributes:
        told: how many of the searched parameters it has an importance of.
    """

    main: Mapping[str, float]
    told: int
    searched: int
    seconds: float


def makers() -> dict[str, Callable[[int], BaseImportanceEvaluator]]:
    """Optuna's evaluators that are installed, by name; each takes a seed."""
    found: dict[str, Callable[[int], BaseImportanceEvaluator]] = {
        SLOW: lambda seed: FanovaImportanceEvaluator(seed=seed),
        "optuna PED-ANOVA": lambda seed: PedAnovaImportanceEvaluator(),
    }
    if "optuna_fast_fanova" in globals():
        found["optuna-fast-fanova"] = lambda seed: optuna_fast_fanova.FanovaImportanceEvaluator(seed=seed)
    return found


def optuna_answers(case: Case, seed: int, slow: bool) -> dict[str, Answer]:
    """Each evaluator's importances of full runs, which add up to 1, summed by stage; Optuna's own fANOVA only
    if `slow` is allowed."""
    study = as_study(case)
    stage_of = {question.path: question.stage for question in case.design.searched()}
    found = {}
    for name, make in makers().items():
        if name == SLOW and not slow:
            continue
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            shares = get_param_importances(study, evaluator=make(seed))
        seconds = time.process_time() - began
        main = dict.fromkeys(case.truth.stages, 0.0)
        for path, share in shares.items():
            main[stage_of[path]] += float(share)
        found[name] = Answer(main, len(shares), len(stage_of), seconds)
    return found


def as_study(case: Case) -> optuna.Study:
    """The full runs as a study of Optuna's, whose parameters are the questions' paths."""
    study = optuna.create_study(direction="maximize")
    full = case.trials[case.trials["fidelity"] == 1]
    for row in full.astype(object).to_dict("records"):
        params, distributions = answered(case.design, row)
        study.add_trial(create_trial(params=params, distributions=distributions, value=row["score"]))
    return study


def answered(design: Design, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """The searched questions that the row answers, and their distributions."""
    params: dict[str, Any] = {}

    def ask(question: Question) -> None:
        answer = row[question.column]
        if not is_constant(question.prior):
            params[question.path] = answer
            distributions[question.path] = distribution(question.prior)
        for inner in question.below.get(answer, ()):
            ask(inner)

    distributions: dict[str, BaseDistribution] = {}
    for questions in design.stages.values():
        for question in questions:
            ask(question)
    return params, distributions


def distribution(prior: Prior) -> BaseDistribution:
    """The prior as Optuna has it."""
    if isinstance(prior, OneOf):
        return CategoricalDistribution(prior.values)
    if isinstance(prior, Integers):
        return IntDistribution(prior.low, prior.high)
    return FloatDistribution(prior.low, prior.high, log=prior.log)


def bootstrap(case: Case, seed: int, resamples: int = RESAMPLES) -> dict[str, tuple[float, float]]:
    """By stage the 2.5% and 97.5% quantiles of the main effects of boosted trees, fitted to full runs drawn
    with replacement: the interval that one would write down first."""
    rng = np.random.default_rng(seed)
    full = case.trials[case.trials["fidelity"] == 1]
    columns = case.design.columns()
    reference = case.design.draw(2 * REFERENCE, rng)
    matrix = as_numbers(pd.concat([full[columns].astype(object), reference[columns]]))
    x, score = matrix[: len(full)], full["score"].to_numpy(dtype=np.float64)
    one, other = matrix[len(full) : -REFERENCE], matrix[-REFERENCE:]
    stage_of = {column: stage for stage in case.truth.stages for column in case.design.columns(stage)}
    features = {
        stage: [j for j, column in enumerate(columns) if stage_of[column] == stage]
        for stage in case.truth.stages
    }
    drawn = []
    for _ in range(resamples):
        some = rng.integers(len(score), size=len(score))
        drawn.append(plug_in(x[some], score[some], one, other, features))
    return {
        stage: (float(low), float(high))
        for stage in features
        for low, high in [np.quantile([shares[stage] for shares in drawn], [0.025, 0.975])]
    }


def plug_in(
    x: Floats, score: Floats, one: Floats, other: Floats, features: Mapping[str, list[int]]
) -> dict[str, float]:
    """Main effects of boosted trees, by pick-freeze on two reference samples (Saltelli et al. 2010)."""
    settings = {"num_leaves": 8, "verbosity": -1, "num_threads": 1, "deterministic": True}
    model = lightgbm.train(settings, lightgbm.Dataset(x, score, params=settings), 100)
    f = model.predict(one, num_threads=1)
    found = {}
    for stage, columns in features.items():
        mixed = other.copy()
        mixed[:, columns] = one[:, columns]
        g = model.predict(mixed, num_threads=1)
        mean = (f + g).mean() / 2
        found[stage] = max(0.0, float(((f - mean) * (g - mean)).mean() / max(f.var(), 1e-300)))
    return found


def as_numbers(table: pd.DataFrame) -> Floats:
    """Names as numbers in the order of the alphabet, what is not asked as NaN."""
    found = []
    for column in table:
        values = table[column]
        if any(isinstance(value, str) for value in values):
            found.append(pd.Categorical(values).codes.astype(np.float64))
        else:
            found.append(pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan))
    return np.column_stack(found)
