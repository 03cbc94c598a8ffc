"""Where configs come from: the prior, a grid, a Sobol sequence or a model; each is told what became."""

from __future__ import annotations

from distiller.search.samplers.base import PATIENCE, Sampler
from distiller.search.samplers.knowledge import HighestFidelity, SeveralObjectives, WholeRuns
from distiller.search.samplers.plain import GridSampler, PriorSampler
from distiller.search.samplers.quasi_random import QuasiRandomSampler
from distiller.search.samplers.tpe import Knowledge, ModelSampler
from distiller.spaces.search import Search
from distiller.spaces.space import Space

__all__ = ["PATIENCE", "Sampler", "make_sampler"]


def make_sampler(space: Space, search: Search, stream: int, budget_steps: int) -> Sampler:
    """The sampler that a sweep asks for; `stream` makes datasets independent, unless it asks for the same
    configs on all."""
    seed = [search.seed, 0 if search.same_configs else stream]
    if search.sampler == "grid":
        return GridSampler(space, search.grid_levels)
    if search.sampler == "random":
        return PriorSampler(space, seed)
    if search.sampler == "quasi_random":
        return QuasiRandomSampler(space, seed)
    knowledge: Knowledge
    if search.sampler == "bohb":
        knowledge = HighestFidelity(space, budget_steps)
    elif search.costs:
        knowledge = SeveralObjectives(space, search)
    else:
        knowledge = WholeRuns(space, search)
    return ModelSampler(space, search, seed, knowledge)
