"""Which of a teacher's states a space or a config can ask for."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from distiller.pipelines.mapping import Pairs, pairs
from distiller.pipelines.objectives import OBJECTIVES, State
from distiller.spaces.choice import Choice
from distiller.spaces.config import PipelineConfig
from distiller.spaces.intermediate import NoIntermediate
from distiller.spaces.priors import values_of
from distiller.spaces.space import Branch, Group, Node, Space, answers

TOKENWISE = ("tokens", "queries", "keys", "values")
"""States with one vector per token; the others have one per row."""


@dataclass(frozen=True)
class Demand:
    """States by (teacher layer, name), the embeddings being layer 0; empty for logits alone.

    Names: cls, mean and tokens of hidden states; queries, keys and values of attention.
    """

    states: frozenset[tuple[int, str]] = frozenset()

    @classmethod
    def grid(cls, layers: Iterable[int], representations: Iterable[str]) -> Demand:
        """Every one of these representations of every one of these layers."""
        return cls(frozenset(itertools.product(layers, tuple(representations))))

    def __or__(self, other: Demand) -> Demand:
        return Demand(self.states | other.states)

    def __and__(self, other: Demand) -> Demand:
        return Demand(self.states & other.states)

    def __sub__(self, other: Demand) -> Demand:
        return Demand(self.states - other.states)

    def __bool__(self) -> bool:
        return bool(self.states)

    @property
    def representations(self) -> tuple[str, ...]:
        """Those that are asked of any layer, sorted."""
        return tuple(sorted({representation for _, representation in self.states}))

    def layers_of(self, representation: str) -> tuple[int, ...]:
        """The layers that a representation is asked of, ascending."""
        return tuple(sorted(layer for layer, asked in self.states if asked == representation))

    def without(self, *representations: str) -> Demand:
        """This demand less some representations."""
        return Demand(frozenset(state for state in self.states if state[1] not in representations))

    @classmethod
    def of_config(cls, config: PipelineConfig, student_layers: int, teacher_layers: int) -> Demand:
        """What the intermediate terms of a config with a student of this depth read."""
        demand = cls()
        for term in config.intermediate:
            if not isinstance(term, NoIntermediate):
                mapping = getattr(term, "mapping").model_dump()  # noqa: B009
                demand |= _of(mapping, reads_of(term), student_layers, teacher_layers)
        return demand

    @classmethod
    def of_space(cls, space: Space, student_layers: Collection[int], teacher_layers: int) -> Demand:
        """What any config of a space can read, whose students have these depths."""
        demand = cls()
        for node in space.stages["intermediate"]:
            for mapping, reads in _mappings(node):
                for count in student_layers:
                    demand |= _of(mapping, reads, count, teacher_layers)
        return demand


def reads_of(term: Choice) -> tuple[State, ...]:
    """What a term compares: its objective's own states, else its representation ([CLS] where it has none)."""
    return _reads(term.objective, [str(getattr(term, "representation", "cls"))])  # type: ignore[attr-defined]


def _reads(objective: str, representations: Iterable[str]) -> tuple[State, ...]:
    fixed = OBJECTIVES[objective].reads
    if fixed is not None:
        return tuple(State("tokens" if s.name == "hidden" else s.name, s.below) for s in fixed)
    return tuple(State(r) for r in representations)


def _of(
    mapping: Mapping[str, Any], reads: Iterable[State], student_layers: int, teacher_layers: int
) -> Demand:
    layers = {t for _, t in pairs_of(mapping, student_layers, teacher_layers)}
    wanted = {(layer - state.below, state.name) for layer in layers for state in reads}
    if mapping["kind"] == "attention_weighted":
        wanted |= {(layer, "cls") for layer in layers}
    return Demand(frozenset(wanted))


def pairs_of(mapping: Mapping[str, Any], student_layers: int, teacher_layers: int) -> Pairs:
    """The layer pairs of a mapping as a person writes it."""
    asked = {name: mapping[name] for name in ("embeddings", "below") if name in mapping}
    return pairs(mapping["kind"], student_layers, teacher_layers, **asked)


def _mappings(node: Node) -> Iterator[tuple[Mapping[str, Any], tuple[State, ...]]]:
    """Every mapping of a slot of the intermediate stage, with all that any objective reads there."""
    assert isinstance(node, Branch)
    for objective, group in node.choices.items():
        branch = group.children.get("mapping")
        if isinstance(branch, Branch):
            prior = group.children.get("representation")
            offered = ["cls"]
            if prior is not None and not isinstance(prior, (Branch, Group)):
                offered = [str(value) for value in values_of(prior)]
            reads = _reads(objective, offered)
            for mapping in answers(branch, 1):
                yield mapping, reads
