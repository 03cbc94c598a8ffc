"""ASHA per dataset, against a brute-force one written from the paper's description."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import TrialScheduler

from distiller.search.assignment import Assignment, Outcome, Task, outcomes_to_json
from distiller.search.schedulers import RungScheduler
from distiller.spaces.config import PipelineConfig
from distiller.spaces.search import Asha
from tests.search.trials import make, played


@dataclass
class FakeTrial:
    """What Ray's schedulers look at."""

    trial_id: str
    config: dict


class BruteForce:
    """Scores by rung; a trial stops where it is below the (1 - 1/reduction) quantile of those before it."""

    def __init__(self, reduction):
        self.share, self.seen = 1 - 1 / reduction, {}

    def stops(self, rung, score):
        scores = sorted(self.seen.setdefault(rung, []))
        self.seen[rung].append(score)
        if not scores:
            return False
        at = self.share * (len(scores) - 1)
        low = int(at)
        high = min(low + 1, len(scores) - 1)
        return score < scores[low] + (at - low) * (scores[high] - scores[low])


CONFIG = make().propose()[0]


STAGED = PipelineConfig.model_validate(
    CONFIG.model_dump()
    | {"intermediate": {"objective": "mse", "schedule": {"kind": "first_stage", "share": 0.5}}}
)


def trial(name, dataset, config=CONFIG):
    return FakeTrial(
        name, {"assignment": Assignment(dataset, "search", 0, (Task(config, "prior"),)).to_json()}
    )


class NoStore:
    """Takes rows and keeps none."""

    def write_epochs(self, rows):
        pass

    def write_trial(self, row, columns):
        pass


def report(rung, score):
    when = "2026-01-01T00:00:00+00:00"
    row = {"started_at": when, "ended_at": when}
    outcome = Outcome(CONFIG, "prior", "stopped", ((rung + 1, score),), rung + 1)
    stopped = json.dumps({"row": row, "epochs": []})
    return {"rung": rung, "score": score, "if_stopped": stopped, "outcomes": outcomes_to_json([outcome])}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(2, 4), st.integers(1, 6), st.integers(0, 10_000))
def test_it_is_asha_for_each_dataset_alone(reduction, rungs, seed):
    """Trials of two datasets, whose scores are worlds apart, reach rungs in any order."""
    rng = np.random.default_rng(seed)
    scheduler = RungScheduler(NoStore(), [*range(10, 10 * (rungs + 1), 10), 1000], Asha(reduction=reduction))
    truth = {name: BruteForce(reduction) for name in ("low", "high")}
    waiting = [(f"{name}{i}", name, 0) for name in truth for i in range(12)]
    trials = {name: trial(name, dataset) for name, dataset, _ in waiting}
    # A few values, so that ties happen, and none a mean of others: rounding would decide those.
    values = rng.uniform(0, 1, 10)
    while waiting:
        name, dataset, rung = waiting.pop(int(rng.integers(len(waiting))))
        score = float(rng.choice(values)) + (100 if dataset == "high" else 0)
        stops = truth[dataset].stops(rung, score)
        decision = scheduler.on_trial_result(None, trials[name], report(rung, score))
        assert (decision == TrialScheduler.STOP) == stops, (name, rung, score)
        if not stops and rung + 1 < rungs:
            waiting.append((name, dataset, rung + 1))
    assert scheduler.on_trial_result(None, trials["low0"], {"outcomes": "[]"}) == TrialScheduler.CONTINUE


