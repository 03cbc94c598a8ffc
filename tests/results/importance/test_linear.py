"""The linear surrogate on few rows, where it has more functions than there are trials."""

from __future__ import annotations

import numpy as np
import pytest

from distiller.results.importance import importance
from distiller.results.importance.linear import Basis, Linear
from distiller.results.importance.rows import read_rows
from tests.truth.shares import additive_shares, parted
from tests.truth.small import SHARES, base, response, small_design
from tests.truth.spaces import design_of
from tests.truth.tables import distinct, table


def fitted(trials: int, seed: int) -> Linear:
    """Of a table of which a fifth of the variance is noise."""
    rng = np.random.default_rng(seed)
    drawn = distinct(small_design(), trials, rng)
    score = response().score(drawn) + 0.5 * rng.normal(size=trials)
    rows = read_rows(table(drawn, 0.6 + 0.05 * score), small_design())
    return Linear.fit(Basis.of(small_design(), rows), rows.score, rows.group)


@pytest.mark.parametrize("trials", [40, 120])
def test_chances_of_stages_without_effect_are_no_smaller_than_chance(trials):
    """The noise is estimated from what is left of few rows: were it taken for known, 60 of 160 were below."""
    stages = small_design().searched_stages()
    null = [s for s, stage in enumerate(stages) if stage not in SHARES]
    chances = np.array([fitted(trials, seed).p_values(s) for seed in range(80) for s in null])
    assert len(chances) == 160
    assert (chances < 0.05).sum(axis=0).max() <= 16  # binomial: P(17 or more) = .004
    assert (chances < 0.002).sum(axis=0).max() <= 2


def test_few_rows_are_not_explained_by_what_hardly_any_of_them_asks():
    """60 trials of the whole space predict others. Without the expectation of what a rarely asked question
    can do they do worse than the mean (median 1.2 of its squared error, at worst 2.7)."""
    design, errors = design_of(), []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        mains = parted(additive_shares(rng), rng)
        drawn = distinct(design, 300, rng)
        score = mains.score(drawn) + rng.normal(size=300)  # as much noise as signal
        rows = read_rows(table(drawn, 0.6 + 0.05 * score), design)
        train = np.arange(300) < 60
        model = Linear.fit(Basis.of(design, rows), rows.score, rows.group, train)
        missed, apart = (
            (rows.score - model.predict())[~train],
            (rows.score - rows.score[train].mean())[~train],
        )
        errors.append(float((missed**2).sum() / (apart**2).sum()))
    assert np.median(errors) < 0.95
    assert max(errors) < 1.1


@pytest.mark.parametrize("apart", [0.0, 1e-9, 0.1])
def test_full_scores_that_are_nearly_all_the_same_cannot_tell(apart):
    """As where every full run collapses to the same answer; stopped ones do differ."""
    rows = base().head(200)
    full = np.arange(200) < 150
    score = np.where(full, 0.5, rows["score"])
    score[7] += apart
    status = np.where(full, "completed", "stopped")
    found = importance(
        rows.assign(score=score, fidelity=np.where(full, 1.0, 0.1), status=status), small_design()
    )
    assert found.verdict == "cannot tell"
    assert (found.reason == "all scores of full runs are equal") == (apart == 0)


def test_stopped_scores_without_noise_are_no_reason_to_fail():
    """Those at a rung are all 0, up to a billionth, and so is the noise of most rows."""
    rows = base().head(200)
    full = np.arange(200) < 40
    score = (rows["score"] - rows["score"].mean()) * np.where(full, 20, 2e-8)
    status = np.where(full, "completed", "stopped")
    found = importance(
        rows.assign(score=score, fidelity=np.where(full, 1.0, 1e-9), status=status), small_design()
    )
    assert found.stages
    assert all(0 <= stage.main <= stage.total <= 1 + 1e-9 for stage in found.stages)
