"""The same decomposition by brute force: pick-freeze Monte Carlo on configs, whatever a score is made of.

V(E[f | A]) is the covariance of f at two configs that share A and nothing else (Sobol 1993; Saltelli et al.
2010), here centred by the mean of both (Janon et al. 2014, eq. 6).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from distiller.results.design import Question
from distiller.spaces.priors import OneOf, is_constant
from tests.truth.response import Subset
from tests.truth.tree import Floats, Places, draw_places

Score = Callable[[Places], Floats]


def explained(
    score: Score,
    questions: Sequence[Question],
    shared: Collection[str],
    rows: int,
    rng: np.random.Generator,
    given: Mapping[str, float] | None = None,
) -> float:
    """V(E[f | the questions whose paths are `shared`]), where the places `given` are fixed."""
    one, other = draw_places(questions, rows, rng), draw_places(questions, rows, rng)
    fixed = {path: np.full(rows, place) for path, place in (given or {}).items()}
    both = {path: one[path] for path in shared}
    f, g = score({**one, **fixed}), score({**other, **both, **fixed})
    mean = (f + g).mean() / 2
    return float(((f - mean) * (g - mean)).mean())


def closed_shares(
    score: Score, questions: Sequence[Question], stages: Sequence[str], rows: int, rng: np.random.Generator
) -> dict[Subset, float]:
    """V(E[f | U]) / V(f) of every non-empty set U of stages: its interaction and all within it."""
    one, other = draw_places(questions, rows, rng), draw_places(questions, rows, rng)
    f = score(one)
    found = {}
    for size in range(1, len(stages) + 1):
        for chosen in map(frozenset, itertools.combinations(stages, size)):
            g = score({q.path: (one if q.stage in chosen else other)[q.path] for q in questions})
            mean = (f + g).mean() / 2
            found[chosen] = float(((f - mean) * (g - mean)).mean())
    return {chosen: variance / float(f.var()) for chosen, variance in found.items()}


def parameter_shares(
    score: Score,
    asked: Sequence[Question],
    questions: Sequence[Question],
    rows: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """The variance of each question that is `asked` (of one stage) down the tree; by path, not divided.

    For a question under some answers that is P(those answers) V(E[f | what it and those below it answer] |
    those answers), less what lies below it.
    """
    found: dict[str, float] = {}

    def descend(question: Question, given: dict[str, float], probability: float) -> float:
        below = [inner.path for inner in question.walk() if not is_constant(inner.prior)]
        whole = probability * explained(score, questions, below, rows, rng, given)
        inside = 0.0
        for answer, under in question.below.items():
            assert isinstance(question.prior, OneOf)
            number, count = question.prior.values.index(answer), len(question.prior.values)
            here = {**given, question.path: (number + 0.5) / count} if count > 1 else given
            paths = [q.path for top in under for q in top.walk() if not is_constant(q.prior)]
            if paths:
                inside += probability / count * explained(score, questions, paths, rows, rng, here)
            for inner in under:
                descend(inner, here, probability / count)
        if not is_constant(question.prior):
            found[question.path] = whole - inside
        return whole

    for question in asked:
        descend(question, {}, 1.0)
    return found
