"""What every sampler promises."""

from __future__ import annotations

from typing import Protocol

from distiller.search.assignment import Outcome
from distiller.spaces.config import PipelineConfig

PATIENCE = 100
"""Known configs in a row after which random proposals count as exhausted."""


class Sampler(Protocol):
    """Proposes configs of one dataset's space; what it proposes depends on its seed, on how many proposals
    came before and on what it was told, so that a relaunch goes on as if nothing had happened."""

    patience: float
    """Proposals in a row, all known already, after which asking on is pointless."""

    def resume(self, proposed: int) -> None:
        """Earlier launches had `proposed` configs."""
        ...

    def propose(self) -> tuple[PipelineConfig, str] | None:
        """A config and its origin (prior or model); None where there is none left."""
        ...

    def tell(self, outcome: Outcome) -> None:
        """Learn what became of a config, proposed here or in an earlier launch."""
        ...