@pytest.mark.parametrize("reduction", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_no_rung_is_rounded_away(reduction, count):
    budget = reduction**count * 7
    rungs = Asha(reduction=reduction, min_share=reduction**-count).rungs(budget)
    assert rungs == [7 * reduction**i for i in range(count + 1)]
    scheduler = RungScheduler(NoStore(), rungs, Asha(reduction=reduction))
    for rung in range(count):  # a good one and a bad one at each: the bad one is always caught
        good, bad = trial(f"good{rung}", "a"), trial(f"bad{rung}", "a")
        assert scheduler.on_trial_result(None, good, report(rung, 0.9)) == TrialScheduler.CONTINUE
        assert scheduler.on_trial_result(None, bad, report(rung, 0.1)) == TrialScheduler.STOP


def test_a_first_stage_is_neither_judged_nor_held_against_others():
    """Rungs of 24 steps at 3, 6 and 12, and a prediction loss that is at chance level until step 12."""
    scheduler, truth = RungScheduler(NoStore(), [3, 6, 12, 18, 24], Asha(reduction=2)), BruteForce(2)
    scores = {"plain": [0.5, 0.5, 0.5, 0.5], "staged": [0.0, 0.0, 0.0, 0.6], "late": [0.0, 0.0, 0.0, 0.4]}
    scheduler.learn(
        "a", Outcome(STAGED, "prior", "completed", ((3, 0.9), (6, 0.9), (12, 0.9), (18, 0.3)), 24)
    )
    truth.stops(3, 0.3)
    for name, curve in scores.items():
        one = trial(name, "a", CONFIG if name == "plain" else STAGED)
        for rung, score in enumerate(curve):
            stops = (name == "plain" or rung == 3) and truth.stops(rung, score)
            assert (scheduler.on_trial_result(None, one, report(rung, score)) == TrialScheduler.STOP) == stops
            assert stops == ((name, rung) == ("late", 3))
    weak = trial("weak", "a")  # it would pass if scores of first stages counted
    scheduler.on_trial_add(None, weak)
    assert scheduler.on_trial_result(None, weak, report(0, 0.1)) == TrialScheduler.STOP


def test_it_goes_on_from_earlier_launches():
    """Scores of finished trials count, whatever their status but failed; a retried trial counts once."""
    rungs = [4, 8, 12]
    scheduler = RungScheduler(NoStore(), rungs, Asha(reduction=2))
    truth = BruteForce(2)
    for number, (status, score) in enumerate([("completed", 0.5), ("stopped", 0.3), ("failed", 0.99)]):
        config = make(seed=number).propose()[0]
        scheduler.learn("a", played(config, score, status))
        if status != "failed":
            truth.stops(0, score)
    scheduler.learn("a", Outcome(make(seed=9).propose()[0], "prior", "completed", ((4, float("nan")),), 4))
    for name, score in (("x", 0.39), ("y", 0.45), ("z", 0.41)):
        one = trial(name, "a")
        first = scheduler.on_trial_result(None, one, report(0, score))
        assert (first == TrialScheduler.STOP) == truth.stops(0, score)
        assert scheduler.on_trial_result(None, one, report(0, 0.0)) == TrialScheduler.CONTINUE
    other = trial("other", "b")
    scheduler.on_trial_add(None, other)
    assert scheduler.on_trial_result(None, other, report(0, 0.0)) == TrialScheduler.CONTINUE


def test_rungs_that_a_resumed_trial_passed_count_and_are_not_judged_again():
    """It was at both rungs before its driver died; others are compared with it, as in the brute force."""
    scheduler, truth = RungScheduler(NoStore(), [4, 8, 12], Asha(reduction=2)), BruteForce(2)
    resumed, ends, *others = (trial(name, "a") for name in ("resumed", "ends", "x", "y", "z"))
    for one in (resumed, ends, *others):
        if one is not ends:
            one.config = {"assignment": one.config["assignment"].replace('"rungs": []', '"rungs": [4, 8]')}
        scheduler.on_trial_add(None, one)

    def went_on(until, *curve):
        outcome = Outcome(CONFIG, "prior", "completed", curve, curve[-1][0])
        return {"outcomes": outcomes_to_json([outcome]), "resumed_from": until}

    truth.stops(0, 0.1)
    assert not truth.stops(1, 0.2)
    sent = report(1, 0.2) | went_on(6, (4, 0.1), (6, 0.9), (8, 0.2))
    assert scheduler.on_trial_result(None, resumed, sent) == TrialScheduler.CONTINUE
    scheduler.on_trial_complete(None, resumed, went_on(6, (4, 0.1), (8, 0.2), (12, 0.9)))
    scheduler.on_trial_complete(None, ends, went_on(8, (4, 0.9), (8, 0.9)))  # a finalist: it has no rungs
    for one, score in zip(others, (0.05, 0.5, 0.3), strict=True):
        stops = truth.stops(0, score)
        assert (scheduler.on_trial_result(None, one, report(0, score)) == TrialScheduler.STOP) == stops
    assert truth.seen == {0: [0.1, 0.05, 0.5, 0.3], 1: [0.2]}


def test_stopping_writes_the_row_that_came_with_the_report(bench):
    runner = bench.runner(rungs=(4, 8))
    sent, store = runner.step(), bench.store
    scheduler = RungScheduler(store, [4, 8, 12], Asha(reduction=2))
    better, worse = (FakeTrial(name, {"assignment": runner.assignment.to_json()}) for name in "ab")
    assert (
        scheduler.on_trial_result(None, better, {**sent, "score": sent["score"] + 1})
        == TrialScheduler.CONTINUE
    )
    assert store.finished("tiny") == {}
    assert scheduler.on_trial_result(None, worse, sent) == TrialScheduler.STOP
    (row,) = store.read("trials", "tiny").to_pylist()
    assert (row["status"], row["steps"], row["fidelity"], row["score"]) == (
        "stopped",
        4,
        4 / 12,
        sent["score"],
    )
    assert [e["step"] for e in store.read("epochs", "tiny").to_pylist()] == [3, 4]


def test_who_stands_by_makes_room_for_a_trial_whose_worker_died():
    """On what is left of a cluster there may be no other place for it: both would wait for ever."""
    scheduler = RungScheduler(None, [4, 8], None)
    scheduler.release = lambda: False
    standing, lost = FakeTrial("standing", {}), trial("lost", "a")

    def heard():
        return scheduler.on_trial_result(None, standing, {"standby": True})

    assert heard() == TrialScheduler.CONTINUE
    lost.status, lost.get_error = "RUNNING", lambda: None
    scheduler.on_trial_error(None, lost)  # as Tune has it: only then it is pending
    lost.status = "PENDING"
    assert heard() == TrialScheduler.STOP
    lost.status = "RUNNING"
    assert heard() == TrialScheduler.CONTINUE
    lost.status = "ERROR"
    assert heard() == TrialScheduler.CONTINUE
    assert scheduler.lost == {}
