"""Draws from the prior that cover it more evenly than independent ones: a scrambled Sobol sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import qmc

from distiller.search.assignment import Outcome
from distiller.search.samplers.base import PATIENCE
from distiller.spaces.config import PipelineConfig
from distiller.spaces.coordinates import coordinates, depth, quantile
from distiller.spaces.priors import Value
from distiller.spaces.space import Decision, Space


class QuasiRandomSampler:
    """One point of a Sobol sequence a config, scrambled as in Matousek 1998 (directions of Joe and Kuo 2008).

    A question is answered at its prior's quantile of one coordinate. Choices that exclude each other share
    coordinates, so that every point says something under every choice: among 2^m points each choice has its
    share, and the parameters under it are as evenly spread as the coordinates are.
    """

    patience: float = PATIENCE

    def __init__(self, space: Space, seed: Sequence[int]):
        self.space = space
        self.coordinates = dict(coordinates(space))
        self.points = qmc.Sobol(
            d=max(1, depth(space)), scramble=True, seed=np.random.Generator(np.random.PCG64(list(seed)))
        )

    def resume(self, proposed: int) -> None:
        self.points.reset()
        if proposed:
            self.points.fast_forward(proposed)

    def propose(self) -> tuple[PipelineConfig, str]:
        point = self.points.random(1)[0]

        def answer(decision: Decision) -> Value:
            place = self.coordinates.get(decision.path)
            return quantile(decision.prior, 0.0 if place is None else float(point[place]))

        return self.space.build(answer), "prior"

    def tell(self, outcome: Outcome) -> None:
        """Nothing to learn: the sequence is fixed."""
