"""Samplers that learn nothing: draws from the prior, and a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from distiller.search.assignment import Outcome
from distiller.search.samplers.base import PATIENCE
from distiller.spaces.config import PipelineConfig
from distiller.spaces.space import Space


class PriorSampler:
    """Independent draws from the prior."""

    patience: float = PATIENCE

    def __init__(self, space: Space, seed: Sequence[int]):
        self.space, self.seed = space, seed
        self.proposed = 0

    def resume(self, proposed: int) -> None:
        self.proposed = proposed

    def propose(self) -> tuple[PipelineConfig, str]:
        rng = np.random.Generator(np.random.PCG64([*self.seed, self.proposed]))
        self.proposed += 1
        return self.space.sample(rng), "prior"

    def tell(self, outcome: Outcome) -> None:
        """Nothing to learn: draws are independent."""


class GridSampler:
    """Every combination once, in order."""

    patience: float = math.inf

    def __init__(self, space: Space, levels: int):
        self.configs: Iterator[PipelineConfig] = space.grid(levels)

    def resume(self, proposed: int) -> None:
        """Nothing to do: what is known already is proposed again, and refused."""

    def propose(self) -> tuple[PipelineConfig, str] | None:
        config = next(self.configs, None)
        return None if config is None else (config, "prior")

    def tell(self, outcome: Outcome) -> None:
        """Nothing to learn: the order is fixed."""
