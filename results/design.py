"""What was searched, as every analysis sees it: stages, the questions in them, and their priors.

A sweep's `Space` is one way to a design, the mapping of somebody else's table another. Stages are independent
under the prior; inside a stage a question may be asked only under some answers to another one.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from distiller.spaces.config import column_prefix
from distiller.spaces.priors import Integers, OneOf, Prior, Value, is_constant
from distiller.spaces.space import Branch, Group, Node, Space, slot_paths, tag_decision


@dataclass(frozen=True)
class Question:
    """One thing to decide.

    Attributes:
        path: unique in a design (`intermediate.mse.weight`).
        column: its column in the results table, which questions under different answers may share.
        stage: the stage that it belongs to.
        prior: what may be answered, and how likely.
        below: by answer, the questions that are asked only then; an answer without any need not be named.
    """

    path: str
    column: str
    stage: str
    prior: Prior
    below: Mapping[Value, tuple[Question, ...]] = field(default_factory=lambda: types.MappingProxyType({}))

    def walk(self) -> Iterator[Question]:
        """This question and all below it, in order."""
        yield self
        for questions in self.below.values():
            for question in questions:
                yield from question.walk()


@dataclass(frozen=True)
class Design:
    """For every stage its questions; the answers of different stages are independent under the prior."""

    stages: Mapping[str, tuple[Question, ...]]

    @classmethod
    def of(cls, space: Space) -> Design:
        """The design that a sweep over `space` draws from."""
        return cls(
            {
                stage: tuple(
                    question
                    for number, (path, node) in enumerate(
                        zip(slot_paths(stage, slots), slots, strict=True), 1
                    )
                    for question in _questions(node, path, column_prefix(stage, number), stage)
                )
                for stage, slots in space.stages.items()
            }
        )

    def questions(self) -> list[Question]:
        """Every question that some config answers, in order."""
        return [inner for asked in self.stages.values() for question in asked for inner in question.walk()]

    def searched(self) -> list[Question]:
        """The questions that have more than one answer."""
        return [question for question in self.questions() if not is_constant(question.prior)]

    def columns(self, stage: str | None = None) -> list[str]:
        """The searched columns, of one stage or of all, in order."""
        found = [q.column for q in self.searched() if stage in (None, q.stage)]
        return list(dict.fromkeys(found))

    def searched_stages(self) -> list[str]:
        """The stages in which anything is searched."""
        return list(dict.fromkeys(question.stage for question in self.searched()))

    def draw(self, rows: int, rng: np.random.Generator) -> pd.DataFrame:
        """[rows] configs from the prior by column; null where a question is not asked."""
        names = dict.fromkeys(question.column for question in self.questions())
        drawn = {name: np.full(rows, None, dtype=object) for name in names}

        def ask(question: Question, asked: npt.NDArray[np.intp]) -> None:
            answers = _sample(question.prior, len(asked), rng)
            drawn[question.column][asked] = answers
            for answer, questions in question.below.items():
                met = asked[np.array([a == answer for a in answers], dtype=bool)]
                for inner in questions:
                    ask(inner, met)

        for questions in self.stages.values():
            for question in questions:
                ask(question, np.arange(rows))
        return pd.DataFrame({name: _column(answers) for name, answers in drawn.items()})


def _column(answers: npt.NDArray[np.object_]) -> pd.Series:
    """Whole numbers stay such beside nulls."""
    whole = all(answer is None or type(answer) is int for answer in answers)
    known = any(answer is not None for answer in answers)
    return pd.Series(answers).astype("Int64") if whole and known else pd.Series(answers).infer_objects()


def _sample(prior: Prior, rows: int, rng: np.random.Generator) -> npt.NDArray[np.object_]:
    """[rows] draws, as `prior.sample` but for the rounding of floats."""
    found = np.empty(rows, dtype=object)
    if isinstance(prior, OneOf):
        values = np.empty(len(prior.values), dtype=object)
        values[:] = prior.values
        found[:] = values[rng.integers(len(values), size=rows)]
    elif isinstance(prior, Integers):
        found[:] = rng.integers(prior.low, prior.high + 1, size=rows).tolist()
    elif prior.log:
        found[:] = np.exp(rng.uniform(np.log(prior.low), np.log(prior.high), size=rows)).tolist()
    else:
        found[:] = rng.uniform(prior.low, prior.high, size=rows).tolist()
    return found


def _questions(node: Node, path: str, prefix: str, stage: str) -> Iterator[Question]:
    """A branch is one question, which its choices' parameters are below; a group all of its own."""
    if isinstance(node, Group):
        yield from _children(node, path, prefix, stage)
        return
    asked = tag_decision(node, path, prefix, stage)
    below: dict[Value, tuple[Question, ...]] = {
        name: tuple(_children(group, f"{path}.{name}", prefix, stage)) for name, group in node.choices.items()
    }
    yield Question(asked.path, asked.column, stage, asked.prior, types.MappingProxyType(below))


def _children(group: Group, path: str, prefix: str, stage: str) -> Iterator[Question]:
    for name, child in group.children.items():
        if isinstance(child, Branch):
            yield from _questions(child, f"{path}.{name}", f"{prefix}{name}_", stage)
        else:
            yield Question(f"{path}.{name}", prefix + name, stage, child)
