"""Faults, done for real to sweeps of quick trials, and what is left afterwards."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from distiller.results.fragments import decode, own_path
from distiller.results.store import Store
from tests.search.clusters import Nodes, environment, named, ray_cluster, session
from tests.search.drivers import Driver
from tests.search.quick import PACE, WELL, write_quick
from tests.search.quick_steps import LOG, repeated_steps

EPOCH, BUDGET = 5, {"steps": 20, "evaluations": 4}
"""40 rows in batches of 8; a checkpoint may follow every epoch."""
WHAT = "optimization_label_smoothing"
"""The column that says what a trial is to do."""


@dataclass
class Sweep:
    """A sweep of quick trials, launched again and again.

    Attributes:
        seen: the rows' files at the last look, by name; `torn`, trials whose files were cut since.
        lost: how many of them were gone at a later look; `changed`, how many were not as they were.
    """

    folder: Path
    faults: tuple[float, ...] = (WELL,)
    sections: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.02
    cluster: Nodes | None = None
    store: Path | None = None

    def __post_init__(self) -> None:
        sections = {"budget": BUDGET, "resources": {}, **self.sections}
        sections["resources"] = {"checkpoint_seconds": 0, **sections["resources"]}
        self.file = write_quick(self.folder, self.faults, **sections)
        (self.folder / PACE).write_text(str(self.seconds))
        (self.folder / LOG).touch()
        self.root = self.store or self.folder / "store"
        self.seen: dict[str, bytes] = {}
        self.lost = self.changed = 0
        self.torn: set[str] = set()

    def read(self, table: str) -> list[dict[str, Any]]:
        """Rows that are there by now."""
        if not (self.root / "sweeps/quick/sweep.yaml").exists():
            return []
        return Store.open(str(self.root)).read(table, "quick").to_pylist()

    @property
    def trials(self) -> list[dict[str, Any]]:
        return self.read("trials")

    def fragments(self) -> dict[str, bytes]:
        """The files of the rows, by name."""
        return {path.name: path.read_bytes() for path in (self.root / "trials").rglob("[!.]*.parquet")}

    def look(self) -> None:
        """Count rows that were there at the last look and are gone, or are not as they were."""
        found = self.fragments()
        self.lost += sum(name not in found for name in self.seen)
        self.changed += sum(name in found and found[name] != data for name, data in self.seen.items())
        self.seen = found

    def start(self) -> Driver:
        """Launch."""
        told = {name: environment()[name] for name in ("PYTHONPATH", "RAY_AUTH_MODE")}
        joined = (self.cluster.address, self.cluster.carriers) if self.cluster else (None, 1)
        return Driver(self.file, str(self.root), *joined, told)

    def end(self, driver: Driver) -> Driver:
        """Wait until a launch has done all there is to do."""
        driver.succeed()
        self.look()
        return driver

    def finish(self) -> Driver:
        """Launch, to the end."""
        return self.end(self.start())

    def resources(self, **changes: Any) -> None:
        """Change in the sweep's file where it runs, which a relaunch may."""
        written = yaml.safe_load(self.file.read_text())
        written["resources"] |= changes
        self.file.write_text(yaml.safe_dump(written))

    def running(self, driver: Driver, resumable: bool = False) -> dict[str, Any] | None:
        """An attempt at a search trial that has no row yet; its process is stopped (SIGSTOP).

        If it is to be `resumable`, one that has left a student checkpoint.
        """
        ours = {driver.pid} if self.cluster is None else self.cluster.sessions
        for path in (self.root / "attempts/quick").glob("[!.]*-search.*.parquet"):
            trial = path.stem.rpartition(".")[0]
            if (self.root / "trials/quick" / f"{trial}.parquet").exists():
                continue
            (row,) = decode("attempts", f"attempts/quick/{path.name}", path.read_bytes()).rows.to_pylist()
            checkpoint = self.root / f"checkpoints/quick/{row['cohort']}.safetensors"
            if row["started_at"] < driver.started_at or (resumable and not checkpoint.exists()):
                continue
            if not stopped(row["pid"], ours):
                continue
            gone_on = (self.root / "trials/quick" / f"{trial}.parquet").exists()
            if not gone_on and (checkpoint.exists() or not resumable):
                return row
            os.kill(row["pid"], signal.SIGCONT)
        return None

    def faultless(self, trials: int) -> dict[str, int]:
        """What is wrong with a finished sweep: all of it counts as an error, so all are to be zero."""
        rows = self.trials
        identities = Counter((r["dataset"], r["config_id"], r["seed"], r["role"]) for r in rows)
        ended = {row["trial_id"]: row for row in rows}
        attempts = self.read("attempts")
        begun_again = sum(
            a["trial_id"] in ended and a["started_at"] > ended[a["trial_id"]]["ended_at"] for a in attempts
        )
        return {
            "lost": self.lost,
            "changed": self.changed,
            "doubled": sum(identities.values()) - len(identities),
            "missing": trials - sum(row["role"] == "search" for row in rows),
            "unfinished": sum(a["trial_id"] not in ended for a in attempts),
            "begun again": begun_again,
            "blamed": sum(row["status"] == "failed" for row in rows if row[WHAT] == WELL),
            "checkpoints left": sum(path.is_file() for path in (self.root / "checkpoints").rglob("*")),
            "over an epoch": sum(steps > EPOCH for steps in self.repeated(torn=False)),
        }

    def repeated(self, torn: bool = True) -> list[int]:
        """For each attempt that followed another, how many steps it trained that were trained before.

        A trial whose row is `torn` has no checkpoint any more.
        """
        by_trial = repeated_steps((self.folder / LOG).read_text())
        return [n for trial, each in by_trial.items() if torn or trial not in self.torn for n in each]


