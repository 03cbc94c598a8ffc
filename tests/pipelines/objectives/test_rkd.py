"""rkd against loops over pairs and triples of examples."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distiller.pipelines.objectives.rkd import rkd

SEEDS = st.integers(0, 2**16)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def huber(difference: float) -> float:
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def slow(student: Tensor, teacher: Tensor, angle_weight: float) -> float:
    """Park et al. eq. 5 to 9, example by example."""
    size = len(student)
    pairs = [(i, j) for i in range(size) for j in range(size) if i != j]

    def distances(states: Tensor) -> dict[tuple[int, int], float]:
        lengths = {(i, j): math.dist(states[i].tolist(), states[j].tolist()) for i, j in pairs}
        mean = sum(lengths.values()) / len(pairs)
        return {pair: length / mean for pair, length in lengths.items()}

    def angle(states: Tensor, i: int, j: int, k: int) -> float:
        one, other = states[i] - states[j], states[k] - states[j]
        return (one @ other / (one.norm() * other.norm())).item()

    own, said = distances(student), distances(teacher)
    total = sum(huber(own[pair] - said[pair]) for pair in pairs) / len(pairs)
    triples = [(i, j, k) for i, j in pairs for k in range(size) if k not in (i, j)]
    if triples:
        angles = [huber(angle(student, *t) - angle(teacher, *t)) for t in triples]
        total += angle_weight * sum(angles) / len(triples)
    return total


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.integers(2, 6), st.floats(0, 5))
def test_equals_loops(seed: int, size: int, angle_weight: float) -> None:
    student, teacher = 3 * normal(seed, size, 2), normal(seed + 1, size, 5) ** 3
    expected = slow(student, teacher, angle_weight)
    found = rkd(student, teacher, None, angle_weight=torch.tensor(angle_weight, dtype=torch.float64))
    assert found.item() == pytest.approx(expected, rel=1e-9)


@settings(deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_blind_to_rotation_scale_and_shift(seed: int, scale: float, shift: float) -> None:
    student, teacher = normal(seed, 6, 4), normal(seed + 1, 6, 3)
    moved = scale * student @ torch.linalg.qr(normal(seed + 2, 4, 4))[0] + shift
    expected = rkd(student, teacher, None, angle_weight=2.0)
    torch.testing.assert_close(rkd(moved, teacher, None, angle_weight=2.0), expected)
    itself = rkd(moved, student, None, angle_weight=2.0)
    torch.testing.assert_close(itself, torch.zeros_like(itself), atol=1e-12, rtol=0)


def test_a_batch_of_one_says_nothing() -> None:
    gradient, value = torch.func.grad_and_value(rkd)(normal(0, 1, 3), normal(1, 1, 3), None, angle_weight=2.0)
    assert value == 0
    assert not gradient.any()


def test_examples_that_coincide_do_not_blow_up_gradients() -> None:
    """A text twice in a batch: its states differ by rounding, which has no direction."""
    student = normal(2, 4, 8).float()
    student[1] = student[0] * (1 + 1e-7)
    teacher = normal(3, 4, 8).float()
    gradient = torch.func.grad(rkd)(student, teacher, None, angle_weight=2.0)
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1


def test_a_whole_batch_fits() -> None:
    """B = 32 at BERT's width: 32^3 angles."""
    value = rkd(normal(4, 32, 256).float(), normal(5, 32, 768).half(), None, angle_weight=2.0)
    assert 0 < value < 1
