"""The driver's side of Ray Tune: what it hands out, and the row that it writes for a worker that died."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from ray.exceptions import RayTaskError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console

from distiller.results.patience import StorageError
from distiller.search import session
from distiller.search.agenda import Agenda, Proposals
from distiller.search.assignment import Assignment, Outcome, Preparation, Task, outcomes_to_json
from distiller.search.prepared import Prepared
from distiller.search.progress import Progress
from distiller.search.rows import attempt_row
from distiller.search.schedulers import RungScheduler
from distiller.search.searcher import STANDBY, AssignmentSearcher
from distiller.spaces.errors import InputError
from distiller.spaces.search import Asha
from tests.search.test_scheduler import FakeTrial
from tests.search.trials import make, played

PREPARED = Prepared("animals", "bert", 2, {"metric": "matthews", "teacher_score": 0.5}, {}, ["a note"])


def searcher_of(bench, trials=2, errors=None):
    def search(tasks):
        return Assignment("animals", "search", 0, tasks)

    progress = Progress(Console(file=io.StringIO()), "trials")
    progress.expect("animals", trials)
    proposals = Proposals(make(sampler="random"), search, trials, 1, [], [], [], lambda *said: None)
    agenda = Agenda("animals", list, proposals, list, list, lambda a: False)
    preparations = [Preparation("animals", "bert", alone=True)]
    searcher = AssignmentSearcher(
        bench.launch, bench.store, progress, preparations, lambda *prepared: agenda, errors or {}
    )
    searcher.suggest("0")
    searcher.on_trial_complete("0", {"prepared": PREPARED.to_json(), "done": True})
    return searcher


def assigned(suggestion):
    return Assignment.from_json(suggestion["assignment"])


def preparing(bench, *datasets):
    """A searcher with everything still to prepare, and the names of the datasets that it finds ready."""
    ready = []

    def agenda_of(dataset, prepared):
        ready.append((dataset, [p.teacher for p in prepared]))
        return Agenda(
            dataset, list, Proposals(make(sampler="random"), None, 0, 1, [], [], [], print), list, list, bool
        )

    said = Progress(Console(file=io.StringIO()), "trials")
    given = [Preparation(d, t, alone=not n) for n, (d, t) in enumerate(datasets)]
    return AssignmentSearcher(bench.launch, bench.store, said, given, agenda_of, {}), ready


def told(dataset, teacher):
    return {"prepared": replace(PREPARED, dataset=dataset, teacher=teacher).to_json(), "done": True}


def test_preparations_come_first_and_the_first_of_them_alone(bench):
    searcher, ready = preparing(bench, ("animals", "a"), ("animals", "b"), ("opinions", "a"))
    names = [Preparation.from_json(searcher.suggest("1")["preparation"])]
    assert searcher.suggest("2") is None
    searcher.on_trial_result("1", {"waits": False, "done": False})
    names += [Preparation.from_json(searcher.suggest(n)["preparation"]) for n in "23"]
    assert [(p.dataset, p.teacher) for p in names] == [("animals", "a"), ("animals", "b"), ("opinions", "a")]
    assert searcher.suggest("4") is None  # no fourth worker has worked yet
    searcher.on_trial_complete("2", told("animals", "b"))
    assert (ready, searcher.finished) == ([], False)
    searcher.on_trial_complete("1", told("animals", "a"))
    assert ready == [("animals", ["a", "b"])]
    assert (searcher.suggest("4"), searcher.finished, searcher.prepared_at) == (STANDBY, False, None)
    searcher.on_trial_complete("3", told("opinions", "a"))
    assert searcher.release()
    assert searcher.suggest("4") == Searcher.FINISHED
    assert searcher.finished
    assert searcher.prepared_at is not None


@pytest.mark.parametrize(
    ("result", "error", "kind", "text"),
    [
        ({"refused": "datasets.animals: no"}, False, InputError, "^datasets.animals: no$"),
        ({"broke": "preparing animals: oh", "traceback": "line 1"}, False, RuntimeError, "animals: oh"),
        (None, True, RuntimeError, "preparing animals with a: the worker process died"),
    ],
)
def test_a_preparation_that_fails_ends_the_launch_and_fails_no_trial(bench, result, error, kind, text):
    searcher = searcher_of(bench)
    searcher.waiting = [Preparation("animals", "a", alone=False)]
    searcher.suggest("9")
    assigned(searcher.suggest("1"))
    searcher.on_trial_complete("9", result, error)
    assert isinstance(searcher.problem, kind)
    assert re.search(text, str(searcher.problem))
    assert searcher.suggest("2") is None
    searcher.on_trial_complete("1", {"done": False})  # Tune stops it
    assert bench.store.read("trials", "tiny").num_rows == 0


def test_it_hands_out_waits_and_finishes(bench):
    searcher = searcher_of(bench)
    first, second = searcher.suggest("1"), searcher.suggest("2")
    assert searcher.suggest("3") is None  # the agenda cannot know yet whether there is more
    for name, suggestion in (("1", first), ("2", second)):
        (task,) = assigned(suggestion).tasks
        outcome = played(task.config, 0.5)
        searcher.on_trial_complete(name, {"outcomes": outcomes_to_json([outcome]), "done": True})
    assert searcher.suggest("3") == Searcher.FINISHED
    assert searcher.finished
    assert bench.store.finished("tiny") == {}  # those rows are the workers'


def test_a_worker_that_stands_by_is_released_for_work_and_at_the_end(bench):
    searcher = searcher_of(bench, trials=2)
    after = [searcher.agendas["animals"].proposals.make((Task(make().propose()[0], "warm"),)) for _ in "12"]
    searcher.agendas["animals"].steps[2] = lambda: after
    first, second = assigned(searcher.suggest("1")), assigned(searcher.suggest("2"))
    assert searcher.suggest("2b") is None  # no third worker is started to wait

    def ends(name, assignment):
        outcome = played(assignment.tasks[0].config, 0.5)
        searcher.on_trial_complete(name, {"outcomes": outcomes_to_json([outcome]), "done": True})

    ends("1", first)
    searcher.orphaned = lambda: True
    assert searcher.suggest("5") is None  # it would take the place of a trial whose worker died
    searcher.orphaned = lambda: False
    assert searcher.suggest("5") == STANDBY
    assert not searcher.release()
    ends("2", second)
    assert searcher.release()
    assert searcher.release()  # asking takes nothing away
    searcher.on_trial_complete("5", STANDBY)
    names = [assigned(searcher.suggest(name)) for name in "34"]
    assert names == after
    ends("3", names[0])
    assert searcher.suggest("6") == STANDBY  # baselines are not known before
    assert not searcher.release()
    ends("4", names[1])
    assert searcher.release()
    assert searcher.suggest("7") == Searcher.FINISHED


def test_a_worker_that_died_too_often_leaves_a_failed_row(bench):
    searcher = searcher_of(bench)
    assignment = assigned(searcher.suggest("1"))
    for attempt in (1, 2, 3):
        bench.store.write_attempt(attempt_row(bench.launch, assignment, assignment.tasks[0], attempt, "node"))
    searcher.on_trial_complete("1", error=True)
    (row,) = bench.store.read("trials", "tiny").to_pylist()
    assert (row["status"], row["attempt"], row["score"], row["steps"]) == ("failed", 3, None, 0)
    assert "worker process died" in row["error"]
    assert row["config_id"] == assignment.tasks[0].config.config_id
    assert bench.store.unfinished_attempts("tiny") == []
    assert searcher.progress.datasets["animals"].failed == 1
    assert assigned(searcher.suggest("2")) != assignment


@pytest.mark.parametrize("end", ["died", "stopped", "completed"])
def test_no_checkpoint_outlives_its_trial(bench, end):
    """One that completed has removed its own."""
    searcher = searcher_of(bench)
    assignment = assigned(searcher.suggest("1"))
    bench.store.write_checkpoint("tiny", assignment.key, b"state")
    outcomes = outcomes_to_json([played(assignment.tasks[0].config, 0.5, "completed")])
    if end == "died":
        searcher.on_trial_complete("1", error=True)
    else:
        searcher.on_trial_complete("1", {"outcomes": outcomes, "checkpoint": end == "stopped"})
    kept = bench.store.read_checkpoint("tiny", assignment.key)
    assert kept == (b"state" if end == "completed" else None)


def test_a_worker_that_cannot_start_says_why(bench):
    cause = PermissionError("no\nstore here")
    error = RayTaskError("setup", "Traceback: the store", cause)
    searcher = searcher_of(bench, errors={"1": error})
    searcher.suggest("1")
    searcher.on_trial_complete("1", error=True)
    (row,) = bench.store.read("trials", "tiny").to_pylist()
    assert (row["error"], row["attempt"]) == ("PermissionError: no store here", 0)
    assert "the store" in row["traceback"]


class Away:
    """A store whose writes fail for longer than anyone waits, as `PatientFiles` has them fail."""

    def __getattr__(self, name):
        def fails(*given, **named):
            raise StorageError("--store x: no space; mend the storage and launch again")

        return fails


def test_storage_that_fails_under_the_driver_ends_the_launch_with_its_line(bench):
    """Tune would take the error for the trial's, and run it again."""
    searcher = searcher_of(bench, trials=4)
    first, second = assigned(searcher.suggest("1")), assigned(searcher.suggest("2"))
    bench.store.write_checkpoint("tiny", first.key, b"state")
    store, searcher.store = searcher.store, Away()
    searcher.on_trial_complete("1", error=True)
    assert isinstance(searcher.problem, StorageError)
    assert searcher.suggest("3") is None
    assert searcher.release()
    searcher.on_trial_complete("2", {"outcomes": "[]", "done": True})
    searcher.fail(ValueError("what follows from it"))
    searcher.store = store
    assert str(searcher.problem).startswith("--store x: no space")
    assert (store.finished("tiny"), store.read_checkpoint("tiny", first.key)) == ({}, b"state")
    assert second != first


