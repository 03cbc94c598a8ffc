"""Which evaluations are a config's early score."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from distiller.results.recommendation import Searched, read_tried
from distiller.results.recommendation.early import early_scores
from tests.truth.families import DESIGN
from tests.truth.tables import distinct, table

SIX = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def rows(scores, **more):
    drawn = distinct(DESIGN, len(scores), np.random.default_rng(5))
    return table(drawn, np.array(scores, dtype=float), **more).assign(attempt=1)


def curves(trials, **scores_at):
    """Evaluations of every trial: `at_333=[...]` at a share of 0.333."""
    parts = [
        trials[["trial_id", "attempt"]].assign(fidelity=float(f"0.{share[3:]}"), score=scores)
        for share, scores in scores_at.items()
    ]
    return pd.concat(parts, ignore_index=True)


def by_id(trials, found):
    return found.score.reindex(trials["config_id"]).tolist()


def test_the_evaluation_nearest_to_a_third_counts():
    trials = rows(SIX)
    epochs = curves(trials, at_125=[0.0] * 6, at_375=SIX[::-1], at_5=[0.0] * 6, at_875=SIX)
    found = early_scores(trials, epochs)
    assert found.fidelity == 0.375
    assert by_id(trials, found) == SIX[::-1]
    late = early_scores(trials, curves(trials, at_6=SIX))
    assert np.isnan(late.fidelity)
    assert not len(late.score)
    assert np.isnan(early_scores(trials, None).fidelity)


def test_steps_are_rounded_and_unequal_shares_do_not_compare():
    trials = rows(SIX)
    epochs = curves(trials, at_333=SIX)
    epochs.loc[:1, "fidelity"] = [0.338, 0.28]
    found = early_scores(trials, epochs)
    assert found.fidelity == 0.333
    assert by_id(trials, found) == pytest.approx([0.1, np.nan, *SIX[2:]], nan_ok=True)
    assert np.isnan(early_scores(trials, curves(trials.head(4), at_33=SIX[:4])).fidelity)  # too few


def test_stopped_runs_count_and_repeats_are_averaged():
    trials = rows(SIX)
    stopped = trials.head(3).assign(
        status="stopped", fidelity=1 / 3, score=9.0, seed=1, trial_id=["x", "y", "z"]
    )
    finalist = trials.head(3).assign(role="finalist", seed=2, trial_id=["u", "v", "w"])
    failed = trials.tail(1).assign(status="failed", seed=3, trial_id="t")
    whole = pd.concat([trials, stopped, finalist, failed], ignore_index=True)
    epochs = pd.concat([curves(trials, at_3333=SIX), curves(finalist, at_3333=[5.0] * 3)])
    epochs = pd.concat([epochs, curves(failed, at_3333=[7.0]), curves(stopped, at_3333=[9.0] * 3)])
    found = early_scores(whole, epochs)
    assert by_id(trials, found) == pytest.approx([(s + 9.0) / 2 for s in SIX[:3]] + SIX[3:])


def test_trials_of_their_own_at_a_low_fidelity_are_early_scores_too():
    """As in an imported table in which each row is one trial at one fidelity."""
    full = rows(SIX)
    cheap = rows(SIX[::-1], fidelity=0.3, seed=1)
    found = early_scores(pd.concat([full, cheap]), None)
    assert found.fidelity == 0.3
    assert by_id(full, found) == SIX[::-1]


def test_an_attempt_that_does_not_count_says_nothing():
    trials = rows(SIX, attempt=2)
    lost = curves(trials.assign(attempt=1), at_333=[8.0] * 6)
    found = early_scores(
        trials.assign(attempt=2), pd.concat([lost, curves(trials.assign(attempt=2), at_333=SIX)])
    )
    assert by_id(trials, found) == SIX
    gone = curves(trials.assign(attempt=2), at_333=[None, *SIX[1:]])
    assert np.isnan(by_id(trials, early_scores(trials.assign(attempt=2), gone))[0])


def test_they_stand_beside_the_scores():
    one, other = rows(SIX), rows(SIX[:5]).assign(dataset="b")
    epochs = curves(one, at_333=SIX[::-1])
    trials = pd.concat([one.assign(dataset="a"), other], ignore_index=True)
    trials["trial_id"] = trials["dataset"] + trials["trial_id"]
    epochs["trial_id"] = "a" + epochs["trial_id"]
    tried = read_tried([Searched("sweep", trials, {"a": DESIGN, "b": DESIGN}, None, epochs)])
    assert tried.fidelity == pytest.approx([0.333, np.nan], nan_ok=True)
    assert pd.Series(tried.early[:, 0], tried.configs.index).reindex(one["config_id"]).tolist() == SIX[::-1]
    assert np.isnan(tried.early[:, 1]).all()
    rest = tried.without("b")
    assert rest.fidelity.tolist() == [0.333]
    assert rest.early.shape == rest.score.shape == (6, 1)
