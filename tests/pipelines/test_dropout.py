"""Dropout: everywhere in a student, in training only, drawn from the run's own seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from distiller.pipelines.cohort import CohortRun, Member
from distiller.pipelines.dropout import set_dropout
from distiller.pipelines.material import Material
from distiller.pipelines.student import Student
from tests.pipelines.conftest import FAMILIES, SIZES, config_of

RATE = 0.3
IDS = torch.randint(5, 190, (2, 7), generator=torch.Generator().manual_seed(0))
MASK = torch.ones(2, 7, dtype=torch.bool)


def model_of(family: str) -> PreTrainedModel:
    """A model without dropout, as students are built."""
    config = AutoConfig.for_model(family, **{**SIZES, **FAMILIES[family]})
    set_dropout(AutoModelForSequenceClassification.from_config(config), 0.0)
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, float):
            setattr(config, name, 0.0)
    return AutoModelForSequenceClassification.from_config(config)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_dropout_of_a_family_has_the_rate(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(family)
    model.set_attn_implementation("eager")
    model.eval()
    expected, _ = Student(model)(IDS, torch.zeros_like(IDS), MASK)
    set_dropout(model, RATE)
    assert torch.equal(Student(model)(IDS, torch.zeros_like(IDS), MASK)[0], expected)
    seen: list[tuple[float, torch.Size]] = []

    def record(states: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        seen.append((p if training else 0.0, states.shape))
        return states

    model.train()
    with monkeypatch.context() as patch:
        patch.setattr(F, "dropout", record)
        Student(model)(IDS, torch.zeros_like(IDS), MASK)
    attention = [p for p, shape in seen if shape[-2:] == (7, 7)]
    assert attention == [RATE] * 3
    assert {p for p, _ in seen} == {RATE}
    assert len(seen) >= 2 * 3 + 1
    assert not torch.equal(Student(model)(IDS, torch.zeros_like(IDS), MASK)[0], expected)
    said = {v for n, v in model.config.to_dict().items() if "dropout" in n and isinstance(v, float)}
    assert said == {RATE}


def test_attention_of_one_kernel_drops_too() -> None:
    """With all modules' own dropout off, what is random is the attention inside the kernel."""
    model = model_of("modernbert")
    set_dropout(model, RATE)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    student = Student(model.train())
    given = (IDS, torch.zeros_like(IDS), MASK)
    assert not torch.equal(student(*given)[0], student(*given)[0])


def members(rate: float, *seeds: int) -> list[Member]:
    config = config_of(optimization={"dropout": rate}, intermediate={"objective": "mse"})
    return [Member(config, seed) for seed in seeds]


def weights(run: CohortRun) -> Tensor:
    name = "model.classifier.weight"
    return run.students.parameters[name].detach().clone()


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_training_drops_and_repeats_itself(material: Material, seeds: tuple[int, ...]) -> None:
    ended = []
    for rate, noise in ((0.0, 0), (RATE, 1), (RATE, 2)):
        torch.manual_seed(noise)  # of other code in the process
        run = CohortRun(members(rate, *seeds), material, 6, 7)
        before = torch.get_rng_state()
        run.advance(6)
        assert torch.equal(torch.get_rng_state(), before)
        assert run.students.fused
        ended.append(weights(run))
    assert not torch.allclose(ended[0], ended[1], atol=1e-4)
    assert torch.equal(ended[1], ended[2])


def test_every_member_draws_its_own_masks(material: Material) -> None:
    run = CohortRun(members(RATE, 0, 0), material, 4, 7)
    run.advance(4)
    first, second = weights(run)
    assert not torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_evaluation_does_not_drop(material: Material, seeds: tuple[int, ...]) -> None:
    run = CohortRun(members(RATE, *seeds), material, 4, 7)
    run.advance(2)
    outputs: Any = torch.from_numpy(run.outputs("validation"))
    assert torch.equal(outputs, torch.from_numpy(run.outputs("validation")))
    tokens = material.held_out["validation"]
    batch = tokens.padded(np.arange(len(tokens)), material.teacher.tokenizer.pad_token_id)
    for name in range(len(seeds)):
        student = Student(run.student(name)).eval()
        logits, _ = student(batch.ids, batch.types, batch.mask)
        torch.testing.assert_close(outputs[name], logits.detach(), rtol=1e-4, atol=1e-5)
    assert run.students.module.training
