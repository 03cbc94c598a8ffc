"""A space less what a task, a teacher or a student makes impossible: choices and values, by path.

A path names a stage, then by turns a choice and a parameter: `intermediate.attention`,
`intermediate.*.representation`, `intermediate.mse.mapping.emd`; `*` stands for every choice. It holds in all
slots of the stage. Where a choice has no value left for one of its parameters, the choice itself leaves.
"""

from __future__ import annotations

import types

from distiller.spaces.errors import InputError
from distiller.spaces.priors import Integers, OneOf, Prior, Value, is_constant
from distiller.spaces.space import Branch, Group, Node, Space, slot_paths


def without(space: Space, path: str, value: Value | None = None) -> tuple[Space, list[str]]:
    """`space` less the choices at `path`, or less `value` of the parameters at `path`.

    Returns the smaller space and what was taken out, by name (`intermediate.2.mse.representation tokens`);
    nothing where `path` leads nowhere in this space.

    Raises:
        InputError: nothing would be left of a slot.
    """
    stage, *steps = path.split(".")
    nodes = space.stages[stage]
    slots, gone = [], []
    for where, node in zip(slot_paths(stage, nodes), nodes, strict=True):
        kept, lost = _less(node, steps, value, where)
        if kept is None:
            raise InputError(
                f"space.{where}: nothing is left without {', '.join(lost)}; allow another choice"
            )
        slots.append(kept)
        gone += lost
    return Space(types.MappingProxyType({**space.stages, stage: tuple(slots)})), gone


def _less(node: Node, steps: list[str], value: Value | None, where: str) -> tuple[Node | None, list[str]]:
    """What is left of a node, None for nothing, and the names of what is gone."""
    step, *rest = steps
    gone: list[str] = []
    if isinstance(node, Group):
        child = node.children.get(step)
        if child is None:
            return node, []
        left: Prior | Node | None
        if isinstance(child, Branch):
            left, gone = _less(child, rest, value, f"{where}.{step}")
        else:
            assert value is not None
            left, gone = _less_value(child, value, f"{where}.{step} {value}")
        if left is None:
            return None, gone
        assert not isinstance(left, Group)
        return Group(types.MappingProxyType({**node.children, step: left})), gone
    choices: dict[str, Group] = {}
    for name, group in node.choices.items():
        at = f"{where}.{name}"
        kept: Node | None = group
        if step in ("*", name):
            kept, lost = _less(group, rest, value, at) if rest else (None, [])
            gone += lost if kept is not None else [at]
        if kept is not None:
            assert isinstance(kept, Group)
            choices[name] = kept
    return (Branch(node.tag, types.MappingProxyType(choices)) if choices else None), gone


def _less_value(prior: Prior, value: Value, name: str) -> tuple[Prior | None, list[str]]:
    """A prior that cannot give `value`; of a range of floats one value is nothing."""
    if not prior.contains(value):
        return prior, []
    if is_constant(prior):
        return None, [name]
    if isinstance(prior, OneOf):
        return OneOf(*(v for v in prior.values if v != value)), [name]
    if isinstance(prior, Integers):
        return OneOf(*(v for v in range(prior.low, prior.high + 1) if v != value)), [name]
    return prior, []


def values_at(space: Space, path: str) -> list[Value]:
    """Every value that a parameter may take, over all slots, in order; none where no choice has it."""
    stage, *steps = path.split(".")
    found: list[Value] = []
    for node in space.stages[stage]:
        found += _values(node, steps)
    return list(dict.fromkeys(found))


def _values(node: Node, steps: list[str]) -> list[Value]:
    step, *rest = steps
    if isinstance(node, Branch):
        groups = [group for name, group in node.choices.items() if step in ("*", name)]
        return [value for group in groups for value in _values(group, rest)]
    child = node.children.get(step)
    if child is None:
        return []
    if isinstance(child, Branch):
        return _values(child, rest)
    if isinstance(child, Integers):
        return list(range(child.low, child.high + 1))
    return list(child.grid(2))
