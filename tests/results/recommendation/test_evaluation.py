"""What is lost on a dataset that is left out, against what is known of it."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pandas as pd
import pytest

from distiller.results.recommendation import METHODS, choose, evaluate, read_tried
from distiller.results.recommendation.evaluation import KS, worth
from distiller.results.recommendation.luck import best_of_random, until_as_good
from distiller.results.recommendation.shrinkage import noise_of, shrunk
from distiller.spaces.errors import InputError
from tests.results.recommendation.told import told
from tests.truth.families import Family, deleted

FAMILY = Family(6, 20, noise=0.0, common=1.0, own=0.3)


def test_random_trials_until_one_is_as_good_as_simulation_says():
    rng = np.random.default_rng(0)
    scores = np.array([0.1, 0.5, 0.5, 0.7, 0.9, 0.2, 0.3])
    orders = np.array([rng.permutation(scores) for _ in range(20_000)])
    for value in (0.2, 0.5, 0.6, 0.9):
        waits = (orders >= value).argmax(axis=1) + 1
        assert until_as_good(scores, value) == pytest.approx(waits.mean(), abs=4 * waits.std() / 20_000**0.5)
    for n in (1, 3, 7, 10):
        best = orders[:, :n].max(axis=1)
        assert best_of_random(scores, n) == pytest.approx(
            best.mean(), abs=4 * best.std() / 20_000**0.5 + 1e-12
        )
    exact = [np.argmax(np.array(order) >= 0.5) + 1 for order in itertools.permutations(scores)]
    assert until_as_good(scores, 0.5) == pytest.approx(np.mean(exact))
    with pytest.raises(ValueError, match="none of 7 scores"):
        until_as_good(scores, 1.0)


def test_whoever_knows_loses_nothing_and_the_figures_are_those_of_the_definition():
    tried = FAMILY.tried()
    (knows,) = evaluate(tried, [told("knows", tried)]).results
    assert all(knows.regret[k].value == 0 for k in KS)
    assert knows.correlation.value == pytest.approx(1)
    assert knows.catch_up[1].value == pytest.approx((20 + 1) / 2)
    blurred = told("blurred", tried, 0.5)
    (found,) = evaluate(tried, [blurred]).results
    on = found.datasets[2]
    rows = tried.of(2)
    scores = tried.score[rows, 2]
    order = blurred.fit(None).rank(tried.configs.iloc[rows], None).order
    best, middle, first = scores.max(), np.median(scores), scores[order[:3]].max()
    assert on.regret[3] == pytest.approx((best - first) / (best - middle))
    assert on.catch_up[3] == pytest.approx(21 / ((scores >= first).sum() + 1))
    means = [one.regret[3] for one in found.datasets]
    assert found.regret[3].value == pytest.approx(np.mean(means))
    assert min(means) <= found.regret[3].low <= found.regret[3].value <= found.regret[3].high <= max(means)


def test_groups_count_alike_whatever_they_hold():
    names = FAMILY.names
    tried = read_tried([FAMILY.searched()], {"many": names[:4], "one": names[4:5], "other": names[5:]})
    (found,) = evaluate(tried, [told("blurred", tried, 0.5)]).results
    each = [one.regret[1] for one in found.datasets]
    by_name = dict(zip([one.dataset for one in found.datasets], each, strict=True))
    many = np.mean([by_name[name] for name in names[:4]])
    assert found.regret[1].value == pytest.approx(np.mean([many, by_name[names[4]], by_name[names[5]]]))


def test_a_dataset_is_measured_as_if_it_had_not_been_there_when_it_was_fitted():
    """By hand: fit without it, rank its configs; related datasets are left out with it."""
    groups = {"related": ["d01", "d02"]}
    tried = read_tried([FAMILY.searched()], groups)
    alone = read_tried([deleted(deleted(FAMILY.searched(), "d01"), "d02")])
    average = METHODS[1]
    (found,) = evaluate(tried, [average]).results
    from distiller.results.recommendation import Training

    rows = tried.of(1)
    order = average.fit(Training(alone)).rank(tried.configs.iloc[rows], tried.target(1)).order
    scores = tried.score[rows, 1]
    on = next(one for one in found.datasets if one.dataset == "d01")
    assert on.regret[1] == pytest.approx(
        (scores.max() - scores[order[0]]) / (scores.max() - np.median(scores))
    )


def test_the_teacher_s_share_is_given_where_its_score_is_known():
    described = FAMILY.meta.assign(teacher_score=[2.0, 2.0, None, None, None, None])
    searched = dataclasses.replace(FAMILY.searched(), datasets=described)
    tried = read_tried([searched], {name: [name] for name in FAMILY.names})
    (found,) = evaluate(tried, [told("blurred", tried, 0.5)]).results
    known = [one for one in found.datasets if one.teacher_regret is not None]
    assert [one.dataset for one in known] == ["d00", "d01"]
    scores = worth(tried, 0)
    span = scores.max() - np.median(scores)
    assert known[0].teacher_regret[1] == pytest.approx(known[0].regret[1] * span / 2.0)


def test_the_best_of_noisy_scores_is_not_high_by_luck_once_they_are_shrunk():
    rng = np.random.default_rng(1)
    raw, corrected = [], []
    for _ in range(200):
        true = np.where(rng.random(60) < 0.4, 0.0, 0.7 + 0.05 * rng.normal(size=60))
        repeats = np.where(rng.random(60) < 0.1, 4, 1)
        seen = true + 0.05 * rng.normal(size=60) / np.sqrt(repeats)
        better = shrunk(seen, repeats, 0.05)
        raw.append(seen.max() - true[seen.argmax()])
        corrected.append(better.max() - true[better.argmax()])
    assert np.mean(raw) > 0.04
    assert abs(np.mean(corrected)) < 0.012
    same = rng.normal(size=9)
    assert (shrunk(same, np.ones(9, dtype=int), 0.0) == same).all()


def test_the_noise_is_that_of_a_typical_config():
    rng = np.random.default_rng(2)
    runs = pd.DataFrame({"config_id": np.repeat(np.arange(400), 3).astype(str), "role": "finalist"})
    assert noise_of(runs.assign(score=0.3 + 0.02 * rng.normal(size=1200))) == pytest.approx(0.02, rel=0.1)
    broken = runs.assign(score=0.3 + 0.02 * rng.normal(size=1200))
    broken.loc[broken["config_id"].isin(["1", "2", "3"]) & (rng.random(1200) < 0.5), "score"] = 0.0
    assert noise_of(broken) == pytest.approx(0.02, rel=0.15)
    assert noise_of(runs.assign(score=0.1)) == 0
    assert np.isnan(noise_of(runs.drop_duplicates("config_id").assign(score=0.1)))


def test_what_is_known_of_the_noise_is_said():
    unknown = evaluate(FAMILY.tried(), METHODS[:1])
    assert any("no dataset has a config that ran on several seeds" in note for note in unknown.notes)
    known = evaluate(Family(3, 10, repeats=2).tried(), METHODS[:1])
    assert any("scores are shrunk" in note for note in known.notes)
    assert not any("noise is unknown" in note for note in known.notes)


def test_two_groups_are_the_fewest():
    """Fitted to a single dataset, every recommender still answers."""
    found = evaluate(Family(2, 12, early="telling").tried())
    assert [len(one.datasets) for one in found.results] == [2] * len(METHODS)
    assert all(np.isfinite(one.regret[5].value) for one in found.results)


def test_one_group_cannot_be_left_out():
    tried = read_tried([FAMILY.searched()], {"all": FAMILY.names})
    with pytest.raises(InputError, match=r"all of one group \(all\)"):
        evaluate(tried)


def test_the_default_is_the_one_that_loses_least_and_ties_go_to_the_simpler():
    tried = FAMILY.tried()
    simple = dataclasses.replace(METHODS[1], fit=told("", tried, 100.0).fit)
    good, same = told("portfolio", tried, 0.1), told("learned", tried, 0.1)
    found = choose(evaluate(tried, [METHODS[0], simple, good, same]))
    assert found.method == "portfolio"
    assert found.beats_random
    assert found.reason.startswith("portfolio: the best of its first 5 loses 0.")
    few = read_tried([FAMILY.searched()], {"a": FAMILY.names[:3], "b": FAMILY.names[3:]})
    assert "2 groups of datasets are too few" in choose(evaluate(few, [METHODS[0], simple, good])).reason


def test_it_is_plain_json():
    plain = evaluate(FAMILY.tried(), METHODS[:2]).to_dict()
    text = json.dumps(plain, allow_nan=False)
    assert list(json.loads(text)["recommenders"]) == ["random", "average"]
    assert plain["recommenders"]["random"]["correlation"]["value"] == 0
