"""What is compared: a question of the designs, or a column of the results, and its answers by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from distiller.results.design import Design, Question
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import nearest
from distiller.spaces.priors import Integers, OneOf, Prior, Uniform

MOST_VALUES = 30
"""Distinct values of a column that is in no design; with more, numbers are compared by halves."""


@dataclass(frozen=True)
class Asked:
    """A question and the choices to compare.

    Attributes:
        what: as it was asked.
        stage: None for a column that is in no design.
        choices: names of answers (`label`), or of the lower and the upper half of a range.
        middle: where a range is cut in two; None for answers.
        under: (column, answer) of the questions above; rows with other answers were not asked.
    """

    what: str
    column: str
    stage: str | None
    choices: tuple[str, ...]
    middle: float | None = None
    under: tuple[tuple[str, str], ...] = ()

    def answers(self, trials: pd.DataFrame) -> npt.NDArray[np.object_]:
        """[rows] the choice of each trial; None where it has none of `choices`."""
        found = np.full(len(trials), None, dtype=object)
        if self.column not in trials:
            return found
        met = trials[self.column].notna().to_numpy(dtype=bool, copy=True)
        for column, answer in self.under:
            if column in trials:
                met &= labelled(trials[column]) == answer
        if self.middle is None:
            names = labelled(trials[self.column])
            met &= np.isin(names, self.choices)
        else:
            numbers = pd.to_numeric(trials[self.column]).to_numpy(dtype=np.float64, na_value=np.nan)
            names = np.array(self.choices, dtype=object)[(numbers > self.middle).astype(np.intp)]
        found[met] = names[met]
        return found


def labelled(values: pd.Series) -> npt.NDArray[np.object_]:
    """[rows] the label of each value; that of a null means nothing."""
    codes, distinct = pd.factorize(values, use_na_sentinel=True)
    names = np.array([*map(label, distinct), ""], dtype=object)
    return np.asarray(names[codes])


def label(value: object) -> str:
    """A value's name: numbers to 6 significant digits, whether a table reads them as 2 or as 2.0."""
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, (int, float, np.integer, np.floating)):
        return f"{float(value):g}"
    return str(value)


def asked(
    what: str, designs: Mapping[str, Design], trials: pd.DataFrame, chosen: Sequence[str] = ()
) -> Asked:
    """The question that `what` names: its path, its column, its stage, or another column of the results.

    Raises:
        InputError: there is none, it has one answer only, or one of `chosen` is none of its answers.
    """
    column = what.replace(".", "_")
    found: list[tuple[Question, tuple[tuple[str, str], ...]]] = []
    for design in designs.values():
        found += _matching(design, what, column)
    if not found:
        _check_stage(what, designs)
        return _other_column(what, column, trials, chosen, _hint(what, designs, trials))
    first, above = found[0]
    shared = len({q.path for q, _ in found}) > 1
    under = () if shared or all(under != above for _, under in found) else above
    values, middle = _answers([question.prior for question, _ in found])
    return _narrowed(Asked(what, first.column, first.stage, values, middle, under), chosen)


def always_asked(design: Design, stage: str) -> list[Question]:
    """The searched questions of a stage that every config answers."""

    def walk(questions: Sequence[Question]) -> Iterator[Question]:
        for question in questions:
            prior = question.prior
            if not (isinstance(prior, OneOf) and len(prior.values) == 1):
                yield question
            else:
                yield from walk(question.below.get(prior.values[0], ()))

    searched = {question.path for question in design.searched()}
    return [question for question in walk(design.stages[stage]) if question.path in searched]


def _matching(design: Design, what: str, column: str) -> list[tuple[Question, tuple[tuple[str, str], ...]]]:
    walked = [pair for stage in design.stages for pair in _with_conditions(design.stages[stage])]
    by_path = [(q, under) for q, under in walked if q.path == what]
    by_column = [(q, under) for q, under in walked if q.column in (what, column)]
    if by_path and not any(q.path != what for q, _ in by_column):
        return by_path
    if by_path or by_column:
        return by_path or by_column
    if what not in design.stages:
        return []
    first = always_asked(design, what)
    return [(first[0], ())] if len(first) == 1 else []


def _check_stage(what: str, designs: Mapping[str, Design]) -> None:
    """Raise InputError where a stage is named that does not come down to one question."""
    stages = [design for design in designs.values() if what in design.stages]
    paths = dict.fromkeys(q.path for design in stages for q in always_asked(design, what))
    if stages and paths:
        raise InputError(f"{what}: the stage asks several questions; name one of {', '.join(paths)}")
    if stages:
        raise InputError(f"{what}: nothing is searched in this stage, so there are no choices to compare")


