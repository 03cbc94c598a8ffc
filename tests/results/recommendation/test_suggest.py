"""What is suggested for a new dataset, and why, on datasets whose truth is known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy import stats

from distiller.results.recommendation import METHODS, Chosen, Evaluation, Training, choose, evaluate, suggest
from distiller.results.recommendation.choose import too_few_to_choose
from distiller.results.recommendation.training import WORST
from distiller.results.recommendation.why import carried, nearest_datasets, places_of
from tests.results.recommendation.told import asks
from tests.truth.families import Family

FAMILY = Family(6, 30, shared=True, noise=0.02)
TARGET = {"s": 0.5, "t": -0.5, "irrelevant_0": 0.0}


@pytest.fixture(scope="module")
def tried():
    return FAMILY.tried()


@pytest.fixture(scope="module")
def advised(tried):
    found = evaluate(tried, METHODS)
    chosen = choose(found)
    own = {name: name for name in tried.configs.index}
    return found, chosen, suggest(tried, chosen, found, TARGET, own, 5)


def test_suggestions_are_the_first_of_the_chosen_recommender(tried, advised):
    _, chosen, advice = advised
    method = next(one for one in METHODS if one.name == chosen.method)
    order = method.fit(Training(tried)).rank(tried.configs, TARGET).order[:5]
    assert [one.config_id for one in advice.suggestions] == list(tried.configs.index[order])
    assert (advice.datasets, advice.groups, advice.configs, advice.trials) == (6, 6, 30, 180)
    assert all(len(one.places) == 6 for one in advice.suggestions)


def test_only_configs_that_are_allowed_and_of_equal_ones_the_first(tried, advised):
    found, chosen, advice = advised
    first, second, third, *_ = (one.config_id for one in advice.suggestions)
    merged = suggest(tried, chosen, found, TARGET, {first: "same", second: "same", third: "other"}, 5)
    assert [one.config_id for one in merged.suggestions] == [first, third]
    none = suggest(tried, chosen, found, TARGET, {}, 5)
    assert none.suggestions == ()
    assert none.best is None


def test_shares_of_teachers_are_predicted_where_they_are_known(tried, advised):
    assert {one.ratio for one in advised[2].suggestions} == {None}
    assert any("no teacher's score" in note for note in advised[2].notes)
    taught = dataclasses.replace(tried, teacher=np.nanmax(tried.score, axis=0) + 1 - np.nanmin(tried.score))
    shifted = dataclasses.replace(taught, score=tried.score + 1 - np.nanmin(tried.score))
    middle, best = np.median(shifted.score, axis=0), shifted.score.max(axis=0)
    floor = middle + WORST * (best - middle)
    found = evaluate(shifted, METHODS)
    chosen = choose(found)
    own = {name: name for name in tried.configs.index}
    advice = suggest(shifted, chosen, found, TARGET, own, 3)
    result = next(one for one in found.results if one.method == chosen.method)
    for place, one in enumerate(advice.suggestions):
        off = [on.reached[place] - on.expected[place] for on in result.datasets]
        row = list(shifted.configs.index).index(one.config_id)
        own = (np.maximum(shifted.score, floor)[row] / shifted.teacher).mean()  # it ran on all
        assert one.ratio.value == pytest.approx(own + np.mean(off))
        assert one.ratio.low < one.ratio.value < one.ratio.high
    assert advice.best.low < advice.best.value < advice.best.high


def test_one_known_teacher_predicts_nothing_and_leaves_no_gaps(tried):
    """Left out, nothing is expected of it; all that is kept of an evaluation is written as strict JSON."""
    level = 1 - np.nanmin(tried.score)
    teacher = np.array([np.nanmax(tried.score) + level, *[np.nan] * 5])
    known = dataclasses.replace(tried, score=tried.score + level, teacher=teacher)
    found = evaluate(known, [one for one in METHODS if not one.asks])
    assert {len(on.expected) for one in found.results for on in one.datasets} == {0}
    assert any(on.reached for one in found.results for on in one.datasets)
    json.dumps(TypeAdapter(Evaluation).dump_python(found, mode="json"), allow_nan=False)
    own = {name: name for name in known.configs.index}
    advice = suggest(known, choose(found), found, TARGET, own, 2)
    assert [one.ratio for one in advice.suggestions] == [None, None]


def test_one_group_is_no_evaluation_and_is_said_to_be_none(tried):
    one = tried.without(*tried.groups[1:])
    own = {name: name for name in one.configs.index}
    advice = suggest(one, too_few_to_choose(1), None, None, own, 2)
    best = one.configs.index[np.argmax(one.score[:, 0])]
    assert advice.suggestions[0].config_id == best
    assert advice.suggestions[0].ratio is None
    assert advice.nearest == ()
    assert any("one group only" in note for note in advice.notes)


def test_places_are_counted_from_the_best(tried):
    name = tried.configs.index[3]
    for j, place in enumerate(places_of(tried, name)):
        ranks = stats.rankdata(-tried.score[:, j])
        assert (place.dataset, place.place, place.configs) == (tried.datasets[j], ranks[3], 30)


def test_nearest_datasets_have_the_nearest_meta_features(tried):
    raw = tried.meta[["s", "t", "irrelevant_0"]].to_numpy()
    scaled = (raw - raw.mean(0)) / raw.std(0)
    at = (np.array([0.5, -0.5, 0.0]) - raw.mean(0)) / raw.std(0)
    distance = np.sqrt(((scaled - at) ** 2).mean(1))
    found = nearest_datasets(Training(tried), TARGET)
    assert [one.dataset for one in found] == [tried.datasets[j] for j in np.argsort(distance)[:3]]
    assert [one.distance for one in found] == pytest.approx(np.sort(distance)[:3])


def test_the_stage_that_makes_a_config_good_carries_it():
    """Only the rate matters to all datasets: another config's rate costs what the truth says."""
    family = Family(6, 60, shared=True, noise=0.0, own=0.0)
    training = Training(family.tried())
    configs = training.tried.configs
    rate = np.log10(configs["optimization_rate"].astype(float))
    best = (rate + 3).abs().idxmin()
    found = carried(training, best)
    assert next(iter(found)) == "optimization"
    worth = 1 - (rate + 3) ** 2 / 2
    share = ((worth - worth.median()) / (worth.max() - worth.median())).clip(lower=WORST)
    assert found["optimization"] == pytest.approx(share[best] - share.mean(), abs=0.2)
    assert all(abs(gain) < 0.1 for stage, gain in found.items() if stage != "optimization")


