"""The leaderboard against numpy, and against sweeps that are not finished."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from distiller.results.leaderboard import leaderboard, render


def printed(boards):
    console = Console(width=120, file=io.StringIO())
    console.print(render(boards))
    return console.file.getvalue()


def test_winner_is_the_best_mean_and_its_numbers_are_numpys(demo):
    made = demo().filled()
    board, other = leaderboard(made.store, "demo")
    assert (board.dataset, other.dataset) == ("trec", "tweets")
    winner, baseline = [0.73, 0.745, 0.75], [0.66, 0.67, 0.69]
    tests, baseline_tests = np.array([0.71, 0.70, 0.735]), np.array(baseline) - 0.02
    assert board.winner.validation.values == tuple(winner)  # not the finalist with the best single run
    assert board.winner.validation.mean == pytest.approx(np.mean(winner))
    assert board.winner.validation.sd == pytest.approx(np.std(winner, ddof=1))
    assert board.winner.validation.seeds == (101, 102, 103)
    assert board.winner.test.mean == pytest.approx(tests.mean())
    assert board.no_teacher.validation.mean == pytest.approx(np.mean(baseline))
    assert board.hinton.validation.mean == pytest.approx(np.mean([0.70, 0.71, 0.70]))
    gain = board.gain
    assert (gain.split, gain.beats_by_more_than_noise) == ("test", True)
    assert gain.difference == pytest.approx(tests.mean() - baseline_tests.mean())
    assert gain.noise == pytest.approx(np.sqrt(tests.var(ddof=1) / 3 + baseline_tests.var(ddof=1) / 3))
    assert [e.validation.mean for e in board.finalists] == sorted(
        (np.mean(s) for s in (winner, [0.70, 0.72, 0.74], [0.60, 0.65, 0.80])), reverse=True
    )
    assert (board.teacher_validation, board.teacher_test, board.majority_score) == (0.85, 0.84, 0.1)
    of = [row for row in made.rows if row["dataset"] == "trec"]
    for status in ("completed", "stopped", "failed"):
        assert getattr(board, status) == sum(row["status"] == status for row in of) > 0
    best = max(r["score"] for r in of if r["role"] == "search" and r["status"] == "completed")
    assert board.best_search.validation.values == (best,)
    assert board.note == ""
    assert json.loads(json.dumps(board.to_dict()))["winner"]["config_id"] == board.winner.config_id
    text = printed([board])
    assert f"{np.mean(winner):.3f} ± {np.std(winner, ddof=1):.3f}" in text
    assert "more than the noise" in text


def test_a_stopped_trial_never_leads_however_high_its_score(demo):
    made = demo()
    low = made.trial("trec", made.config("trec"), 0.3)
    made.trial("trec", made.config("trec"), 0.9, status="stopped")
    made.trial("trec", made.config("trec"), float("nan"))
    board = leaderboard(made.store, "demo")[0]
    assert board.best.config_id == low["config_id"]


def test_without_finalists_it_falls_back_and_says_so(demo):
    made = demo()
    best = made.trial("trec", made.config("trec"), 0.6)
    made.trial("trec", made.config("trec"), 0.5)
    board, empty = leaderboard(made.store, "demo")
    assert (board.winner, board.best.config_id, board.gain) == (None, best["config_id"], None)
    assert "no finalists yet" in board.note
    assert "1 seed, chosen on the same validation rows: optimistic" in printed([board])
    assert (empty.best, empty.completed, empty.metric) == (None, 0, "pearson")
    assert "no trial has completed" in printed([empty])


def test_a_finalist_with_a_failed_or_missing_seed_cannot_win(demo):
    made = demo()
    whole, failed, missing = (made.config("trec") for _ in range(3))
    for config in (whole, failed, missing):
        made.trial("trec", config, 0.6)
    made.retrain("trec", whole, [0.61, 0.62, 0.60])
    made.retrain("trec", failed, [0.9, 0.9], seeds=(101, 102))
    made.trial("trec", failed, None, "finalist", 103, "failed")
    made.retrain("trec", missing, [0.9], seeds=(101,))
    board = leaderboard(made.store, "demo")[0]
    assert board.winner.config_id == whole.config_id
    assert "2 finalist(s) left out" in board.note
    assert "7 of 9 finalist runs" in board.note


def test_baselines_are_the_winners_own(demo):
    """After the sweep went on and another config won, the old winner's baselines are not compared with it."""
    made = demo()
    old, new = made.config("trec"), made.config("trec")
    new = new.model_copy(update={"optimization": new.optimization.model_copy(update={"learning_rate": 0.5})})
    made.retrain("trec", old, [0.6, 0.6, 0.6])
    made.retrain("trec", new, [0.7, 0.7, 0.7])
    made.baselines("trec", old, [0.1, 0.1, 0.1], [0.2, 0.2, 0.2])
    board = leaderboard(made.store, "demo")[0]
    assert (board.winner.config_id, board.baselines, board.gain) == (new.config_id, {}, None)
    made.baselines("trec", new, [0.7, 0.69, 0.71], [0.2, 0.2, 0.2])
    board = leaderboard(made.store, "demo")[0]
    assert board.gain.split == "validation"  # the winner has no test score here
    assert board.gain.verdict == "within the noise"
    assert not board.gain.beats_by_more_than_noise
    assert board.hinton.validation.mean == pytest.approx(0.2)


def test_one_seed_has_no_noise_and_beats_nothing(demo):
    made = demo(name="single")
    text = made.text.replace("seeds: 3", "seeds: 1")
    made.store.write_text("single", "sweep.yaml", text)
    config = made.config("trec")
    made.retrain("trec", config, [0.7], seeds=(101,))
    made.baselines("trec", config, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    board = leaderboard(made.store, "single")[0]
    assert board.winner.validation.sd is None
    assert (board.gain.noise, board.gain.beats_by_more_than_noise) == (None, False)
    assert board.no_teacher.validation.seeds == (101,)  # the winner's seeds only


def test_among_several_finalists_the_winners_test_score_comes_from_its_run_as_a_baseline(demo):
    made = demo()
    winner, second = made.config("trec"), made.config("trec")
    made.retrain("trec", winner, [0.7, 0.72, 0.74])
    made.retrain("trec", second, [0.6, 0.6, 0.6])
    assert leaderboard(made.store, "demo")[0].winner.test is None
    made.retrain("trec", winner, [0.7, 0.72, 0.74], "baseline", tests=[0.61, 0.62, 0.66])
    made.trial("trec", winner, 0.9, "baseline", 999, test_score=0.99)  # not one of the finalist's seeds
    made.trial("trec", second, 0.9, "baseline", 101, test_score=0.98)  # from before it was overtaken
    board = leaderboard(made.store, "demo")[0]
    assert board.winner.test.seeds == (101, 102, 103)
    assert board.winner.test.values == (0.61, 0.62, 0.66)
    assert board.winner.validation.mean == pytest.approx(0.72)
    assert board.finalists[1].test is None
    assert json.loads(json.dumps(board.to_dict()))["winner"]["test"]["mean"] == pytest.approx(0.63)
