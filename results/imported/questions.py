"""The design of an imported table: columns with their conditions as trees of questions."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distiller.results.design import Design, Question
from distiller.results.imported.conditions import When, same
from distiller.results.imported.mapping import TableMapping, snake
from distiller.spaces.errors import InputError
from distiller.spaces.priors import Integers, OneOf, Prior, Uniform, Value

MOST_ANSWERS = 1_000
"""Of a column that others depend on."""
MOST_QUESTIONS = 10_000
"""A column that depends on two others is asked anew under every answer to the one of them."""


@dataclass(frozen=True)
class Asked:
    """One column of a stage."""

    column: str
    stored: str
    prior: Prior
    when: When


def design_of(mapping: TableMapping) -> Design:
    """The design of a mapping in which every prior and condition is settled.

    Raises:
        InputError: columns depend on each other in a circle, or on a range.
    """
    stages = {}
    for stage, columns in mapping.stages.items():
        asked = []
        for column, one in columns.items():
            prior = mapping.prior(stage, column)
            if prior is None:
                raise InputError(f"stages.{stage}.{column}: has no prior; import the table again")
            asked.append(Asked(column, mapping.stored(stage, column), prior, one.when))
        check_conditions(stage, asked)
        name = snake(stage)
        stages[name] = _questions(name, name, asked, {}, [MOST_QUESTIONS])
    return Design(types.MappingProxyType(stages))


def check_conditions(stage: str, columns: Sequence[Asked]) -> None:
    """Whether the conditions of a stage have an order, and name values that their columns can have.

    Raises:
        InputError: they have not.
    """
    known = {one.column: one for one in columns}
    for one in columns:
        place = f"stages.{stage}.{one.column}.when"
        for parent, values in one.when.items():
            prior = known[parent].prior
            if isinstance(prior, Uniform):
                raise InputError(
                    f"{place}.{parent}: is the range {prior}; conditions need levels: give it a list as prior"
                )
            for value in values:
                if not prior.contains(value):
                    raise InputError(
                        f"{place}.{parent}: {value!r} is not in its prior ({prior}); correct one"
                    )
    order: list[str] = []
    left = dict(known)
    while left:
        free = [name for name, one in left.items() if not any(parent in left for parent in one.when)]
        if not free:
            raise InputError(
                f"stages.{stage}: {', '.join(left)} depend on each other in a circle; leave out one `when`"
            )
        order += free
        for name in free:
            del left[name]


def _questions(
    stage: str, path: str, columns: Sequence[Asked], known: Mapping[str, Value], room: list[int]
) -> tuple[Question, ...]:
    """Columns that no condition ties together are asked beside each other. Of those that one does, one that
    asks for nothing comes first, and the others below each of its answers."""
    left = _possible(columns, known)
    names = {one.column for one in left}
    found = []
    for part in _tied(left):
        room[0] -= len(part)
        if room[0] < 0:
            raise InputError(
                f"stages.{stage}: its conditions come to more than {MOST_QUESTIONS} cases; leave some out"
            )
        free = [one for one in part if not names.intersection(one.when)]
        root = max(free, key=lambda one: sum(one.column in other.when for other in part))
        others = [one for one in part if one is not root]
        below = {}
        for answer in _answers(stage, root) if others else ():
            asked = _questions(
                stage,
                f"{path}.{_within(root, stage)}.{answer}",
                others,
                {**known, root.column: answer},
                room,
            )
            if asked:
                below[answer] = asked
        found.append(
            Question(
                f"{path}.{_within(root, stage)}",
                root.stored,
                stage,
                root.prior,
                types.MappingProxyType(below),
            )
        )
    return tuple(found)


def _within(one: Asked, stage: str) -> str:
    return one.stored.removeprefix(f"{stage}_")


def _answers(stage: str, one: Asked) -> tuple[Value, ...]:
    if isinstance(one.prior, OneOf) and len(one.prior.values) <= MOST_ANSWERS:
        return one.prior.values
    if isinstance(one.prior, Integers) and one.prior.high - one.prior.low < MOST_ANSWERS:
        return tuple(range(one.prior.low, one.prior.high + 1))
    raise InputError(
        f"stages.{stage}.{one.column}: others depend on it, and it has more than {MOST_ANSWERS} values; "
        "leave out `when`"
    )


def _possible(columns: Sequence[Asked], known: Mapping[str, Value]) -> list[Asked]:
    """Those that what is known does not rule out; what depends on one that is ruled out is, too."""
    left = list(columns)
    while True:
        names = {one.column for one in left}
        keep = [
            one
            for one in left
            if all(
                any(same(known[parent], value) for value in values) if parent in known else parent in names
                for parent, values in one.when.items()
            )
        ]
        if len(keep) == len(left):
            return keep
        left = keep


def _tied(columns: Sequence[Asked]) -> list[list[Asked]]:
    """Parts that conditions among the columns hold together, in order."""
    part = {one.column: number for number, one in enumerate(columns)}
    for one in columns:
        for parent in one.when:
            if parent in part:
                keep, gone = sorted((part[one.column], part[parent]))
                part = {name: keep if number == gone else number for name, number in part.items()}
    return [
        [one for one in columns if part[one.column] == number]
        for number in dict.fromkeys(part[one.column] for one in columns)
    ]
