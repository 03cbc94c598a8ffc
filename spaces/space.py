"""A search space: for every stage which choices, with which priors. One walk derives everything.

The prior is a product over stages: no condition crosses them. Inside a stage each choice is as likely
as the others, and its parameters exist only under it.
"""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller.spaces.choice import KIND, Choice, Parameter, Union, parts
from distiller.spaces.config import STAGES, PipelineConfig, column_prefix
from distiller.spaces.errors import InputError
from distiller.spaces.priors import OneOf, Prior, SuggestingTrial, Uniform, Value, is_constant


@dataclass(frozen=True)
class Group:
    """The parameters of one choice: priors and inner branches."""

    children: Mapping[str, Prior | Branch]

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping proxy does not pickle
        return Group, (dict(self.children),)


@dataclass(frozen=True)
class Branch:
    """The choices that are left at a union; `tag` names the field that says which."""

    tag: str
    choices: Mapping[str, Group]

    def __reduce__(self) -> tuple[Any, ...]:
        return Branch, (self.tag, dict(self.choices))


Node = Group | Branch


@dataclass(frozen=True)
class Decision:
    """One question on the way to a config.

    Attributes:
        path: where it stands, choices included (`intermediate.mse.weight`): unique in a space.
        column: its column in the results table (`intermediate_weight`), shared between choices.
        stage: the stage that it belongs to.
        prior: what may be answered.
    """

    path: str
    column: str
    stage: str
    prior: Prior


Decide = Callable[[Decision], Value]


@dataclass(frozen=True)
class Space:
    """For every stage its slots, each a branch of choices or a group of parameters."""

    stages: Mapping[str, tuple[Node, ...]]

    def __reduce__(self) -> tuple[Any, ...]:
        return Space, (dict(self.stages),)

    def build(self, decide: Decide) -> PipelineConfig:
        """The config that comes of asking `decide` each question that is active, in a fixed order."""
        written: dict[str, Any] = {}
        for stage, slots in self.stages.items():
            answers = [
                _ask(node, path, column_prefix(stage, number), stage, decide)
                for number, (path, node) in enumerate(zip(slot_paths(stage, slots), slots, strict=True), 1)
            ]
            written[stage] = answers if STAGES[stage].slots > 1 else answers[0]
        return PipelineConfig.model_validate(written)

    def sample(self, rng: np.random.Generator) -> PipelineConfig:
        """A draw from the prior."""
        return self.build(lambda d: d.prior.sample(rng))

    def suggest(self, trial: SuggestingTrial) -> PipelineConfig:
        """Optuna's define-by-run function; parameter names are the decisions' paths."""
        return self.build(lambda d: d.prior.suggest(trial, d.path))

    def grid(self, levels: int = 3) -> Iterator[PipelineConfig]:
        """Every combination, ranges at `levels` values each; lazily, the last stage fastest."""
        stages = [
            [
                (stage, node, path, number)
                for number, (path, node) in enumerate(zip(slot_paths(stage, slots), slots, strict=True), 1)
            ]
            for stage, slots in self.stages.items()
        ]
        flat = list(itertools.chain.from_iterable(stages))

        def combine(rest: list[Any]) -> Iterator[list[tuple[str, Any]]]:
            if not rest:
                yield []
                return
            (stage, node, _, _), *others = rest
            for answer in answers(node, levels):
                for tail in combine(others):
                    yield [(stage, answer), *tail]

        for combination in combine(flat):
            written: dict[str, Any] = {}
            for stage, answer in combination:
                if STAGES[stage].slots > 1:
                    written.setdefault(stage, []).append(answer)
                else:
                    written[stage] = answer
            yield PipelineConfig.model_validate(written)

    def points(self, stage: str, levels: int = 1, slot: int = 0) -> Iterator[dict[str, Any]]:
        """Every combination of one slot (the first is 0) of a stage, as a person would write it."""
        yield from answers(self.stages[stage][slot], levels)

    def decisions(self, config: PipelineConfig) -> list[tuple[Decision, Value]]:
        """The questions that lead to `config`, with its answers.

        Raises:
            InputError: `config` is not in this space; names the path and what is allowed there.
        """
        for stage, slots in self.stages.items():
            if len(config.slots(stage)) != len(slots):
                raise InputError(
                    f"{stage}: the config fills {len(config.slots(stage))} slots, the space has {len(slots)}"
                )
        columns = config.columns()
        found: list[tuple[Decision, Value]] = []

        def look_up(decision: Decision) -> Value:
            value = columns[decision.column]
            if not decision.prior.contains(value):
                raise InputError(f"{decision.path}: {value!r} is not in the space ({decision.prior})")
            found.append((decision, value))
            return value

        self.build(look_up)
        return found

    def contains(self, config: PipelineConfig) -> bool:
        """Whether `config` can be drawn from this space."""
        try:
            self.decisions(config)
        except InputError:
            return False
        return True

    def questions(self) -> list[Decision]:
        """Every question that some config answers, in order."""
        return [
            decision
            for stage, slots in self.stages.items()
            for number, (path, node) in enumerate(zip(slot_paths(stage, slots), slots, strict=True), 1)
            for decision in _questions(node, path, column_prefix(stage, number), stage)
        ]

    def searched(self) -> list[Decision]:
        """The questions that have more than one answer."""
        return [d for d in self.questions() if not is_constant(d.prior)]

    def size(self, levels: int | None = None) -> float:
        """The number of configs; infinite where a float is searched, unless ranges have `levels`."""
        return math.prod(_size(node, levels) for slots in self.stages.values() for node in slots)

    def without(self, stage: str, choice: str) -> Space:
        """This space less one choice of a stage, in all its slots.

        Raises:
            InputError: nothing would be left of the stage.
        """
        slots = []
        for node in self.stages[stage]:
            if isinstance(node, Branch):
                left = {name: group for name, group in node.choices.items() if name != choice}
                if not left:
                    raise InputError(f"space.{stage}: nothing is left without {choice}; allow another choice")
                node = Branch(node.tag, types.MappingProxyType(left))
            slots.append(node)
        return Space(types.MappingProxyType({**self.stages, stage: tuple(slots)}))


