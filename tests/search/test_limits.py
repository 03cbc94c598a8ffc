"""What ends a search early: each limit alone, over relaunches too, and never what is running."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.results.early_end import EarlyEnd, record_end, recorded_end
from distiller.results.store import Store
from distiller.search.agenda import Agenda, Proposals
from distiller.search.assignment import Assignment, Task
from distiller.search.limits import Spending, StopLimits, covered, worked
from distiller.spaces.search import Search, Stop
from distiller.spaces.sweep import Resources
from tests.search.trials import make, played

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Seconds that pass when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def row(start, end, host="a"):
    return {
        "host": host,
        "started_at": WHEN + timedelta(seconds=start),
        "ended_at": WHEN + timedelta(seconds=end),
    }


def searched(
    stop, scores, rows=(), earlier=(), begun=(), clock=None, seconds=60, cohort=1, why=None, **search
):
    """A search whose trials end one after another with these scores; its trials and how it ended."""
    clock, notes = clock or Clock(), []
    written = Search(trials=len(scores), stop=stop)
    spending = Spending(rows, Resources(cpus=2), clock)
    limits = StopLimits(written, "animals", spending, earlier, why)
    proposals = Proposals(
        make(sampler="random"),
        lambda tasks: Assignment("animals", "search", 0, tasks),
        len(scores),
        cohort,
        earlier,
        begun,
        [],
        lambda *said: notes.append(said),
        limits=limits,
    )
    after = Assignment("animals", "finalist", 1, (Task(make().propose()[0], "prior"),))
    agenda = Agenda("animals", list, proposals, lambda: [after], list, lambda a: False)
    left, found = iter(scores), []
    while (assignment := agenda.next()) is not None:
        clock.now += seconds
        for task in assignment.tasks:
            if assignment.role == "search":
                score, status = (lambda s: s if isinstance(s, tuple) else (s, "completed"))(next(left))
                found.append(task.config.config_id)
                agenda.ended(assignment, played(task.config, score, status))
            else:
                agenda.ended(assignment, played(task.config, 0.5))
        assert not found or assignment.role == "search" or assignment is after
    assert agenda.finished
    assert clock.now >= seconds * (len(found) / cohort)  # and the finalist still ran
    return found, notes


def test_hours_pass_and_running_trials_end():
    found, notes = searched(Stop(hours=0.1), [0.5] * 20)
    assert len(found) == 6  # of a minute each
    assert notes == [(14, "0.1 hours have passed")]


def test_hours_of_earlier_launches_count_where_trials_ran():
    """Two trials side by side, a night of nothing, and one more: 200 seconds."""
    rows = [row(0, 100), row(50, 120, "b"), row(40_000, 40_080)]
    found, _ = searched(Stop(hours=0.1), [0.5] * 20, rows)
    assert len(found) == 3  # 200 s and three minutes are more than six


def test_device_hours_are_trial_times_by_devices():
    """Trials hold two cores each; a cohort's rows are one spell of work."""
    rows = [row(0, 60), row(0, 60), row(0, 60, "b")]
    assert sorted(worked(rows)) == [(WHEN.timestamp(), WHEN.timestamp() + 60)] * 2
    found, notes = searched(Stop(device_hours=0.2), [0.5] * 20, rows)
    assert len(found) == 4  # 240 of 720 core-seconds are gone, 120 a trial
    assert notes == [(16, "0.2 device-hours are spent")]
    assert len(searched(Stop(device_hours=0.2), [0.5] * 20, cohort=5)[0]) == 20  # four of 120 each
    assert Spending([], Resources(gpus=0.25), Clock()).devices == 0.25


def test_what_runs_counts_already():
    clock = Clock()
    spending = Spending([], Resources(cpus=1), clock)
    tasks = [Task(make(seed=n).propose()[0], "prior") for n in range(3)]
    first, second = Assignment("a", "search", 0, tuple(tasks[:2])), Assignment("a", "search", 0, (tasks[2],))
    spending.started(first)
    spending.started(second)
    clock.now = 1800.0
    assert spending.device_hours == 1.0
    spending.ended(first)
    clock.now = 3600.0
    assert spending.device_hours == 2.0  # the cohort's other trial holds its device
    spending.ended(first)
    spending.ended(second)
    clock.now = 7200.0
    assert (spending.device_hours, spending.hours) == (2.0, 2.0)


