"""Shares of the teacher's score: intervals against closed forms and against draws."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from distiller.results.recommendation.predict import FEWEST_FOR_LINE, HINTS, hint_of, predict, predicted

NAME, OTHER = HINTS


def test_without_a_hint_it_is_students_prediction_interval():
    reached = np.array([0.8, 0.9, 0.97, 0.85])
    found = predicted(reached, {}, {})
    reach = stats.t.ppf(0.975, 3) * reached.std(ddof=1) * math.sqrt(1 + 1 / 4)
    assert (found.value, found.low, found.high) == pytest.approx(
        (reached.mean(), reached.mean() - reach, reached.mean() + reach)
    )
    assert (found.groups, found.by) == (4, None)


def test_a_hint_that_tells_is_followed_along_a_line():
    rng = np.random.default_rng(0)
    hints = rng.uniform(0, 1, 10)
    reached = 0.5 + 0.4 * hints + rng.normal(0, 0.02, 10)
    useless = rng.normal(size=10)
    found = predicted(reached, {OTHER: useless, NAME: hints}, {OTHER: 0.0, NAME: 0.9})
    line = stats.linregress(hints, reached)
    assert found.by == NAME
    assert found.value == pytest.approx(line.intercept + line.slope * 0.9)
    error = np.sqrt(((reached - line.intercept - line.slope * hints) ** 2).sum() / 8)
    spread = ((hints - hints.mean()) ** 2).sum()
    reach = stats.t.ppf(0.975, 8) * error * math.sqrt(1 + 1 / 10 + (0.9 - hints.mean()) ** 2 / spread)
    assert found.high - found.low == pytest.approx(2 * reach)
    assert predicted(reached, {NAME: hints}, {NAME: math.nan}).by is None
    few = FEWEST_FOR_LINE - 1
    assert predicted(reached[:few], {NAME: hints[:few]}, {NAME: 0.9}).by is None


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("groups", [3, 8])
def test_intervals_cover_one_more_draw(groups, slope):
    """At nominal 95%; which line is taken, if any, is chosen by the same few groups."""
    rng = np.random.default_rng(groups)
    inside = []
    for _ in range(1500):
        hints = rng.uniform(0, 1, groups + 1)
        reached = 0.7 + slope * hints + rng.normal(0, 0.1, groups + 1)
        other = rng.normal(size=groups + 1)
        both = {NAME: hints, OTHER: other}
        known = {name: values[:-1] for name, values in both.items()}
        found = predicted(reached[:-1], known, {name: values[-1] for name, values in both.items()})
        inside.append(found.low <= reached[-1] <= found.high)
    assert 0.92 < np.mean(inside) < 0.975


def test_two_groups_give_no_interval():
    found = predicted(np.array([0.8, 0.9]), {}, {})
    assert (found.low, found.high) == (None, None)
    assert found.value == pytest.approx(0.85)


def on(dataset, group, reached=(), expected=()):
    return SimpleNamespace(dataset=dataset, group=group, reached=reached, expected=expected)


def test_what_is_expected_is_moved_by_the_errors_on_groups_left_out():
    result = SimpleNamespace(
        datasets=(
            on("a-1", "a", (0.8, 0.9), (0.9, 0.9)),
            on("a-2", "a", (0.6, 0.5), (0.7, 0.8)),
            on("b", "b", (0.9, 0.7), (0.9, 0.6)),
            on("c", "c", (0.5, 0.6), (0.8, 0.7)),
            on("d", "d"),  # its teacher's score is unknown
        )
    )
    tried = SimpleNamespace(datasets=("a-1", "a-2", "b", "c", "d"), target=lambda j: {})
    first = [-0.1, 0.0, -0.3]
    found = predict(result, tried, None, np.array([0.95]))
    assert found.value == pytest.approx(0.95 + np.mean(first))
    reach = stats.t.ppf(0.975, 2) * np.std(first, ddof=1) * math.sqrt(1 + 1 / 3)
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach))
    second = [(0.0 - 0.3) / 2, 0.1, -0.1]
    assert predict(result, tried, None, np.array([0.9]), 1).value == pytest.approx(0.9 + np.mean(second))
    best = [(0.0 - 0.2) / 2, 0.0, -0.2]
    assert predict(result, tried, None, np.array([0.9, 0.7])).value == pytest.approx(0.9 + np.mean(best))
    assert predict(SimpleNamespace(datasets=(on("d", "d"),)), tried, None, np.array([0.9])) is None
    assert predict(result, tried, None, np.array([np.nan])) is None


def test_the_hint_is_a_share_of_the_teachers_score():
    assert hint_of({"small_student_score": 0.3, "teacher_score": 0.6}, "small_student_score") == 0.5
    for unknown in (
        None,
        {},
        {"small_student_score": 0.3},
        {"small_student_score": 0.3, "teacher_score": 0.0},
    ):
        assert math.isnan(hint_of(unknown, "small_student_score"))
