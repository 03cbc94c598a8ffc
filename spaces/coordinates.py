"""A space as a cube: which coordinate answers which question, and what a coordinate's value means."""

from __future__ import annotations

import math
from collections.abc import Iterator

from distiller.spaces.priors import Integers, OneOf, Prior, Value, is_constant
from distiller.spaces.space import Branch, Node, Space, slot_paths, tag_decision


def quantile(prior: Prior, share: float) -> Value:
    """The value below which `share` (0 to 1, 1 excluded) of a prior lies; a choice's values in order."""
    if isinstance(prior, OneOf):
        return prior.values[int(share * len(prior.values))]
    if isinstance(prior, Integers):
        return prior.low + int(share * (prior.high - prior.low + 1))
    if prior.log:
        low, high = math.log(prior.low), math.log(prior.high)
        return prior.rounded(math.exp(low + share * (high - low)))
    return prior.rounded(prior.low + share * (prior.high - prior.low))


def depth(space: Space) -> int:
    """The most questions with more than one answer that a config of the space answers."""
    return max((place for _, place in coordinates(space)), default=-1) + 1


def coordinates(space: Space) -> Iterator[tuple[str, int]]:
    """Path and coordinate of every question with more than one answer."""
    start = 0
    for stage, slots in space.stages.items():
        for path, node in zip(slot_paths(stage, slots), slots, strict=True):
            places = list(_places(node, path, start))
            start = max((place + 1 for _, place in places), default=start)
            yield from places


def _places(node: Node, path: str, start: int) -> Iterator[tuple[str, int]]:
    groups = {path: node} if not isinstance(node, Branch) else {}
    if isinstance(node, Branch):
        tag = tag_decision(node, path, "", "")
        if not is_constant(tag.prior):
            yield tag.path, start
            start += 1
        groups = {f"{path}.{name}": group for name, group in node.choices.items()}
    for where, group in groups.items():
        free = start
        for name, child in group.children.items():
            if isinstance(child, Branch):
                places = list(_places(child, f"{where}.{name}", free))
                yield from places
                free = max((place + 1 for _, place in places), default=free)
            elif not is_constant(child):
                yield f"{where}.{name}", free
                free += 1
