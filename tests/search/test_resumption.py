"""A trial whose worker died goes on from its student checkpoint, on any worker, and leaves none behind."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from distiller.pipelines.cohort import CohortRun
from distiller.results.store import Store
from distiller.search import resumption
from distiller.search.agenda import Proposals
from distiller.search.assignment import Assignment, Task, outcomes_from_json
from distiller.search.begun import begun_together
from distiller.search.resumption import Resumption
from distiller.search.rows import attempt_row
from tests.search.conftest import ENVIRONMENT
from tests.search.test_worker import DIVERGES, config
from tests.search.trials import WIDE, make

TASK = Task(config(intermediate={"objective": "mse"}, augmentation={"method": "mixup"}), "prior")


class Died(BaseException):
    """A worker's sudden end, as far as one process can show it."""


def fast(bench, **budget):
    """The bench with a checkpoint at every evaluation."""
    sweep = bench.launch.sweep
    resources = sweep.resources.model_copy(update={"checkpoint_seconds": 0.0})
    budget = sweep.budget.model_copy(update=budget)
    changed = sweep.model_copy(update={"resources": resources, "budget": budget})
    return replace(bench, launch=replace(bench.launch, sweep=changed))


def elsewhere(bench, tmp_path):
    """The same with a store of its own."""
    store = Store.create(str(tmp_path / "another store"))
    store.write_text("tiny", "sweep.yaml", bench.store.read_text("tiny", "sweep.yaml"))
    return replace(bench, launch=replace(bench.launch, store=store.url), store=store)


def die(runner, monkeypatch, step):
    """Run a trial until its worker dies at a step, after what it was writing was written."""
    train = CohortRun._train_step

    def dying(run):
        if run.step == step:
            raise Died
        train(run)

    with monkeypatch.context() as patch:
        patch.setattr(CohortRun, "_train_step", dying)
        with pytest.raises(Died):
            runner.step()
    runner.group.resumption.settle()


def watched(runner, monkeypatch):
    """The groups that a runner will have begun."""
    begun, begin = [], runner._begun

    def remembered(ahead):
        begun.append(begin(ahead))
        return begun[-1]

    monkeypatch.setattr(runner, "_begun", remembered)
    return begun


def to_end(runner):
    reports = []
    while not reports or not reports[-1]["done"]:
        reports.append(runner.step())
    return reports


def checkpoints(bench):
    return [p.name for p in (Path(bench.store.url) / "checkpoints").rglob("*") if p.is_file()]


def curves(bench):
    return [
        (e["config_id"], e["step"], e["score"], e["losses"])
        for e in bench.store.read("epochs", "tiny").to_pylist()
    ]


def columns(bench, *names, table="trials"):
    return [tuple(row[n] for n in names) for row in bench.store.read(table, "tiny").to_pylist()]


def test_a_trial_goes_on_after_the_last_rung_that_it_passed(bench, tmp_path):
    """Evaluations at 3, 6, 9 and 12, rungs at 4 and 8: where a worker dies at one, it is yet to be judged."""
    bench = fast(bench)
    first, second, third = (bench.runner([TASK], rungs=(4, 8)) for _ in "123")
    assert first.step()["rung"] == 0
    assert checkpoints(bench) == [f"{first.assignment.key}.safetensors"]
    report = second.step()
    assert (report["rung"], report["resumed_from"], report["checkpoint"]) == (0, 3, True)
    assert second.step()["rung"] == 1
    reports = to_end(third)
    assert [(r.get("rung"), r["resumed_from"]) for r in reports] == [(1, 7), (None, 7)]
    assert [step for step, _ in outcomes_from_json(reports[-1]["outcomes"])[0].curve] == [3, 4, 6, 8, 9, 12]
    assert checkpoints(bench) == []
    assert columns(bench, "status", "attempt", "resumed_from", "steps") == [("completed", 3, 7, 12)]
    assert columns(bench, "attempt", "resumed_from", table="attempts") == [(1, None), (2, 3), (3, 7)]
    whole = elsewhere(bench, tmp_path)
    to_end(whole.runner([TASK], rungs=(4, 8)))
    assert columns(whole, "status", "attempt", "resumed_from") == [("completed", 1, None)]
    assert curves(bench) == curves(whole)


