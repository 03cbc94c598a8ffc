"""Samplers: what they propose, what they learn, and that a relaunch goes on as if nothing had happened."""

from __future__ import annotations

import math

import numpy as np
import pytest
from optuna.trial import TrialState
from scipy.stats import qmc

from distiller.search.assignment import Outcome
from distiller.search.samplers.group_tpe import History, best_of
from distiller.search.samplers.tpe import Tpe
from tests.search.trials import BUDGET, RUNG, SMALL, WIDE, make, played, quality, rate, run

STEADY = {**WIDE, "intermediate": {"none": {}, "mse": {
    "schedule": "constant", "representation": "tokens", "projection": "linear",
    "weight": {"loguniform": [0.1, 10]}, "mapping": ["skip", "last"]}}}  # fmt: skip
"""The wide space without first stages, in which all scores count."""


def test_tpe_finds_the_good_region_of_a_conditional_space():
    found = run(make(startup=10, seed=3), 70, lambda c: played(c, quality(c)))
    early = np.mean([quality(c) for c, _ in found[:10]])
    late = np.mean([quality(c) for c, origin in found[40:] if origin == "model"])
    assert late > early + 0.05
    assert {type(c.intermediate[0]).__name__ for c, _ in found} == {"NoIntermediate", "Mse"}
    mappings = {c.intermediate[0].mapping.kind for c, _ in found if c.intermediate[0].objective == "mse"}
    assert mappings == {"skip", "emd"}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("kind", "scale"),
    [("tpe", 1.0), ("tpe", 100.0), ("bohb", 100.0)],  # a metric such as -RMSE may be far below any constant
)
def test_models_avoid_where_trials_fail(kind, seed, scale):
    """Rates above 0.05 (a third of the prior) diverge; everything else is as good as anything."""

    def judge(config):
        failed = config.optimization.learning_rate > 0.05
        return played(
            config, -scale * (1 + 0.01 * np.sin(50 * rate(config))), "failed" if failed else "completed"
        )

    found = run(make(sampler=kind, startup=15, prior_share=0, seed=seed), 60, judge)
    share = np.mean([c.optimization.learning_rate > 0.05 for c, origin in found if origin == "model"])
    assert share < 0.15  # the prior's is 0.33
    random = run(make(sampler="random", seed=seed), 200, judge)
    assert np.mean([c.optimization.learning_rate > 0.05 for c, _ in random]) == pytest.approx(0.33, abs=0.1)


def test_tpe_is_told_the_truth_in_terminal_states():
    sampler = make(startup=1, prior_share=0)
    for status in ("completed", "stopped", "failed"):
        config, _ = sampler.propose()
        sampler.tell(played(config, 0.5, status))
    done = [t for t in sampler.knowledge.model.study.trials if t.state != TrialState.FAIL]
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
    assert all(t.state != TrialState.RUNNING for t in sampler.knowledge.model.study.trials)


@pytest.mark.parametrize("kind", ["tpe", "bohb", "random", "quasi_random", "grid"])
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
    after = run(lived, 10, judge)
    assert run(rebuilt, 10, judge) == after
    assert ("model" in {origin for _, origin in after}) == (kind in ("tpe", "bohb"))


def test_prior_share_is_respected_and_marked():
    def origins(written=WIDE, count=150, **search):
        return [origin for _, origin in run(make(written, **search), count, lambda c: played(c, quality(c)))]

    share = origins(startup=5, prior_share=0.3, seed=1)[5:].count("prior") / 145
    assert share == pytest.approx(0.3, abs=0.12)  # three standard deviations
    modelled = origins(STEADY, 100, sampler="bohb", prior_share=0.3, seed=1)
    assert set(modelled[:11]) == {"prior"}  # as many as it needs
    assert modelled[11:].count("prior") / 89 == pytest.approx(0.3, abs=0.15)
    assert origins(count=40, startup=5, prior_share=0)[5:].count("prior") == 0
    assert set(origins(count=40, startup=5, prior_share=1)) == {"prior"}
    assert set(origins(count=40, sampler="random")) == {"prior"}


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


