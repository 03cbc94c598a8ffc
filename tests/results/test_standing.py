"""How a sweep stands, against counts by hand and, for the pace, a count minute by minute."""

import io
import json
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from distiller.results.frozen import OVER
from distiller.results.schema import trial_id
from distiller.results.standing import merged, pace_of, standing, standing_of
from distiller.results.standing_text import clock, render
from tests.results.conftest import WHEN

MINUTE = timedelta(minutes=1)
minutes = st.integers(0, 400)
spans = st.lists(st.tuples(minutes, st.integers(2, 60)), min_size=1, max_size=12)


def at(minute: int) -> datetime:
    return WHEN + minute * MINUTE


@given(spans)
@settings(max_examples=60, deadline=None)
def test_pace_is_that_of_counting_minutes(drawn):
    ended = [(at(start), at(start + length)) for start, length in drawn]
    now = max(start + length for start, length in drawn)
    pace = pace_of(ended, [], at(now))
    starts_ends = [(start, start + length) for start, length in drawn]
    ran = [sum(s <= m < e for s, e in starts_ends) for m in range(now)]
    # A pause of one minute does not count as one.
    active = [bool(ran[m]) or (0 < m < now - 1 and bool(ran[m - 1]) and bool(ran[m + 1])) for m in range(now)]
    assert pace.overall == pytest.approx(60 * len(ended) / sum(active))
    lately = range(max(0, now - 60), now)
    ended_lately = sum(e > now - 60 for _, e in starts_ends)
    assert pace.recent == pytest.approx(60 * ended_lately / sum(active[m] for m in lately))
    assert pace.at_a_time == pytest.approx(sum(ran[m] for m in lately) / sum(active[m] for m in lately))


def test_a_pause_is_no_part_of_the_pace():
    ended = [(at(0), at(10)), (at(10), at(20)), (at(6000), at(6010)), (at(6010), at(6020))]
    pace = pace_of(ended, [], at(6020))
    assert pace.overall == pytest.approx(6)
    assert pace.recent == pytest.approx(6)
    idle = pace_of(ended, [], at(9000))
    assert (idle.recent, idle.at_a_time) == (None, None)
    assert idle.overall == pytest.approx(6)
    assert merged([(at(5), at(9)), (at(0), at(4)), (at(20), at(21))]) == [(at(0), at(9)), (at(20), at(21))]


def look(demo, now, over=False):
    tables = [demo.store.read(table, demo.name).to_pylist() for table in ("trials", "attempts", "datasets")]
    return standing_of(demo.name, *tables, demo.sweep, over, now)


def attempt(made, config_id, started, number=1):
    identity = {"sweep": "demo", "dataset": "trec", "config_id": config_id, "seed": 0, "role": "search"}
    name = trial_id("trec", config_id, 0, "search")
    row = {**identity, "trial_id": name, "attempt": number, "started_at": started, "host": "node-7"}
    assert made.store.write_attempt(row)
    return name


@pytest.fixture
def made(demo):
    """20 s a trial, one every 7 s: about three at a time."""
    made = demo(datasets={"trec": "{builtin: trec}"})
    made.describe("trec")
    for number in range(12):
        made.trial("trec", made.config("trec"), 0.5 + number / 100)
    return made


def test_attempts_that_take_too_long_look_dead(made):
    ended = made.rows[-1]["ended_at"]
    slow = attempt(made, "slow", ended - 2 * MINUTE)  # 4 x 20 s, but nothing is dead before five minutes
    dead = attempt(made, "dead", ended - 6 * MINUTE)
    again = attempt(made, "again", ended - 60 * MINUTE)
    attempt(made, "again", ended - MINUTE, number=2)
    found = look(made, ended)
    assert [(one.trial, one.attempt, one.looks_dead) for one in found.running] == [
        (dead, 1, True), (slow, 1, False), (again, 2, False)
    ]  # fmt: skip
    assert [one.trial for one in found.alive] == [slow, again]
    assert found.to_dict()["running_or_lost"] == 3