def test_seconds_add_up_over_what_was_not_repeated(bench, monkeypatch):
    bench, ticks = fast(bench), iter(range(1000))
    with monkeypatch.context() as patch:
        patch.setattr(resumption, "monotonic", lambda: 100.0 * next(ticks))
        die(bench.runner([TASK]), monkeypatch, 7)
    runner = bench.runner([TASK])
    begun = watched(runner, monkeypatch)
    to_end(runner)
    ((wall, train, resumed),) = columns(bench, "wall_seconds", "train_seconds", "resumed_from")
    assert resumed == 7
    assert begun[0].resumption.earlier_seconds == 900.0  # start, begin, looks at 0 to 7
    assert 900 < wall < 960
    assert 0 < train < 60


def test_a_cohort_goes_on_with_those_that_were_left(bench, tmp_path, monkeypatch):
    bench, search = fast(bench), {"cohort": 5}
    tasks = [Task(config(rate), "prior") for rate in (1e-3, 3e-3, 1e-2, 2e-2)] + [Task(DIVERGES, "prior")]
    die(bench.runner(tasks, rungs=(6, 9), search=search), monkeypatch, 10)
    left = bench.runner(tasks, rungs=(6, 9), search=search)
    begun = watched(left, monkeypatch)
    assert left.step()["done"]
    assert begun[0].resumption.resumed_from == 10
    whole = elsewhere(bench, tmp_path)
    assert whole.runner(tasks, rungs=(6, 9), search=search).step()["done"]
    assert curves(bench) == curves(whole)
    names = ("config_id", "status", "steps", "score", "error")
    assert columns(bench, *names) == columns(whole, *names)
    assert {status for _, status, *_ in columns(bench, *names)} == {"completed", "stopped", "failed"}
    assert columns(bench, "member", "resumed_from", table="attempts").count((3, 10)) == 1
    assert checkpoints(bench) == []


def interrupted(bench):
    """A trial that left a checkpoint at step 3; its path."""
    runner = bench.runner([TASK], rungs=(4,))
    runner.step()
    (name,) = checkpoints(bench)
    return Path(bench.store.url) / "checkpoints" / "tiny" / name


