"""The memory plan's terms, against models that are built and tensors that autograd keeps."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from distiller.pipelines.demand import Demand
from distiller.pipelines.footprint import SLACK, activation_bytes, footprint, parameters_of
from distiller.pipelines.student import Student, student_config, untrained
from distiller.pipelines.task import Task
from distiller.spaces.student import RandomStart, SvdEmbeddings

TASK = Task(kind="classification", labels=("a", "b", "c"), metric="matthews", outputs=3, pair=False)
TEACHER = BertConfig(
    vocab_size=2000, hidden_size=96, num_hidden_layers=4, num_attention_heads=4, intermediate_size=384
)


def kept_bytes(model, batch_size, length, half):
    """What a training forward saves for its backward pass, parameters apart, each storage once."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    student = Student(model).train()
    ids = torch.randint(0, 1000, (batch_size, length))
    mask = torch.ones(batch_size, length, dtype=torch.bool)
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        logits, states = student(ids, torch.zeros_like(ids), mask)
    for state in states["hidden"]:
        note(state)
    weights = sum(p.numel() for p in model.parameters() if p.dim() == 2) * 2 if half else 0
    assert logits.requires_grad
    return sum(size for size, _ in found.values()) - weights


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    ("layers", "width", "batch_size", "length"), [(2, 128, 16, 64), (4, 256, 8, 128), (3, 64, 32, 24)]
)
def test_activations_are_about_what_autograd_keeps(layers, width, batch_size, length, half):
    choice = RandomStart(layers=layers, width=width)
    config = student_config(choice, TEACHER, TASK)
    config._attn_implementation = "eager"
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    real = kept_bytes(model, batch_size, length, half)
    planned = activation_bytes(config, layers, width, batch_size, length, half)
    assert 0.75 <= planned / real <= 1.5


@pytest.mark.parametrize("choice", [RandomStart(layers=2, width=64), SvdEmbeddings(layers=3, width=32)])
def test_parameters_are_counted_without_being_made(choice):
    one_output = Task(kind="regression", labels=(), metric="pearson", outputs=1, pair=False)
    real = sum(p.numel() for p in untrained(choice, TEACHER).parameters())
    assert parameters_of(student_config(choice, TEACHER, one_output), one_output) == real


def test_terms_grow_with_what_they_are_of():
    choice, demand = SvdEmbeddings(layers=2, width=64), Demand.grid([2, 4], ["tokens"])

    def plan(members=1, batch_size=16, length=32, demand=demand):
        return footprint(choice, TEACHER, TEACHER, TASK, demand, members, batch_size, length)

    one, four = plan(), plan(members=4)
    for term in ("weights", "gradients", "moments", "activations"):
        assert getattr(four, term) == 4 * getattr(one, term)
    assert one.moments == 2 * one.weights == 2 * one.gradients
    assert plan(batch_size=32).activations == 2 * one.activations
    assert plan(length=64).activations > 2 * one.activations  # attention's scores are squares of it
    assert (plan(demand=Demand()).targets, one.targets) == (0, 16 * 32 * 96 * 4 * 2 * 2)
    assert one.teacher == 6 * parameters_of(TEACHER, TASK)
    held = one.context + one.teacher
    assert one.peak == int(SLACK * (held + max(one.teacher_pass, one.training)))
    assert plan(members=1000).peak > 900 * (one.weights + one.gradients + one.moments)
