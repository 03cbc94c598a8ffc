"""What a worker does: prepares datasets, runs the trials of assignments and writes their rows.

One process serves many assignments (`reuse_actors`), and its trainer keeps datasets, teachers and their
outputs warm. A trial that ends here (completed, failed, or dropped inside its cohort) is written here. A
trial that Tune's scheduler stops is written by the driver, which alone knows that it was stopped: the worker
sends the row along with each report.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from distiller.results.store import Store
from distiller.search.agenda import cohort_group
from distiller.search.assignment import Assignment, Launch, Outcome, Preparation, Task, outcomes_to_json
from distiller.search.group import Group, Trainer
from distiller.search.unfit import TooManyError
from distiller.spaces.errors import InputError

STANDBY_SECONDS = 0.2
"""Between two questions of a worker that stands by whether there is work."""


def make_trainer(launch: Launch) -> Trainer:
    """The trainer that a launch names, `module:class`."""
    module, _, name = launch.trainer.partition(":")
    trainer: Trainer = getattr(import_module(module), name)(launch)
    return trainer


class TrialRunner:
    """Runs one preparation or assignment after another."""

    def __init__(self, launch: Launch):
        self.launch = launch
        self.trainer = make_trainer(launch)
        self.store = Store.open(launch.store).patient()
        # By what a cohort shares, how many fitted into memory where more did not.
        self.fitting: dict[tuple[Any, ...], int] = {}

    def take(self, new_config: dict[str, Any]) -> None:
        """Turn to what the driver asks for: a key and its text."""
        self.preparation: Preparation | None = None
        self.stands_by = "standby" in new_config
        if self.stands_by:
            return
        if "preparation" in new_config:
            self.preparation = Preparation.from_json(new_config["preparation"])
            self.waits = self.preparation.alone
            return
        self.assignment = Assignment.from_json(new_config["assignment"])
        self.ahead: list[Group | tuple[Task, ...]] = [*self.assignment.groups()]
        self.ended: list[Outcome] = []
        self.group: Group | None = None
        self.said: dict[str, Any] = {}

    def step(self) -> dict[str, Any]:
        """On to the next rung (or to the end, where trials are compared inside the cohort)."""
        if self.stands_by:
            time.sleep(STANDBY_SECONDS)
            return {"standby": True, "done": False}
        if self.preparation is not None:
            return self._prepare(self.preparation)
        while self.ahead or self.group is not None:
            # Not in `take`: where Ray has found a faster worker meanwhile, a slow one is set up and dropped.
            if self.group is None:
                self.group = self._begun(self.ahead.pop(0))
            shape = cohort_group(self.group.tasks[0].config) if self.group.tasks else ()
            try:
                if len(self.group.tasks) > self.fitting.get(shape, len(self.group.tasks)):
                    raise TooManyError
                report = self.group.step()
            except TooManyError:
                first, second = self.group.halves()
                self.fitting.setdefault(shape, len(first.tasks))
                self.fitting[shape] = min(self.fitting[shape], len(first.tasks))
                self.ahead, self.group = [first, second, *self.ahead], None
                continue
            if report is not None:
                return report
            self.ended += self.group.outcomes
            self.said, self.group = self.group.resumption.report(), None
        # Of several groups none was resumed at a rung.
        said = self.said if len(self.assignment.groups()) == 1 else {}
        return {"outcomes": outcomes_to_json(self.ended), "done": True, **said}

    def _begun(self, ahead: Group | tuple[Task, ...]) -> Group:
        if isinstance(ahead, Group):
            return ahead
        return Group(self.launch, self.store, self.trainer, self.assignment, ahead)

    def _prepare(self, preparation: Preparation) -> dict[str, Any]:
        if not self.waits:
            return self.trainer.prepare(preparation)
        self.waits = False
        try:
            self.trainer.measure()
        except InputError as error:
            return {"refused": str(error), "done": True}
        return {"waits": False, "done": False}
