"""What probes tell, to whom, and what they cost."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console

from distiller.results.recommendation import METHODS, Method, choose, evaluate
from distiller.results.recommendation.text import render_evaluation
from tests.results.recommendation.told import AsksAndKnows, asks, told
from tests.truth.families import EARLY, Family

FAMILY = Family(6, 20, noise=0.0, common=1.0, own=0.3)


def shown(found):
    """The evaluation as it stands in a wide terminal, in one line."""
    console = Console(width=200, file=io.StringIO())
    console.print(render_evaluation(found, choose(found)))
    return " ".join(console.file.getvalue().split())


def test_early_scores_are_heard_of_probes_alone():
    tried = dataclasses.replace(FAMILY, early="telling").tried()
    known = tried.early.copy()
    known[tried.of(0)[::2], 0] = np.nan
    some = dataclasses.replace(tried, early=known)
    heard = []
    evaluate(some, [asks(4, heard)])
    candidates, early = heard[0]
    rows = tried.configs.index.get_indexer(candidates.index)
    assert rows.tolist() == tried.of(0).tolist()
    probed = tried.of(0)[1::2][:4]
    assert early[~np.isnan(early)].tolist() == known[probed, 0].tolist()
    assert np.flatnonzero(~np.isnan(early)).tolist() == [1, 3, 5, 7]
    silent = []
    evaluate(some, [asks(0, silent)])
    assert all(early is None for _, early in silent)


@pytest.mark.parametrize("method", [one for one in METHODS if one.asks], ids=lambda one: one.name)
def test_no_other_score_of_the_dataset_left_out_is_heard(method):
    """All else of it made up: the same ranking."""
    tried = Family(8, 24, told=False, shared=True, early="telling").tried()
    heard, orders = [], []

    class Listens:
        def __init__(self, training):
            self.fitted = method.fit(training)

        def probes(self, candidates, target):
            return self.fitted.probes(candidates, target)

        def rank(self, candidates, target, early=None):
            found = self.fitted.rank(candidates, target, early)
            heard.append(early)
            orders.append(list(candidates.index[found.order]))
            return found

    listens = dataclasses.replace(method, fit=Listens)
    evaluate(tried, [listens])
    usual, early = orders[0], heard[0]
    assert 0 < (~np.isnan(early)).sum() < 10
    orders.clear()
    spoiled = dataclasses.replace(tried, score=tried.score.copy(), early=tried.early.copy())
    spoiled.score[:, 0] = 5 - 3 * tried.score[:, 0]
    spoiled.early[np.isnan(early), 0] = 100.0
    evaluate(spoiled, [listens])
    assert orders[0] == usual
    orders.clear()
    spoiled.early[~np.isnan(early), 0] *= -1
    evaluate(spoiled, [listens])
    assert orders[0] != usual


def test_probes_are_paid_for():
    family = dataclasses.replace(FAMILY, early="telling")
    tried = family.tried()
    found = evaluate(tried, [METHODS[0], METHODS[1], asks(7, [])])
    paying = found.results[2]
    on, rows = paying.datasets[3], tried.of(3)
    cost = 7 * EARLY
    assert on.probes == pytest.approx(cost)
    assert paying.probes == pytest.approx(cost)
    scores = tried.score[rows, 3]
    early = np.full(20, -np.inf)
    early[:7] = tried.early[rows[:7], 3]
    order = np.argsort(-early, kind="stable")
    best = np.maximum.accumulate(scores[order])
    lost = (scores.max() - best) / (scores.max() - np.median(scores))
    assert on.regret[3] == pytest.approx(lost[2])
    assert on.paid == pytest.approx({5: lost[1], 10: lost[6]})  # 2.33 of k trials are spent
    assert list(paying.paid) == [5, 10]
    reached = scores[order[:5]].max()
    assert on.catch_up[5] == pytest.approx(21 / ((scores >= reached).sum() + 1) - cost)
    assert found.results[1].paid == found.results[1].regret
    assert found.results[0].paid == found.results[0].regret
    assert any("cost so many full trials a dataset: asks 2.3" in note for note in found.notes)
    assert any("trials of 0.333 of the budget" in note for note in found.notes)
    text = shown(found)
    assert "of k full trials of which the probes are paid (asks 2.3)" in text
    assert "less what the probes cost" in text
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["recommenders"]["asks"]["probes"] > 2


def test_a_third_of_the_budget_three_times_is_one_trial():
    tried = dataclasses.replace(FAMILY, early="telling").tried()
    third = dataclasses.replace(tried, fidelity=np.full(6, 0.335))  # 67 of 200 steps
    for probes, left in ((3, [3, 5, 10]), (15, [10]), (2, [3, 5, 10])):
        assert list(evaluate(third, [asks(probes, [])]).results[0].paid) == left


def test_whoever_asks_is_left_out_where_there_are_no_curves():
    found = evaluate(FAMILY.tried(), [METHODS[0], METHODS[1], asks(3, [])])
    assert [one.method for one in found.results] == ["random", "average"]
    assert any(note.startswith("asks: left out, since fewer than two groups") for note in found.notes)
    assert "probes" not in shown(found).replace("asks: left out", "")
    tried = dataclasses.replace(FAMILY, early="telling").tried()
    some = dataclasses.replace(tried, early=tried.early.copy(), fidelity=tried.fidelity.copy())
    some.early[:, 2:], some.fidelity[2:] = np.nan, np.nan
    found = evaluate(some, [METHODS[0], METHODS[1], asks(3, [])])
    assert [one.probes > 0 for one in found.results[2].datasets] == [True, True, False, False, False, False]
    assert "d02, d03, d04, d05: no early scores, so nothing is probed there" in found.notes


def test_it_is_said_where_no_probes_are_asked_for():
    tried = dataclasses.replace(FAMILY, early="telling").tried()
    found = evaluate(tried, [METHODS[0], METHODS[1], asks(0, [])])
    assert "asks: no probes, since earlier datasets do not show that they help" in found.notes
    assert found.results[2].paid == found.results[2].regret
    assert "are paid" not in shown(found)


def test_the_choice_counts_the_probes():
    """Who asks for much is no better than who knows as much for nothing."""
    tried = dataclasses.replace(FAMILY, early="telling").tried()
    good = told("portfolio", tried, 1.0)
    asking = Method("asks", "asks", lambda training: AsksAndKnows(good.fit(training)), asks=True)
    found = evaluate(tried, [METHODS[0], good, asking])
    assert found.results[2].regret[5].value <= found.results[1].regret[5].value
    assert found.results[2].paid[5].value > found.results[1].paid[5].value
    assert choose(found).method == "portfolio"
    poor = evaluate(tried, [METHODS[0], told("portfolio", tried, 100.0), asking])
    reason = choose(poor).reason
    assert reason.startswith("asks: the best of its first 2.7 (its probes cost 2.3 of 5 trials) loses 0.")
