"""Whether the recommenders find what families of datasets hold."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from distiller.results.recommendation import METHODS, Training
from tests.truth.families import DESIGN, Family
from tests.truth.tables import distinct

METHOD = {method.name: method for method in METHODS}
LATER = 60
LEARNABLE = {
    "own configs": Family(12 + LATER, 30, common=0.5),
    "shared configs": Family(12 + LATER, 30, common=0.5, shared=True),
}
OUTLIERS = Family(30 + LATER, 30, common=0.5, outliers=0.15)
NULL = {
    "own configs": Family(12 + LATER, 30, told=False),
    "shared configs": Family(12 + LATER, 30, told=False, shared=True),
}
SHOWN = {name: dataclasses.replace(family, common=0.5, early="telling") for name, family in NULL.items()}
"""Datasets differ in what their early scores show, and meta-features mean nothing."""
SILENT = {name: dataclasses.replace(family, early="noise") for name, family in NULL.items()}
BOTH = {name: dataclasses.replace(family, early="telling") for name, family in LEARNABLE.items()}


tried_in = functools.cache(Family.tried)


@functools.cache
def fitted(family, name):
    """To all datasets but the last `LATER`."""
    return METHOD[name].fit(Training(tried_in(family).without(*family.names[-LATER:])))


@functools.cache
def lost(family, name, k):
    """[LATER] what the best of the first k configs falls short of the best of all, without noise."""
    tried = tried_in(family)
    found = []
    for number in range(family.datasets - LATER, family.datasets):
        rows, target = tried.of(number), tried.target(number)
        candidates = tried.configs.iloc[rows]
        worth, early = family.worth(candidates, number), np.full(len(rows), np.nan)
        probes = fitted(family, name).probes(candidates, target)
        early[probes] = tried.early[rows[probes], number]
        order = fitted(family, name).rank(candidates, target, early).order
        found.append(worth.max() - worth[order[:k]].max())
    return np.array(found)


def gain(family, one, other, k):
    """How much less `one` loses than `other`, and the standard error of that."""
    less = lost(family, other, k) - lost(family, one, k)
    return less.mean(), less.std(ddof=1) / np.sqrt(LATER)


def test_the_best_config_is_the_one_that_the_traits_call_for():
    family = Family(6)
    drawn = distinct(DESIGN, 20_000, np.random.default_rng(0))
    for number, (s, t) in enumerate(family.traits):
        best = drawn.iloc[family.worth(drawn, number).argmax()]
        assert best["objective_kind"] == ("near" if s > 0 else "far")
        assert best["student_width"] == pytest.approx((t + 1) / 2, abs=0.1)
        assert np.log10(best["optimization_rate"]) == pytest.approx(-3, abs=0.2)


@pytest.mark.parametrize("family", LEARNABLE.values(), ids=LEARNABLE)
def test_the_learned_one_beats_the_portfolio_where_traits_are_told(family):
    assert fitted(family, "learned").variant[0] == "trees with meta-features"
    for k in (1, 5):
        less, error = gain(family, "learned", "portfolio", k)
        assert less > 2 * error


def test_the_learned_one_stands_some_outliers():
    """Its first config gains; its first five all bet on the same, where a portfolio hedges."""
    less, error = gain(OUTLIERS, "learned", "portfolio", 1)
    assert less > 2 * error
    less, error = gain(OUTLIERS, "learned", "portfolio", 5)
    assert less > -2 * error


def test_the_nearest_datasets_tell_more_than_all_of_them():
    less, error = gain(LEARNABLE["shared configs"], "nearest", "average", 1)
    assert less > 2 * error


def test_the_nearest_datasets_are_those_with_like_traits():
    """What the irrelevant features say is not listened to much: weights follow the distance in s and t."""
    family = LEARNABLE["shared configs"]
    traits = family.traits
    nearer = []
    for number in range(family.datasets - LATER, family.datasets):
        weight = fitted(family, "nearest").weights(tried_in(family).target(number))
        distance = ((traits[: len(weight)] - traits[number]) ** 2).sum(axis=1)
        nearer.append(weight @ distance - distance.mean())
    assert np.mean(nearer) < -0.3 * ((traits[:, None] - traits) ** 2).sum(axis=2).mean()


def test_early_scores_are_of_the_worth_and_of_how_fast_a_config_is():
    family = dataclasses.replace(SHOWN["own configs"], noise=0.0)
    tried = tried_in(family)
    for number in range(3):
        rows = tried.of(number)
        configs = tried.configs.iloc[rows]
        shown = family.worth(configs, number) + family.ahead(configs)
        assert np.corrcoef(tried.early[rows, number], shown)[0, 1] == pytest.approx(1)
    noise = tried_in(SILENT["own configs"])
    known = [np.corrcoef(noise.early[noise.of(j), j], noise.score[noise.of(j), j])[0, 1] for j in range(72)]
    assert abs(np.mean(known)) < 0.1


@pytest.mark.parametrize("family", SHOWN.values(), ids=SHOWN)
def test_probes_beat_what_is_known_before_where_early_scores_show_the_traits(family):
    assert fitted(family, "curve").listens
    for other in ("learned", "portfolio"):
        for k in (1, 3):
            less, error = gain(family, "curve", other, k)
            assert less > 2 * error


def test_probes_are_worth_their_cost_where_every_config_ran_everywhere():
    """Six of a third of the budget: the first of curve against the first three of the portfolio."""
    family = SHOWN["shared configs"]
    less = lost(family, "portfolio", 3) - lost(family, "curve", 1)
    assert less.mean() > 2 * less.std(ddof=1) / np.sqrt(LATER)


@pytest.mark.parametrize(
    "family", [*SILENT.values(), *BOTH.values()], ids=[*SILENT, *map("told, {}".format, BOTH)]
)
def test_the_one_with_probes_is_no_worse_where_they_tell_nothing_new(family):
    for other in ("learned", "portfolio"):
        for k in (1, 5):
            less, error = gain(family, "curve", other, k)
            assert less >= -2 * error


def test_probes_are_hardly_ever_listened_to_where_they_are_noise():
    """Of 20 families of five datasets, which are few to tell by."""
    listened = []
    for seed in range(20):
        family = Family(5, 30, common=0.5, noise=0.1, told=False, shared=True, early="noise", seed=seed)
        listened.append(METHOD["curve"].fit(Training(family.tried())).listens)
    assert np.mean(listened) <= 0.15


@pytest.mark.parametrize("family", NULL.values(), ids=NULL)
def test_the_learned_one_is_no_worse_where_meta_features_mean_nothing(family):
    for k in (1, 5):
        less, error = gain(family, "learned", "portfolio", k)
        assert less >= -2 * error
        assert gain(family, "learned", "random", k)[0] > 0
