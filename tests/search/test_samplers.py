"""Samplers: what they propose, what they learn, and that a relaunch goes on as if nothing had happened."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.trial import TrialState

from distiller.search.assignment import Outcome
from tests.search.trials import BUDGET, RUNG, SMALL, WIDE, make, played, quality, rate, run


def test_tpe_finds_the_good_region_of_a_conditional_space():
    found = run(make(startup=10, seed=3), 70, lambda c: played(c, quality(c)))
    early = np.mean([quality(c) for c, _ in found[:10]])
    late = np.mean([quality(c) for c, origin in found[40:] if origin == "model"])
    assert late > early + 0.05
    assert {type(c.intermediate[0]).__name__ for c, _ in found} == {"NoIntermediate", "Mse"}
    mappings = {c.intermediate[0].mapping.kind for c, _ in found if c.intermediate[0].objective == "mse"}
    assert mappings == {"skip", "emd"}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("scale", [1.0, 100.0])  # a metric such as -RMSE may be far below any constant
def test_tpe_avoids_where_trials_fail(seed, scale):
    """Rates above 0.05 (a third of the prior) diverge; everything else is as good as anything."""

    def judge(config):
        failed = config.optimization.learning_rate > 0.05
        return played(
            config, -scale * (1 + 0.01 * np.sin(50 * rate(config))), "failed" if failed else "completed"
        )

    found = run(make(startup=15, prior_share=0, seed=seed), 60, judge)
    share = np.mean([c.optimization.learning_rate > 0.05 for c, origin in found if origin == "model"])
    assert share < 0.15  # the prior's is 0.33
    random = run(make(sampler="random", seed=seed), 200, judge)
    assert np.mean([c.optimization.learning_rate > 0.05 for c, _ in random]) == pytest.approx(0.33, abs=0.1)


def test_tpe_is_told_the_truth_in_terminal_states():
    sampler = make(startup=1, prior_share=0)
    for status in ("completed", "stopped", "failed"):
        config, _ = sampler.propose()
        sampler.tell(played(config, 0.5, status))
    done = [t for t in sampler.study.trials if t.state != TrialState.FAIL]
    states = [
        (t.state, t.value if t.state == TrialState.COMPLETE else None, t.intermediate_values) for t in done
    ]
    assert states == [
        (TrialState.COMPLETE, 0.5, {RUNG: 0.5, BUDGET: 0.5}),
        (TrialState.PRUNED, None, {RUNG: 0.5}),
        (TrialState.PRUNED, None, {}),
    ]
    nan = sampler.propose()[0]
    sampler.tell(Outcome(nan, "model", "completed", ((RUNG, float("nan")),), RUNG))
    assert all(t.state != TrialState.RUNNING for t in sampler.study.trials)


@pytest.mark.parametrize("kind", ["tpe", "random", "grid"])
def test_told_history_rebuilds_the_sampler(kind):
    """One that was told everything at once goes on exactly like the one that lived through it."""

    def judge(config):
        layers = config.student.layers
        return played(
            config,
            quality(config),
            "failed" if rate(config) > -0.5 else "stopped" if layers == 2 else "completed",
        )

    search = {"sampler": kind, "startup": 5, "seed": 7}
    lived, rebuilt = make(**search), make(**search)
    before = run(lived, 20, judge)
    if kind == "grid":
        for _ in before:  # a grid proposes the known ones again, and the agenda refuses them
            rebuilt.propose()
    for config, _ in before:
        rebuilt.tell(judge(config))
    rebuilt.resume(len(before))
    assert run(rebuilt, 10, judge) == run(lived, 10, judge)


def test_prior_share_is_respected_and_marked():
    def origins(**search):
        return [origin for _, origin in run(make(**search), 150, lambda c: played(c, quality(c)))]

    share = origins(startup=5, prior_share=0.3, seed=1)[5:].count("prior") / 145
    assert share == pytest.approx(0.3, abs=0.12)  # three standard deviations
    assert origins(startup=5, prior_share=0)[5:].count("prior") == 0
    assert set(origins(startup=5, prior_share=1)) == {"prior"}
    assert set(origins(sampler="random")) == {"prior"}


def test_nothing_is_modelled_before_enough_was_seen():
    """Sixteen workers ask before the first trial ends: all of them are answered from the prior."""
    sampler = make(startup=3, prior_share=0)
    asked = [sampler.propose() for _ in range(16)]
    assert {origin for _, origin in asked} == {"prior"}
    for config, _ in asked[:3]:
        sampler.tell(played(config, 0.5))
    assert sampler.propose()[1] == "model"


def test_grid_is_complete_and_ends():
    sampler = make(SMALL, sampler="grid")
    found = []
    while (proposal := sampler.propose()) is not None:
        found.append(proposal[0])
    points = {(c.student.layers, c.prediction.hard_weight, c.optimization.learning_rate) for c in found}
    assert points == {(n, h, r) for n in (1, 2) for h in (0.1, 0.5) for r in (0.001, 0.1)}
    assert len(found) == len(points) == 8


def test_datasets_and_seeds_have_streams_of_their_own():
    first = [make(sampler="random", stream=s, seed=seed).propose()[0] for s in (0, 1) for seed in (0, 1)]
    assert len({c.config_id for c in first}) == 4


def test_configs_outside_the_space_teach_nothing():
    sampler = make(SMALL, startup=1)
    stranger = make(WIDE).propose()[0]
    sampler.tell(played(stranger, 1.0))
    assert (sampler.told, len(sampler.study.trials)) == (0, 0)
