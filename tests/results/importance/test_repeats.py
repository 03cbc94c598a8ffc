"""Repeats of a config, which say how noisy scores are, and nothing more about the stages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from distiller.results.importance import importance
from distiller.results.importance.evidence import standard_error
from tests.truth.small import base, small_design


def repeated(configs: int, times: int, noise: float) -> pd.DataFrame:
    rng = np.random.default_rng(configs)
    rows = base().head(configs)
    rows = rows.loc[rows.index.repeat(times)].reset_index(drop=True)
    return rows.assign(
        seed=np.tile(np.arange(times), configs),
        trial_id=[f"t{i}" for i in range(len(rows))],
        score=rows["score"] + noise * rng.normal(size=len(rows)),
    )


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_a_few_configs_cannot_tell_however_often_they_ran(noise):
    """Any of five stages might be what tells five configs apart; taken for 200 trials they were sure."""
    found = importance(repeated(5, 40, noise), small_design())
    assert (found.verdict, found.stages) == ("cannot tell", ())
    assert "of 5 configs" in found.reason


@pytest.mark.parametrize("rounding", [0.0, 1e-12])
def test_deterministic_repeats_say_what_one_run_says(rounding):
    once = importance(repeated(120, 1, 0.0), small_design())
    twice = importance(repeated(120, 2, rounding), small_design())
    assert (twice.trials, twice.noise_repeats) == (240, 120)
    assert twice.verdict == once.verdict == "ok"
    assert twice.r2 == pytest.approx(once.r2, abs=1e-6)
    for stage, other in zip(once.stages, twice.stages, strict=True):
        assert (stage.stage, stage.influential) == (other.stage, other.influential)
        assert other.main_interval == pytest.approx(stage.main_interval, abs=1e-6)
        assert other.total_interval == pytest.approx(stage.total_interval, abs=1e-6)
        assert (other.total, other.p_value) == pytest.approx((stage.total, stage.p_value), abs=1e-6)


def test_errors_of_mean_losses_are_those_of_the_mean_over_configs():
    """Of as many repeats of each, the mean is that of the configs' means; of single trials the usual one."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=30)
    losses = np.repeat(means, 4) + np.tile([-0.3, -0.1, 0.1, 0.3], 30)
    spread, freedom = standard_error(losses, np.repeat(np.arange(30), 4))
    assert (spread, freedom) == (pytest.approx(stats.sem(means)), 29)
    spread, freedom = standard_error(means, np.arange(30) * 7)
    assert (spread, freedom) == (pytest.approx(stats.sem(means)), 29)
