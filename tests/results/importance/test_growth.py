"""Learning curves of known shape: what they say of the full budget, and that they cannot mislead."""

from __future__ import annotations

import numpy as np
import pytest

from distiller.results.importance import importance
from distiller.results.importance.growth import settled
from distiller.results.importance.rows import read_rows
from distiller.results.importance.terms import Basis
from tests.truth.small import response, small_design, truth
from tests.truth.sweeps import ended
from tests.truth.tables import distinct
from tests.truth.trails import RUNGS, halved

SCALE = np.array([0.4, 0.7, 1.0])[:, None]


def curves_of(kind: str, seed: int, trials: int = 200):
    """Tables of trials and epochs; half of the trials stop at the first rung, whatever they scored."""
    rng = np.random.default_rng([seed, 77])
    drawn = distinct(small_design(), trials, rng)
    final = response().score(drawn)
    run, own = rng.normal(size=trials) / 3, rng.normal(size=(3, trials)) / 3
    ends = rng.choice(3, p=[0.5, 0.25, 0.25], size=trials)
    if kind == "exact":
        scores = SCALE * final
    elif kind == "halved":
        scores = SCALE * final
        ends = halved(scores)
    elif kind == "of the run":
        scores = SCALE * final + run
    elif kind == "mostly of the run":
        scores = SCALE * final + 0.9**0.5 * run + 0.1**0.5 * own
    else:  # each config at a speed of its own
        speed = np.exp(0.8 * np.tanh(drawn["optimization_warmup"].to_numpy(dtype=float) * 10 - 1))
        grown = (1 - np.exp(-3 * np.array(RUNGS)[:, None] * speed)) / (1 - np.exp(-3 * speed))
        scores = (final + 5) * grown + 0.9**0.5 * run + 0.1**0.5 * own
    return ended(drawn, 0.6 + 0.05 * scores, ends)


@pytest.mark.parametrize(
    ("kind", "within"),
    [("exact", 0.05), ("halved", 0.08), ("of the run", 0.1), ("mostly of the run", 0.12), ("speeds", 0.15)],
)
def test_shares_are_those_at_the_full_budget_whatever_the_noise_of_curves_is(kind, within):
    """Taken for nearly free of error, what the curves show gave shares that were wrong by up to .55."""
    rows, epochs = curves_of(kind, 0)
    found = importance(rows, small_design(), epochs=epochs)
    assert found.verdict == "ok", found.reason
    for stage in found.stages:
        assert stage.main == pytest.approx(truth().main(stage.stage), abs=within), stage


def test_scores_that_keep_their_order_are_multiples_of_each_other():
    rows = read_rows(*_of("exact"))
    basis = settled(Basis.of(small_design(), rows), rows)
    assert basis.alike == pytest.approx([0.4, 0.7, 1.0], rel=0.01)
    late = rows.full & (basis.noise.before >= 0)
    last = basis.rung[basis.noise.before[late]]
    assert basis.noise.carried[late] == pytest.approx(1 / SCALE[last, 0], rel=0.1)


def _of(kind: str):
    rows, epochs = curves_of(kind, 0)
    return rows, small_design(), epochs
