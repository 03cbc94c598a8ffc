"""Processes die, hang and diverge while a sweep runs; no row is lost, doubled or changed by it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from distiller.results.store import Store
from tests.search.faults import ROOT, Sweep, kill_drivers, kill_workers
from tests.search.quick import HANGS, KILLED, NAN, RAISES, TOO_BIG, WELL, write_quick


@pytest.mark.chaos
def test_drivers_killed_at_random_moments(tmp_path):
    sweep = Sweep(tmp_path / "it's killed", sections={"search": {"trials": 60}}, seconds=0.1)
    kill_drivers(sweep, 3, seed=6)
    assert not any(sweep.faultless(60).values()), sweep.faultless(60)


@pytest.mark.chaos
def test_a_worker_killed_in_mid_trial(tmp_path):
    sweep = Sweep(tmp_path / "worker", sections={"search": {"trials": 30}}, seconds=0.2)
    (lost,) = kill_workers(sweep, 1)
    assert not any(sweep.faultless(30).values()), sweep.faultless(30)
    (again,) = [row for row in sweep.trials if row["trial_id"] == lost["trial_id"]]
    assert (again["attempt"], again["status"]) == (lost["attempt"] + 1, "completed")


@pytest.mark.slow
def test_trials_that_go_wrong_in_every_way(tmp_path):
    faults = (WELL, NAN, RAISES, KILLED, HANGS, TOO_BIG)
    sections = {"search": {"sampler": "grid", "grid_levels": 1}, "resources": {"trial_minutes": 0.05}}
    sweep = Sweep(tmp_path / "faults", faults, sections)
    sweep.finish()
    assert not any(sweep.faultless(len(faults)).values()), sweep.faultless(len(faults))
    rows = {row["optimization_label_smoothing"]: row for row in sweep.trials if row["role"] == "search"}
    assert rows[WELL]["status"] == "completed"
    assert {row["status"] for fault, row in rows.items() if fault != WELL} == {"failed"}
    assert rows[NAN]["error"] == "diverged: the loss is not finite"
    assert rows[RAISES]["error"] == "ZeroDivisionError: on order"
    assert "misbehave" in rows[RAISES]["traceback"]
    assert rows[TOO_BIG]["error"].startswith("MemoryError")
    assert rows[KILLED]["error"] == "the worker process died (killed, or out of memory)"
    assert rows[KILLED]["attempt"] == 3  # given up after two more tries
    assert rows[HANGS]["error"] == "time limit: not done after 0.05 minutes (resources.trial_minutes)"
    assert "time.sleep(3600)" in rows[HANGS]["traceback"]
    assert rows[HANGS]["attempt"] == 1  # the next worker found that it had ended


@pytest.mark.slow
def test_a_zombie_finishes_a_trial_that_was_handed_to_another(tmp_path):
    """Both are at it at once, in two processes; the row of the one that ends first stays."""
    path, store = write_quick(tmp_path / "zombie"), Store.create(str(tmp_path / "store"))
    store.write_text("quick", "sweep.yaml", path.read_text())

    def worker():
        return subprocess.Popen(
            [sys.executable, "-m", "tests.search.lone_worker", str(path), store.url],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def told(process, answer):
        process.stdin.write("on\n")
        process.stdin.flush()
        assert process.stdout.readline().split() == [answer]

    with worker() as zombie, worker() as other:
        told(zombie, "1")
        told(other, "2")
        told(other, "completed")
        (row,) = store.read("trials", "quick").to_pylist()
        told(zombie, "completed")
    assert store.read("trials", "quick").to_pylist() == [row]
    assert row["attempt"] == 2
    assert {point["attempt"] for point in store.read("epochs", "quick").to_pylist()} == {2}
    with worker() as late:  # a third does not even begin
        late.stdin.write("on\n")
        late.stdin.flush()
        assert late.stdout.readline().split() == []
        late.stdin.write("on\n")
        late.stdin.flush()
        assert late.stdout.readline().split() == ["completed"]
    assert store.read("attempts", "quick").num_rows == 2
