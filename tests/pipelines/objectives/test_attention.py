"""Attention objectives against loops over heads and examples, without padding, on torch's own attention."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.objectives.attention import attention, minilm, minilm_v2

B, T, NARROW, WIDE = 3, 5, 8, 12
HEADS = st.sampled_from([(2, 2), (2, 4), (4, 3), (1, 6)])
LENGTHS = st.lists(st.integers(1, T), min_size=B, max_size=B)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mask_of(lengths: list[int]) -> Tensor:
    return torch.arange(T) < torch.tensor(lengths)[:, None]


def head(states: Tensor, number: int, heads: int) -> Tensor:
    """[n, d] of one head."""
    width = states.shape[-1] // heads
    return states[:, number * width : (number + 1) * width]


def map_of(queries: Tensor, keys: Tensor) -> Tensor:
    """Torch's attention of the unit vectors: [n, n], the map itself."""
    return F.scaled_dot_product_attention(queries, keys, torch.eye(len(keys), dtype=keys.dtype))


def maps(left: Tensor, right: Tensor, heads: int) -> Tensor:
    """[heads, n, n]."""
    return torch.stack([map_of(head(left, h, heads), head(right, h, heads)) for h in range(heads)])


def scores(queries: Tensor, keys: Tensor, heads: int) -> Tensor:
    return torch.stack(
        [
            head(queries, h, heads) @ head(keys, h, heads).T / math.sqrt(queries.shape[-1] / heads)
            for h in range(heads)
        ]
    )


def matched(own: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
    if len(own) == len(said):
        return own, said
    return own.mean(0, keepdim=True), said.mean(0, keepdim=True)


def divergences(own: Tensor, said: Tensor) -> list[float]:
    """KL(said || own) of each query, mean over heads."""
    own, said = matched(own, said)
    each = F.kl_div(own.log(), said, reduction="none").sum(-1)
    return each.mean(0).tolist()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), LENGTHS, HEADS, st.sampled_from(["scores", "maps"]))
def test_attention_equals_loops(seed: int, lengths: list[int], heads: tuple[int, int], target: str) -> None:
    student, teacher = normal(seed, B, T, 2 * NARROW), normal(seed + 1, B, T, 2 * WIDE)
    squares: list[float] = []
    for one, other, n in zip(student, teacher, lengths, strict=True):
        read = maps if target == "maps" else scores
        own = read(one[:n, :NARROW], one[:n, NARROW:], heads[0])
        said = read(other[:n, :WIDE], other[:n, WIDE:], heads[1])
        own, said = matched(own, said)
        squares += (own - said).square().mean(0).flatten().tolist()
    found = attention(
        student, teacher, mask_of(lengths), student_heads=heads[0], teacher_heads=heads[1], target=target
    )
    assert found.item() == pytest.approx(sum(squares) / len(squares), rel=1e-10, abs=1e-14)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), LENGTHS, HEADS)
def test_minilm_equals_loops(seed: int, lengths: list[int], heads: tuple[int, int]) -> None:
    student, teacher = normal(seed, B, T, 3 * NARROW), normal(seed + 1, B, T, 3 * WIDE)
    found_maps: list[float] = []
    relations: list[float] = []
    for one, other, n in zip(student, teacher, lengths, strict=True):
        own, said = one[:n].split(NARROW, -1), other[:n].split(WIDE, -1)
        found_maps += divergences(maps(own[0], own[1], heads[0]), maps(said[0], said[1], heads[1]))
        relations += divergences(maps(own[2], own[2], heads[0]), maps(said[2], said[2], heads[1]))
    expected = sum(found_maps) / len(found_maps) + sum(relations) / len(relations)
    found = minilm(student, teacher, mask_of(lengths), student_heads=heads[0], teacher_heads=heads[1])
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-13)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), LENGTHS, st.sampled_from([(1, 1), (2, 2), (3, 2), (4, 4), (16, 4)]))
def test_minilm_v2_equals_loops(seed: int, lengths: list[int], heads: tuple[int, int]) -> None:
    """heads: those asked for, and the largest number up to it that divides 8 and 12."""
    student, teacher = normal(seed, B, T, 3 * NARROW), normal(seed + 1, B, T, 3 * WIDE)
    expected = 0.0
    for state in range(3):
        each: list[float] = []
        for one, other, n in zip(student, teacher, lengths, strict=True):
            own, said = one[:n].split(NARROW, -1)[state], other[:n].split(WIDE, -1)[state]
            each += divergences(maps(own, own, heads[1]), maps(said, said, heads[1]))
        expected += sum(each) / len(each)
    found = minilm_v2(student, teacher, mask_of(lengths), student_heads=2, teacher_heads=4, heads=heads[0])
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-13)


def test_maps_do_not_see_what_attention_does_not() -> None:
    """Turning queries and keys alike, or a shift of all keys, leaves the maps and their losses alone."""
    student, teacher = normal(0, B, T, 2 * NARROW), normal(1, B, T, 2 * NARROW)
    turn = torch.linalg.qr(normal(2, NARROW, NARROW))[0]
    queries, keys = student.chunk(2, -1)
    mask = mask_of([5, 2, 4])

    def of_maps(states: Tensor, target: str = "maps") -> Tensor:
        return attention(states, teacher, mask, student_heads=1, teacher_heads=1, target=target)

    turned = torch.cat([queries @ turn, keys @ turn], -1)
    shifted = torch.cat([queries, keys + normal(3, NARROW)], -1)
    torch.testing.assert_close(of_maps(turned), of_maps(student))
    torch.testing.assert_close(of_maps(turned, "scores"), of_maps(student, "scores"))
    torch.testing.assert_close(of_maps(shifted), of_maps(student))
    assert not torch.isclose(of_maps(shifted, "scores"), of_maps(student, "scores"))


def test_far_apart_scores_stay_finite() -> None:
    """Maps that are one-hot in float32: a logarithm of 0 must not come up."""
    student, teacher = (100 * normal(seed, B, T, 3 * NARROW).float() for seed in (4, 5))
    mask = mask_of([5, 1, 3])

    def loss(states: Tensor) -> Tensor:
        return minilm(states, teacher, mask, student_heads=2, teacher_heads=4)

    gradient, value = torch.func.grad_and_value(loss)(student)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert not gradient[~mask].any()


def test_an_unknown_target_is_refused() -> None:
    states = normal(6, B, T, 2 * NARROW)
    with pytest.raises(ValueError, match="'probabilities' is none of 'scores', 'maps'"):
        attention(
            states, states, mask_of([5, 5, 5]), student_heads=2, teacher_heads=2, target="probabilities"
        )
