"""What was searched, in words: from a `Design`, whatever it comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distiller.results.design import Design, Question
from distiller.results.store import Row
from distiller.spaces.config import is_null
from distiller.spaces.priors import Integers, OneOf, Prior, Value, is_constant


@dataclass(frozen=True)
class Said:
    """A question in words, with those that follow from its answers."""

    text: str
    searched: bool
    below: tuple[Said, ...] = ()


@dataclass(frozen=True)
class Searched:
    """What datasets of one design had in common.

    Attributes:
        stages: by name what was searched in them; a stage of constants has no entry.
        fixed: the rest, each as `column = value`.
        counted: how many configs there are, in words.
    """

    datasets: list[str]
    stages: dict[str, list[Said]]
    fixed: list[str]
    counted: str = field(default="")


def searched(designs: Mapping[str, Design]) -> list[Searched]:
    """One entry for each different design."""
    found: list[tuple[Design, Searched]] = []
    for dataset, design in designs.items():
        known = next((one for other, one in found if other == design), None)
        if known is not None:
            known.datasets.append(dataset)
            continue
        active = set(design.searched_stages())
        stages = {
            stage: [said for question in questions if (said := _said(question, _short(question))).searched]
            for stage, questions in design.stages.items()
            if stage in active
        }
        found.append((design, Searched([dataset], stages, _fixed(design), counted(design))))
    return [one for _, one in found]


def counted(design: Design) -> str:
    """`240 configs`, or where there are ranges `12 combinations of choices, with up to 3 ranges`."""
    combinations = math.prod(
        math.prod((_combinations(question) for question in questions), start=1)
        for questions in design.stages.values()
    )
    ranges = sum(max_ranges(question) for questions in design.stages.values() for question in questions)
    if not ranges:
        return f"{combinations:,} different config{'' if combinations == 1 else 's'}"
    said = f"{combinations:,} combination{'' if combinations == 1 else 's'} of choices"
    return f"{said}, each with up to {ranges} value{'' if ranges == 1 else 's'} from a range"


def _combinations(question: Question) -> int:
    prior = question.prior
    if isinstance(prior, OneOf):
        return sum(
            math.prod((_combinations(inner) for inner in question.below.get(value, ())), start=1)
            for value in prior.values
        )
    return prior.high - prior.low + 1 if isinstance(prior, Integers) else 1


def max_ranges(question: Question) -> int:
    """Float ranges below the answer that has most of them, the question's own included."""
    own = int(not isinstance(question.prior, (OneOf, Integers)) and not is_constant(question.prior))
    return own + max((sum(map(max_ranges, inner)) for inner in question.below.values()), default=0)


def prior_words(prior: Prior) -> str:
    """`2, 3 or 4, each as likely`, `0.1 to 10, uniform in the logarithm`."""
    if isinstance(prior, OneOf):
        said = [value_words(value) for value in prior.values]
        if len(said) == 1:
            return said[0]
        each = "either is as likely" if len(said) == 2 else f"each with probability 1/{len(said)}"
        return f"{', '.join(said[:-1])} or {said[-1]} ({each})"
    if is_constant(prior):
        return value_words(prior.low)
    if isinstance(prior, Integers):
        return f"a whole number from {prior.low} to {prior.high} (uniform)"
    return f"{prior.low:g} to {prior.high:g} ({'uniform in the logarithm' if prior.log else 'uniform'})"


def value_words(value: Any) -> str:
    """A value as a reader writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(question: Question) -> str:
    """The path without its stage."""
    return question.path.partition(".")[2] or question.path


def _said(question: Question, name: str) -> Said:
    below = []
    for value, inner in question.below.items():
        said = [one for q in inner if (one := _said(q, q.path.rpartition(".")[2])).searched]
        if said:
            below.append(Said(f"with {value_words(value)}", True, tuple(said)))
    own = not is_constant(question.prior)
    if not own and below:  # a constant choice whose parameters are searched
        return Said(f"{name}: {prior_words(question.prior)}", True, below[0].below)
    return Said(f"{name}: {prior_words(question.prior)}", own, tuple(below))


def _fixed(design: Design) -> list[str]:
    """Constants that are asked under every answer with the same value."""
    values: dict[str, set[str]] = {}
    for question in design.questions():
        said = prior_words(question.prior) if is_constant(question.prior) else "searched"
        values.setdefault(question.column, set()).add(said)
    return [f"{column} = {next(iter(said))}" for column, said in values.items()
            if len(said) == 1 and "searched" not in said]  # fmt: skip


def answers(design: Design, row: Row) -> list[tuple[str, list[str]]]:
    """Each stage with a trial's answers, `objective mi_alpha`, as its columns have them."""

    def walk(question: Question) -> Iterator[str]:
        value: Any = row.get(question.column)
        if is_null(value):
            return
        yield f"{question.path.rpartition('.')[2].replace('_', ' ')} {value_words(value)}"
        for inner in _asked(question, value):
            yield from walk(inner)

    return [
        (stage, [said for question in questions for said in walk(question)])
        for stage, questions in design.stages.items()
    ]


def _asked(question: Question, value: Value) -> Sequence[Question]:
    return question.below.get(value, ())
