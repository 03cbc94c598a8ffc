"""What is taken of hidden states, with padding that must never matter."""

from __future__ import annotations

import math

import pytest
import torch

from distiller.pipelines.objectives import reduce_representation

HIDDEN = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])


def test_reduced_representations() -> None:
    assert reduce_representation(HIDDEN, MASK, "cls").equal(HIDDEN[:, 0])
    assert reduce_representation(HIDDEN, MASK, "tokens").equal(HIDDEN)
    expected = torch.stack([HIDDEN[0, :2].mean(0), HIDDEN[1].mean(0)])
    torch.testing.assert_close(reduce_representation(HIDDEN, MASK, "mean"), expected)
    with pytest.raises(ValueError, match="'max' is none of"):
        reduce_representation(HIDDEN, MASK, "max")


@pytest.mark.parametrize("representation", ["cls", "mean"])
@pytest.mark.parametrize("rubbish", [1e6, math.nan, math.inf])
def test_padding_never_matters(representation: str, rubbish: float) -> None:
    def total(hidden: torch.Tensor) -> torch.Tensor:
        return reduce_representation(hidden, MASK, representation).square().sum()

    dirty = HIDDEN.masked_fill(MASK[..., None] == 0, rubbish)
    gradient, value = torch.func.grad_and_value(total)(HIDDEN)
    dirty_gradient, dirty_value = torch.func.grad_and_value(total)(dirty)
    assert value == dirty_value > 0
    assert torch.equal(gradient, dirty_gradient)
    assert (gradient[MASK == 0] == 0).all()
