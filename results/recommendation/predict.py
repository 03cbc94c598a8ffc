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


def predict(found: Result, tried: Tried, target: Target, first: int, places: int = 1) -> Predicted | None:
    """The best of `places` recommendations from the `first` (0) on, by what these reached on datasets that
    were left out; None where no teacher's score is known.

    Datasets are taken as draws from one population: the interval is Student's for one more draw (its groups
    are the units), about their mean or, where that predicts groups left out better, about the line over
    `HINT`.
    """
    known = [on for on in found.datasets if len(on.reached) > first]
    if not known:
        return None
    reached = group_means([(on.group, max(on.reached[first : first + places])) for on in known])
    hints = group_means([(on.group, _hint(tried, on.dataset)) for on in known])
    return predicted(reached, hints, hint_of(target))


def predicted(reached: Floats, hints: Floats, hint: float) -> Predicted:
    """One more draw of `reached`.

    Args:
        reached: [groups].
        hints: [groups] what goes with each, NaN where unknown.
        hint: of the draw, NaN where unknown.
    """
    count = len(reached)
    if count < FEWEST_GROUPS:
        return Predicted(float(reached.mean()), None, None, count, False)
    if count >= FEWEST_FOR_LINE and np.isfinite(hint) and np.isfinite(hints).all() and np.ptp(hints) > 0:
        with_line, alone = _left_out(reached, np.column_stack([np.ones(count), hints])), _left_out(reached)
        if (with_line**2).sum() < (alone**2).sum():
            return _draw(reached, np.column_stack([np.ones(count), hints]), np.array([1.0, hint]), True)
    return _draw(reached, np.ones((count, 1)), np.ones(1), False)


def hint_of(target: Target) -> float:
    """The small student's score as a share of the teacher's, NaN where unknown."""
    known = target or {}
    teacher = known.get("teacher_score", np.nan)
    return known.get(HINT, np.nan) / teacher if teacher > 0 else np.nan


def _hint(tried: Tried, dataset: str) -> float:
    return hint_of(tried.target(tried.datasets.index(dataset)))


def _left_out(reached: Floats, matrix: Floats | None = None) -> Floats:
    """[groups] errors of least squares at each group, left out."""
    matrix = np.ones((len(reached), 1)) if matrix is None else matrix
    hat = matrix @ np.linalg.pinv(matrix)
    return np.asarray((reached - hat @ reached) / np.maximum(1 - np.diag(hat), 1e-9))


def _draw(reached: Floats, matrix: Floats, at: Floats, by_hint: bool) -> Predicted:
    count, columns = matrix.shape
    solved = np.linalg.pinv(matrix)
    coefficients = solved @ reached
    freedom = count - columns
    variance = float(((reached - matrix @ coefficients) ** 2).sum()) / freedom
    error = np.sqrt(variance * (1 + float(at @ solved @ solved.T @ at)))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * error)
    value = float(at @ coefficients)
    return Predicted(value, value - reach, value + reach, count, by_hint)