def test_a_workers_storage_error_fails_no_trial_and_leaves_its_checkpoint(bench):
    error = RayTaskError("step", "Traceback", StorageError("--store x: away"))
    searcher = searcher_of(bench, errors={"1": error})
    assignment = assigned(searcher.suggest("1"))
    bench.store.write_checkpoint("tiny", assignment.key, b"state")
    searcher.on_trial_complete("1", error=True)
    assert str(searcher.problem) == "--store x: away"
    assert bench.store.finished("tiny") == {}
    assert bench.store.read_checkpoint("tiny", assignment.key) == b"state"


def test_a_stopped_row_that_cannot_be_written_ends_the_launch(bench):
    searcher = searcher_of(bench)
    runner = bench.runner(rungs=(4, 8))
    sent = runner.step()
    scheduler = RungScheduler(Away(), [4, 8, 12], Asha(reduction=2))
    scheduler.release, scheduler.fail = searcher.release, searcher.fail
    better, worse = (FakeTrial(name, {"assignment": runner.assignment.to_json()}) for name in "ab")
    above = {**sent, "score": sent["score"] + 1}
    assert scheduler.on_trial_result(None, better, above) == TrialScheduler.CONTINUE
    assert searcher.problem is None
    assert scheduler.on_trial_result(None, worse, sent) == TrialScheduler.CONTINUE
    assert isinstance(searcher.problem, StorageError)


