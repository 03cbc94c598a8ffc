"""Objectives that compare vectors one by one, against torch's and scipy's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from scipy.stats import entropy
from torch.nn import functional as F

from distiller.pipelines.objectives import OBJECTIVES

NAMES = ("mse", "l1", "cosine", "pkd", "ce", "kl")
TEMPERATURE = 1.7


def vectors(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def loss(
    name: str,
    student: torch.Tensor,
    teacher: torch.Tensor,
    mask: torch.Tensor | None = None,
    temperature: float = TEMPERATURE,
) -> torch.Tensor:
    more = {"temperature": torch.tensor(temperature, dtype=torch.float64)} if name in ("ce", "kl") else {}
    return OBJECTIVES[name].loss(student, teacher, mask, **more)


def independent(name: str, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The same losses by others' functions, on [N, H] real vectors."""
    if name == "mse":
        return F.mse_loss(student, teacher)
    if name == "l1":
        return F.l1_loss(student, teacher)
    if name == "cosine":
        return F.cosine_embedding_loss(student, teacher, torch.ones(len(student)))
    if name == "pkd":
        return F.pairwise_distance(F.normalize(student), F.normalize(teacher), eps=0).square().mean()
    if name == "ce":
        return F.cross_entropy(student / TEMPERATURE, F.softmax(teacher / TEMPERATURE, -1))
    divergences = rel_entr(
        softmax(teacher.numpy() / TEMPERATURE, -1), softmax(student.numpy() / TEMPERATURE, -1)
    )
    return torch.tensor(divergences.sum(-1).mean())


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(seed=st.integers(0, 2**16), lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_equals_a_library_on_real_tokens(name: str, seed: int, lengths: list[int]) -> None:
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    student, teacher = vectors(seed, *mask.shape, 6), vectors(seed + 1, *mask.shape, 6)
    expected = independent(name, student[mask], teacher[mask]) if any(lengths) else torch.zeros(())
    torch.testing.assert_close(loss(name, student, teacher, mask.long()), expected.double())
    if any(lengths):
        torch.testing.assert_close(loss(name, student[mask], teacher[mask]), expected.double())


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_teachers_neither_overflow_nor_round(name: str) -> None:
    student, teacher = vectors(7, 4, 8).float(), (300 * vectors(8, 4, 8)).half()
    expected = independent(name, student.double(), teacher.double()).item()
    assert loss(name, student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_is_kl_plus_the_teachers_entropy() -> None:
    student, teacher = vectors(1, 9, 5), vectors(2, 9, 5)
    constant = entropy(softmax(teacher.numpy() / TEMPERATURE, -1), axis=-1).mean()
    found = (loss("ce", student, teacher) - loss("kl", student, teacher)).item()
    assert found == pytest.approx(constant, rel=1e-12)
    gradients = [torch.func.grad(lambda s, n=name: loss(n, s, teacher))(student) for name in ("ce", "kl")]
    torch.testing.assert_close(*gradients)


def test_kl_of_hot_distributions_is_a_distance_of_centred_states() -> None:
    """T^2 KL -> half the variance over the width of teacher - student (Hinton et al., section 2.1)."""
    student, teacher = vectors(3, 6, 7), vectors(4, 6, 7)
    hot = 1e4
    limit = (teacher - student).var(-1, correction=0).mean().item() / 2
    assert hot**2 * loss("kl", student, teacher, temperature=hot).item() == pytest.approx(limit, rel=1e-3)


def test_kl_of_cold_distributions_tells_the_largest_coordinate() -> None:
    teacher = torch.tensor([[0.0, 3.0, 1.0]]).double()
    student = torch.tensor([[1.0, 0.0, 0.5]]).double()
    cold = 1e-2
    assert cold * loss("kl", student, teacher, temperature=cold).item() == pytest.approx(1.0, rel=1e-6)


@settings(deadline=None)
@given(st.integers(0, 2**16), st.floats(0.01, 100))
def test_scale_of_a_side_means_nothing_to_cosine_and_pkd(seed: int, scale: float) -> None:
    student, teacher = vectors(seed, 5, 4), vectors(seed + 1, 5, 4)
    for name in ("cosine", "pkd"):
        torch.testing.assert_close(loss(name, scale * student, teacher), loss(name, student, teacher))
    torch.testing.assert_close(loss("pkd", student, teacher), 2 * loss("cosine", student, teacher))