def test_a_target_is_a_completed_score():
    scores = [0.3, (0.9, "stopped"), (0.9, "failed"), 0.5, 0.81, 0.9]
    found, notes = searched(Stop(target=0.8), scores)
    assert len(found) == 5
    assert notes == [(1, "a score of 0.81 reaches the target of 0.8")]
    assert len(searched(Stop(target={"animals": 0.5}), scores)[0]) == 4
    assert len(searched(Stop(target={"opinions": 0.1}), scores)[0]) == 6


def test_patience_counts_trials_without_a_better_one():
    scores = [0.3, 0.5, 0.5, (0.9, "stopped"), 0.51, float("nan"), (0.2, "failed"), 0.5, 0.99]
    found, notes = searched(Stop(patience=3), scores)
    assert len(found) == 8
    assert notes == [(1, "3 trials in a row without a better one")]


def test_whichever_comes_first():
    scores = [0.1 * i for i in range(20)]
    both = Stop(hours=0.1, target=0.35, patience=2)
    assert searched(both, scores)[1][0][1].startswith("a score of 0.4")
    assert "hours have passed" in searched(both, scores, seconds=200)[1][0][1]
    assert "in a row" in searched(both, [0.1] * 9, seconds=1)[1][0][1]


def test_with_several_objectives_what_nothing_dominates_is_better():
    search = Search(objectives=("score", "parameters"), scheduler=None, stop=Stop(patience=2))
    limits = StopLimits(search, "a", Spending([], Resources(), Clock()))
    for score, size, why in ((0.5, 10, False), (0.4, 5, False), (0.4, 6, False), (0.45, 7, False),
                             (0.45, 7, False), (0.1, 9, True)):  # fmt: skip
        config = make().propose()[0]
        assignment = Assignment("a", "search", 0, (Task(config, "prior"),))
        limits.started(assignment)
        outcome = played(config, score)
        outcome.costs["parameters"] = size
        limits.ended(assignment, outcome)
        assert (limits.reached() is not None) == why


def test_a_relaunch_knows_from_the_rows_and_finishes_what_was_begun():
    sampler = make(sampler="random")
    configs = [sampler.propose()[0] for _ in range(5)]
    earlier = [played(config, score) for config, score in zip(configs[:3], (0.5, 0.4, 0.3), strict=True)]
    begun = [Task(config, "prior") for config in configs[3:]]
    found, notes = searched(Stop(patience=2), [0.1] * 10, earlier=earlier, begun=begun)
    assert found == [config.config_id for config in configs[3:]]
    assert [fewer for fewer, _ in notes] == [5]
    assert searched(Stop(patience=5), [0.1] * 3, why="0.1 hours have passed") == (
        [],
        [(3, "0.1 hours have passed")],
    )


def test_why_it_ended_is_kept(tmp_path):
    store = Store.create(str(tmp_path / "it's a store"))
    store.write_text("s", "sweep.yaml", "")
    assert recorded_end(store, "s", "animals") is None
    end = EarlyEnd(14, "0.1 hours have passed")
    record_end(store, "s", "animals", end)
    assert recorded_end(store, "s", "animals") == end


@settings(derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted)))
def test_a_union_of_spells(spells):
    assert covered(spells) == len({second for low, high in spells for second in range(low, high)})


def test_nothing_is_limited_by_default():
    found, notes = searched(Stop(), [0.5] * 12, seconds=10**9)
    assert (len(found), notes) == (12, [])
    with pytest.raises(ValueError, match="greater than 0"):
        Stop(hours=0)


def test_status_says_why_a_search_ended(bench, command):
    record_end(bench.store, "tiny", "animals", EarlyEnd(4, "3 trials in a row without a better one"))
    said = command(bench.place.folder, "status", "--store", bench.store.url)
    assert "animals: the search ended 4 trials early: 3 trials in a row without a better one" in said.stdout
    boards = json.loads(command(bench.place.folder, "status", "--store", bench.store.url, "--json").stdout)
    assert [board["ended_early"] for board in boards["datasets"]] == [
        {"fewer": 4, "why": "3 trials in a row without a better one"},
        None,
    ]
