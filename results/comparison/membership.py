"""Whether a config's columns are answers that a design has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distiller.results.comparison.question import label
from distiller.results.design import Design, Question
from distiller.spaces.config import is_null
from distiller.spaces.priors import OneOf


def outside(design: Design, columns: Mapping[str, Any], stage: str) -> str:
    """Which of a stage's answers is not in the design, in a few words; empty where all are.

    Args:
        columns: a config by column, null where a parameter is not active.
    """
    answered: set[str] = set()
    said = _outside(design.stages.get(stage, ()), columns, answered)
    if said:
        return said
    own = {q.column for q in design.questions() if q.stage == stage}
    more = [c for c, value in columns.items() if c in own - answered and not is_null(value)]
    more += [c for c, v in columns.items() if c.startswith(f"{stage}_") and c not in own and not is_null(v)]
    return f"{more[0]} is not asked there" if more else ""


def _outside(questions: Sequence[Question], columns: Mapping[str, Any], answered: set[str]) -> str:
    for question in questions:
        value = columns.get(question.column)
        answered.add(question.column)
        if is_null(value):
            return f"{question.path} has no answer"
        prior = question.prior
        if isinstance(prior, OneOf):
            answers = [a for a in prior.values if label(a) == label(value)]
            if not answers:
                return f"{question.path} is {label(value)}, the design has {prior}"
            said = _outside(question.below.get(answers[0], ()), columns, answered)
            if said:
                return said
        elif isinstance(value, str) or not prior.low <= float(str(value)) <= prior.high:
            return f"{question.path} is {label(value)}, the design has {prior}"
    return ""
