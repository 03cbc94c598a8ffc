"""A trainer without torch, for what surrounds training: scores by a formula, faults on order.

What a trial does is decided by its label smoothing, which the tests' sweep searches over these values.
"""

from __future__ import annotations

import math
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from distiller.results.store import Store
from distiller.search.assignment import Assignment, Launch, Preparation, Task
from distiller.search.launch import launch_sweep
from distiller.search.prepared import Prepared
from distiller.spaces.config import PipelineConfig

TRAINER = "tests.search.quick:QuickTrainer"
SECONDS = "DISTILLER_QUICK_SECONDS"
SPLITS = ("train", "validation", "test")
WELL, NAN, RAISES, KILLED, HANGS, TOO_BIG = 0.0, 0.1, 0.2, 0.3, 0.4, 0.45


@dataclass(frozen=True)
class Said:
    """One evaluation, as `pipelines.cohort.Progress` has it."""

    member: int
    step: int
    score: float
    train_seconds: float
    error: str | None = None
    losses: dict[str, float] = field(default_factory=dict)
    learning_rate: float = 1e-3
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass
class Result:
    """What became of a config, as `pipelines.distill.StudentResult` has it."""

    curve: list[Said] = field(default_factory=list)
    completed: bool = False
    error: str | None = None


def response(config: PipelineConfig) -> float:
    """Best at a learning rate of 1e-3, and with a hard weight of 1."""
    rate = config.optimization.learning_rate
    return getattr(config.prediction, "hard_weight", 1.0) - 0.2 * abs(math.log10(rate) + 3)


class QuickWork:
    """Trials that take a set time between two evaluations."""

    def __init__(self, launch: Launch, assignment: Assignment, tasks: tuple[Task, ...]):
        self.launch, self.assignment, self.tasks = launch, assignment, tasks
        self.results = [Result() for _ in tasks]
        self.alive = list(range(len(tasks)))
        budget = launch.sweep.budget
        even = {round(budget.steps * i / budget.evaluations) for i in range(1, budget.evaluations + 1)}
        self.ahead = sorted(even | set(assignment.rungs))
        self.pause = float(os.environ.get(SECONDS, "0.02")) / len(self.ahead)
        self.trained = 0.0

    @property
    def finished(self) -> bool:
        return not self.ahead or not self.alive

    def advance(self) -> list[Said]:
        step, reports = self.ahead.pop(0), []
        time.sleep(self.pause)
        self.trained += self.pause
        for member in self.alive:
            config = self.tasks[member].config
            misbehave(config.optimization.label_smoothing)
            diverged = config.optimization.label_smoothing == NAN
            score = math.nan if diverged else response(config) * step / self.launch.sweep.budget.steps
            error = "diverged: the loss is not finite" if diverged else None
            said = Said(member, step, score, self.trained, error)
            result = self.results[member]
            result.curve.append(said)
            result.error = error
            result.completed = error is None and not self.ahead
            reports.append(said)
        self.keep([report.member for report in reports if report.error is None])
        return reports

    def keep(self, members: list[int]) -> None:
        self.alive = list(members)

    def test(self) -> None:
        """Nothing to add."""

    def columns(self, number: int, measured: bool, notes: list[str]) -> dict[str, Any]:
        curve = self.results[number].curve
        if not curve:
            return {"student": "quick"}
        last = curve[-1]
        return {
            "student": "quick",
            "score": None if math.isnan(last.score) else last.score,
            "steps": last.step,
            "fidelity": last.step / self.launch.sweep.budget.steps,
            "train_seconds": last.train_seconds,
            "test_score": last.score if self.assignment.test else None,
        }


def misbehave(fault: float) -> None:
    """Do as the value says."""
    if fault == RAISES:
        raise ZeroDivisionError("on order")
    if fault == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == HANGS:
        time.sleep(3600)
    if fault == TOO_BIG:
        bytearray(1 << 60)


class Anew:
    """Trials that are too short for a checkpoint."""

    found_step = None

    def keep(self, work: QuickWork) -> None:
        """Nothing is kept."""

    def report(self) -> dict[str, Any]:
        return {}

    def columns(self, wall_seconds: float) -> dict[str, Any]:
        return {}

    def remove(self) -> None:
        """Nothing to remove."""


class QuickTrainer:
    """Every dataset has one teacher and one student architecture."""

    def __init__(self, launch: Launch):
        self.launch = launch

    def measure(self) -> None:
        """Nothing to measure."""

    def prepare(self, preparation: Preparation) -> dict[str, Any]:
        row = {
            "sweep": self.launch.sweep.name,
            "dataset": preparation.dataset,
            "task_kind": "classification",
            "metric": "matthews",
            "teacher": preparation.teacher,
            "teacher_score": 0.9,
            "majority_score": 0.0,
            "fingerprint": "quick",
        }
        student = PipelineConfig().student
        prepared = Prepared(preparation.dataset, preparation.teacher, 2, row, {"quick": student}, [])
        return {"prepared": prepared.to_json(), "done": True}

    def resumption(self, assignment: Assignment, store: Store) -> Anew:
        return Anew()

    def begin(self, assignment: Assignment, resumption: Anew, retried: bool) -> QuickWork:
        return QuickWork(self.launch, assignment, assignment.tasks)

    def recover(self) -> None:
        """Nothing is held."""

    def is_short_of_memory(self, error: Exception) -> bool:
        return False

    def make_room(self, assignment: Assignment) -> None:
        """Nothing is held."""

    def wait_for_memory(self) -> None:
        """There is room."""


def write_quick(folder: Path, faults: tuple[float, ...] = (WELL,), **sections: dict[str, Any]) -> Path:
    """The file of a sweep for this trainer; `faults` are what its trials draw from."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"text {i},{'ab'[i % 2]}" for i in range(40)]
    for split in SPLITS:
        (folder / f"{split}.csv").write_text(
            "\n".join(["text,label", *(f"{split} {line}" for line in lines)])
        )
    (folder / "teacher").mkdir(exist_ok=True)
    (folder / "teacher/config.json").write_text('{"model_type": "bert", "num_hidden_layers": 2}')
    sweep: dict[str, Any] = {
        "name": "quick",
        "datasets": {
            "letters": {"text": "text", "label": "label", **{split: f"{split}.csv" for split in SPLITS}}
        },
        "teachers": {"bert": {"model": "teacher", "fine_tune": {"epochs": 1}}},
        "space": {
            "augmentation": "none",
            "intermediate": "none",
            "prediction": {"kl": {"hard_weight": {"uniform": [0, 1]}, "temperature": 2}},
            "student": {"svd": {"layers": 1, "width": 16}},
            "optimization": {
                "warmup": 0.1,
                "weight_decay": 0.0,
                "schedule": "linear",
                "batch_size": 8,
                "learning_rate": {"loguniform": [1e-5, 1e-1]},
                "label_smoothing": list(faults) if len(faults) > 1 else faults[0],
            },
        },
        "budget": {"steps": 8, "evaluations": 4},
        "search": {"trials": 20, "sampler": "random", "scheduler": "none", "finalists": {"top": 0}},
        "resources": {"cpus": 1},
    }
    for name, values in sections.items():
        sweep[name] |= values
    path = folder / "quick.yaml"
    path.write_text(yaml.safe_dump(sweep))
    return path


def main() -> None:
    """`python -m tests.search.quick SWEEP STORE [ADDRESS]`: launch with this trainer."""
    import sys

    from rich.console import Console

    sweep, store, *address = sys.argv[1:]
    launch_sweep(sweep, store, address[0] if address else None, Console(), trainer=TRAINER)


if __name__ == "__main__":
    main()
