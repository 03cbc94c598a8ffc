"""Processes die, hang and diverge while sweeps run; no row is lost, doubled or changed by it.

One real Ray cluster carries all of them. `make chaos` does more faults, and each more often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from distiller.results.store import Store
from tests.search.clusters import Nodes, ray_cluster
from tests.search.faults import EPOCH, Sweep, kill_drivers, kill_worker, tear
from tests.search.lone_worker import LoneWorker
from tests.search.quick import HANGS, KILLED, NAN, RAISES, TOO_BIG, WELL, write_quick
from tests.search.quick_steps import repeated_steps


def test_steps_that_were_trained_before_are_counted():
    """One trial of three attempts, of which the first is a zombie that goes on; and one that was whole."""
    log = "a 1 x 7\na 2 x 7\na 3 x 7\nb 1 z 7\na 2 y 8\na 4 x 7\na 3 y 8\na 5 w 9\n"
    assert repeated_steps(log) == {"a": [2, 0]}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with ray_cluster(nodes=1, head_cpus=2) as nodes:
        yield nodes


def test_drivers_and_a_worker_are_killed_and_a_file_is_torn(tmp_path, cluster):
    sweep = Sweep(tmp_path / "it's killed", sections={"search": {"trials": 24}}, seconds=0.3, cluster=cluster)
    sweep.resources(max_concurrent=1)  # a worker less to start, three times
    kill_drivers(sweep, 3, seed=6, most=4)
    sweep.resources(max_concurrent=2)
    torn = tear(sweep, np.random.default_rng(6))
    driver = sweep.start()
    lost = kill_worker(sweep, driver)
    sweep.end(driver)
    assert not any(sweep.faultless(24).values()), sweep.faultless(24)
    rows, attempts = {row["trial_id"]: row for row in sweep.trials}, sweep.read("attempts")
    again = rows[lost["trial_id"]]
    assert (again["attempt"], again["status"]) == (lost["attempt"] + 1, "completed")
    assert again["resumed_from"] >= EPOCH  # the worker was killed after its first checkpoint
    assert rows[torn]["attempt"] == max(a["attempt"] for a in attempts if a["trial_id"] == torn) > 1
    own = Counter(a["pid"] for a in attempts if a["started_at"] > driver.started_at)
    assert sum(trials >= 2 for trials in own.values()) >= 2  # no worker did the work of all


def test_trials_that_go_wrong_in_every_way(tmp_path, cluster):
    faults = (WELL, NAN, RAISES, TOO_BIG, HANGS, KILLED)  # those last that cost a worker
    sections = {"search": {"sampler": "grid", "grid_levels": 1}, "resources": {"trial_minutes": 0.05}}
    sweep = Sweep(tmp_path / "faults", faults, sections, cluster=cluster)
    driver = sweep.finish()
    assert "the worker has loaded" not in driver.said  # what makes its start slow, and no trial needs
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


def test_a_zombie_finishes_a_trial_that_was_handed_to_another(tmp_path):
    """Both are at it at once, in two processes; the row of the one that ends first stays."""
    path, store = write_quick(tmp_path / "zombie"), Store.create(str(tmp_path / "store"))
    store.write_text("quick", "sweep.yaml", path.read_text())
    zombie, other = (LoneWorker(path, store.url) for _ in "12")
    assert zombie.go_on() == [1]
    assert other.go_on() == [2]
    assert other.go_on() == ["completed"]
    (row,) = store.read("trials", "quick").to_pylist()
    assert zombie.go_on() == ["completed"]
    assert store.read("trials", "quick").to_pylist() == [row]
    assert row["attempt"] == 2
    assert {point["attempt"] for point in store.read("epochs", "quick").to_pylist()} == {2}
    late = LoneWorker(path, store.url)  # a third does not even begin
    assert late.go_on() == []
    assert late.go_on() == ["completed"]
    assert store.read("attempts", "quick").num_rows == 2