def _with_conditions(
    questions: Sequence[Question], under: tuple[tuple[str, str], ...] = ()
) -> Iterator[tuple[Question, tuple[tuple[str, str], ...]]]:
    for question in questions:
        yield question, under
        for answer, below in question.below.items():
            yield from _with_conditions(below, (*under, (question.column, label(answer))))


def _hint(what: str, designs: Mapping[str, Design], trials: pd.DataFrame) -> str:
    """What `what` may have meant: the question of that last name, or the nearest name, or all questions."""
    paths = list(dict.fromkeys(q.path for design in designs.values() for q in design.searched()))
    meant = next((path for path in paths if path.rsplit(".", 1)[-1] == what), None)
    if meant is not None:
        return f"did you mean {meant!r}?"
    stages = list(dict.fromkeys(stage for design in designs.values() for stage in design.searched_stages()))
    near = nearest(what, [*stages, *paths, *map(str, trials.columns)])
    return near if near.startswith("did you mean") else nearest(what, [*stages, *paths])


def _answers(priors: Sequence[Prior]) -> tuple[tuple[str, ...], float | None]:
    """The answers in order; of a range its halves and the middle."""
    if any(isinstance(prior, Uniform) for prior in priors) or (
        all(isinstance(prior, Integers) for prior in priors)
        and sum(prior.high - prior.low + 1 for prior in priors if isinstance(prior, Integers)) > MOST_VALUES
    ):
        ends = [v for p in priors for v in (p.values if isinstance(p, OneOf) else (p.low, p.high))]
        numbers = [float(v) for v in ends]
        log = any(isinstance(p, Uniform) and p.log for p in priors) and min(numbers) > 0
        return _halves(min(numbers), max(numbers), log)
    values = [
        v for p in priors for v in (p.values if isinstance(p, OneOf) else range(int(p.low), int(p.high) + 1))
    ]
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        values = sorted(values, key=float)
    return tuple(dict.fromkeys(map(label, values))), None


def _halves(low: float, high: float, log: bool) -> tuple[tuple[str, ...], float]:
    middle = float(np.sqrt(low * high)) if log else (low + high) / 2
    return _named(low, middle, high), middle


def _named(low: float, middle: float, high: float) -> tuple[str, str]:
    """Both halves by their ends, at 3 significant digits or as many as tell them apart."""
    for digits in range(3, 18):
        ends = [f"{float(f'{end:.{digits}g}'):.{digits + 3}g}" for end in (low, middle, high)]
        if len(set(ends)) == len({low, middle, high}):
            break
    return f"{ends[0]} to {ends[1]}", f"{ends[1]} to {ends[2]}"


def _other_column(what: str, column: str, trials: pd.DataFrame, chosen: Sequence[str], hint: str) -> Asked:
    name = what if what in trials else column
    if name not in trials:
        raise InputError(f"{what}: no such question, stage or column; {hint}")
    values = trials[name].dropna()
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    distinct = sorted(set(values), key=float if numeric else str)
    if len(distinct) > MOST_VALUES:
        if not numeric:
            raise InputError(f"{what}: {len(distinct)} distinct values are no choices; name another column")
        low, middle, high = (float(values.astype(float).quantile(q)) for q in (0.0, 0.5, 1.0))
        return _narrowed(Asked(what, name, None, _named(low, middle, high), middle), chosen)
    return _narrowed(Asked(what, name, None, tuple(dict.fromkeys(map(label, distinct)))), chosen)


def _narrowed(found: Asked, chosen: Sequence[str]) -> Asked:
    """The same with only the choices that were named."""
    if len(found.choices) < 2:
        only = f"always {found.choices[0]}" if found.choices else "never answered"
        raise InputError(f"{found.what}: it is {only}, so there is nothing to compare")
    if not chosen:
        return found
    if found.middle is not None:
        raise InputError(f"{found.what}: a range is compared by halves; leave {' '.join(chosen)} out")
    for name in chosen:
        if name not in found.choices:
            near = nearest(name, found.choices)
            raise InputError(f"{found.what}: {name!r} is none of its choices; {near}")
    if len(set(chosen)) < 2:
        raise InputError(
            f"{found.what}: one choice has nothing to be compared with; name two, or none for all"
        )
    return Asked(found.what, found.column, found.stage, tuple(dict.fromkeys(chosen)), None, found.under)
