"""What Ray Tune starts. The worker's code is loaded in the worker, so that the driver does without torch."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from distiller.results.frozen import load_frozen_parts
from distiller.results.store import Store
from distiller.search.assignment import Launch
from distiller.spaces.errors import InputError

if TYPE_CHECKING:
    from distiller.search.worker import TrialRunner


class DistillerTrial(tune.Trainable):
    """One process that takes one assignment after another; `launch` is bound by `trainable_for`."""

    launch: Launch
    runner: TrialRunner
    refusal: str | None = None

    def setup(self, config: dict[str, Any]) -> None:
        """Load the worker's code and turn to the first assignment."""
        from distiller.search.worker import TrialRunner

        try:
            # Before any config is read.
            load_frozen_parts(Store.open(self.launch.store), self.launch.sweep, Path(self.launch.base))
            self.runner = TrialRunner(self.launch)
        except InputError as error:
            self.refusal = f"node {platform.node()}: {error}"
            return
        self.runner.take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Turn to the next assignment in the same process."""
        if self.refusal is None:
            self.runner.take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """On to the next report."""
        return self.runner.step() if self.refusal is None else {"refused": self.refusal, "done": True}


def trainable_for(launch: Launch) -> type[DistillerTrial]:
    """The trainable of one launch."""
    return type("DistillerTrial", (DistillerTrial,), {"launch": launch})
