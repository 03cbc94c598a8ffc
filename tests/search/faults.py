"""Faults, done for real to sweeps of quick trials, and what is left afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distiller.results.store import Store
from tests.search.quick import SECONDS, WELL, write_quick

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
        self.seen: dict[str, bytes] = {}
        self.lost = self.changed = 0

    def read(self, table: str) -> list[dict[str, Any]]:
        """Rows that are there by now."""
        if not Path(self.url, "sweeps/quick/sweep.yaml").exists():
            return []
        return Store.open(self.url).read(table, "quick").to_pylist()

    @property
    def trials(self) -> list[dict[str, Any]]:
        return self.read("trials")

    def fragments(self) -> dict[str, bytes]:
        """The files of the rows, by name."""
        return {path.name: path.read_bytes() for path in Path(self.url, "trials").rglob("[!.]*.parquet")}

    def look(self) -> None:
        """Count rows that were there at the last look and are gone, or are not as they were."""
        found = self.fragments()
        self.lost += sum(name not in found for name in self.seen)
        self.changed += sum(name in found and found[name] != data for name, data in self.seen.items())
        self.seen = found

    def start(self) -> subprocess.Popen[str]:
        """Launch, in a session of its own."""
        address = [self.address] if self.address else []
        return subprocess.Popen(
            [sys.executable, "-m", "tests.search.quick", str(self.file), self.url, *address],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), SECONDS: str(self.seconds)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> None:
        """Launch, to the end."""
        process = self.start()
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, out
        self.look()

    def running(self) -> dict[str, Any] | None:
        """The attempt at a search trial that has no row yet; its process is stopped (SIGSTOP)."""
        ended = {row["trial_id"] for row in self.trials}
        for row in self.read("attempts"):
            if row["role"] == "search" and row["trial_id"] not in ended and stopped(row["pid"]):
                if row["trial_id"] not in {done["trial_id"] for done in self.trials}:
                    return row
                os.kill(row["pid"], signal.SIGCONT)
        return None

    def faultless(self, trials: int) -> dict[str, int]:
        """What is wrong with a finished sweep: all of it counts as an error, so all are to be zero."""
        rows = self.trials
        identities = Counter((r["dataset"], r["config_id"], r["seed"], r["role"]) for r in rows)
        ended = {row["trial_id"]: row for row in rows}
        attempts = self.read("attempts")
        return {
            "lost": self.lost,
            "changed": self.changed,
            "doubled": sum(identities.values()) - len(identities),
            "missing": trials - sum(row["role"] == "search" for row in rows),
            "unfinished": sum(a["trial_id"] not in ended for a in attempts),
            "begun again": sum(a["started_at"] > ended[a["trial_id"]]["ended_at"] for a in attempts),
        }


def stopped(pid: int) -> bool:
    """Stop a process; False where it is gone."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    return True


def wait_until(ready: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 240) -> Any:
    """What `ready()` says once it is true; fails where the process ends before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := ready():
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def kill_drivers(sweep: Sweep, times: int, seed: int) -> None:
    """SIGKILL the driver at random moments, from its start on."""
    rng = np.random.default_rng(seed)
    for _ in range(times):
        process, known = sweep.start(), len(sweep.seen)
        more = int(rng.integers(0, 10))
        wait_until(lambda known=known, more=more: len(sweep.fragments()) >= known + more, process)
        time.sleep(float(rng.uniform(0, 0.5)))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        sweep.look()
    sweep.finish()


def kill_workers(sweep: Sweep, times: int) -> list[dict[str, Any]]:
    """SIGKILL workers in the middle of trials; the attempts that this ended."""
    process, lost = sweep.start(), []
    for _ in range(times):
        row = wait_until(sweep.running, process)
        os.kill(row["pid"], signal.SIGKILL)
        lost.append(row)
        sweep.look()
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    sweep.look()
    return lost


def kill_raylet(sweep: Sweep) -> None:
    """SIGKILL the raylet of the driver's own Ray in mid-sweep; the launch ends, another goes on."""
    process = sweep.start()
    wait_until(lambda: len(sweep.fragments()) >= 3, process)
    (raylet,) = (p for p in descendants(process.pid) if Path(f"/proc/{p}/comm").read_text() == "raylet\n")
    os.kill(raylet, signal.SIGKILL)
    process.communicate(timeout=600)
    assert process.returncode != 0
    sweep.look()
    sweep.finish()


def kill_node(sweep: Sweep) -> None:
    """SIGKILL a whole node of a cluster of three, with its workers, while they are at trials."""
    with ray_cluster(sweep.folder, nodes=3) as nodes:
        sweep.address = nodes.address
        process = sweep.start()
        row = wait_until(sweep.running, process)
        os.kill(row["pid"], signal.SIGCONT)
        victim = next(n for n in nodes.processes[1:] if row["pid"] in descendants(n.pid))
        os.killpg(victim.pid, signal.SIGKILL)
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, out
        sweep.look()


def descendants(pid: int) -> list[int]:
    """Processes below one, and those of its session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == pid or os.getpgid(int(folder.name)) == pid:
                found.append(int(folder.name))
        except ProcessLookupError:
            continue
    return found


@dataclass
class Nodes:
    """Ray nodes on this machine; the first is the head."""

    address: str
    processes: list[subprocess.Popen[str]]


@contextmanager
def ray_cluster(folder: Path, nodes: int, head_cpus: int = 0) -> Iterator[Nodes]:
    """A Ray cluster of several nodes on this machine, each in a session of its own.

    The head carries no trial unless given cpus: a cluster does not survive its head.
    """
    port = 20000 + os.getpid() % 10000
    address, scratch = f"127.0.0.1:{port}", Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    common = ["--block", "--disable-usage-stats"]
    commands = [
        ["--head", f"--port={port}", f"--num-cpus={head_cpus}", "--include-dashboard=false",
         f"--temp-dir={scratch}", *common],
        *([f"--address={address}", "--num-cpus=1", *common] for _ in range(nodes - 1)),
    ]  # fmt: skip
    processes = []
    try:
        for command in commands:
            with (scratch / f"node-{len(processes)}.log").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "ray.scripts.scripts", "start", *command],
                        env={**os.environ, "PYTHONPATH": str(ROOT)},
                        cwd=folder,
                        stdout=log,
                        stderr=log,
                        text=True,
                        start_new_session=True,
                    )
                )
            time.sleep(8 if len(processes) == 1 else 1)
        yield Nodes(address, processes)
    finally:
        for process in processes:
            for pid in [process.pid, *descendants(process.pid)]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.wait()
        shutil.rmtree(scratch, ignore_errors=True)
