"""Representation objectives against torch's own, with padding that must never matter."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from distiller.pipelines.objectives import OBJECTIVES, reduce_representation

NAMES = pytest.mark.parametrize("name", OBJECTIVES)


def vectors(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def independent(name: str, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The same losses by torch's functions, on [N, H] real vectors."""
    if name == "mse":
        return F.mse_loss(student, teacher)
    if name == "cosine":
        return F.cosine_embedding_loss(student, teacher, torch.ones(len(student)))
    return F.pairwise_distance(F.normalize(student), F.normalize(teacher), eps=0).square().mean()


@NAMES
@settings(deadline=None)
@given(seed=st.integers(0, 2**16), lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_equals_torch_on_real_tokens(name: str, seed: int, lengths: list[int]) -> None:
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    student, teacher = vectors(seed, *mask.shape, 6), vectors(seed + 1, *mask.shape, 6)
    loss = OBJECTIVES[name](student, teacher, mask.long())
    expected = independent(name, student[mask], teacher[mask]) if any(lengths) else torch.zeros(())
    torch.testing.assert_close(loss, expected.double())


@NAMES
def test_pooled_vectors_are_tokens_of_length_one(name: str) -> None:
    student, teacher = vectors(0, 7, 4), vectors(1, 7, 4)
    pooled = OBJECTIVES[name](student, teacher, torch.ones(7))
    torch.testing.assert_close(pooled, OBJECTIVES[name](student, teacher, None))
    torch.testing.assert_close(pooled, independent(name, student, teacher))
    torch.testing.assert_close(pooled, OBJECTIVES[name](student[:, None], teacher[:, None], torch.ones(7, 1)))


@NAMES
@pytest.mark.parametrize("representation", ["cls", "mean", "tokens"])
@pytest.mark.parametrize("rubbish", [1e6, math.nan, math.inf])
def test_padding_never_matters(name: str, representation: str, rubbish: float) -> None:
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]])
    seen = torch.ones(2) if representation != "tokens" else mask

    def loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        reduced = (reduce_representation(x, mask, representation) for x in (student, teacher))
        return OBJECTIVES[name](*reduced, seen)

    student, teacher = vectors(2, 2, 4, 3), vectors(3, 2, 4, 3)
    gradient, value = torch.func.grad_and_value(loss)(student, teacher)
    dirty = [x.masked_fill(mask[..., None] == 0, rubbish) for x in (student, teacher)]
    dirty_gradient, dirty_value = torch.func.grad_and_value(loss)(*dirty)
    assert value == dirty_value
    assert value > 0
    torch.testing.assert_close(gradient, dirty_gradient, rtol=0, atol=0)
    assert (gradient[mask == 0] == 0).all()


@NAMES
def test_half_precision_teachers_neither_overflow_nor_round(name: str) -> None:
    student, teacher = vectors(7, 4, 8), (300 * vectors(8, 4, 8)).half()
    loss = OBJECTIVES[name](student.float(), teacher, torch.ones(4))
    assert loss.item() == pytest.approx(independent(name, student, teacher.double()).item(), rel=1e-5)


@NAMES
def test_zero_vectors_have_finite_gradients(name: str) -> None:
    student = torch.zeros(2, 3, requires_grad=True)
    loss = OBJECTIVES[name](student, torch.ones(2, 3), torch.ones(2))
    assert torch.autograd.grad(loss, student)[0].isfinite().all()


@NAMES
def test_vmap_equals_a_loop(name: str) -> None:
    student, teacher = vectors(4, 3, 2, 5, 4), vectors(5, 2, 5, 4)
    mask = (torch.arange(5) < torch.tensor([[2, 5], [1, 3], [0, 0]])[..., None]).long()
    fused = torch.func.vmap(OBJECTIVES[name], (0, None, 0))(student, teacher, mask)
    solo = [OBJECTIVES[name](s, teacher, m) for s, m in zip(student, mask, strict=True)]
    torch.testing.assert_close(fused, torch.stack(solo))


def test_reduced_representations() -> None:
    hidden, mask = vectors(6, 2, 3, 4), torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert reduce_representation(hidden, mask, "cls").equal(hidden[:, 0])
    assert reduce_representation(hidden, mask, "tokens").equal(hidden)
    expected = torch.stack([hidden[0, :2].mean(0), hidden[1].mean(0)])
    torch.testing.assert_close(reduce_representation(hidden, mask, "mean"), expected)
    with pytest.raises(ValueError, match="'max' is none of"):
        reduce_representation(hidden, mask, "max")