@pytest.mark.parametrize("sampler", ["random", "quasi_random", "tpe"])
def test_datasets_draw_the_same_configs_where_asked(sampler):
    drawn = [
        run(make(sampler=sampler, stream=s, seed=3, same_configs=same), 4, lambda c: played(c, quality(c)))
        for s, same in ((0, True), (1, True), (1, False))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_datasets_and_seeds_have_streams_of_their_own():
    first = [make(sampler="random", stream=s, seed=seed).propose()[0] for s in (0, 1) for seed in (0, 1)]
    assert len({c.config_id for c in first}) == 4


def test_configs_outside_the_space_teach_nothing():
    sampler = make(SMALL, startup=1)
    stranger = make(WIDE).propose()[0]
    sampler.tell(played(stranger, 1.0))
    assert (sampler.knowledge.told, len(sampler.knowledge.model.study.trials)) == (0, 0)


def test_bohb_models_the_highest_fidelity_that_enough_trials_reached():
    """Most trials are stopped at the rung; those that go on add to it until the full budget has enough."""
    sampler = make(STEADY, sampler="bohb", prior_share=0)
    knowledge = sampler.knowledge
    # Objective, weight, mapping; loss, hard weight, temperature; layers; learning rate (section 3.2: d + 3).
    enough = knowledge.enough
    assert enough == 8 + 3
    assert make(SMALL, sampler="bohb").knowledge.enough == 3 + 3

    def told(count, status, score):
        for _ in range(count):
            sampler.tell(played(sampler.propose()[0], score, status))

    told(enough - 1, "stopped", 0.5)
    assert (knowledge.step, sampler.propose()[1]) == (None, "prior")
    told(1, "completed", 0.6)
    assert (knowledge.step, sampler.propose()[1]) == (RUNG, "model")
    told(3, "failed", 0.0)
    assert knowledge.step == RUNG
    values = [t.value for t in knowledge.model.study.trials if t.state == TrialState.COMPLETE]
    assert values == [0.5] * (enough - 1) + [0.6]
    told(enough - 1, "completed", 0.7)
    pending = {config.config_id for config in knowledge.model.pending()}
    assert knowledge.step == BUDGET
    done = [t for t in knowledge.model.study.trials if t.state != TrialState.FAIL]
    assert [t.value for t in done if t.state == TrialState.COMPLETE] == [0.6] + [0.7] * (enough - 1)
    assert sum(t.state == TrialState.PRUNED and not t.intermediate_values for t in done) == 3
    assert sum(t.state == TrialState.RUNNING for t in done) == len(pending) == 1  # proposed and not told
    told(5, "stopped", 0.9)  # which says nothing about the full budget
    assert max(t.value for t in knowledge.model.study.trials if t.state == TrialState.COMPLETE) == 0.7


def test_bohb_finds_what_is_good_at_the_full_budget():
    """At the rung large rates look best; in full small ones are."""

    def judge(config):
        late = 0.9 - 0.1 * (rate(config) + 3) ** 2
        return Outcome(config, "prior", "completed", ((RUNG, rate(config)), (BUDGET, late)), BUDGET)

    found = run(make(STEADY, sampler="bohb", prior_share=0, seed=2), 50, judge)
    late = [rate(config) for config, _ in found[30:]]
    assert np.mean(np.abs(np.array(late) + 3) < 1) > 0.7  # half of the prior


def test_a_first_stage_is_no_observation_for_bohb():
    space = {**WIDE, "intermediate": {"mse": {"schedule": {"first_stage": {"share": 0.5}}}}}
    sampler = make(space, sampler="bohb")
    for _ in range(30):
        sampler.tell(played(sampler.propose()[0], 0.5, "stopped"))
    assert (sampler.knowledge.step, dict(sampler.knowledge.reached)) == (None, {})


def test_quasi_random_is_balanced_under_the_prior():
    """Of 2^m points every choice has its share, and its parameters are spread like those of all."""
    count = 256
    sampler = make(STEADY, sampler="quasi_random")
    found = [sampler.propose()[0] for _ in range(count)]
    assert len({config.config_id for config in found}) == count
    mse = [c.intermediate[0] for c in found if c.intermediate[0].objective == "mse"]
    assert len(mse) == count / 2
    assert sum(term.mapping.kind == "last" for term in mse) == count / 4
    assert sum(config.student.layers == 1 for config in found) == count / 2
    hard = [c.prediction.hard_weight for c in found if c.prediction.loss == "kl"]
    for values in (np.log([term.weight for term in mse]) / np.log(10) / 2 + 0.5, hard):
        counts, _ = np.histogram(values, 16, (0, 1))
        assert counts.tolist() == [count / 2 / 16] * 16


def test_quasi_random_covers_more_evenly_than_random():
    def discrepancy(kind, seed):
        found = [config for config, _ in run(make(sampler=kind, seed=seed), 64, lambda c: played(c, 0.5))]
        kl = [c for c in found if c.prediction.loss == "kl"]
        points = [[c.prediction.hard_weight, rate(c) / 4 + 1] for c in kl]
        return qmc.discrepancy(points)

    seeds = range(5)
    even, loose = ([discrepancy(kind, s) for s in seeds] for kind in ("quasi_random", "random"))
    assert max(even) < min(loose)


def test_the_history_is_what_the_trials_say():
    """Against reading each trial anew, with runs of other groups, running trials and gaps between."""
    tpe = Tpe(make(STEADY).space)
    rng, waiting = np.random.default_rng(4), []
    for number in range(150):
        config = tpe.space.sample(rng)
        if number % 7 == 3:
            tpe.expect(config)
            waiting.append(config)
        else:
            tpe.observe(config, None if number % 5 == 1 else [float(rng.random())])
    trials = tpe.study.get_trials(deepcopy=False)
    history = History(["maximize"])
    for known in (10, 60, 150, 150):
        history.extend(trials[:known])
        numbers = rng.permutation(known)[: known // 2]
        for group in tpe.groups.groups:
            names = [*group]
            having = [trials[n] for n in numbers if group.keys() <= trials[n].params.keys()]
            found = history.of(names, numbers)
            assert [*found] == names
            for name, distribution in group.items():
                assert found[name].tolist() == [distribution.to_internal_repr(t.params[name]) for t in having]
        seen = trials[:known]
        ended = [t for t in seen if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        good = {t.number for t in best_of(ended, [1.0], math.ceil(0.1 * len(ended)))}
        halves = [half.tolist() for half in history.halves()]
        assert halves[0] == sorted(good)
        left = [t.number for t in seen if t.number not in good and t.state != TrialState.FAIL]
        assert halves[1] == left
        tpe.forget(waiting.pop(0).config_id)
        trials = tpe.study.get_trials(deepcopy=False)
    assert history.of(["no such parameter"], numbers)["no such parameter"].tolist() == []
