"""Prediction losses against scipy's definitions, limits and torch.func.vmap."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy

from distiller.pipelines import prediction

TEMPERATURES = st.floats(0.5, 20)
SEEDS = st.integers(0, 2**16)


def logits(seed: int, *shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(SEEDS, TEMPERATURES)
def test_kl_and_ce_are_scipys(seed: int, temperature: float) -> None:
    student, teacher = logits(seed, 5, 4), logits(seed + 1, 5, 4)
    p, q = (softmax(x.numpy() / temperature, axis=-1) for x in (teacher, student))
    divergence = prediction.kl(student, teacher, temperature)
    crossed = prediction.ce(student, teacher, temperature)
    scale = temperature**2
    assert divergence.item() == pytest.approx(scale * entropy(p, q, axis=-1).mean(), rel=1e-9, abs=1e-12)
    gap = scale * entropy(p, axis=-1).mean()
    assert (crossed - divergence).item() == pytest.approx(gap, rel=1e-9)


def test_kl_at_high_temperature_is_the_mse_of_centred_logits() -> None:
    """Hinton et al. 2015, eq. 4: T^2 KL -> sum (z - v)^2 / 2C for zero-mean logits as T grows."""
    student, teacher = (x - x.mean(-1, keepdim=True) for x in (logits(0, 6, 3), logits(1, 6, 3)))
    limit = prediction.mse(student, teacher, 1.0) / 2
    assert prediction.kl(student, teacher, 1e4).item() == pytest.approx(limit.item(), rel=1e-3)


@pytest.mark.parametrize("name", prediction.SOFT)
def test_soft_losses_are_least_at_the_teacher(name: str) -> None:
    teacher = logits(2, 8, 5)
    student = teacher.clone().requires_grad_()
    loss = prediction.SOFT[name](student, teacher, 2.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.abs().max() < 1e-12
    assert loss < prediction.SOFT[name](teacher + 0.1 * logits(3, 8, 5), teacher, 2.0)


@pytest.mark.parametrize("name", prediction.SOFT)
def test_soft_losses_vmap_over_students_and_temperatures(name: str) -> None:
    students, teacher = logits(4, 3, 8, 5), logits(5, 8, 5)
    temperatures = torch.tensor([1.0, 2.0, 8.0], dtype=torch.float64)
    fused = torch.func.vmap(prediction.SOFT[name], (0, None, 0))(students, teacher, temperatures)
    solo = [
        prediction.SOFT[name](s, teacher, t) for s, t in zip(students, temperatures.tolist(), strict=True)
    ]
    torch.testing.assert_close(fused, torch.stack(solo))


def test_hard_losses_see_labelled_rows_only() -> None:
    labeled = torch.tensor([1.0, 0.0, 1.0, 0.0])
    classes = torch.tensor([2, -100, 0, 10**6])
    scores = torch.tensor([0.5, math.nan, -1.0, math.inf], dtype=torch.float64)
    wide, narrow = logits(6, 4, 3).requires_grad_(), logits(7, 4, 1).requires_grad_()
    keep = labeled.bool()
    crossed = prediction.hard_cross_entropy(wide, classes, labeled)
    torch.testing.assert_close(crossed, torch.nn.functional.cross_entropy(wide[keep], classes[keep]))
    squared = prediction.hard_mse(narrow, scores, labeled)
    torch.testing.assert_close(squared, (narrow[keep, 0] - scores[keep]).square().mean())
    for loss, values in ((crossed, wide), (squared, narrow)):
        (gradient,) = torch.autograd.grad(loss, values)
        assert (gradient[~keep] == 0).all()
        assert (gradient[keep] != 0).any(-1).all()


@pytest.mark.parametrize(
    ("loss", "width", "labels"),
    [
        (prediction.hard_cross_entropy, 3, torch.tensor([1, -100, 2])),
        (prediction.hard_mse, 1, torch.tensor([0.5, math.nan, -1.0])),
    ],
)
def test_hard_losses_vmap_and_survive_no_label(
    loss: prediction.SoftLoss, width: int, labels: torch.Tensor
) -> None:
    students = logits(8, 2, 3, width)
    labeled = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    fused, gradients = torch.func.vmap(torch.func.grad_and_value(loss), (0, None, 0))(
        students, labels, labeled
    )[::-1]
    assert fused[0] == loss(students[0], labels, labeled[0])
    assert fused[1] == 0
    assert (gradients[1] == 0).all()
