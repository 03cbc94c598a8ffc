"""What share of the teacher's score a recommendation reaches on a dataset that was not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from distiller.results.recommendation.evaluation import LEVEL, Result, group_means
from distiller.results.recommendation.recommender import Target
from distiller.results.recommendation.table import Floats, Tried

FEWEST_GROUPS = 3
"""Of fewer groups of datasets no interval is given."""
FEWEST_FOR_LINE = 6
HINT = "small_student_score"
"""Where a small student without a teacher comes near it, distilled ones do too."""


@dataclass(frozen=True)
class Predicted:
    """A share of the teacher's score with its 95% prediction interval.

    Attributes:
        low, high: None where fewer than `FEWEST_GROUPS` groups of datasets say nothing of them.
        groups: of datasets, left out in turn, on which it rests.
        by_hint: whether the score of a small student without a teacher is taken into account.
    """

    value: float
    low: float | None
    high: float | None
    groups: int
    by_hint: bool


def predict(
    found: Result, tried: Tried, target: Target, expected: Floats, first: int = 0
) -> Predicted | None:
    """What the best of some recommendations reaches; None where no teacher's score is known.

    It is the best of `expected`, moved by how far the same places of the ranking were off on datasets that
    were left out: picking the best on other datasets promises too much. These errors (of groups of datasets)
    are taken as draws from one population, and the interval is Student's for one more draw, about their mean
    or, where that predicts groups left out better, about the line over `HINT`.

    Args:
        found: the recommender's evaluation.
        expected: [recommendations] what they reach on earlier datasets (`Training.of_teacher`).
        first: place of the first of them in the ranking, from 0.
    """
    last = first + len(expected)
    known = [on for on in found.datasets if len(on.reached) >= last and np.isfinite(on.expected).all()]
    if not known or not np.isfinite(expected).all():
        return None
    off = [(on.group, max(on.reached[first:last]) - max(on.expected[first:last])) for on in known]
    errors = group_means(off)
    hints = group_means([(on.group, _hint(tried, on.dataset)) for on in known])
    error = predicted(errors, hints, hint_of(target))
    best = float(expected.max())
    low, high = (None if end is None else best + end for end in (error.low, error.high))
    return Predicted(best + error.value, low, high, error.groups, error.by_hint)


def predicted(drawn: Floats, hints: Floats, hint: float) -> Predicted:
    """One more draw of a population.

    Args:
        drawn: [groups].
        hints: [groups] what goes with each, NaN where unknown.
        hint: of the draw, NaN where unknown.
    """
    count = len(drawn)
    if count < FEWEST_GROUPS:
        return Predicted(float(drawn.mean()), None, None, count, False)
    if count >= FEWEST_FOR_LINE and np.isfinite(hint) and np.isfinite(hints).all() and np.ptp(hints) > 0:
        with_line, alone = _left_out(drawn, np.column_stack([np.ones(count), hints])), _left_out(drawn)
        if (with_line**2).sum() < (alone**2).sum():
            return _draw(drawn, np.column_stack([np.ones(count), hints]), np.array([1.0, hint]), True)
    return _draw(drawn, np.ones((count, 1)), np.ones(1), False)


def hint_of(target: Target) -> float:
    """The small student's score as a share of the teacher's, NaN where unknown."""
    known = target or {}
    teacher = known.get("teacher_score", np.nan)
    return known.get(HINT, np.nan) / teacher if teacher > 0 else np.nan


def _hint(tried: Tried, dataset: str) -> float:
    return hint_of(tried.target(tried.datasets.index(dataset)))


def _left_out(drawn: Floats, matrix: Floats | None = None) -> Floats:
    """[groups] errors of least squares at each group, left out."""
    matrix = np.ones((len(drawn), 1)) if matrix is None else matrix
    hat = matrix @ np.linalg.pinv(matrix)
    return np.asarray((drawn - hat @ drawn) / np.maximum(1 - np.diag(hat), 1e-9))


def _draw(drawn: Floats, matrix: Floats, at: Floats, by_hint: bool) -> Predicted:
    count, columns = matrix.shape
    solved = np.linalg.pinv(matrix)
    coefficients = solved @ drawn
    freedom = count - columns
    variance = float(((drawn - matrix @ coefficients) ** 2).sum()) / freedom
    error = np.sqrt(variance * (1 + float(at @ solved @ solved.T @ at)))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * error)
    value = float(at @ coefficients)
    return Predicted(value, value - reach, value + reach, count, by_hint)
