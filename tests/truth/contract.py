"""What every estimator of importance promises, as checks that take the estimator.

`CONTRACT` lists them; each raises AssertionError where its promise is broken. Tables are small, and what is
in them is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pandas as pd

from distiller.results.design import Design, Question
from distiller.results.importance import Importance
from distiller.results.schema import trial_id
from distiller.spaces.narrowing import parse_space
from distiller.spaces.priors import OneOf, Prior, Uniform
from tests.truth.response import Products
from tests.truth.small import (
    SPACE,
    STAGES,
    STRONG,
    TRIALS,
    base,
    changed,
    halves,
    other_rows,
    response,
    small_design,
    truth,
    with_rows,
)
from tests.truth.tables import DATASET, curves, distinct, table

SAME = 1e-6
"""Shares that may differ by the order of sums alone."""
ROUNDING = 0.01
"""Shares of the same table in other units or names."""


class Estimate(Protocol):
    """What `distiller.results.importance.importance` is, or does with one surrogate."""

    def __call__(self, trials: pd.DataFrame, design: Design, epochs: pd.DataFrame | None) -> Importance: ...


Check = Callable[[Estimate], None]


_answers: dict[int, tuple[Estimate, Importance]] = {}


def answer(estimate: Estimate) -> Importance:
    """The estimator's answer to `base`, asked for once; it must leave the tables as they were."""
    if id(estimate) not in _answers:
        trials, epochs = base().copy(), curves(base())
        found = estimate(trials, small_design(), epochs)
        pd.testing.assert_frame_equal(trials, base())
        pd.testing.assert_frame_equal(epochs, curves(base()))
        _answers[id(estimate)] = estimate, found
    return _answers[id(estimate)][1]


def asked(estimate: Estimate, trials: pd.DataFrame, design: Design | None = None) -> Importance:
    """The answer to another table."""
    return estimate(trials, design or small_design(), curves(trials[trials["score"].notna()]))


def figures(found: Importance) -> dict[str, float]:
    """All shares by name."""
    kinds = ("main", "total", "shapley")
    stages = {f"{share.stage} {kind}": getattr(share, kind) for share in found.stages for kind in kinds}
    pairs = {" x ".join(sorted(pair.stages)): pair.share for pair in found.pairs}
    return {**stages, **pairs, **{f"{p.path} {p.kind}": p.share for p in found.parameters}}


def agree(one: Importance, other: Importance, within: float) -> None:
    """Both say the same of the same, up to rounding."""
    a, b = figures(one), figures(other)
    assert one.verdict == other.verdict, f"{one.verdict} and {other.verdict}"
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    apart = {name: (a[name], b[name]) for name in a if abs(a[name] - b[name]) > within}
    assert not apart, apart


def same_input_same_answer(estimate: Estimate) -> None:
    again = estimate(base().copy(), small_design(), curves(base()))
    assert again.to_dict() == answer(estimate).to_dict()


def order_does_not_matter(estimate: Estimate) -> None:
    """Neither of rows nor of columns."""
    mixed = base().sample(frac=1, random_state=0).sample(frac=1, axis=1, random_state=0)
    agree(answer(estimate), asked(estimate, mixed), SAME)


def other_roles_do_not_count(estimate: Estimate) -> None:
    others = [other_rows(role=role) for role in ("finalist", "baseline", "ablation")]
    agree(answer(estimate), asked(estimate, with_rows(*others)), SAME)


def failed_trials_and_warm_starts_do_not_count(estimate: Estimate) -> None:
    others = other_rows(status="failed"), other_rows(origin="warm")
    agree(answer(estimate), asked(estimate, with_rows(*others)), SAME)


def unit_of_the_score_does_not_matter(estimate: Estimate) -> None:
    agree(answer(estimate), asked(estimate, base().assign(score=base()["score"] * 128 - 640)), ROUNDING)


def names_of_choices_do_not_matter(estimate: Estimate) -> None:
    """The alphabet is turned round."""
    names = {"cls": "z", "mean": "a", "none": "y", "mse": "b", "cosine": "c", "skip": "x", "emd": "d",
             "small": "w", "large": "e", "linear": "v", "mixup": "f"}  # fmt: skip
    renamed = {
        column: base()[column].map(lambda value: names.get(value, value) if isinstance(value, str) else value)
        for column in small_design().columns()
        if base()[column].map(lambda value: isinstance(value, str)).any()
    }

    def prior(question: Question) -> Prior:
        if not isinstance(question.prior, OneOf):
            return question.prior
        return OneOf(*(names.get(v, v) if isinstance(v, str) else v for v in question.prior.values))

    design = changed(small_design(), prior, names)
    agree(answer(estimate), asked(estimate, base().assign(**renamed), design), ROUNDING)


