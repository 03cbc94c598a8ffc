"""The driver or a worker is killed, or Ctrl-C comes; launching again goes on, and nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from distiller.search.rows import now
from tests.search.conftest import SWEEP, make_place

ANIMALS = re.sub(r"  opinions: .*\n", "", SWEEP).replace("top: 2", "top: 1")
ANIMALS = ANIMALS.replace("steps: 12", "steps: 80")  # long enough to be caught in the middle
# A second worker would only start slowly.
ANIMALS = ANIMALS.replace("cpus: 1", "cpus: 1, max_concurrent: 1, checkpoint_seconds: 0")
MARK = "DISTILLER_TEST_MARK"


def marked(mark: str) -> list[int]:
    """Processes that this test started, found by their environment; none is another's."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # it ended meanwhile, or is not ours
            continue
    return found


@pytest.fixture
def crashing(tmp_path):
    mark = uuid.uuid4().hex
    place = make_place(tmp_path / 'a "crash"', ANIMALS)
    place.environment[MARK] = mark
    yield place
    for pid in marked(mark):
        os.kill(pid, signal.SIGKILL)


def killed_worker(place, process):
    """SIGKILL a worker of this launch once its trial has a checkpoint, before it ends; the attempt."""
    earlier = {(row["trial_id"], row["attempt"]) for row in place.rows(table="attempts")}

    def caught():
        for row in place.store.unfinished_attempts("tiny") if place.rows() else []:
            checkpoint = place.folder / f"results/data/checkpoints/tiny/{row['cohort']}.safetensors"
            if (row["trial_id"], row["attempt"]) in earlier or not checkpoint.exists():
                continue
            os.kill(row["pid"], signal.SIGSTOP)
            time.sleep(0.5)  # the driver may be about to end it at a rung
            if checkpoint.exists() and row["trial_id"] not in {done["trial_id"] for done in place.rows()}:
                os.kill(row["pid"], signal.SIGKILL)
                return row
            os.kill(row["pid"], signal.SIGCONT)
        return None

    return place.wait_for(process, caught)


def wait_for_new(place, process, least):
    """Until `least` trials have ended that began after this call: not those of a dead driver's worker."""
    since = now()
    place.wait_for(process, lambda: sum(row["started_at"] > since for row in place.rows()) >= least)


def trial_files(place):
    return {name: data for name, data in place.fragments().items() if name.startswith("trials/")}


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_runs_twice(crashing, command):
    rng = np.random.default_rng(4)
    place, seen = crashing, {}

    def kept():
        files = trial_files(place)
        assert {name: files.get(name) for name in seen} == seen  # rows from before: all there, byte for byte
        seen.update(files)

    # A worker is killed in mid-trial, then the driver.
    process = place.start("launch", "sweep.yaml")
    lost = killed_worker(place, process)
    place.wait_for(process, lambda: lost["trial_id"] in {row["trial_id"] for row in place.rows()})
    (retried,) = [row for row in place.rows() if row["trial_id"] == lost["trial_id"]]
    assert (retried["attempt"], retried["error"]) == (lost["attempt"] + 1, None)
    assert retried["resumed_from"] >= 1  # its first checkpoint
    assert min(row["step"] for row in place.rows(table="epochs") if row["trial_id"] == lost["trial_id"]) == 20
    wait_for_new(place, process, int(rng.integers(1, 3)))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    kept()

    # Ctrl-C, as a terminal sends it: to everyone.
    process = place.start("launch", "sweep.yaml")
    wait_for_new(place, process, 1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (line,) = err.splitlines()
    assert "interrupted" in line
    kept()

    done = place.run("launch", "sweep.yaml")
    assert (done.returncode, done.stderr) == (0, ""), (done.stdout, done.stderr)
    kept()
    rows, attempts = place.rows(), place.rows(table="attempts")
    epochs = place.rows(table="epochs")
    identities = [(row["dataset"], row["config_id"], row["seed"], row["role"]) for row in rows]
    assert len(set(identities)) == len(identities)
    assert sum(row["role"] == "search" for row in rows) == 6
    assert sum(row["role"] == "finalist" for row in rows) == 2
    assert {row["status"] for row in rows} <= {"completed", "stopped"}
    assert not (place.folder / "results/data/checkpoints").exists() or not list(
        (place.folder / "results/data/checkpoints").iterdir()
    )
    ended = {row["trial_id"]: row for row in rows}
    for attempt in attempts:  # a trial that had ended was never begun again
        assert attempt["started_at"] <= ended[attempt["trial_id"]]["ended_at"]
        assert attempt["attempt"] <= ended[attempt["trial_id"]]["attempt"]
    for row in rows:  # whoever was stopped was stopped by comparison, not by a signal
        if row["status"] == "stopped":
            assert row["role"] == "search"
            assert row["steps"] in (20, 40)
            others = [e["score"] for e in epochs if e["step"] == row["steps"] and e["role"] == "search"]
            assert row["score"] < max(others)
    before = place.fragments()
    assert "every trial of this sweep has ended" in command(place.folder, "launch", "sweep.yaml").stdout
    assert place.fragments() == before