def test_probes_are_run_where_they_are_asked_for_and_can_be():
    """Half of the configs are allowed: of these it asks for three, one of which fails."""
    tried = Family(6, 30, shared=True, early="telling").tried()
    heard = []
    methods = (asks(3, heard),)
    own = {name: name for name in tried.configs.index[::2]}
    asked = []

    def probe(names, share):
        asked.append((list(names), share))
        return dict(zip(names, [0.2, np.nan, 0.9], strict=True))

    chosen = Chosen("asks", "told to", True)
    advice = suggest(tried, chosen, None, TARGET, own, 2, probe, methods=methods)
    first = list(own)[:3]
    assert asked == [(first, pytest.approx(np.median(tried.fidelity)))]
    (candidates, early), *_ = heard
    assert list(candidates.index) == list(own)
    assert early[[0, 2]].tolist() == [0.2, 0.9]
    assert np.isnan(early[[1, *range(3, 15)]]).all()
    assert [one.config_id for one in advice.suggestions] == [first[2], first[0]]
    suggest(tried, chosen, None, TARGET, own, 2, methods=methods)
    assert heard[-1][1] is None


def test_what_asks_for_probes_is_chosen_only_where_they_can_be_run():
    tried = Family(8, 24, told=False, shared=True, early="telling").tried()
    methods = [one for one in METHODS if one.name in ("random", "average", "curve")]
    found = evaluate(tried, methods)
    results = tuple(
        dataclasses.replace(
            one, paid={**one.paid, 5: dataclasses.replace(one.paid[5], value=0.0)},
            datasets=tuple(dataclasses.replace(on, paid={**on.paid, 5: 0.0}) for on in one.datasets),
        ) if one.method == "curve" else one for one in found.results
    )  # fmt: skip
    best = dataclasses.replace(found, results=results)
    assert choose(best).method == "curve"
    assert choose(best, probing=False).method == "average"
