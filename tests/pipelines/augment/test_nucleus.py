"""Nucleus sampling against the definition, spelt out, and against its own frequencies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from distiller.pipelines.augment.nucleus import draw, nucleus

LOGITS = torch.tensor([1.0, 3.0, -2.0, 2.5, 0.0, 2.0], dtype=torch.float64)


def nucleus_by_hand(probabilities: list[float], top_p: float) -> dict[int, float]:
    """The smallest set of most probable tokens whose mass reaches `top_p`, renormalised."""
    kept: dict[int, float] = {}
    for i in sorted(range(len(probabilities)), key=lambda i: -probabilities[i]):
        kept[i] = probabilities[i]
        if sum(kept.values()) >= top_p:
            break
    return {i: p / sum(kept.values()) for i, p in kept.items()}


@settings(deadline=None)
@given(
    st.lists(st.integers(-400, 400).map(lambda i: i / 100), min_size=1, max_size=12, unique=True),
    st.floats(0.01, 0.999),
)
def test_the_nucleus_is_what_its_definition_says(logits: list[float], top_p: float) -> None:
    found = nucleus(torch.tensor([logits, logits], dtype=torch.float64), top_p)
    probabilities = (np.exp(logits) / np.exp(logits).sum()).tolist()
    expected = nucleus_by_hand(probabilities, top_p)
    if min(abs(sum(sorted(probabilities)[-n:]) - top_p) for n in range(1, len(logits) + 1)) < 1e-9:
        return  # rounding decides whether one more belongs to it
    for row in found.tolist():
        assert {i for i, p in enumerate(row) if p > 0} == set(expected)
        assert [row[i] for i in expected] == pytest.approx(list(expected.values()), rel=1e-12)


def test_all_mass_is_the_softmax_and_no_mass_the_most_probable() -> None:
    torch.testing.assert_close(nucleus(LOGITS, 1.0), LOGITS.softmax(-1))
    assert nucleus(LOGITS, 1e-9).tolist() == [0, 1, 0, 0, 0, 0]
    assert nucleus(LOGITS.bfloat16(), 0.5).dtype is torch.float32
    assert nucleus(torch.zeros(4), 0.5).tolist() == [0.5, 0.5, 0, 0]


def test_draws_are_as_frequent_as_probable() -> None:
    uniform = torch.from_numpy(np.random.default_rng(0).random(20_000))
    weights = nucleus(LOGITS, 0.9)
    drawn = draw(weights.expand(len(uniform), -1), uniform)
    expected = nucleus_by_hand(LOGITS.softmax(-1).tolist(), 0.9)
    counts = np.bincount(drawn.numpy(), minlength=6)
    assert set(np.flatnonzero(counts)) == set(expected)
    found, wanted = [counts[i] for i in expected], [20_000 * p for p in expected.values()]
    assert stats.chisquare(found, wanted).pvalue > 1e-3


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=9).filter(any), st.floats(0, 1, exclude_max=True))
def test_a_draw_lands_where_the_uniform_number_falls(weights: list[int], uniform: float) -> None:
    drawn = int(draw(torch.tensor(weights), torch.tensor(uniform, dtype=torch.float64)))
    assert weights[drawn] > 0
    below, total = sum(weights[:drawn]), sum(weights)
    assert below <= uniform * total <= below + weights[drawn]


def test_the_ends_of_the_uniform_range() -> None:
    weights = torch.tensor([0.0, 0.3, 0.1, 0.7, 0.0])
    last = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)
    assert draw(weights.expand(2, -1), last).tolist() == [1, 3]
