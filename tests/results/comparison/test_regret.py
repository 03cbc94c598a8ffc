"""Interactions with the dataset, regrets and adjusted scores of planted tables."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from distiller.results.comparison import interaction
from distiller.results.comparison.compare import compare
from distiller.results.comparison.interaction import interactions
from distiller.results.comparison.regret import regret_matrix
from distiller.results.comparison.surrogate import CrossFit, Surrogates
from distiller.results.design import Design
from distiller.spaces.narrowing import parse_space
from tests.results.comparison.planted import DESIGN, SPACE, augmented, chose, layers, quickly, table


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    quickly(monkeypatch)


def crossed(frame, name):
    """mi_alpha is best on a and b, mse on c and d; layers matter alike."""
    return 0.06 * chose(frame, "mi_alpha" if name in "ab" else "mse") + 0.05 * layers(frame, 4)


@pytest.fixture(scope="module")
def two():
    return table(crossed, ["a", "c"], trials=100)


def test_the_stage_that_interacts_is_found(two):
    stages, trials = interactions(*two)
    found = {one.stage: one for one in stages}
    assert set(found) == {"augmentation", "intermediate", "prediction", "student", "optimization"}
    assert trials == 200
    assert found["intermediate"].p_holm < 0.01
    assert found["intermediate"].low > 0.1
    assert found["intermediate"].best == {"a": "mi_alpha", "c": "mse"}
    assert found["student"].p_holm > 0.05
    assert found["student"].share < 0.05
    assert found["student"].best == {"a": "4", "c": "4"}
    assert found["optimization"].best == {}


def test_shares_cover_the_truth(monkeypatch):
    """An effect of 0.01 up on one dataset and down on the other, beside a noise of 0.02."""
    monkeypatch.setattr(interaction, "PERMUTATIONS", 19)
    design = Design({"augmentation": DESIGN.stages["augmentation"]})
    sign, truth, covered = {"a": 1.0, "b": -1.0}, 0.01**2 / (0.01**2 + 0.02**2), 0
    for seed in range(40):
        trials, _ = table(
            lambda frame, name: 0.01 * sign[name] * (2 * augmented(frame) - 1), ["a", "b"], 60, seed
        )
        ((found,), _) = interactions(trials, {"a": design, "b": design})
        covered += found.low <= truth <= found.high
    assert covered >= stats.binom.ppf(0.001, 40, 0.95)


def test_regret_is_measured_where_it_was_run_else_predicted(two):
    trials, designs = two
    best = {name: trials.loc[trials.loc[trials["dataset"] == name, "score"].idxmax()] for name in "ac"}
    there = best["a"].to_frame().T.assign(dataset="c", score=best["c"]["score"] - 0.07)
    seeds = [there.assign(seed=s, score=there["score"].astype(float) + d) for s, d in ((1, 0.01), (2, -0.01))]
    trials = pd.concat([trials, *seeds], ignore_index=True).infer_objects()
    found = regret_matrix(trials, designs)
    entries = {(one.of, one.on): one for one in found.entries}
    assert entries["a", "c"].label == "measured"
    assert entries["a", "c"].regret == pytest.approx(0.07)
    assert found.noise_sd["c"] == pytest.approx(0.01 * np.sqrt(2))
    assert entries["a", "c"].in_noise == pytest.approx(0.07 / (0.01 * np.sqrt(2)))
    assert entries["c", "a"].label == "predicted"
    assert 0.02 < entries["c", "a"].regret < 0.12  # 0.06 is planted, and its own best config was lucky
    assert entries["c", "a"].in_noise is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_config_that_the_other_could_not_have_has_no_regret(two):
    trials, designs = two
    best = trials.loc[trials.loc[trials["dataset"] == "a", "score"].idxmax()]
    left = [c for c in ("none", "mse", "mi_alpha") if c != best["intermediate_objective"]]
    narrow = parse_space(SPACE).without("intermediate", best["intermediate_objective"])
    own = {**designs, "c": Design.of(narrow)}
    entries = {(one.of, one.on): one for one in regret_matrix(trials, own).entries}
    assert entries["a", "c"].label == "unknown"
    assert f"the design has {' | '.join(left)}" in entries["a", "c"].note


@pytest.mark.slow
def test_adjusting_keeps_the_difference_and_loses_the_rest():
    """25 tables: the mean difference stays unbiased, its intervals cover, and it varies less."""
    plain, adjusted, covered = [], [], 0
    for seed in range(25):
        trials, _ = table(
            lambda frame, name: 0.03 * chose(frame, "mi_alpha") + 0.1 * layers(frame, 4), ["a"], 60, seed
        )
        scores = Surrogates(trials, {"a": DESIGN}).adjusted(trials, "a", "intermediate")
        chosen = chose(trials, "mi_alpha") == 1
        other = (trials["intermediate_objective"] == "mse").to_numpy()
        own = trials["score"].to_numpy()
        plain.append(own[chosen].mean() - own[other].mean())
        test = stats.ttest_ind(scores[chosen], scores[other], equal_var=False)
        adjusted.append(scores[chosen].mean() - scores[other].mean())
        covered += test.confidence_interval().low <= 0.03 <= test.confidence_interval().high
    assert np.mean(adjusted) == pytest.approx(0.03, abs=4 * np.std(adjusted) / np.sqrt(25))
    assert np.std(adjusted) < 0.8 * np.std(plain)
    assert covered >= stats.binom.ppf(0.001, 25, 0.95)


def test_many_trials_have_the_p_value_of_permuting_them(two, monkeypatch):
    monkeypatch.setattr(interaction, "PERMUTATIONS", 1999)
    permuted = {one.stage: one.p for one in interactions(*two)[0]}
    monkeypatch.setattr(interaction, "LARGE", 100)
    found = {one.stage: one.p for one in interactions(*two)[0]}
    assert found.keys() == permuted.keys()
    assert [found[stage] for stage in permuted] == pytest.approx(list(permuted.values()), abs=0.03)
    assert max(found.values()) > 0.1


def test_one_surrogate_serves_all_who_ask(two, monkeypatch):
    two, fits = (two[0].groupby("dataset").head(40), two[1]), []
    fit = CrossFit.of.__func__
    monkeypatch.setattr(CrossFit, "of", classmethod(lambda cls, *known: fits.append(1) or fit(cls, *known)))
    surrogates = Surrogates(*two)
    shared = regret_matrix(*two, surrogates=surrogates)
    stages = [compare(*two, what, surrogates=surrogates) for what in ("intermediate", "student.layers")]
    assert len(fits) == 2
    assert shared == regret_matrix(*two)
    assert stages[0] == compare(*two, "intermediate")
