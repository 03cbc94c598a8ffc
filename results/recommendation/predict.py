"""What share of the teacher's score a recommendation reaches on a dataset that was not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from distiller.results.recommendation.evaluation import LEVEL, Result, group_means
from distiller.results.recommendation.recommender import Target
from distiller.results.recommendation.table import Floats, Tried

FEWEST_GROUPS = 3
"""Of fewer groups of datasets no interval is given."""
FEWEST_FOR_LINE = 6
HINTS = ("small_student_score", "probe_score")
"""Meta-features that are scores: where a small student without a teacher, or a linear probe of the teacher
before fine-tuning, comes near the teacher's score, distilled students may too."""


@dataclass(frozen=True)
class Predicted:
    """A share of the teacher's score with its 95% prediction interval.

    Attributes:
        low, high: None where fewer than `FEWEST_GROUPS` groups of datasets say nothing of them.
        groups: of datasets, left out in turn, on which it rests.
        by: which of `HINTS` is taken into account; None for none.
    """

    value: float
    low: float | None
    high: float | None
    groups: int
    by: str | None


def predict(
    found: Result, tried: Tried, target: Target, expected: Floats, first: int = 0
) -> Predicted | None:
    """What the best of some recommendations reaches; None where no teacher's score is known.

    It is the best of `expected`, moved by how far the same places of the ranking were off on datasets that
    were left out: picking the best on other datasets promises too much. These errors (of groups of datasets)
    are taken as draws from one population, and the interval is Student's for one more draw, about their mean
    or, where that predicts groups left out better, about the line over one of `HINTS`.

    Args:
        found: the recommender's evaluation.
        expected: [recommendations] what they reach on earlier datasets (`Training.of_teacher`).
        first: place of the first of them in the ranking, from 0.
    """
    last = first + len(expected)
    known = [on for on in found.datasets if min(len(on.reached), len(on.expected)) >= last]
    if not known or not np.isfinite(expected).all():
        return None
    off = [(on.group, max(on.reached[first:last]) - max(on.expected[first:last])) for on in known]
    errors = group_means(off)
    hints = {
        name: group_means([(on.group, _hint(tried, on.dataset, name)) for on in known]) for name in HINTS
    }
    error = predicted(errors, hints, {name: hint_of(target, name) for name in HINTS})
    best = float(expected.max())
    low, high = (None if end is None else best + end for end in (error.low, error.high))
    return Predicted(best + error.value, low, high, error.groups, error.by)


def predicted(drawn: Floats, hints: Mapping[str, Floats], at: Mapping[str, float]) -> Predicted:
    """One more draw of a population.

    Args:
        drawn: [groups].
        hints: by name, [groups] what goes with each, NaN where unknown.
        at: by name, what goes with the draw, NaN where unknown.
    """
    count = len(drawn)
    if count < FEWEST_GROUPS:
        return Predicted(float(drawn.mean()), None, None, count, None)
    alone = np.ones((count, 1))
    lines: dict[str | None, Floats] = {None: alone} | {
        name: np.column_stack([alone, known])
        for name, known in hints.items()
        if count >= FEWEST_FOR_LINE and np.isfinite([*known, at[name]]).all() and np.ptp(known) > 0
    }
    lost = {name: float((_left_out(drawn, matrix) ** 2).sum()) for name, matrix in lines.items()}
    best = min(lost, key=lambda name: lost[name])
    where = np.ones(1) if best is None else np.array([1.0, at[best]])
    return _draw(drawn, lines[best], where, best)


def hint_of(target: Target, name: str) -> float:
    """A score as a share of the teacher's, NaN where unknown."""
    known = target or {}
    teacher = known.get("teacher_score", np.nan)
    return known.get(name, np.nan) / teacher if teacher > 0 else np.nan


def _hint(tried: Tried, dataset: str, name: str) -> float:
    return hint_of(tried.target(tried.datasets.index(dataset)), name)


def _left_out(drawn: Floats, matrix: Floats) -> Floats:
    """[groups] errors of least squares at each group, left out."""
    hat = matrix @ np.linalg.pinv(matrix)
    return np.asarray((drawn - hat @ drawn) / np.maximum(1 - np.diag(hat), 1e-9))


def _draw(drawn: Floats, matrix: Floats, at: Floats, by: str | None) -> Predicted:
    count, columns = matrix.shape
    solved = np.linalg.pinv(matrix)
    coefficients = solved @ drawn
    freedom = count - columns
    variance = float(((drawn - matrix @ coefficients) ** 2).sum()) / freedom
    error = np.sqrt(variance * (1 + float(at @ solved @ solved.T @ at)))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * error)
    value = float(at @ coefficients)
    return Predicted(value, value - reach, value + reach, count, by)
