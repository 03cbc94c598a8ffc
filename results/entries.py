"""One config's scores over seeds, and the gain of one config over another with its noise."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from distiller.results.pareto import COST_COLUMNS, pareto
from distiller.results.store import Row
from distiller.spaces.config import PipelineConfig

OPTIMISTIC = "1 seed, chosen on the same validation rows: optimistic"


@dataclass(frozen=True)
class Scores:
    """One metric of one config over seeds, higher is better."""

    seeds: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over seeds; None of one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "sd": self.sd, "seeds": list(self.seeds), "scores": list(self.values)}

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.sd is None else f" ± {self.sd:.3f}")


@dataclass(frozen=True)
class Entry:
    """One config with its completed full runs of one role.

    Attributes:
        rows: rows of the trials table, at least one, by seed.
        tested: rows of the same config and seeds that were run to be scored on test, where `rows` were not.
    """

    rows: tuple[Row, ...]
    tested: tuple[Row, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Entry:
        return cls(tuple(sorted(rows, key=lambda row: int(row["seed"]))))

    @property
    def config_id(self) -> str:
        return str(self.rows[0]["config_id"])

    @cached_property
    def config(self) -> PipelineConfig:
        """Of a launched sweep; an imported table's configs have only `settings`."""
        return PipelineConfig.model_validate_json(self.rows[0]["config"])

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The config as it was written: by stage, of an imported table by stage and column."""
        settings: dict[str, Any] = json.loads(self.rows[0]["config"])
        return settings

    @property
    def optimism(self) -> str:
        """Why the best of a search promises more than it keeps."""
        seeds = len(self.rows)
        return OPTIMISTIC if seeds == 1 else OPTIMISTIC.replace("1 seed", f"the mean of {seeds} seeds")

    @property
    def student(self) -> str | None:
        student: str | None = self.rows[0]["student"]
        return student

    @property
    def parameters(self) -> int | None:
        largest = self._largest("parameters")
        return None if largest is None else int(largest)

    @property
    def latency_ms(self) -> float | None:
        return self._largest("latency_ms")

    @property
    def validation(self) -> Scores:
        return Scores(tuple(row["seed"] for row in self.rows), tuple(row["score"] for row in self.rows))

    @property
    def test(self) -> Scores | None:
        """Of the seeds that were scored on test; None where none was."""
        own = [row for row in self.rows if finite(row["test_score"])]
        scored = [(row["seed"], row["test_score"]) for row in own or self.tested]
        return Scores(*zip(*scored, strict=True)) if scored else None

    def cost(self, objective: str) -> float | None:
        """What the student costs: `parameters`, `flops` or `latency`; None where it was not measured."""
        return self._largest(COST_COLUMNS[objective])

    def _largest(self, column: str) -> float | None:
        return max((float(row[column]) for row in self.rows if finite(row[column])), default=None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "config_id": self.config_id,
            "student": self.student,
            "parameters": self.parameters,
            "flops": self.cost("flops"),
            "latency_ms": self.latency_ms,
            "validation": self.validation.to_dict(),
            "test": self.test.to_dict() if self.test else None,
        }


@dataclass(frozen=True)
class Gain:
    """Difference of two means over seeds, and its noise: sqrt(SD1^2 / n1 + SD2^2 / n2).

    Attributes:
        split: `test`, or `validation` where one side has no test score.
        noise: None where a side has one seed.
    """

    split: str
    difference: float
    noise: float | None

    @classmethod
    def between(cls, one: Entry, other: Entry) -> Gain:
        tested = one.test is not None and other.test is not None
        sides = [entry.test if tested else entry.validation for entry in (one, other)]
        a, b = (side for side in sides if side is not None)
        noise = None
        if a.sd is not None and b.sd is not None:
            noise = math.sqrt(a.sd**2 / len(a.values) + b.sd**2 / len(b.values))
        return cls("test" if tested else "validation", a.mean - b.mean, noise)

    @property
    def beats_by_more_than_noise(self) -> bool:
        return self.noise is not None and self.difference > self.noise

    @property
    def verdict(self) -> str:
        if self.noise is None:
            return "noise unknown (1 seed)"
        if abs(self.difference) <= self.noise:
            return "within the noise"
        return "more than the noise" if self.difference > 0 else "worse by more than the noise"

    def to_dict(self) -> dict[str, Any]:
        more = {"beats_by_more_than_noise": self.beats_by_more_than_noise, "verdict": self.verdict}
        return {"split": self.split, "difference": self.difference, "noise": self.noise, **more}

    def __str__(self) -> str:
        return f"{self.difference:+.3f}" + ("" if self.noise is None else f" ± {self.noise:.3f}")


def pareto_set(entries: Sequence[Entry], costs: Sequence[str]) -> tuple[Entry, ...]:
    """Those that no other beats in mean validation score and all costs, best score first; an entry without a
    measured cost is left out."""
    measured = [entry for entry in entries if all(entry.cost(cost) is not None for cost in costs)]
    points = [
        (entry.validation.mean, *(-value for cost in costs if (value := entry.cost(cost)) is not None))
        for entry in measured
    ]
    return tuple(measured[place] for place in pareto(points))


def best_of(rows: Iterable[Row]) -> Entry | None:
    """Of full search trials the config with the best mean over its seeds (imported tables have several)."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["config_id"], []).append(row)
    entries = [Entry.of(group) for group in groups.values()]
    return max(entries, key=lambda entry: (entry.validation.mean, entry.config_id), default=None)


def is_full(row: Row) -> bool:
    """Whether the trial completed the whole budget with a score: only such scores compare."""
    whole = row["status"] == "completed" and (row["fidelity"] or 0) >= 1 - 1e-9
    return whole and finite(row["score"])


def finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