def units_of_parameters_do_not_matter(estimate: Estimate) -> None:
    """Shares as percent, weights in thousandths, widths in another unit."""
    factor = {"optimization_warmup": 100.0, "intermediate_weight": 1000.0, "student_width": 8}

    def prior(question: Question) -> Prior:
        times, old = factor.get(question.column, 1), question.prior
        if isinstance(old, Uniform):
            return Uniform(old.low * times, old.high * times, old.log)
        if isinstance(old, OneOf) and question.column in factor:
            return OneOf(*(value * times for value in old.values))  # type: ignore[operator]
        return old

    design = changed(small_design(), prior, {})
    recoded = {column: base()[column] * times for column, times in factor.items()}
    agree(answer(estimate), asked(estimate, base().assign(**recoded), design), ROUNDING)


def twice_the_same_rows_say_hardly_more(estimate: Estimate) -> None:
    """Each config on a second seed, with the same score."""
    ids = [trial_id(DATASET, name, 1, "search") for name in base()["config_id"]]
    found = asked(estimate, with_rows(base().assign(seed=1, trial_id=ids)))
    mains, before = by_stage(found), by_stage(answer(estimate))
    assert mains.keys() == before.keys()
    apart = {stage: (mains[stage].main, before[stage].main) for stage in mains}
    assert all(abs(one - other) <= 0.06 for one, other in apart.values()), apart


def by_stage(found: Importance) -> dict[str, Any]:
    return {share.stage: share for share in found.stages}


def every_searched_parameter_is_reported_once(estimate: Estimate) -> None:
    paths = [part.path for part in answer(estimate).parameters if part.kind != "interactions"]
    assert sorted(paths) == sorted(question.path for question in small_design().searched())
    assert {share.stage for share in answer(estimate).stages} == set(small_design().searched_stages())


def shares_add_up(estimate: Estimate) -> None:
    found = answer(estimate)
    assert min(figures(found).values()) >= 0
    assert math.isclose(sum(share.shapley for share in found.stages), 1, abs_tol=SAME)
    assert math.isclose(sum(subset.share for subset in found.subsets), 1, abs_tol=SAME)
    subsets = {frozenset(subset.stages): subset.share for subset in found.subsets}
    for share in found.stages:
        assert share.main <= share.shapley + SAME <= share.total + 2 * SAME, share
        mine = {chosen: part for chosen, part in subsets.items() if share.stage in chosen}
        assert math.isclose(share.main, subsets.get(frozenset({share.stage}), 0.0), abs_tol=SAME)
        assert math.isclose(share.total, sum(mine.values()), abs_tol=SAME), share
        parts = [part.share for part in found.parameters if part.stage == share.stage]
        assert math.isclose(sum(parts), share.main, abs_tol=SAME), share
    for pair in found.pairs:
        assert math.isclose(pair.share, subsets.get(frozenset(pair.stages), 0.0), abs_tol=SAME), pair


def strong_stages_are_found_and_null_ones_not(estimate: Estimate) -> None:
    found = by_stage(answer(estimate))
    assert answer(estimate).verdict == "ok", answer(estimate).reason
    assert max(found.values(), key=lambda share: share.total).stage == STRONG
    assert found[STRONG].influential
    for stage in truth().null_stages:
        if stage in found:
            assert not found[stage].influential, stage
            assert found[stage].total <= 0.06, found[stage]
    for stage, share in found.items():
        assert abs(share.main - truth().main(stage)) <= 0.12, (stage, share.main, truth().main(stage))


def parameters_are_told_apart_under_their_choice(estimate: Estimate) -> None:
    """Null parameters under an active choice stay null, the others have about their shares."""
    shares, known = {part.path: part.share for part in answer(estimate).parameters}, truth().parameters
    assert known is not None
    for path in truth().null_parameters:
        assert shares[path] <= 0.02, (path, shares[path])
    for path, share in known.items():
        assert abs(shares[path] - share) <= 0.1, (path, shares[path], share)


def noise_alone_cannot_tell(estimate: Estimate) -> None:
    noise = np.random.default_rng(5).normal(size=TRIALS)
    cannot_tell(asked(estimate, base().assign(score=0.6 + 0.05 * noise)))