def slot_paths(stage: str, slots: tuple[Node, ...]) -> list[str]:
    """`intermediate` for the first slot, `intermediate.2` for the second."""
    return [stage if number == 1 else f"{stage}.{number}" for number in range(1, len(slots) + 1)]


def full_node(part: Union | type[Choice]) -> Node:
    """All choices that are searched by default, with their default priors."""
    if isinstance(part, Union):
        groups = {
            name: full_group(model) for name, model in part.choices.items() if model.searched_by_default
        }
        return Branch(part.tag, types.MappingProxyType(groups))
    return full_group(part)


def full_group(model: type[Choice]) -> Group:
    """All parameters of a choice with their default priors."""
    return Group(
        types.MappingProxyType(
            {
                name: inner.prior if isinstance(inner, Parameter) else _full_branch(inner)
                for name, inner in parts(model).items()
            }
        )
    )


def _full_branch(union: Union) -> Branch:
    node = full_node(union)
    assert isinstance(node, Branch)
    return node


def tag_decision(node: Branch, path: str, prefix: str, stage: str) -> Decision:
    """The question which of a branch's choices a config holds."""
    column = prefix.removesuffix("_") if node.tag == KIND else prefix + node.tag
    where = path if node.tag == KIND else f"{path}.{node.tag}"
    return Decision(where, column, stage, OneOf(*node.choices))


def _ask(node: Node, path: str, prefix: str, stage: str, decide: Decide) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if isinstance(node, Branch):
        name = decide(tag_decision(node, path, prefix, stage))
        written[node.tag] = name
        node, path = node.choices[str(name)], f"{path}.{name}"
    for name, child in node.children.items():
        if isinstance(child, Branch):
            written[name] = _ask(child, f"{path}.{name}", f"{prefix}{name}_", stage, decide)
        else:
            written[name] = decide(Decision(f"{path}.{name}", prefix + name, stage, child))
    return written


def _questions(node: Node, path: str, prefix: str, stage: str) -> Iterator[Decision]:
    groups = [(path, node)] if isinstance(node, Group) else []
    if isinstance(node, Branch):
        yield tag_decision(node, path, prefix, stage)
        groups = [(f"{path}.{name}", group) for name, group in node.choices.items()]
    for where, group in groups:
        for name, child in group.children.items():
            if isinstance(child, Branch):
                yield from _questions(child, f"{where}.{name}", f"{prefix}{name}_", stage)
            else:
                yield Decision(f"{where}.{name}", prefix + name, stage, child)


def answers(node: Node, levels: int) -> Iterator[dict[str, Any]]:
    """Every combination of a node's choices and parameters, ranges at `levels` values each."""
    if isinstance(node, Branch):
        for name, group in node.choices.items():
            for answer in answers(group, levels):
                yield {node.tag: name, **answer}
        return
    names = list(node.children)
    options = [
        list(answers(child, levels)) if isinstance(child, Branch) else child.grid(levels)
        for child in node.children.values()
    ]
    for combination in itertools.product(*options):
        yield dict(zip(names, combination, strict=True))


def _size(node: Prior | Node, levels: int | None) -> float:
    if isinstance(node, Branch):
        return sum(_size(group, levels) for group in node.choices.values())
    if isinstance(node, Group):
        return math.prod(_size(child, levels) for child in node.children.values())
    if levels is not None or isinstance(node, OneOf):
        return len(node.grid(levels or 1))
    if is_constant(node):
        return 1
    return math.inf if isinstance(node, Uniform) else node.high - node.low + 1
