"""`python -m tests.search.lone_worker SWEEP STORE`: a worker at one trial without a driver, step by step."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import ray

from distiller.results.store import Store
from distiller.search.assignment import Assignment, Launch, Task
from distiller.search.group import Group
from distiller.search.plan import planned_space
from distiller.search.session import provenance
from distiller.spaces.config import PipelineConfig
from distiller.spaces.sweep import parse_sweep
from tests.search.quick import TRAINER, QuickTrainer


def main() -> None:
    """Begin the trial at the first line of standard input, end it at the second."""
    path, url = sys.argv[1:]
    ray.get_runtime_context = lambda: SimpleNamespace(get_node_id=lambda: "node")
    sweep = parse_sweep(Path(path).read_text(), path)
    config = next(iter(planned_space(sweep, "letters")[0].grid(1)))
    assert isinstance(config, PipelineConfig)
    launch = Launch(sweep, str(Path(path).parent), url, provenance(sweep), TRAINER)
    assignment = Assignment("letters", "search", 0, (Task(config, "prior"),))
    sys.stdin.readline()
    group = Group(launch, Store.open(url), QuickTrainer(launch), assignment, assignment.tasks)
    print(*group.attempts, flush=True)
    sys.stdin.readline()
    group.step()
    print(*(outcome.status for outcome in group.outcomes), flush=True)


if __name__ == "__main__":
    main()