def test_without_any_trial_that_ended_nothing_is_dead_within_the_hour(demo):
    made = demo(datasets={"trec": "{builtin: trec}"})
    attempt(made, "first", WHEN)
    assert not look(made, WHEN + 59 * MINUTE).running[0].looks_dead
    found = look(made, WHEN + 61 * MINUTE)
    assert found.running[0].looks_dead
    assert (found.pace.overall, found.seconds_left) == (None, None)


def test_time_left_is_what_the_trials_before_took(made):
    end = made.rows[-1]["ended_at"]
    attempt(made, "runs", end - timedelta(seconds=5))
    found = look(made, end)
    (left,) = found.left.values()
    assert (left.search, left.full) == (30 - 12, 3 * 3 + 2 * 3 + 3)
    busy = (12 * 20 + 5) / (end - made.rows[0]["started_at"]).total_seconds()
    assert found.pace.at_a_time == pytest.approx(busy)
    assert found.seconds_left == pytest.approx(((18 + 18) * 20 - 5) / busy)
    assert found.waits_for == ["trec: the search, 18 of 30 trials at most to end"]


def test_steps_follow_one_another(made):
    end = timedelta(days=1) + made.rows[-1]["ended_at"]
    for _ in range(18):
        made.trial("trec", made.config("trec"), 0.5)
    configs = [made.config("trec") for _ in range(3)]
    assert look(made, end).left["trec"].step == "finalists, 9 of 9 runs to end"
    for config in configs:
        made.retrain("trec", config, [0.7, 0.7, 0.7], seeds=(1, 2, 3))
    assert look(made, end).left["trec"].step == "the winner's baselines, 9 runs at most to end"
    for config in (configs[0], *(made.config("trec") for _ in range(2))):
        made.retrain("trec", config, [0.7, 0.7, 0.7], "baseline", seeds=(1, 2, 3))
    found = look(made, end)
    assert (found.left["trec"].step, found.left["trec"].full, found.seconds_left) == ("nothing more", 0, None)


def test_a_sweep_that_nobody_runs_waits_for_a_launch(made):
    end = made.rows[-1]["ended_at"]
    assert "a launch" not in look(made, end + 4 * MINUTE).waits_for[0]
    said = look(made, end + 30 * MINUTE).waits_for
    assert said[0].startswith("a launch: no trial seems to run")
    assert "2026-01-02 03:0" in said[0]
    assert look(made, end + 30 * MINUTE, over=True).waits_for == ["nothing: every trial has ended"]


def test_before_anything_ran(demo):
    made = demo()
    found = look(made, WHEN)
    assert found.waits_for == [f"{d}: its teachers and their outputs" for d in ("trec", "tweets")]
    made.describe("trec")
    assert look(made, WHEN).waits_for[0] == "trec: the students without a teacher, then the search"
    assert (found.last_row, found.seconds_left, found.running) == (None, None, ())


def test_a_program_and_a_person_read_the_same(demo):
    made = demo().filled()
    found = standing(made.store, "demo")
    assert not found.over
    said = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [one["count"] for one in said["failures"]] == [4]
    assert said["failures"][0]["datasets"] == {"trec": 2, "tweets": 2}
    assert [one["dataset"] for one in said["datasets"]] == ["trec", "tweets"]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render(found))
    text = console.export_text()
    assert "failed 4 times (trec 2, tweets 2): ValueError: loss is nan at step" in text
    assert "0 trials started and not ended" in text
    assert "time left: " in text
    made.store.write_text("demo", OVER, json.dumps({"trials": len(made.rows)}))
    over = standing(made.store, "demo")
    assert (over.over, over.seconds_left) == (True, 0)
    made.trial("trec", made.config("trec"), 0.5)
    assert not standing(made.store, "demo").over  # a row that no launch counted


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (61, "1 min 01 s"), (3600, "1 h 00 min"), (90000, "1 d 01 h"), (59.6, "1 min 00 s")],
)
def test_durations(seconds, said):
    assert clock(seconds) == said