@pytest.mark.parametrize("what", ["torn", "flipped", "pickle", "code", "budget", "teacher"])
def test_what_cannot_be_gone_on_from_is_said_and_the_trial_starts_anew(bench, monkeypatch, what):
    bench = fast(bench)
    path = interrupted(bench)
    data = path.read_bytes()
    if what == "torn":
        path.write_bytes(data[: len(data) // 2])
    elif what == "flipped":
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    elif what == "pickle":
        path.write_bytes(pickle.dumps(["no", "state"]))
    elif what == "code":
        monkeypatch.setattr(resumption, "code_version", lambda: "newer")
    elif what == "budget":
        bench = fast(bench, evaluations=3)
    runner = bench.runner([TASK], rungs=(4,))
    if what == "teacher":
        begin = Resumption.begin

        def other(self, cohort, material, retried):
            teachers = [replace(teacher, fingerprint="other") for teacher in material.teachers]
            return begin(self, cohort, replace(material, teachers=tuple(teachers)), retried)

        monkeypatch.setattr(Resumption, "begin", other)
    assert to_end(runner)[-1]["done"]
    ((status, attempt, resumed, said),) = columns(bench, "status", "attempt", "resumed_from", "adaptations")
    assert (status, attempt, resumed) == ("completed", 2, None)
    (note,) = [text for text in json.loads(said) if "checkpoint" in text]
    torn = what in ("torn", "flipped", "pickle")
    assert note.startswith(f"started anew: the student checkpoint is {'torn' if torn else 'foreign'}: ")
    found = columns(bench, "resumed_from", table="attempts")
    assert found == [(None,), (3 if what == "teacher" else None,)]
    assert checkpoints(bench) == []


def test_a_checkpoint_that_cannot_be_written_or_read_costs_no_trial(bench, monkeypatch):
    bench = fast(bench)

    def full(self, *given):
        raise OSError(28, "No space left on device")

    path = interrupted(bench)
    monkeypatch.setattr(Store, "write_checkpoint", full)
    monkeypatch.setattr(Store, "read_checkpoint", full)
    to_end(bench.runner([TASK]))
    ((status, said),) = columns(bench, "status", "adaptations")
    assert status == "completed"
    notes = [text for text in json.loads(said) if "checkpoint" in text]
    assert [note.split("(")[0] for note in notes] == [
        "started anew: the student checkpoint is not readable ",
        "a student checkpoint could not be written ",
    ]
    assert all("No space left" in note for note in notes)
    assert path.exists()
    bench.store.remove_checkpoints("tiny")
    assert not path.parent.exists()


def test_short_trials_write_none(bench, monkeypatch):
    monkeypatch.setattr(Store, "write_checkpoint", lambda *given: pytest.fail("a checkpoint"))
    assert to_end(bench.runner([TASK]))[-1]["checkpoint"] is False


@pytest.mark.parametrize("pace", [1.0, 3.0, 4.9, 6.0, 25.0])
def test_no_more_than_the_seconds_or_one_step_are_at_stake(bench, monkeypatch, pace):
    """A made-up clock; a training that takes `pace` seconds a step."""
    clock = [0.0]
    monkeypatch.setattr(resumption, "monotonic", lambda: clock[0])
    written = []
    store = SimpleNamespace(write_checkpoint=lambda *given: written.append(clock[0]))
    one = Resumption(bench.launch, Assignment("animals", "search", 0, (TASK,)), store)
    one.fingerprints = []
    run = SimpleNamespace(step=0)
    one_run = SimpleNamespace(run=run, state=lambda: resumption.State({}, {}))
    work = SimpleNamespace(distillation=one_run)
    for _ in range(40):
        one.keep(work)
        one.settle()
        safe = written[-1] if written else 0.0
        clock[0] += pace
        run.step += 1
        assert clock[0] - safe <= max(pace, 10.0) + 1e-9
    assert len(written) <= 40 * pace / max(pace, 10.0 - pace)


SCRIPT = """
import os, pickle, signal, sys
from types import SimpleNamespace
import ray
ray.get_gpu_ids = list
ray.get_runtime_context = lambda: SimpleNamespace(get_node_id=lambda: "node")
from distiller.pipelines.cohort import CohortRun
from distiller.search.worker import TrialRunner

launch, assignment = pickle.loads(open(sys.argv[1], "rb").read())
train = CohortRun._train_step

def dying(run):
    if run.step == 57:
        os.kill(os.getpid(), signal.SIGKILL)
    train(run)

CohortRun._train_step = dying
runner = TrialRunner(launch)
runner.take({"assignment": assignment})
while not runner.step()["done"]:
    pass
"""


@pytest.mark.slow
def test_a_killed_process_is_gone_on_from_by_another(bench, tmp_path):
    """SIGKILL after step 57 of 80: the checkpoint of that step, or of the one before it."""
    bench = fast(bench, steps=80)
    runner = bench.runner([TASK])
    given = tmp_path / "given"
    given.write_bytes(pickle.dumps((bench.launch, runner.assignment.to_json())))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(given)],
        env={**os.environ, **ENVIRONMENT, "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(checkpoints(bench)) >= 1
    to_end(runner)
    ((attempt, resumed, steps),) = columns(bench, "attempt", "resumed_from", "steps")
    assert (attempt, steps) == (2, 80)
    assert resumed in (56, 57)
    whole = elsewhere(bench, tmp_path)
    to_end(whole.runner([TASK]))
    assert curves(bench) == curves(whole)


def test_cohorts_that_were_begun_together_stay_together(bench):
    """A cohort of which a member has ended, a whole one, a trial alone, and a row that says no cohort."""
    drawn = [Task(make(WIDE, seed=seed).propose()[0], "model") for seed in range(8)]
    torn, whole, alone, old = tuple(drawn[:3]), tuple(drawn[5:2:-1]), (drawn[6],), (drawn[7],)
    rows = []
    for tasks in (torn, whole, alone, old):
        assignment = Assignment("animals", "search", 0, tasks)
        rows += [attempt_row(bench.launch, assignment, task, 1, "node") for task in tasks]
    del rows[1]
    rows[-1] |= {"cohort": None, "member": None}
    for row in rows:
        bench.store.write_attempt(row)
    found = begun_together(bench.store.unfinished_attempts("tiny"))
    assert sorted(map(len, found)) == [1, 1, 1, 1, 3]
    assert whole in found  # in its own order, not in that of the rows
    flat = [task for tasks in found for task in tasks]
    proposals = Proposals(
        make(WIDE, sampler="random"),
        lambda tasks: Assignment("animals", "search", 0, tasks),
        8,
        3,
        [],
        flat,
        [],
        print,
        together=[tasks for tasks in found if len(tasks) > 1],
    )
    assert proposals.next().key == Assignment("animals", "search", 0, whole).key
    rest = []
    while (assignment := proposals.next()) is not None:
        rest += assignment.tasks
    ids = [task.config.config_id for task in rest]
    assert len(ids) == len(set(ids)) == 5
    assert {t.config.config_id for t in flat} <= {*ids, *(t.config.config_id for t in whole)}