def stopped(pid: int, sessions: set[int]) -> bool:
    """Stop a process of these sessions; False where there is none of this number by now."""
    try:
        defunct = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        if defunct or os.getsid(pid) not in sessions:
            return False
        os.kill(pid, signal.SIGSTOP)
    except (ProcessLookupError, FileNotFoundError):
        return False
    return True


def kill_drivers(sweep: Sweep, times: int, seed: int, most: int = 10) -> None:
    """SIGKILL the driver at random moments, from its start until `most` more rows are there."""
    rng = np.random.default_rng(seed)
    for _ in range(times):
        driver, known = sweep.start(), len(sweep.seen)
        more = int(rng.integers(0, most))
        driver.wait_until(lambda known=known, more=more: len(sweep.fragments()) >= known + more)
        time.sleep(float(rng.uniform(0, 0.5)))
        driver.kill()
        sweep.look()


def kill_worker(sweep: Sweep, driver: Driver) -> dict[str, Any]:
    """SIGKILL a worker in the middle of a trial that left a checkpoint; the attempt that this ended."""
    row: dict[str, Any] = driver.wait_until(lambda: sweep.running(driver, resumable=True))
    os.kill(row["pid"], signal.SIGKILL)
    sweep.look()
    return row


def kill_workers(sweep: Sweep, driver: Driver, times: int, seed: int) -> None:
    """SIGKILL workers at random moments within the length of a trial, which may be between two.

    A trial that has lost two workers is spared: with a third one it would be given up.
    """
    rng, killed = np.random.default_rng(seed), 0
    while killed < times:
        row = driver.wait_until(lambda: sweep.running(driver))
        os.kill(row["pid"], signal.SIGCONT)
        time.sleep(float(rng.uniform(0, sweep.seconds)))
        if row["attempt"] > 2:
            continue
        try:
            os.kill(row["pid"], signal.SIGKILL)
        except ProcessLookupError:  # Tune has ended it
            continue
        killed += 1
        sweep.look()


def kill_raylet(sweep: Sweep) -> None:
    """SIGKILL the raylet of the driver's own Ray in mid-sweep; the launch ends, another goes on."""
    driver, known = sweep.start(), len(sweep.fragments())
    driver.wait_until(lambda: len(sweep.fragments()) >= known + 3)
    os.kill(named(driver.pid, "raylet"), signal.SIGKILL)
    assert driver.wait() != 0
    assert "the Ray of this launch has died" in driver.said, driver.said
    sweep.look()