def test_an_error_of_our_own_is_not_taken_for_a_trials(bench):
    searcher = searcher_of(bench)
    searcher.suggest("1")
    searcher.on_trial_complete("1", {"outcomes": "not JSON", "done": True})
    assert isinstance(searcher.problem, ValueError)


def test_what_a_worker_wrote_before_it_died_stays(bench):
    searcher = searcher_of(bench)
    assignment = assigned(searcher.suggest("1"))
    bench.runner(assignment.tasks).step()
    before = bench.store.read("trials", "tiny").to_pylist()
    searcher.on_trial_complete("1", error=True)
    assert bench.store.read("trials", "tiny").to_pylist() == before


def test_progress_counts_and_estimates():
    progress = Progress(Console(file=io.StringIO(), width=200), "trials")
    config = make().propose()[0]
    search, baseline = (Assignment("a", role, 0, (Task(config, "prior"),)) for role in ("search", "baseline"))
    earlier = {"search": [played(config, 0.4)], "baseline": [played(config, 0.9)]}
    progress.expect("a", 10, earlier)
    assert progress.seconds_left() is None
    for assignment, outcome in (
        (search, played(config, 0.6)),
        (search, played(config, 0.8, "stopped")),
        (search, played(config, 0.9, "failed")),
        (baseline, played(config, 0.95)),
    ):
        progress.started(assignment)
        progress.ended(assignment, outcome)
    progress.started(search)
    progress.shorten("a", 2, "the space is exhausted")
    counts = progress.datasets["a"]
    assert (counts.total, counts.done, counts.running) == (8, 6, 1)
    assert (counts.completed, counts.stopped, counts.failed) == (4, 1, 1)
    assert counts.best == 0.6  # neither a baseline nor a trial at a lower fidelity
    progress.began_trials -= 40
    assert 19 < progress.seconds_left() < 25  # 2 trials left at 10 s each
    line = progress.line()
    for part in ("a 6/8", "best 0.6000", "1 running", "1 failed", "left"):
        assert part in line
    progress.console.print(progress.render())
    assert "6/8" in progress.console.file.getvalue()
    assert progress.console.file.getvalue().count("exhausted") == 1


def test_a_live_table_is_shown_on_a_terminal():
    file = io.StringIO()
    progress = Progress(Console(file=file, force_terminal=True, width=100), "trials")
    progress.expect("animals", 1)
    assignment = Assignment("animals", "search", 0, (Task(make().propose()[0], "prior"),))
    with progress.shown():
        progress.started(assignment)
        progress.ended(assignment, Outcome(assignment.tasks[0].config, "prior", "completed", ((1, 0.5),), 1))
    assert "1/1" in file.getvalue()


@pytest.mark.parametrize(("cluster", "alive"), [(False, False), (False, True), (True, False)])
def test_a_ray_that_has_died_ends_its_launch_and_no_trial(bench, monkeypatch, cluster, alive):
    """A cluster may get other nodes."""
    monkeypatch.setattr(session, "LOOK_SECONDS", -1.0)
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": False}, {"Alive": alive}])
    dies = not cluster and not alive
    searcher = searcher_of(bench)
    searcher.launch = replace(searcher.launch, cluster=cluster)
    stopper = session.AtAProblem(searcher)
    assert [stopper.stop_all(), stopper.stop_all()] == [dies, dies]
    assert dies == ("the Ray of this launch has died" in str(searcher.problem))
    searcher.problem = None
    searcher.ray_died = lambda: session.ray_died(searcher.launch)
    searcher.suggest("1")
    searcher.on_trial_complete("1", error=True)
    assert bench.store.read("trials", "tiny").num_rows == (not dies)
    assert (searcher.problem is not None) == dies
