"""What a worker is told to do, and what it tells back: plain data that travels through Ray as JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from distiller.results.schema import trial_id
from distiller.spaces.config import PipelineConfig
from distiller.spaces.sweep import SweepConfig


@dataclass(frozen=True)
class Launch:
    """What all assignments of a launch share.

    Attributes:
        sweep: the sweep as launched.
        base: the folder that its relative paths start from.
        store: where workers write their rows.
        provenance: versions and commit, for the rows.
        trainer: what workers have their work done by, `module:class`.
        cluster: whether it joined a cluster, whose nodes share nothing but the store.
    """

    sweep: SweepConfig
    base: str
    store: str
    provenance: dict[str, Any]
    trainer: str = "distiller.search.training:Training"
    cluster: bool = False


@dataclass(frozen=True)
class Task:
    """One trial to run: a config, and who proposed it."""

    config: PipelineConfig
    origin: str


@dataclass(frozen=True)
class Preparation:
    """A dataset and one of its teachers that one worker makes ready.

    Attributes:
        alone: nothing else runs until this worker has said so: the moment to measure latencies.
    """

    dataset: str
    teacher: str
    alone: bool

    def to_json(self) -> str:
        """The preparation as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Preparation:
        """The preparation that `to_json` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Assignment:
    """Trials of one dataset, seed and role that one worker runs.

    Attributes:
        test: whether the students are scored on test (winners and their baselines only).
        rungs: steps at which trials are compared, the last step not among them.
        no_teacher: validation score of the student without a teacher, by student architecture.
        together: as one cohort; else one after another, for their start would cost more than they do.
    """

    dataset: str
    role: str
    seed: int
    tasks: tuple[Task, ...]
    test: bool = False
    rungs: tuple[int, ...] = ()
    no_teacher: dict[str, float] = field(default_factory=dict)
    together: bool = True

    def groups(self) -> list[tuple[Task, ...]]:
        """Trials that train together, in order."""
        return [self.tasks] if self.together else [(task,) for task in self.tasks]

    @property
    def key(self) -> str:
        """16 hexadecimal digits: its trials, in their order."""
        trials = [trial_id(self.dataset, t.config.config_id, self.seed, self.role) for t in self.tasks]
        return hashlib.sha256("\n".join(trials).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """The assignment as text; equal assignments give equal texts."""
        data = asdict(self)
        data["tasks"] = [{"config": t.config.model_dump(mode="json"), "origin": t.origin} for t in self.tasks]
        return json.dumps(data, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Assignment:
        """The assignment that `to_json` wrote."""
        data = json.loads(text)
        data["tasks"] = tuple(
            Task(PipelineConfig.model_validate(t["config"]), t["origin"]) for t in data["tasks"]
        )
        data["rungs"] = tuple(data["rungs"])
        return cls(**data)


@dataclass(frozen=True)
class Outcome:
    """What became of one trial: its status and the scores at the steps where it was evaluated.

    Attributes:
        seconds: wall time from its start to its end.
        costs: parameters, flops and latency of the student, those that were measured.
    """

    config: PipelineConfig
    origin: str
    status: str
    curve: tuple[tuple[int, float], ...]
    steps: int
    error: str | None = None
    seconds: float = 0.0
    costs: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        """The last score, None where there is none."""
        return self.curve[-1][1] if self.curve else None


def outcomes_to_json(outcomes: list[Outcome]) -> str:
    """Outcomes as text."""
    return json.dumps([{**asdict(o), "config": o.config.model_dump(mode="json")} for o in outcomes])


def outcomes_from_json(text: str) -> list[Outcome]:
    """The outcomes that `outcomes_to_json` wrote."""
    return [
        Outcome(
            PipelineConfig.model_validate(o["config"]),
            o["origin"],
            o["status"],
            tuple((int(s), float(v)) for s, v in o["curve"]),
            o["steps"],
            o["error"],
            o["seconds"],
            o["costs"],
        )
        for o in json.loads(text)
    ]