def kill_nodes(sweep: Sweep, times: int) -> None:
    """SIGKILL a whole node of a cluster of three, with its workers, while they are at trials."""
    for number in range(times):
        with ray_cluster(nodes=3) as sweep.cluster:
            driver = sweep.start()
            row = driver.wait_until(lambda driver=driver: sweep.running(driver, resumable=True))
            for pid in session(sweep.cluster.of(row["pid"]).pid):
                os.kill(pid, signal.SIGKILL)
            if number == times - 1:
                sweep.end(driver)
                continue
            driver.wait_until((sweep.root / f"trials/quick/{row['trial_id']}.parquet").exists)
            driver.kill()
            sweep.look()


def tear(sweep: Sweep, rng: np.random.Generator) -> str:
    """Cut the file of a row short; the trial whose row it was."""
    names = sorted(name for name in sweep.fragments() if "-search" in name)
    name = names[int(rng.integers(len(names)))]
    path = sweep.root / "trials/quick" / name
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(1, len(data)))])
    sweep.seen[name] = path.read_bytes()
    sweep.torn.add(trial := Path(own_path(name)).stem)
    return trial


@contextmanager
def tiny_disk(place: Path, kib: int) -> Iterator[Path]:
    """A real filesystem of this size; PermissionError where this process may not mount one."""
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"only root may mount a filesystem that is full: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill_disk(disk: Path, meanwhile: Callable[[], None]) -> None:
    """Leave not a byte for a while."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    meanwhile()
    ballast.unlink()


def forbid_writes(disk: Path, meanwhile: Callable[[], None]) -> None:
    """Make a filesystem read-only for a while; the kernel refuses as long as a file is open for writing."""

    def remount(how: str) -> bool:
        command = ["mount", "-o", f"remount,{how}", str(disk)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    until = time.monotonic() + 60
    while not remount("ro"):
        assert time.monotonic() < until, "a file was open for writing all the time"
    meanwhile()
    assert remount("rw")


Fails = Callable[[Path, Callable[[], None]], None]


def storage_fails(sweep: Sweep, fails: Fails, disk: Path, times: int) -> None:
    """The storage of a sweep fails for some seconds, while trials write their rows; the launch goes on."""
    driver = sweep.start()

    def meanwhile() -> None:
        time.sleep(0.5)  # a removed checkpoint may have left room for a row
        rows = sweep.fragments()
        time.sleep(2.5)
        assert sweep.fragments() == rows, "rows were written to storage that fails"
        assert driver.returncode is None, driver.said

    for _ in range(times):
        known = len(sweep.fragments())
        driver.wait_until(lambda known=known: len(sweep.fragments()) >= known + 3)
        fails(disk, meanwhile)
        sweep.look()
    sweep.end(driver)


IMPATIENT = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""Ray gives a node up after some seconds in place of half a minute."""


def make_zombie(sweep: Sweep) -> dict[str, Any]:
    """Cut a node off until its trial is handed to another, then let its worker finish; the first attempt.

    Ray cannot reach the node (its raylet is stopped) and gives it up; the worker knows nothing of that.
    """
    with ray_cluster(nodes=3, settings=IMPATIENT) as sweep.cluster:
        driver = sweep.start()
        row = driver.wait_until(lambda: sweep.running(driver, resumable=True))
        os.kill(named(sweep.cluster.of(row["pid"]).pid, "raylet"), signal.SIGSTOP)
        again = f"{row['trial_id']}.{row['attempt'] + 1}.parquet"
        driver.wait_until((sweep.root / "attempts/quick" / again).exists)
        os.kill(row["pid"], signal.SIGCONT)
        last = f"{row['trial_id']} {BUDGET['steps']} "
        by_zombie = f" {row['pid']}\n"

        def finished() -> bool:
            lines = (sweep.folder / LOG).read_text().splitlines(keepends=True)
            return any(line.startswith(last) and line.endswith(by_zombie) for line in lines)

        driver.wait_until(finished)
        sweep.end(driver)
    return row
