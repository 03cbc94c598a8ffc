"""Which of a teacher's hidden states a space or a config can ask for."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from distiller.pipelines.mapping import pairs
from distiller.spaces.choice import Choice
from distiller.spaces.config import PipelineConfig
from distiller.spaces.intermediate import NoIntermediate, Pkd
from distiller.spaces.priors import values_of
from distiller.spaces.space import Branch, Space


@dataclass(frozen=True)
class Demand:
    """Hidden states by (teacher layer, representation), the first layer being 1; empty for logits alone."""

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

    def without(self, representation: str) -> Demand:
        """This demand less one representation."""
        return Demand(frozenset(state for state in self.states if state[1] != representation))

    @classmethod
    def of_config(cls, config: PipelineConfig, student_layers: int, teacher_layers: int) -> Demand:
        """What the intermediate terms of a config with a student of this depth read."""
        demand = cls()
        for term in config.intermediate:
            if not isinstance(term, NoIntermediate):
                demand |= _of(term.mapping.kind, representation_of(term), [student_layers], teacher_layers)
        return demand

    @classmethod
    def of_space(cls, space: Space, student_layers: Collection[int], teacher_layers: int) -> Demand:
        """What any config of a space can read, whose students have these depths."""
        demand = cls()
        for node in space.stages["intermediate"]:
            assert isinstance(node, Branch)
            for objective, group in node.choices.items():
                mapping = group.children.get("mapping")
                if not isinstance(mapping, Branch):
                    continue
                prior = group.children.get("representation")
                representations = ["cls"] if objective == "pkd" else []
                if prior is not None and not isinstance(prior, Branch):
                    representations = [str(v) for v in values_of(prior)]
                for kind in mapping.choices:
                    for representation in representations:
                        demand |= _of(kind, representation, student_layers, teacher_layers)
        return demand


def representation_of(term: Choice) -> str:
    """What a term compares: [CLS] for PKD, else its own choice."""
    return "cls" if isinstance(term, Pkd) else str(getattr(term, "representation"))  # noqa: B009


def _of(kind: str, representation: str, student_layers: Iterable[int], teacher_layers: int) -> Demand:
    layers = {t for count in student_layers for _, t in pairs(kind, count, teacher_layers)}
    return Demand.grid(layers, [representation])
