"""Stopping rules against plain ones written from the papers, and on responses whose truth is known."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import MedianStoppingRule, TrialScheduler

from distiller.search.stopping import (
    AshaRule,
    HyperbandRule,
    PashaRule,
    Reached,
    make_rule,
    noise,
    same_ranking,
)
from distiller.spaces.search import Asha, Hyperband, MedianStopping, Pasha


def config_id(name):
    return hashlib.sha256(str(name).encode()).hexdigest()[:12]


def played(rule, curves, seed=0, workers=4):
    """Runs trials in an asynchronous order; how many rungs each has passed (its curve's length: in full)."""
    rng = np.random.default_rng(seed)
    waiting, running, passed = list(range(len(curves))), {}, {}
    while waiting or running:
        while waiting and len(running) < workers:
            running[waiting.pop(0)] = 0
        trial = int(rng.choice(sorted(running)))
        rung, curve = running[trial], curves[trial]
        if rung == len(curve) - 1:  # the full budget is not reported
            passed[trial] = rung + 1
            del running[trial]
            continue
        seen = tuple((step + 1, float(score)) for step, score in enumerate(curve[: rung + 1]))
        if rule.stops(Reached(str(trial), config_id(trial), rung, float(curve[rung]), seen)):
            passed[trial] = rung
            del running[trial]
        else:
            running[trial] = rung + 1
    return passed


def responses(trials, rungs, seed, spread=0.0):
    """[trials, rungs] scores that rise to a known truth; with `spread`, early scores mislead."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 1, trials)
    share = 3.0 ** np.arange(1 - rungs, 1)
    return truth, truth[:, None] * (0.5 + 0.5 * share) + spread * rng.normal(size=(trials, rungs)) * (
        1 - share
    )


RULES = [Asha(), Hyperband(), Pasha(), MedianStopping()]


@pytest.mark.parametrize("scheduler", RULES, ids=lambda s: s.kind)
def test_the_best_are_found_at_a_fraction_of_the_cost(scheduler):
    """Rungs at 1, 3, 9 and 27: what goes furthest is among the best, and steps are saved."""
    best, spent = [], []
    for seed in range(5):
        truth, curves = responses(81, 4, seed)
        passed = played(make_rule(scheduler, 4), curves, seed)
        furthest = max(passed.values())
        going = [trial for trial, rungs in passed.items() if rungs == furthest]
        best.append(truth[max(going, key=lambda t: truth[t])] >= np.sort(truth)[-3])
        steps = [(1, 3, 9, 27)[max(0, rungs - 1)] for rungs in passed.values()]
        spent.append(sum(steps) / (27 * 81))
    assert np.mean(best) >= 0.8
    assert np.mean(spent) < {"median": 0.75, "hyperband": 0.5}.get(scheduler.kind, 0.35)


@pytest.mark.parametrize("scheduler", [None, *RULES], ids=lambda s: s.kind if s else "none")
def test_a_trial_that_went_on_once_goes_on_when_it_is_tried_again(scheduler):
    rule = make_rule(scheduler, 3)
    ids = [config_id(i) for i in range(20)]
    for number, name in enumerate(ids):
        first = rule.stops(Reached(str(number), name, 0, number % 7))
        assert not (not first and rule.stops(Reached(str(number), name, 0, -1.0)))
        assert scheduler or not first


@dataclass(frozen=True)
class Named:
    trial_id: str


class PlainHyperband:
    """Brackets by cumulated sizes, each a list of scores by rung."""

    def __init__(self, rungs, reduction):
        sizes = [reduction**s / (s + 1) for s in range(rungs - 1, -1, -1)]
        self.sizes = [size / sum(sizes) for size in sizes]
        self.share, self.seen = 1 - 1 / reduction, {}

    def stops(self, reached):
        place, bracket = int(reached.config_id, 16) / 16**12, 0
        while place >= sum(self.sizes[: bracket + 1]):
            bracket += 1
        if bracket == len(self.sizes) - 1 or reached.rung < bracket:
            return False
        scores = self.seen.setdefault((bracket, reached.rung), [])
        stops = bool(scores) and reached.score < np.quantile(scores, self.share)
        scores.append(reached.score)
        return stops


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(2, 5), st.integers(2, 4), st.integers(0, 10_000))
def test_it_is_hyperband(rungs, reduction, seed):
    _, curves = responses(40, rungs, seed, spread=0.3)
    assert played(HyperbandRule(rungs, reduction), curves, seed) == played(
        PlainHyperband(rungs, reduction), curves, seed
    )


def test_brackets_have_their_shares_and_spend_alike():
    """Four rungs at reduction 3: 27/4, 9/3, 3/2 and 1 of 12.25; halving then costs each the same."""
    rule, trials = HyperbandRule(4, 3), 20_000
    counts = Counter(rule.bracket(config_id(i)) for i in range(trials))
    shares = np.array([27 / 4, 9 / 3, 3 / 2, 1]) / 12.25
    assert [counts[b] / trials for b in range(4)] == pytest.approx(shares, abs=0.01)
    cost = [share * sum(3.0**-r * 3**r for r in range(4 - b)) * 3.0**b for b, share in enumerate(shares)]
    assert cost == pytest.approx([cost[0]] * 4)


class PlainPasha:
    """The paper's algorithm on lists of everything: ASHA's cutoff, ranking by position, pairs by loops."""

    def __init__(self, rungs, reduction):
        self.share, self.rungs, self.top = 1 - 1 / reduction, rungs, 1
        self.seen = [[] for _ in range(rungs)]

    def epsilon(self, entered):
        found = []
        for i, a in enumerate(entered):
            for b in entered[:i]:
                x, y = dict(a), dict(b)
                j = max(x)
                ahead, behind = (x, y) if x[j] > y[j] else (y, x)
                if x[j] != y[j] and any(
                    ahead[k] < behind[k] and ahead[m] > behind[m] for k in x for m in x if m < k < j
                ):
                    found.append(abs(x[j] - y[j]))
        return np.quantile(found, 0.9) if found else 0.0

    def stops(self, reached):
        scores = [score for _, score, _ in self.seen[reached.rung]]
        weak = bool(scores) and reached.score < np.quantile(scores, self.share)
        self.seen[reached.rung].append((reached.trial, reached.score, reached.curve))
        if reached.rung == self.top and not self.stable():
            self.top += 1
        return weak or reached.rung >= self.top

    def stable(self):
        top = self.seen[self.top]
        before = [(t, s) for t, s, _ in self.seen[self.top - 1] if t in {name for name, _, _ in top}]
        epsilon = self.epsilon([curve for _, _, curve in top])
        order = sorted(before, key=lambda entry: -entry[1])
        for rank, (name, _, _) in enumerate(sorted(top, key=lambda entry: -entry[1])):
            alike = {t for t, s in before if abs(s - order[rank][1]) <= epsilon}
            if name not in alike:
                return False
        return True


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(2, 6), st.integers(2, 3), st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5]))
def test_it_is_pasha(rungs, reduction, seed, spread):
    _, curves = responses(30, rungs, seed, spread)
    assert played(PashaRule(rungs, reduction), curves, seed) == played(
        PlainPasha(rungs, reduction), curves, seed
    )


def test_pasha_opens_rungs_only_while_rankings_change():
    _, curves = responses(60, 5, 1)
    settled = PashaRule(5, 3)
    assert max(played(settled, curves).values()) == 1  # stopped at the second rung, all of them
    assert settled.top == 1
    _, wild = responses(60, 5, 1, spread=0.5)
    changing = PashaRule(5, 3)
    played(changing, wild)
    assert changing.top > 1


def test_soft_ranking_forgives_as_much_as_curves_are_noisy():
    crossing = [((1, 0.50), (2, 0.52), (3, 0.53)), ((1, 0.49), (2, 0.55), (3, 0.50))]
    assert noise(crossing) == pytest.approx(0.03)
    assert noise([((1, 0.5), (2, 0.6)), ((1, 0.4), (2, 0.7))]) == 0.0  # crossed once: one has overtaken
    below, top = {"a": 0.50, "b": 0.48, "c": 0.2}, {"a": 0.6, "b": 0.7, "c": 0.3}
    assert not same_ranking(below, top, 0.0)
    assert same_ranking(below, top, 0.03)
    assert not same_ranking(below, {"a": 0.6, "b": 0.1, "c": 0.3}, 0.03)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 10_000))
def test_it_is_rays_median_rule(rungs, least, seed):
    class Rays:
        def __init__(self):
            # No pauses, for which there are no checkpoints: the slice before one never ends.
            options = {"grace_period": 0, "min_samples_required": least, "min_time_slice": float("inf")}
            self.trials = {}
            self.rule = MedianStoppingRule("time", "score", "max", **options)

        def stops(self, reached):
            said = {"time": reached.rung, "score": reached.score}
            trial = self.trials.setdefault(reached.trial, Named(reached.trial))
            return self.rule.on_trial_result(None, trial, said) == TrialScheduler.STOP

    _, curves = responses(30, rungs, seed, spread=0.4)
    ours = make_rule(MedianStopping(min_trials=least), rungs)
    assert played(ours, curves, seed) == played(Rays(), curves, seed)


def test_without_a_rung_below_the_budget_nothing_is_compared():
    for scheduler in RULES:
        assert played(make_rule(scheduler, 1), [[0.5], [0.1]]) == {0: 1, 1: 1}
    assert AshaRule(2, 3).stops(Reached("a", "0", 0, 0.0)) is False
