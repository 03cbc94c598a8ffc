"""The point of a space that a config from elsewhere is."""

from __future__ import annotations

from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.priors import Value, is_constant
from distiller.spaces.space import Decision, Space


def fitted(space: Space, config: PipelineConfig) -> tuple[PipelineConfig, list[str]]:
    """The point of `space` that `config` is, and what had to be changed for that, in words.

    A stage in which nothing is searched, and a number that is not searched, are taken from the space.

    Raises:
        InputError: `config` differs from the space elsewhere; names the path and what is allowed there.
    """
    columns = config.columns()
    searched = {decision.stage for decision in space.searched()}
    for stage in searched:
        filled, slots = len(config.slots(stage)), len(space.stages[stage])
        if filled != slots:
            raise InputError(f"{stage}: it fills {filled} slots, the space has {slots}")
    changed: list[str] = []

    def answer(decision: Decision) -> Value:
        value = columns.get(decision.column)
        if value is not None and decision.prior.contains(value):
            return value
        free = decision.stage not in searched or (
            isinstance(value, (int, float)) and not isinstance(value, bool)
        )
        if not is_constant(decision.prior) or not free:
            raise InputError(f"{decision.path}: {value!r} is not in the space ({decision.prior})")
        (only,) = set(decision.prior.grid(1))
        changed.append(f"{decision.column} {only}")
        return only

    return space.build(answer), changed
