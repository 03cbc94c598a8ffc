"""The steps that quick trials train: logged one by one, and kept as a checkpoint as students are."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from distiller.results.schema import trial_id
from distiller.results.store import Store
from distiller.search.assignment import Assignment, Launch

if TYPE_CHECKING:
    from tests.search.quick import QuickWork

LOG = "steps.log"


class StepLog:
    """Lines `trial step run pid` in a file beside the sweep's, where there is such a file.

    It is no part of the store: what a killed worker had trained is known from here alone.
    """

    def __init__(self, launch: Launch):
        path = Path(launch.base, LOG)
        # Short lines of several processes stay whole (O_APPEND).
        self.handle = os.open(path, os.O_WRONLY | os.O_APPEND) if path.exists() else None

    def trained(self, work: QuickWork, step: int) -> None:
        """Every member that is left has trained a step."""
        if self.handle is None:
            return
        at = work.assignment
        for member in work.alive:
            name = trial_id(at.dataset, work.tasks[member].config.config_id, at.seed, at.role)
            os.write(self.handle, f"{name} {step} {work.run} {os.getpid()}\n".encode())


def repeated_steps(log: str) -> dict[str, list[int]]:
    """By trial, for each attempt after the first, how many of its steps others had trained before."""
    reached: dict[str, int] = {}
    runs: dict[str, set[str]] = {}
    found: dict[str, list[int]] = {}
    for line in log.splitlines():
        name, step, run, _ = line.split()
        before = reached.get(name, 0)
        if run not in runs.setdefault(name, set()):
            if runs[name]:
                found.setdefault(name, []).append(max(0, before - int(step) + 1))
            runs[name].add(run)
        reached[name] = max(before, int(step))
    return found


class StepCheckpoint:
    """What quick trials go on from: `search.resumption` with counters in place of students."""

    def __init__(self, launch: Launch, assignment: Assignment, store: Store):
        self.store, self.sweep, self.key = store, launch.sweep.name, assignment.key
        self.seconds = launch.sweep.resources.checkpoint_seconds
        self.resumed_from = self.kept_step = 0
        self.kept_at = monotonic()
        self.exists = False

    def _found(self) -> dict[str, Any] | None:
        data = self.store.read_checkpoint(self.sweep, self.key)
        self.exists = self.exists or data is not None
        found: dict[str, Any] | None = None if data is None else json.loads(data)
        return found

    @property
    def found_step(self) -> int | None:
        found = self._found()
        return None if found is None else int(found["step"])

    def begin(self, work: QuickWork, retried: bool) -> QuickWork:
        """The work where an earlier attempt left it, if it is `retried`."""
        if retried and (found := self._found()) is not None:
            work.restore(found)
            self.resumed_from = self.kept_step = work.step
        return work

    def keep(self, work: QuickWork) -> None:
        """Write a checkpoint where it is time."""
        now = monotonic()
        if work.step == self.kept_step or now - self.kept_at <= self.seconds:
            return
        self.store.write_checkpoint(self.sweep, self.key, json.dumps(work.state()).encode())
        self.exists, self.kept_at, self.kept_step = True, now, work.step

    def report(self) -> dict[str, Any]:
        resumed = {"resumed_from": self.resumed_from} if self.resumed_from else {}
        return {"checkpoint": self.exists, **resumed}

    def columns(self, wall_seconds: float) -> dict[str, Any]:
        return {"resumed_from": self.resumed_from or None}

    def remove(self) -> None:
        if self.exists:
            self.store.remove_checkpoint(self.sweep, self.key)
            self.exists = False


def new_run() -> str:
    """A name for one piece of work in one process."""
    return uuid.uuid4().hex[:12]
