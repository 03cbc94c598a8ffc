"""Everything that estimates importance keeps one contract; what has a known mistake breaks it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from distiller.results.design import Design
from distiller.results.importance import Importance, importance
from tests.truth import contract
from tests.truth.contract import CONTRACT, Check, Estimate
from tests.truth.plain import plain
from tests.truth.small import NULL, STRONG


def whole(trials: pd.DataFrame, design: Design, epochs: pd.DataFrame | None) -> Importance:
    """As the command line asks, without intervals."""
    return importance(trials, design, epochs=epochs, intervals=False)


ESTIMATORS: dict[str, Estimate] = {"plain": plain, "importance": whole}
"""By name, all that estimates importance."""

SECONDS_EACH = {
    contract.order_does_not_matter,
    contract.unit_of_the_score_does_not_matter,
    contract.names_of_choices_do_not_matter,
    contract.units_of_parameters_do_not_matter,
    contract.twice_the_same_rows_say_hardly_more,
}
"""Checks that ask an estimator once more each, for a table that says the same."""
KEPT = [
    pytest.param(
        estimate,
        check,
        id=f"{name}-{check.__name__}",
        marks=[pytest.mark.slow] if check in SECONDS_EACH and name != "plain" else [],
    )
    for name, estimate in ESTIMATORS.items()
    for check in CONTRACT
]


@pytest.mark.parametrize(("estimate", "check"), KEPT)
def test_an_estimator_keeps_the_contract(estimate: Estimate, check: Check):
    check(estimate)


def measured_by_the_trail(trials, design, epochs):
    return plain(trials, design, epochs, of_prior=False)


def counting_finalists(trials, design, epochs):
    return plain(trials.assign(role="search"), design, epochs)


def counting_failures(trials, design, epochs):
    failed = trials["status"] == "failed"
    return plain(trials.assign(status="completed", score=trials["score"].where(~failed, 0.0)), design, epochs)


def counting_warm_starts(trials, design, epochs):
    return plain(trials.assign(origin="prior"), design, epochs)


def taking_stopped_scores_as_full(trials, design, epochs):
    return plain(trials.assign(fidelity=1.0, status="completed"), design, None)


def dropping_conditional_parameters(trials, design, epochs):
    found = plain(trials, design, epochs)
    always = {question.path for asked in design.stages.values() for question in asked}
    kept = tuple(part for part in found.parameters if part.path in always or part.kind == "interactions")
    return dataclasses.replace(found, parameters=kept)


def always_sure(trials, design, epochs):
    return dataclasses.replace(plain(trials, design, epochs), verdict="ok")


def by_the_order_of_rows(trials, design, epochs):
    return plain(trials.head(len(trials) * 9 // 10), design, epochs)


def by_the_alphabet(trials, design, epochs):
    """Leaves out what comes first in it."""
    names = trials[design.columns(STRONG)[0]]
    return plain(trials[names != names.min()], design, epochs)


def in_whole_numbers(trials, design, epochs):
    return plain(trials.assign(optimization_warmup=trials["optimization_warmup"].round()), design, epochs)


def in_percent(trials, design, epochs):
    """Takes scores for shares."""
    return plain(trials.assign(score=trials["score"].clip(0, 0.6)), design, epochs)


def of_the_noise_too(trials, design, epochs):
    """Another answer every time."""
    noise = np.random.default_rng().normal(size=len(trials)) * trials["score"].std() / 10
    return plain(trials.assign(score=trials["score"] + noise), design, epochs)


def leaving_something_out(trials, design, epochs):
    found = plain(trials, design, epochs)
    return dataclasses.replace(found, subsets=found.subsets[1:])


def with_stages_mixed_up(trials, design, epochs):
    """The null stage's share goes to another."""
    found = plain(trials, design, epochs)
    names = {STRONG: NULL, NULL: STRONG}
    stages = tuple(dataclasses.replace(s, stage=names.get(s.stage, s.stage)) for s in found.stages)
    return dataclasses.replace(found, stages=stages)


WRONG = [
    (measured_by_the_trail, contract.the_prior_is_the_measure_not_the_samplers_trail),
    (counting_finalists, contract.other_roles_do_not_count),
    (counting_failures, contract.failed_trials_and_warm_starts_do_not_count),
    (counting_warm_starts, contract.failed_trials_and_warm_starts_do_not_count),
    (taking_stopped_scores_as_full, contract.stopped_trials_are_not_taken_for_full_runs),
    (dropping_conditional_parameters, contract.every_searched_parameter_is_reported_once),
    (always_sure, contract.equal_scores_cannot_tell),
    (always_sure, contract.a_handful_of_trials_cannot_tell),
    (always_sure, contract.noise_alone_cannot_tell),
    (by_the_order_of_rows, contract.order_does_not_matter),
    (by_the_alphabet, contract.names_of_choices_do_not_matter),
    (in_whole_numbers, contract.units_of_parameters_do_not_matter),
    (in_percent, contract.unit_of_the_score_does_not_matter),
    (of_the_noise_too, contract.same_input_same_answer),
    (leaving_something_out, contract.shares_add_up),
    (with_stages_mixed_up, contract.strong_stages_are_found_and_null_ones_not),
]


@pytest.mark.parametrize(
    ("wrong", "check"), WRONG, ids=[f"{wrong.__name__}-{check.__name__}" for wrong, check in WRONG]
)
def test_the_contract_tells_a_wrong_estimator(wrong: Estimate, check: Check):
    with pytest.raises(AssertionError):
        check(wrong)
