"""Processes die, hang and diverge while a sweep runs; no row is lost, doubled or changed by it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distiller.results.store import Store
from tests.search.quick import HANGS, KILLED, NAN, RAISES, SECONDS, TOO_BIG, WELL, write_quick

ROOT = Path(__file__).parents[2]


@dataclass
class Sweep:
    """A sweep of quick trials, launched again and again."""

    folder: Path
    faults: tuple[float, ...] = (WELL,)
    sections: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.02
    address: str | None = None

    def __post_init__(self) -> None:
        self.file = write_quick(self.folder, self.faults, **self.sections)
        self.url = str(self.folder / "store")

    @property
    def trials(self) -> list[dict[str, Any]]:
        return self.read("trials")

    def read(self, table: str) -> list[dict[str, Any]]:
        if not Path(self.url, "sweeps/quick/sweep.yaml").exists():
            return []
        return Store.open(self.url).read(table, "quick").to_pylist()

    def fragments(self) -> dict[str, bytes]:
        found = Path(self.url, "trials").rglob("[!.]*.parquet")
        return {path.name: path.read_bytes() for path in found}

    def start(self) -> subprocess.Popen[str]:
        address = [self.address] if self.address else []
        return subprocess.Popen(
            [sys.executable, "-m", "tests.search.quick", str(self.file), self.url, *address],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                SECONDS: str(self.seconds),
                "PYTHONWARNINGS": "ignore",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> None:
        """Launch, to the end."""
        process = self.start()
        out, _ = process.communicate(timeout=240)
        assert process.returncode == 0, out

    def check(self, before: dict[str, bytes], trials: int) -> None:
        """All trials ended once, and rows that were there before are there as they were."""
        rows = self.trials
        identities = Counter((r["dataset"], r["config_id"], r["seed"], r["role"]) for r in rows)
        assert set(identities.values()) == {1}
        assert sum(r["role"] == "search" for r in rows) == trials
        assert {name: self.fragments().get(name) for name in before} == before
        ended = {row["trial_id"]: row for row in rows}
        for attempt in self.read("attempts"):  # no trial was begun after it had ended
            assert attempt["started_at"] <= ended[attempt["trial_id"]]["ended_at"]


def wait_until(ready: Any, process: subprocess.Popen[str], seconds: float = 120) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := ready():
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("waited in vain")


@pytest.fixture
def cluster(tmp_path):
    """A Ray cluster of its own, that outlives drivers; its processes are ended by their session."""
    port = 20000 + os.getpid() % 10000
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    process = subprocess.Popen(
        [*ray, "start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false",
         f"--temp-dir=/tmp/ray-{os.getpid()}", "--disable-usage-stats"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    yield f"127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_driver_killed_at_random_moments(tmp_path):
    sweep = Sweep(tmp_path / "it's killed", sections={"search": {"trials": 60}}, seconds=0.1)
    rng, before = np.random.default_rng(6), {}
    for _ in range(3):
        process, known = sweep.start(), len(before)
        more = int(rng.integers(1, 12))
        wait_until(lambda known=known, more=more: len(sweep.fragments()) >= known + more, process)
        time.sleep(float(rng.uniform(0, 0.2)))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        found = sweep.fragments()
        assert {name: found.get(name) for name in before} == before
        before = found
    sweep.finish()
    sweep.check(before, 60)


def test_trials_that_go_wrong_in_every_way(tmp_path):
    faults = (WELL, NAN, RAISES, KILLED, HANGS, TOO_BIG)
    sections = {"search": {"sampler": "grid", "grid_levels": 1}, "resources": {"trial_minutes": 0.05}}
    sweep = Sweep(tmp_path / "faults", faults, sections)
    process = sweep.start()
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    sweep.check({}, len(faults))
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


def test_a_worker_killed_from_outside(tmp_path):
    sweep = Sweep(tmp_path / "worker", sections={"search": {"trials": 30}}, seconds=0.2)
    process = sweep.start()

    def caught():
        ended = {row["trial_id"] for row in sweep.trials}
        for row in sweep.read("attempts"):
            if row["role"] == "search" and row["trial_id"] not in ended:
                os.kill(row["pid"], signal.SIGSTOP)
                if row["trial_id"] not in {done["trial_id"] for done in sweep.trials}:
                    os.kill(row["pid"], signal.SIGKILL)
                    return row
                os.kill(row["pid"], signal.SIGCONT)
        return None

    lost, before = wait_until(caught, process), sweep.fragments()
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    sweep.check(before, 30)
    (again,) = [row for row in sweep.trials if row["trial_id"] == lost["trial_id"]]
    assert (again["attempt"], again["status"]) == (lost["attempt"] + 1, "completed")
