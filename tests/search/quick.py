"""A trainer without torch, for what surrounds training: scores by a formula, faults on order.

What a trial does is decided by its label smoothing, which the tests' sweep searches over these values.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from distiller.results.store import Store
from distiller.search.assignment import Assignment, Launch, Preparation, Task
from distiller.search.prepared import Prepared
from distiller.spaces.config import PipelineConfig
from tests.search.quick_steps import StepCheckpoint, StepLog, new_run

TRAINER = "tests.search.quick:QuickTrainer"
SECONDS = "DISTILLER_QUICK_SECONDS"
PACE = "seconds"
"""A file beside the sweep's: how long a trial takes. A cluster's workers have another environment."""
UNUSED = ("torch", "transformers", "optuna", "sklearn")
"""What a worker that does not train has no use for."""
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
    """Trials whose steps take a set time."""

    def __init__(self, trainer: QuickTrainer, assignment: Assignment, tasks: tuple[Task, ...]):
        self.launch, self.assignment, self.tasks = trainer.launch, assignment, tasks
        self.log, self.run = trainer.log, new_run()
        self.results = [Result() for _ in tasks]
        self.alive = list(range(len(tasks)))
        budget = self.launch.sweep.budget
        even = {round(budget.steps * i / budget.evaluations) for i in range(1, budget.evaluations + 1)}
        self.ahead = sorted(even | set(assignment.rungs))
        self.pause = trainer.seconds / budget.steps
        self.step, self.trained = 0, 0.0

    @property
    def finished(self) -> bool:
        return not self.ahead or not self.alive

    def advance(self) -> list[Said]:
        step, reports = self.ahead.pop(0), []
        while self.step < step:
            time.sleep(self.pause)
            self.trained += self.pause
            self.step += 1
            self.log.trained(self, self.step)
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

    def state(self) -> dict[str, Any]:
        """What `restore` takes, as JSON holds it."""
        curves = [[asdict(said) for said in result.curve] for result in self.results]
        return {"step": self.step, "trained": self.trained, "alive": self.alive, "curves": curves}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where other work stood."""
        self.step, self.trained, self.alive = state["step"], state["trained"], state["alive"]
        self.ahead = [step for step in self.ahead if step > self.step]
        for result, curve in zip(self.results, state["curves"], strict=True):
            result.curve = [Said(**said) for said in curve]
            result.error = result.curve[-1].error if result.curve else None

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


class QuickTrainer:
    """Every dataset has one teacher and one student architecture."""

    def __init__(self, launch: Launch):
        self.launch, self.log = launch, StepLog(launch)
        told = Path(launch.base, PACE)
        self.seconds = float(told.read_text() if told.exists() else os.environ.get(SECONDS, "0.02"))

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
        notes = [f"the worker has loaded {name}" for name in UNUSED if name in sys.modules]
        prepared = Prepared(preparation.dataset, preparation.teacher, 2, row, {"quick": student}, notes)
        return {"prepared": prepared.to_json(), "done": True}

    def resumption(self, assignment: Assignment, store: Store) -> StepCheckpoint:
        return StepCheckpoint(self.launch, assignment, store)

    def begin(self, assignment: Assignment, resumption: StepCheckpoint, retried: bool) -> QuickWork:
        return resumption.begin(QuickWork(self, assignment, assignment.tasks), retried)

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


def launch(sweep: str, store: str, address: str | None = None, nodes: int = 1) -> None:
    """Launch a sweep with this trainer, and print what a launch prints."""
    from rich.console import Console

    from distiller.search.launch import launch_sweep  # not in workers, which import this module too

    launch_sweep(sweep, store, address, Console(), trainer=TRAINER, nodes=nodes)
