"""cka, nst and fsp against their definitions: centring matrices, sums over pairs of neurons, loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distiller.pipelines.objectives.gram import cka, fsp, nst

SEEDS = st.integers(0, 2**16)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def hsic(x: Tensor, y: Tensor) -> Tensor:
    """tr(K H L H) with linear kernels (Kornblith et al., section 3), without the factor that cancels."""
    centring = torch.eye(len(x), dtype=x.dtype) - 1.0 / len(x)
    return torch.trace(x @ x.T @ centring @ y @ y.T @ centring)


@settings(deadline=None)
@given(SEEDS, st.integers(2, 12), st.sampled_from([(3, 4), (4, 3), (20, 16), (16, 16)]))
def test_cka_is_normalised_hsic(seed: int, size: int, widths: tuple[int, int]) -> None:
    x, y = normal(seed, size, widths[0]) + 2, normal(seed + 1, size, widths[1]) - 1
    expected = 1 - hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt()
    torch.testing.assert_close(cka(x, y, None), expected)


@settings(deadline=None)
@given(SEEDS, st.lists(st.integers(0, 5), min_size=2, max_size=4))
def test_cka_of_tokens_is_that_of_the_real_ones(seed: int, lengths: list[int]) -> None:
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    x, y = normal(seed, *mask.shape, 4), normal(seed + 1, *mask.shape, 6)
    expected = cka(x[mask], y[mask], None) if sum(lengths) > 1 else torch.zeros((), dtype=x.dtype)
    torch.testing.assert_close(cka(x, y, mask), expected)


@settings(deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_cka_is_blind_to_rotation_scale_and_shift(seed: int, scale: float, shift: float) -> None:
    x, y = normal(seed, 10, 4), normal(seed + 1, 10, 6)
    rotation = torch.linalg.qr(normal(seed + 2, 4, 4))[0]
    torch.testing.assert_close(cka(scale * x @ rotation + shift, y, None), cka(x, y, None))
    torch.testing.assert_close(
        cka(scale * x @ rotation + shift, x, None), torch.zeros((), dtype=x.dtype), atol=1e-9, rtol=0
    )


def test_cka_is_not_blind_to_other_linear_maps() -> None:
    x = normal(0, 50, 6)
    stretched = x * torch.tensor([1.0, 1, 1, 1, 1, 100]).double()
    assert cka(stretched, x, None) > 0.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cka_of_what_does_not_vary(dtype: torch.dtype) -> None:
    """The teacher's [CLS] at the embedding layer says nothing; there, the student's cannot be helped."""
    constant, x = (normal(1, 1, 6).expand(7, 6) / 3).to(dtype), normal(2, 7, 6).to(dtype)
    for student, teacher, expected in ((x, constant, 0), (constant, x, 1), (x[:1], x[1:2], 0)):
        gradient, value = torch.func.grad_and_value(cka)(student, teacher, None)
        assert value == expected
        assert not gradient.any()


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_nst_is_the_discrepancy_of_single_neurons(seed: int, lengths: list[int]) -> None:
    """The discrepancy of Huang and Wang, kernel by kernel: (x . y)^2 over all pairs of neurons."""
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    student, teacher = normal(seed, *mask.shape, 3), normal(seed + 1, *mask.shape, 5)
    total = 0.0
    for one, other, n in zip(student, teacher, lengths, strict=True):
        own = [neuron / neuron.norm() for neuron in one[:n].T]
        said = [neuron / neuron.norm() for neuron in other[:n].T]

        def kernels(left: list[Tensor], right: list[Tensor]) -> float:
            return sum(torch.dot(a, b).item() ** 2 for a in left for b in right) / (len(left) * len(right))

        total += kernels(said, said) + kernels(own, own) - 2 * kernels(own, said)
    assert nst(student, teacher, mask).item() == pytest.approx(total / len(lengths), rel=1e-9, abs=1e-12)


def test_nst_does_not_see_the_order_of_neurons_nor_their_scale() -> None:
    student, teacher = normal(3, 2, 4, 6), normal(4, 2, 4, 5)
    mask = torch.ones(2, 4)
    scales = torch.tensor([1.0, -2, 3, 0.1, 5, -1]).double()
    other = student[..., torch.tensor([3, 0, 5, 1, 4, 2])] * scales
    torch.testing.assert_close(nst(other, teacher, mask), nst(student, teacher, mask))


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.lists(st.integers(1, 4), min_size=1, max_size=3), st.sampled_from([3, 20]))
def test_fsp_equals_loops(seed: int, lengths: list[int], width: int) -> None:
    """Width 20 is computed through token Gram matrices, width 3 directly."""
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    student, teacher = normal(seed, *mask.shape, 2 * width), normal(seed + 1, *mask.shape, 2 * width)
    total = 0.0
    for one, other, n in zip(student, teacher, lengths, strict=True):
        flows = [
            sum(torch.outer(states[t, :width], states[t, width:]) for t in range(n)) / n
            for states in (one, other)
        ]
        total += (flows[0] - flows[1]).square().mean().item()
    assert fsp(student, teacher, mask).item() == pytest.approx(total / len(lengths), rel=1e-9)
