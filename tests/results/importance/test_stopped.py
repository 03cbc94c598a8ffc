"""What trials that were stopped, or that a sampler chose, may say about the full budget."""

from __future__ import annotations

import numpy as np
import pytest

from distiller.results.importance import importance
from tests.truth.small import small_design
from tests.truth.sweeps import ended
from tests.truth.tables import distinct, table
from tests.truth.tree import read_places, stage_mix

RUNGS = 3


def values(drawn, *stages):
    """[rows] of each stage a random function of mean 0 and variance 1."""
    rng = np.random.default_rng(5)
    places = read_places(list(small_design().searched()), drawn)
    return [stage_mix(small_design(), stage, rng).at(places) for stage in stages]


@pytest.fixture(scope="module")
def drawn():
    return distinct(small_design(), 300, np.random.default_rng(1))


def test_an_interaction_that_shows_early_alone_is_not_taken_for_one_at_the_end(drawn):
    rng = np.random.default_rng(2)
    student, augmentation, optimization = values(drawn, "student", "augmentation", "optimization")
    final, together = 0.8 * student + 0.6 * optimization, augmentation * optimization
    scores = np.array([final + fading * together for fading in (1.0, 0.6, 0.0)])
    scores += 0.3 * (rng.normal(size=300) + 0.3 * rng.normal(size=(RUNGS, 300)))
    ends = np.where(np.arange(300) < 45, 2, np.where(np.arange(300) < 110, 1, 0))
    rows, epochs = ended(drawn, scores, ends)
    found = importance(rows, small_design(), epochs=epochs)
    assert found.verdict == "ok"
    assert sum(subset.share for subset in found.subsets if len(subset.stages) > 1) < 0.1
    shares = {stage.stage: stage.main for stage in found.stages}
    assert shares["student"] == pytest.approx(0.64, abs=0.1)
    assert shares["optimization"] == pytest.approx(0.36, abs=0.1)


@pytest.mark.parametrize("alike", [True, False])
def test_what_full_runs_hardly_differ_in_is_not_told(drawn, alike):
    """Stopped at the first rung were all runs of the worse teacher, or as many at random."""
    rng = np.random.default_rng(3)
    optimization, student = values(drawn, "optimization", "student")
    better = drawn["teacher_checkpoint"] == "large"
    final = np.where(better, 1.0, -1.0) + 0.4 * optimization + 0.3 * student
    scores = np.array([final * early for early in (0.6, 0.8, 1.0)])
    scores += 0.2 * rng.normal(size=(RUNGS, 300))
    lucky = better if alike else rng.permutation(better)
    rows, epochs = ended(drawn, scores, np.where(lucky, 2, 0))
    found = importance(rows, small_design(), epochs=epochs)
    said = "Full runs hardly differ in teacher: " in " ".join(found.caution)
    assert said == alike
    assert (found.verdict == "cannot tell") == alike
    assert ("most of the variance lies in stages in which full runs hardly differ" in found.reason) == alike


@pytest.mark.parametrize("true", [True, False])
def test_what_a_sampler_shows_is_confirmed_by_draws_from_the_prior(drawn, true):
    """Of 300 trials the sampler's last 200 all gain by a teacher; the first 100 do so or do not."""
    rng = np.random.default_rng(4)
    optimization, student = values(drawn, "optimization", "student")
    steered = np.arange(300) >= 100
    gain = 0.8 * (drawn["teacher_checkpoint"] == "large") * (steered | true)
    rows = table(
        drawn,
        optimization + student + gain + 0.2 * rng.normal(size=300),
        origin=np.where(steered, "sampler", "prior"),
    )
    found = {stage.stage: stage for stage in importance(rows, small_design()).stages}
    assert found["teacher"].influential == true
    assert found["optimization"].influential
    assert found["student"].influential