def equal_scores_cannot_tell(estimate: Estimate) -> None:
    cannot_tell(asked(estimate, base().assign(score=0.6)))


def a_handful_of_trials_cannot_tell(estimate: Estimate) -> None:
    for count in (0, 1, 6):
        cannot_tell(asked(estimate, base().head(count)))


def cannot_tell(found: Importance) -> None:
    assert found.verdict == "cannot tell"
    assert found.reason
    assert not any(share.influential for share in found.stages)


def one_stage_has_it_all(estimate: Estimate) -> None:
    """Of a design in which the others are constants."""
    fixed = {"augmentation": "none", "student": {"svd": {"layers": 2, "width": 128}},
             "teacher": {"checkpoint": "small"}, "prediction": {"mse": {"hard_weight": 0.5}},
             "optimization": {"learning_rate": 1e-3, "warmup": 0.1, "weight_decay": 0.01,
                              "schedule": "linear"}}  # fmt: skip
    design = Design.of(parse_space({**SPACE, **fixed}))
    rng = np.random.default_rng(6)
    drawn = distinct(design, 200, rng)
    mix = response().mixes[STRONG]
    one = Products(STAGES, {STRONG: mix}, {frozenset({STRONG}): 1.0})
    found = asked(estimate, table(drawn, one.score(drawn) + 0.2 * rng.normal(size=200)), design)
    assert found.verdict == "ok", found.reason
    (share,) = found.stages
    assert share.stage == STRONG
    assert math.isclose(share.main, 1, abs_tol=SAME)
    assert math.isclose(share.total, 1, abs_tol=SAME)
    assert not found.pairs


def the_prior_is_the_measure_not_the_samplers_trail(estimate: Estimate) -> None:
    """Two stages matter equally, but nearly all trials that the sampler chose have the good teacher."""
    rng = np.random.default_rng(7)
    drawn = distinct(small_design(), 2500, rng)
    chosen = np.arange(len(drawn)) >= 120
    unlikely = chosen & (drawn["teacher_checkpoint"] == "small") & (rng.random(len(drawn)) < 0.97)
    drawn, chosen = drawn[~unlikely].head(600).reset_index(drop=True), chosen[~unlikely][:600]
    scores = halves({"teacher": 0.5, "optimization": 0.5}).score(drawn) + rng.normal(size=600) / 3
    found = by_stage(asked(estimate, table(drawn, scores, origin=np.where(chosen, "model", "prior"))))
    for stage in ("teacher", "optimization"):
        assert abs(found[stage].main - 0.5) <= 0.12, (stage, found[stage].main)


def stopped_trials_are_not_taken_for_full_runs(estimate: Estimate) -> None:
    """Early scores follow one stage, final ones another; which trials were stopped is a coin's."""
    rng = np.random.default_rng(8)
    drawn = distinct(small_design(), 500, rng)
    final = halves({"teacher": 1.0}).score(drawn) + rng.normal(size=500) / 3
    early = -4 + halves({"optimization": 1.0}).score(drawn) + rng.normal(size=500) / 3
    stopped = np.arange(500) % 2 == 0
    rows = table(
        drawn,
        np.where(stopped, early, final),
        fidelity=np.where(stopped, 1 / 9, 1.0),
        status=np.where(stopped, "stopped", "completed"),
    )
    passed = curves(rows.assign(fidelity=1 / 9, score=early))
    epochs = pd.concat([passed, curves(rows[~stopped])], ignore_index=True)
    found = by_stage(estimate(rows, small_design(), epochs))
    assert found["teacher"].main >= 0.85, found["teacher"]
    assert found["optimization"].total <= 0.1, found["optimization"]
    assert not found["optimization"].influential


CONTRACT: tuple[Check, ...] = (
    same_input_same_answer,
    order_does_not_matter,
    other_roles_do_not_count,
    failed_trials_and_warm_starts_do_not_count,
    unit_of_the_score_does_not_matter,
    names_of_choices_do_not_matter,
    units_of_parameters_do_not_matter,
    twice_the_same_rows_say_hardly_more,
    every_searched_parameter_is_reported_once,
    shares_add_up,
    strong_stages_are_found_and_null_ones_not,
    parameters_are_told_apart_under_their_choice,
    noise_alone_cannot_tell,
    equal_scores_cannot_tell,
    a_handful_of_trials_cannot_tell,
    one_stage_has_it_all,
    the_prior_is_the_measure_not_the_samplers_trail,
    stopped_trials_are_not_taken_for_full_runs,
)
