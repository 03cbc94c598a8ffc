"""The known truth against brute force on the same configs, and the tables against what they promise."""

import dataclasses
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.truth.brute import closed_shares, parameter_shares
from tests.truth.response import Composed
from tests.truth.shapes import SHAPES, STEERED, Bent, saturating, switch
from tests.truth.shares import (
    TENTH,
    UNIT,
    additive_shares,
    generator,
    paired_shares,
    parted,
    tangled_shares,
)
from tests.truth.spaces import STAGES, design_of
from tests.truth.trails import RUNGS, halved
from tests.truth.tree import cell, draw_places, read_places, stage_mix

ROWS = 2**16


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_function_has_mean_0_variance_1_and_the_parts_that_it_says(stage, listed):
    mix = stage_mix(design_of(listed), stage, np.random.default_rng(1))
    questions, rng = list(mix.questions()), np.random.default_rng(2)
    value = mix.at(draw_places(questions, ROWS, rng))
    assert value.mean() == pytest.approx(0, abs=0.015)
    assert value.var() == pytest.approx(1, abs=0.03)
    parts = list(mix.parts())
    assert sum(variance for *_, variance in parts) == pytest.approx(1)
    found = parameter_shares(mix.at, design_of(listed).stages[stage], questions, ROWS // 4, rng)
    own = {path: variance for path, kind, variance in parts if kind != "interactions"}
    assert found.keys() == own.keys()
    assert found == pytest.approx(own, abs=0.04)


@pytest.mark.parametrize(
    ("shares", "seed"), [(additive_shares, 3), (paired_shares, 3), (tangled_shares, 3), (tangled_shares, 4)]
)
def test_products_have_the_shares_that_they_say(shares, seed):
    rng = generator("test", seed)
    response = parted(shares(rng), rng)
    truth = response.truth(design_of(), 0.1)
    assert sum(truth.subsets.values()) == pytest.approx(1)
    stages = tuple(response.mixes)
    found = closed_shares(response.at, response.questions, stages, ROWS // 8, rng)
    assert found == pytest.approx({chosen: closed(truth, chosen) for chosen in found}, abs=0.05)
    for stage in STAGES:
        parts = [share for path, share in truth.parameters.items() if path.split(".")[0] == stage]
        parts += [share for path, share in truth.interactions.items() if path.split(".")[0] == stage]
        assert sum(parts) == pytest.approx(truth.main(stage))
        assert truth.main(stage) <= truth.shapley(stage) + 1e-12 <= truth.total(stage) + 2e-12
    assert set(truth.parameters) == {question.path for question in design_of().searched()}
    (null,) = truth.null_stages
    assert {truth.parameters[q.path] for q in design_of().searched() if q.stage == null} == {0.0}


def test_interactions_have_functions_of_their_own_or_those_of_the_main_effects():
    cases = [parted(tangled_shares(rng), rng) for rng in (generator("test", seed) for seed in range(12))]
    own = [len(response.own) for response in cases]
    assert min(own) < 2 < max(own)
    for response in cases:
        null = response.truth(design_of(), 0.1).null_parameters
        for chosen, mixes in response.own.items():
            assert mixes.keys() == chosen
            for mix in mixes.values():
                assert not null & {path for path, _, part in mix.parts() if part > 0}


def closed(truth, chosen):
    """The share of all interactions within a set."""
    return sum(share for inner, share in truth.subsets.items() if inner <= chosen)


@pytest.mark.parametrize("listed", [False, True])
def test_places_are_uniform_and_lead_back_to_the_answers(listed):
    design = design_of(listed)
    drawn = design.draw(2000, np.random.default_rng(0))
    for question in design.searched():
        asked = drawn[question.column].notna()
        for path, answer in above(design, question.path):
            asked &= drawn[path] == answer
        place = read_places([question], drawn[asked])[question.path]
        prior = question.prior
        assert (
            stats.kstest(place + (cells(prior) > 0) * uniform(place, cells(prior)), "uniform").pvalue > 1e-4
        )
        if cells(prior):
            answers = prior.values if hasattr(prior, "values") else range(prior.low, prior.high + 1)
            assert [answers[i] for i in cell(place, cells(prior))] == drawn.loc[
                asked, question.column
            ].tolist()
        else:
            ends = np.log([prior.low, prior.high]) if prior.log else np.array([prior.low, prior.high])
            back = ends[0] + place * (ends[1] - ends[0])
            value = drawn.loc[asked, question.column].astype(float)
            np.testing.assert_allclose(np.exp(back) if prior.log else back, value)


def above(design, path):
    """(column, answer) of the choices under which a question is asked."""
    for question in design.questions():
        for answer, questions in question.below.items():
            if any(inner.path == path for top in questions for inner in top.walk()):
                yield question.column, answer


def cells(prior):
    """The number of answers, 0 of a range of floats."""
    if hasattr(prior, "values"):
        return len(prior.values)
    return prior.high - prior.low + 1 if isinstance(prior.low, int) else 0


def uniform(place, count):
    """Spreads places evenly over their cells."""
    return np.random.default_rng(9).uniform(-0.5, 0.5, size=len(place)) / max(count, 1)


@pytest.mark.parametrize("function", [switch, saturating])
def test_any_function_of_the_stages_is_decomposed_as_brute_force_does(function):
    case = Bent("test", function)
    response = case.response(generator("test", 5))
    truth = response.truth(design_of(), 0.1)
    assert sum(truth.subsets.values()) == pytest.approx(1)
    (alone,) = [stage for stage in STAGES if truth.total(stage) == truth.main(stage) == TENTH]
    assert len(truth.null_stages) == 1
    stages = [stage for stage in response.mixes if stage != alone]
    places = draw_places(response.questions, ROWS, np.random.default_rng(1))
    assert response.at(places).mean() == pytest.approx(0, abs=0.02)
    assert response.at(places).var() == pytest.approx(1, abs=0.03)
    found = closed_shares(response.at, response.questions, stages, ROWS, np.random.default_rng(2))
    assert found == pytest.approx({chosen: closed(truth, chosen) for chosen in found}, abs=0.025)


def test_quadrature_of_products_is_their_closed_form():
    """Of stage functions with many values and with two."""
    rng = generator("test", 6)
    shares = {frozenset({"teacher"}): 0.3, frozenset({"teacher", "optimization"}): 0.7}
    products = dataclasses.replace(parted(shares, rng), own={})
    mixes = {**products.mixes, "student": stage_mix(design_of(), "student", rng)}
    composed = Composed(STAGES, mixes, function=products.of, beside=("student", 0.1))
    expected = {chosen: 0.9 * share for chosen, share in products.shares().items()}
    expected[frozenset({"student"})] = 0.1
    found = composed.shares()
    assert found == pytest.approx({chosen: expected.get(chosen, 0.0) for chosen in found}, abs=0.003)
    values = {stage: rng.normal(size=50) for stage in mixes}
    sum_of_both = 0.9**0.5 * products.of(values) + 0.1**0.5 * values["student"]
    assert composed.of(values) == pytest.approx(sum_of_both, abs=0.03)


@pytest.mark.slow
def test_trials_stop_where_the_scheduler_of_sweeps_stops_them():
    from distiller.search.stopping import AshaRule, Reached  # loads Ray

    scores = np.random.default_rng(0).normal(size=(3, 400)).cumsum(axis=0)
    rule, ends = AshaRule(rungs=3, reduction=3), []
    for trial in range(400):
        curve = enumerate(scores[:2, trial])
        stops = (rung for rung, score in curve if rule.stops(Reached(str(trial), str(trial), rung, score)))
        ends.append(next(stops, 2))
    assert halved(scores).tolist() == ends


QUICK = {name: make for name, make in SHAPES.items() if name not in STEERED}


@pytest.mark.parametrize("name", QUICK)
def test_tables_are_what_a_shape_promises(name):
    case, again = QUICK[name](240, 7), QUICK[name](240, 7)
    pd.testing.assert_frame_equal(case.trials, again.trials)
    assert case.truth == again.truth
    assert len(case.trials) == case.trials["trial_id"].nunique() == 240
    assert case.truth.null_stages
    assert TENTH in {share for chosen, share in rounded(case.truth.subsets).items() if len(chosen) == 1}
    assert case.truth.null_parameters <= {question.path for question in case.design.searched()}
    if not name.startswith("stopped"):
        spread = (case.trials["score"] / UNIT).var() * (1 - case.truth.noise_share)
        assert spread == pytest.approx(1, abs=0.35)
        assert case.trials["fidelity"].eq(1).all()


def test_seeds_and_shapes_have_cases_of_their_own():
    truths = [
        make(6, seed).truth.subsets for make in (SHAPES["additive"], SHAPES["noise"]) for seed in (1, 2)
    ]
    assert all(one != other for one, other in combinations(truths, 2))


def rounded(shares):
    return {chosen: round(share, 9) for chosen, share in shares.items()}


def test_repeats_are_the_same_configs_on_other_seeds():
    rows = SHAPES["repeats"](300, 1).trials
    assert rows.groupby("config_id").size().value_counts().to_dict() == {1: 150, 3: 50}
    columns = design_of().columns()
    assert (rows.groupby("config_id")[columns].nunique(dropna=False) == 1).all(axis=None)
    assert rows["score"].nunique() == 300


def test_stopped_trials_have_their_curves_and_the_good_ones_go_on():
    rows, epochs, *_ = SHAPES["stopped"](600, 2)
    last = epochs.sort_values("step").groupby("trial_id").last()
    merged = rows.merge(last, on="trial_id", suffixes=("", "_curve"))
    assert merged["score"].tolist() == merged["score_curve"].tolist()
    assert epochs.groupby("fidelity").size()[1 / 9] == 600
    for share, following in pairwise(RUNGS):
        went_on = epochs.groupby("fidelity").size()[following] / epochs.groupby("fidelity").size()[share]
        assert 0.28 < went_on < 0.5
    assert rows["fidelity"].eq(1).equals(rows["status"].eq("completed"))


@pytest.mark.slow
@pytest.mark.parametrize("name", STEERED)
def test_a_steered_sweep_leaves_the_prior_its_share_finds_what_is_good_and_can_be_kept(name, tmp_path):
    kept = tmp_path / "rows.parquet"
    rows, epochs, _, truth = STEERED[name](150, 1, kept)
    prior = rows["origin"].eq("prior")
    assert 0.1 < prior.mean() < 0.4
    early = epochs[epochs["step"] == epochs["step"].min()].set_index("trial_id")["score"]
    first = early[rows["trial_id"]].to_numpy()
    assert first[~prior].mean() > first[prior].mean() + UNIT / 3
    assert rows["trial_id"].nunique() == 150
    assert set(rows["fidelity"]) == ({1.0} if name == "tpe" else set(RUNGS))
    again, curves, _, same = STEERED[name](150, 1, kept)
    pd.testing.assert_frame_equal(rows, again)
    pd.testing.assert_frame_equal(epochs, curves)
    assert truth == same
