"""Stacked students against their own models: outputs, inputs of each, members kept and taken out."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import PreTrainedModel

from distiller.pipelines.labels import LabelBatch
from distiller.pipelines.material import Material
from distiller.pipelines.stack import StackedStudents
from distiller.pipelines.streams import StreamBatch, student_inputs
from distiller.pipelines.student import Student, build_model
from distiller.pipelines.tokens import Batch
from distiller.spaces.student import SvdEmbeddings
from tests.pipelines.conftest import CPU

IDS = torch.randint(5, 200, (3, 4, 7), generator=torch.Generator().manual_seed(0))
TYPES = (torch.arange(7) > 3).long().expand(3, 4, 7)
MASK = torch.arange(7) < torch.tensor([[7, 3, 5, 1], [2, 7, 6, 4], [5, 5, 5, 7]])[..., None]
PARTNER = torch.tensor([[0, 1, 3, 2], [0, 1, 2, 3], [0, 1, 3, 2]])
SHARE = torch.tensor([[1.0, 1.0, 0.3, 0.6], [1.0] * 4, [1.0, 1.0, 0.5, 0.9]])


@pytest.fixture(scope="module")
def models(material: Material) -> list[PreTrainedModel]:
    choice = SvdEmbeddings(layers=2, width=16)
    table = material.word_table(choice, 0)
    return [
        build_model(choice, material.teacher.model, material.dataset.task, table, None, seed).double()  # type: ignore[no-untyped-call]
        for seed in range(3)
    ]


def stacked(models: list[PreTrainedModel]) -> StackedStudents:
    return StackedStudents(copy.deepcopy(models), CPU)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_each_member_is_its_model(
    models: list[PreTrainedModel], own: bool, mixed: bool, implementation: str
) -> None:
    models = copy.deepcopy(models)
    for model in models:
        model.set_attn_implementation(implementation)
    students = stacked(models)
    whole = (IDS, TYPES, MASK, PARTNER, SHARE) if mixed else (IDS, TYPES, MASK)
    given = whole if own else tuple(t[0] for t in whole)
    logits, found = students(*given)
    assert logits.shape == (3, 4, 3)
    assert students.fused == (implementation == "sdpa" or not students.stacked)
    for k, model in enumerate(models):
        expected, states = Student(model)(*(t[k] if own else t for t in given))
        torch.testing.assert_close(logits[k], expected, rtol=0, atol=1e-12)
        for layer, state in zip(found["hidden"], states["hidden"], strict=True):
            seen = MASK[k] if own else MASK[0]
            torch.testing.assert_close(layer[k][seen], state[seen], rtol=0, atol=1e-12)


def test_keeping_and_taking_out(models: list[PreTrainedModel]) -> None:
    students = stacked(models)
    with torch.no_grad():
        for parameter in students.parameters.values():
            parameter.mul_(1.5)
    students.keep([0, 2])
    students.keep([1])
    logits, _ = students(IDS[0], TYPES[0], MASK[0])
    (one,) = [students.student(0)]
    assert not one.training
    assert all(torch.equal(p, 1.5 * q) for p, q in zip(one.parameters(), models[2].parameters(), strict=True))
    torch.testing.assert_close(logits[0], Student(one)(IDS[0], TYPES[0], MASK[0])[0], rtol=0, atol=1e-12)
    alone = StackedStudents([copy.deepcopy(models[1])], CPU)
    assert not alone.stacked
    taken = alone.student(0)
    with torch.no_grad():
        next(iter(alone.parameters.values())).zero_()
    assert all(torch.equal(p, q) for p, q in zip(taken.parameters(), models[1].parameters(), strict=True))


def test_streams_become_students_inputs() -> None:
    def stream(s: int, mixed: bool) -> StreamBatch:
        batch = Batch(IDS[s], TYPES[s], MASK[s])
        labels = LabelBatch(torch.zeros(len(IDS[s])), torch.ones(len(IDS[s])).bool())
        return StreamBatch(batch, labels, PARTNER[0] if mixed else None, SHARE[0] if mixed else None, None)

    new_ids = torch.arange(200).flip(0)
    inputs, partner, share = student_inputs([stream(0, False), stream(1, True)], [1, 0, 1], new_ids)
    assert torch.equal(inputs.ids, new_ids[IDS[[1, 0, 1]]])
    assert torch.equal(inputs.mask, MASK[[1, 0, 1]])
    assert partner is not None
    assert share is not None
    assert partner.tolist() == [PARTNER[0].tolist(), [0, 1, 2, 3], PARTNER[0].tolist()]
    assert torch.equal(share, torch.stack([SHARE[0], torch.ones(4), SHARE[0]]))
    alone, partner, share = student_inputs([stream(0, False)], [0, 0], new_ids)
    assert alone.ids.shape == (4, 7)
    assert partner is None
    assert share is None
    longer = stream(0, True).lengthened(9, 42)
    assert longer.inputs.ids[:, 7:].eq(42).all()
    assert not longer.inputs.mask[:, 7:].any()
    assert torch.equal(longer.inputs.ids[:, :7], IDS[0])
