"""What ends a search before all its trials have run: hours, device-hours, a target, or no improvement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from distiller.results.pareto import dominates
from distiller.search.assignment import Assignment, Outcome
from distiller.spaces.search import Search
from distiller.spaces.sweep import Resources

Key = tuple[str, str, int, tuple[str, ...]]


def _key(assignment: Assignment) -> Key:
    ids = tuple(task.config.config_id for task in assignment.tasks)
    return assignment.dataset, assignment.role, assignment.seed, ids


class Spending:
    """The wall and device hours that trials of a sweep have taken, over all its launches and roles.

    Earlier launches count by their rows: what a launch spent before its first trial, or on trials that left
    no row, is not known. This one counts from its beginning.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]],
        resources: Resources,
        clock: Callable[[], float] = time.monotonic,
    ):
        """`rows` of the trials table are those of earlier launches; `clock` gives seconds."""
        self.clock = clock
        self.devices = resources.least_gpus or resources.cpus
        work = worked(rows)
        self.wall_before = covered(work)
        self.device_seconds = sum(end - start for start, end in work) * self.devices
        self.began = clock()
        self.holding: dict[Key, tuple[int, float]] = {}

    def started(self, assignment: Assignment) -> None:
        """A worker took an assignment."""
        self.holding[_key(assignment)] = len(assignment.tasks), self.clock()

    def ended(self, assignment: Assignment) -> None:
        """A trial of an assignment ended; with its last one the worker is free."""
        key = _key(assignment)
        left, since = self.holding.pop(key)
        if left > 1:
            self.holding[key] = left - 1, since
        else:
            self.device_seconds += (self.clock() - since) * self.devices

    @property
    def hours(self) -> float:
        return (self.wall_before + self.clock() - self.began) / 3600

    @property
    def device_hours(self) -> float:
        now = self.clock()
        held = sum(now - since for _, since in self.holding.values()) * self.devices
        return (self.device_seconds + held) / 3600


class Limits(Protocol):
    """Says when a dataset's search is to end."""

    def started(self, assignment: Assignment) -> None:
        """A worker took an assignment of any role."""
        ...

    def ended(self, assignment: Assignment, outcome: Outcome) -> None:
        """A trial of any role ended."""
        ...

    def reached(self) -> str | None:
        """Why the search is to end now; None where it goes on. Once reached, it stays so."""
        ...


class NoLimits:
    """All trials run."""

    def started(self, assignment: Assignment) -> None:
        """Nothing to count."""

    def ended(self, assignment: Assignment, outcome: Outcome) -> None:
        """Nothing to count."""

    def reached(self) -> str | None:
        return None


class StopLimits:
    """The limits of a sweep's file on one dataset.

    Only completed trials improve on others or reach a target: scores of lower fidelities do not compare.
    With several objectives, what no trial before dominates is an improvement.
    """

    def __init__(
        self,
        search: Search,
        dataset: str,
        spending: Spending,
        earlier: Iterable[Outcome] = (),
        why: str | None = None,
    ):
        """`earlier` trials of the search, in order of their ends; `why` an earlier launch ended it."""
        self.stop, self.costs, self.spending = search.stop, search.costs, spending
        self.target = search.stop.target_of(dataset)
        self.front: list[tuple[float, ...]] = []
        self.in_vain = 0
        self.why = why
        for outcome in earlier:
            self._count(outcome)

    def started(self, assignment: Assignment) -> None:
        self.spending.started(assignment)

    def ended(self, assignment: Assignment, outcome: Outcome) -> None:
        self.spending.ended(assignment)
        if assignment.role == "search":
            self._count(outcome)

    def reached(self) -> str | None:
        stop, spending = self.stop, self.spending
        if self.why is None and stop.hours is not None and spending.hours >= stop.hours:
            self.why = f"{stop.hours:g} hours have passed"
        if self.why is None and stop.device_hours is not None and spending.device_hours >= stop.device_hours:
            self.why = f"{stop.device_hours:g} device-hours are spent"
        return self.why

    def _count(self, outcome: Outcome) -> None:
        score = outcome.score
        self.in_vain += 1
        if outcome.status == "completed" and score is not None and math.isfinite(score):
            point = (score, *(-outcome.costs.get(cost, math.inf) for cost in self.costs))
            if not any(dominates(other, point) or other == point for other in self.front):
                self.front = [other for other in self.front if not dominates(point, other)] + [point]
                self.in_vain = 0
            if self.why is None and self.target is not None and score >= self.target:
                self.why = f"a score of {score:.6g} reaches the target of {self.target:g}"
        if self.why is None and self.stop.patience is not None and self.in_vain >= self.stop.patience:
            self.why = f"{self.in_vain} trials in a row without a better one"


def worked(rows: Iterable[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """(start, end) in seconds of every spell of work; the trials of a cohort are one spell."""
    spells: dict[tuple[str, float], float] = {}
    for row in rows:
        if row["started_at"] is None or row["ended_at"] is None:
            continue
        key = str(row["host"]), row["started_at"].timestamp()
        spells[key] = max(spells.get(key, key[1]), row["ended_at"].timestamp())
    return [(start, end) for (_, start), end in spells.items()]


def covered(spells: Iterable[tuple[float, float]]) -> float:
    """The length of a union of intervals."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(spells):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
