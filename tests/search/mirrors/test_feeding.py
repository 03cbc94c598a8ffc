"""Feeding: each trial once whatever breaks, and nothing that a mirror does harms a sweep."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from distiller.results.ended import FEW, ended_trials
from distiller.results.frozen import OVER
from distiller.search.mirrors import feeding
from distiller.search.mirrors.feeding import Feed, MirrorError, fed, mirror_sweep, targets_of
from distiller.search.mirrors.mirror import Target
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import read_sweep


class Shelf:
    """A mirror in memory, which breaks at its `breaks`-th trial."""

    def __init__(self, breaks=None):
        self.trials, self.breaks, self.calls, self.closed = [], breaks, 0, 0

    def known(self):
        return {trial.name for trial in self.trials}

    def add(self, trial):
        self.calls += 1
        if self.calls == self.breaks:
            raise ConnectionError("the server\nis away")
        self.trials.append(trial)

    def close(self):
        self.closed += 1


@pytest.fixture
def shelves(monkeypatch):
    """Mirrors by place; a target opens the one of its place."""
    kept = {}
    monkeypatch.setattr(Target, "open", lambda self, store, sweep: kept[self.place])
    monkeypatch.setattr(feeding, "LEAST_SECONDS", 0.01)
    return kept


def names(trials):
    return sorted(trial.name for trial in trials)


def test_ended_trials_come_with_their_curves_in_order_of_their_ends(made):
    found = ended_trials(made.store, "demo")
    assert [one.name for one in found] == [row["trial_id"] for row in made.rows]
    for one, row in zip(found, made.rows, strict=True):
        assert one.row["score"] == row["score"]
        assert [point["step"] for point in one.curve] == list(range(10, row["steps"] + 1, 10))
    known = {row["trial_id"] for row in made.rows[:-2]}
    assert names(ended_trials(made.store, "demo", known)) == sorted(r["trial_id"] for r in made.rows[-2:])


def test_one_by_one_or_all_at_once_is_the_same(made, monkeypatch):
    assert len(made.rows) < FEW
    few = ended_trials(made.store, "demo")
    monkeypatch.setattr("distiller.results.ended.FEW", 0)
    many = ended_trials(made.store, "demo")
    assert [one.name for one in few] == [one.name for one in many]
    for a, b in zip(few, many, strict=True):
        assert {k: v for k, v in a.row.items() if v is not None} == {
            k: v for k, v in b.row.items() if v is not None
        }
        assert [dict(point) for point in a.curve] == [dict(point) for point in b.curve]


def test_a_mirror_that_broke_goes_on_where_it_was(made, shelves):
    shelves["x"] = Shelf(breaks=4)
    with pytest.raises(MirrorError, match=r"^mirror optuna:x: ConnectionError: the server is away$"):
        Feed(made.store, "demo", Target("optuna", "x")).step()
    assert len(shelves["x"].trials) == 3
    Feed(made.store, "demo", Target("optuna", "x")).step()
    assert names(shelves["x"].trials) == sorted(row["trial_id"] for row in made.rows)


def test_follow_until_the_sweep_is_over(made, shelves):
    shelves["x"] = Shelf()
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        made.trial("trec", made.config("trec"), 0.9)
        if len(pauses) == 2:
            made.store.write_text("demo", OVER, json.dumps({"trials": len(made.rows)}))

    console = Console(file=io.StringIO(), width=200)
    mirror_sweep(made.store, "demo", [Target("optuna", "x")], True, console, sleep)
    assert len(pauses) == 2
    assert names(shelves["x"].trials) == sorted(row["trial_id"] for row in made.rows)
    assert console.file.getvalue().splitlines()[-1] == f"optuna:x: 1 trials added, {len(made.rows)} there"
    assert shelves["x"].closed == 1


def test_a_launch_feeds_while_it_runs_and_what_ended_last(made, shelves):
    shelves["x"], said = Shelf(), []
    with fed(made.store, "demo", [Target("optuna", "x")], said.append):
        until = time.monotonic() + 20
        while len(shelves["x"].trials) < len(made.rows) and time.monotonic() < until:
            time.sleep(0.01)
        assert len(shelves["x"].trials) == len(made.rows)
        made.trial("trec", made.config("trec"), 0.9)
    assert names(shelves["x"].trials) == sorted(row["trial_id"] for row in made.rows)
    assert (said, shelves["x"].closed) == ([], 1)


def test_a_mirror_that_breaks_is_said_once_and_the_others_go_on(made, shelves):
    shelves["bad"], shelves["good"], said = Shelf(breaks=2), Shelf(), []
    with fed(made.store, "demo", [Target("optuna", "bad"), Target("optuna", "good")], said.append):
        pass
    assert len(shelves["good"].trials) == len(made.rows)
    (line,) = said
    assert line == (
        "mirror optuna:bad: ConnectionError: the server is away; the sweep goes on without it, "
        "`distiller mirror demo --to optuna:bad` fills it later"
    )


def test_a_mirror_that_is_slow_says_how_far_it_came(made, shelves):
    entered, said = threading.Event(), []

    class Slow(Shelf):
        def add(self, trial):
            super().add(trial)
            entered.set()
            time.sleep(0.05)

    shelves["x"] = Slow()
    with fed(made.store, "demo", [Target("optuna", "x")], said.append, last_seconds=0.0):
        assert entered.wait(20)
    (line,) = said
    assert line.startswith(f"mirror optuna:x: {len(made.rows) - len(shelves['x'].trials)} trials behind")


def test_a_mirror_that_hangs_is_left_behind(made, shelves, monkeypatch):
    entered, release = threading.Event(), threading.Event()

    class Hanging(Shelf):
        def add(self, trial):
            entered.set()
            release.wait(60)

    monkeypatch.setattr(feeding, "GRACE_SECONDS", 0.1)
    shelves["x"], said = Hanging(), []
    with fed(made.store, "demo", [Target("optuna", "x")], said.append, last_seconds=0.1):
        assert entered.wait(20)
    assert not release.is_set()
    release.set()
    assert said[0].startswith("mirrors: not done after 0 s")


def test_an_error_of_the_sweep_is_not_hidden(made, shelves):
    shelves["x"] = Shelf()
    with pytest.raises(KeyError), fed(made.store, "demo", [Target("optuna", "x")], print):
        raise KeyError


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("tensorbord:runs", "'tensorbord:runs' is no mirror; did you mean 'tensorboard'?"),
        ("optuna", "'optuna' names no place; write optuna:PLACE"),
        ("optuna:", "names no place"),
        ("runs", "is no mirror"),
    ],
)
def test_targets_that_are_none(written, says):
    with pytest.raises(InputError) as caught:
        targets_of([written], Path())
    assert says in str(caught.value)
    text = "name: a\ndatasets: {x: {builtin: trec}}\nteachers: {t: {model: m}}\nmirrors: "
    with pytest.raises(InputError, match="mirrors") as caught:
        read_sweep(text + f"['{written}']", "sweep.yaml")
    assert "\n" not in str(caught.value)


def test_places_start_from_the_base(tmp_path):
    written = ["tensorboard:runs", "optuna:sqlite:///a b.db", "optuna:mysql://host/db", "tensorboard:runs"]
    found = targets_of(written, tmp_path)
    assert [str(one) for one in found] == [
        f"tensorboard:{tmp_path}/runs", f"optuna:sqlite:///{tmp_path}/a b.db", "optuna:mysql://host/db"
    ]  # fmt: skip


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        targets_of(["mlflow:x"], Path())
    assert str(caught.value) == (
        "mirror 'mlflow:x': the package mlflow is not installed; pip install 'kd-distiller[mlflow]'"
    )
