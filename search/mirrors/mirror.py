"""What a mirror is: a place outside the store where each ended trial is written once."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from distiller.results.ended import EndedTrial
from distiller.results.entries import finite
from distiller.results.store import Store
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import MIRRORS, check_mirror

SUMMARY = (
    "score",
    "best_score",
    "test_score",
    "teacher_score",
    "no_teacher_score",
    "fidelity",
    "steps",
    "parameters",
    "flops",
    "latency_ms",
    "peak_memory_bytes",
    "train_seconds",
    "wall_seconds",
)
"""Columns that say in numbers what became of a trial."""
ABOUT = (
    "sweep",
    "trial_id",
    "dataset",
    "config_id",
    "seed",
    "role",
    "attempt",
    "origin",
    "preset",
    "status",
    "metric",
    "teacher",
    "student",
    "device",
    "host",
    "error",
    "git_commit",
    "distiller_version",
)
"""Columns that say which trial it was."""


SQLITE = "sqlite:///"


class Mirror(Protocol):
    """A place that takes ended trials. What it holds survives; what was cut off in a write does not count."""

    def known(self) -> set[str]:
        """The trial_ids that it holds in whole."""
        ...

    def add(self, trial: EndedTrial) -> None:
        """Write a trial that it does not hold."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


@dataclass(frozen=True)
class Target:
    """Where to mirror to: `tensorboard:runs` is a kind and a place."""

    kind: str
    place: str

    @classmethod
    def parse(cls, written: str, base: Path) -> Target:
        """A place that is a path starts from `base`.

        Raises:
            InputError: no such kind, no place, or a package that is not installed.
        """
        try:
            kind, place = check_mirror(written).split(":", 1)
        except ValueError as error:
            raise InputError(f"mirror {error}") from None
        for package in PACKAGES[kind]:
            if importlib.util.find_spec(package) is None:
                raise InputError(
                    f"mirror {written!r}: the package {package} is not installed; "
                    f"pip install 'kd-distiller[{kind}]'"
                )
        scheme, path = (SQLITE, place.removeprefix(SQLITE)) if place.startswith(SQLITE) else ("", place)
        return cls(
            kind, place if "://" in path else scheme + str((base / Path(path).expanduser()).absolute())
        )

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}"

    def open(self, store: Store, sweep: str) -> Mirror:
        """Open it; whatever the tool raises where it cannot be."""
        opened: Callable[[Store, str, str], Mirror] = importlib.import_module(
            f"distiller.search.mirrors.{self.kind}"
        ).open_mirror
        return opened(store, sweep, self.place)


PACKAGES: Mapping[str, tuple[str, ...]] = {
    "tensorboard": ("tensorboardX",),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
    "optuna": ("optuna",),
}
assert set(PACKAGES) == set(MIRRORS)


def summary(trial: EndedTrial) -> dict[str, float]:
    """The trial's numbers, those that are known and finite."""
    return {name: float(trial.row[name]) for name in SUMMARY if finite(trial.row[name])}


def about(trial: EndedTrial) -> dict[str, Any]:
    """Which trial it was, without what is not known."""
    return {name: trial.row[name] for name in ABOUT if trial.row[name] is not None}


def points(trial: EndedTrial) -> list[tuple[int, float, dict[str, float]]]:
    """Of each evaluation its step, seconds of training so far, and what was measured."""
    found = []
    for row in trial.curve:
        values = {name: row[name] for name in ("score", "loss", "learning_rate")}
        values |= {f"loss_parts/{name}": value for name, value in json.loads(row["losses"] or "{}").items()}
        known = {name: float(value) for name, value in values.items() if finite(value)}
        found.append((int(row["step"]), float(row["train_seconds"] or 0.0), known))
    return found
