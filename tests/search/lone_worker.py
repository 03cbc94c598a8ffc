"""A worker at one quick trial without a driver, in a process of its own, step by step."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray

from distiller.results.store import Store
from distiller.search.assignment import Assignment, Launch, Task
from distiller.search.group import Group
from distiller.search.plan import planned_space
from distiller.search.session import provenance
from distiller.spaces.config import PipelineConfig
from distiller.spaces.sweep import parse_sweep
from tests.search.drivers import FORKS
from tests.search.quick import TRAINER, QuickTrainer


class LoneWorker:
    """It begins the trial, and ends it, when told to."""

    def __init__(self, sweep: Path, store: str):
        self.told, other = FORKS.Pipe()
        self.process = FORKS.Process(target=_work, args=(str(sweep), store, other), daemon=True)
        self.process.start()
        other.close()

    def go_on(self) -> Any:
        """The attempts that it began; at the second call, what became of the trial."""
        self.told.send(None)
        return self.told.recv()


def _work(path: str, store: str, told: Connection) -> None:
    ray.get_runtime_context = lambda: SimpleNamespace(get_node_id=lambda: "node")
    sweep = parse_sweep(Path(path).read_text(), path)
    config = next(iter(planned_space(sweep, "letters")[0].grid(1)))
    assert isinstance(config, PipelineConfig)
    launch = Launch(sweep, str(Path(path).parent), store, provenance(sweep), TRAINER)
    assignment = Assignment("letters", "search", 0, (Task(config, "prior"),))
    told.recv()
    group = Group(launch, Store.open(store), QuickTrainer(launch), assignment, assignment.tasks)
    told.send(group.attempts)
    told.recv()
    group.step()
    told.send([outcome.status for outcome in group.outcomes])
