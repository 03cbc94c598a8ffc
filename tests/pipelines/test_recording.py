"""Recorded queries, keys and values against the model's own attention maps, in every family."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from distiller.pipelines.recording import attention_heads, attention_width, recorded
from distiller.pipelines.stack import StackedStudents
from distiller.pipelines.student import Student
from distiller.spaces.errors import InputError
from tests.pipelines.conftest import CPU, FAMILIES, SIZES, save_teacher

DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")
IDS = torch.randint(5, 180, (4, 7), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(7) < torch.tensor([7, 3, 5, 1])[:, None]


def model_of(folder: Path, family: str) -> PreTrainedModel:
    path = save_teacher(folder / family, family)
    model = AutoModelForSequenceClassification.from_pretrained(path, attn_implementation="eager")
    return model.double().eval()


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_layer_is_recorded_once(folder_of: Callable[[str], Path], family: str) -> None:
    model = model_of(folder_of("recorded"), family)
    width = 16 if family == "mobilebert" else SIZES["hidden_size"]  # MobileBERT's layers have a bottleneck
    with torch.no_grad(), recorded(model) as states:
        model(input_ids=IDS, attention_mask=MASK.long())
    for layers in states.values():
        assert [tuple(layer.shape) for layer in layers] == [(4, 7, width)] * 3
    assert (attention_width(model), attention_heads(model)) == (width, 4)
    assert not any(m._forward_hooks for m in model.modules())
    with torch.no_grad():
        model(input_ids=IDS, attention_mask=MASK.long())
    assert len(states["queries"]) == 3  # nothing is recorded past the block


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "albert", "mobilebert"])
def test_queries_and_keys_give_the_models_attention(folder_of: Callable[[str], Path], family: str) -> None:
    model = model_of(folder_of("maps"), family)
    with torch.no_grad(), recorded(model) as states:
        maps = model(input_ids=IDS, attention_mask=MASK.long(), output_attentions=True).attentions
    for layer, expected in enumerate(maps):
        queries, keys = (states[n][layer].unflatten(-1, (4, -1)).transpose(1, 2) for n in ("queries", "keys"))
        scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
        found = scores.masked_fill(~MASK[:, None, None], -torch.inf).softmax(-1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", ["bert", "albert", "deberta-v2", "modernbert"])
def test_stacked_students_record_what_each_records(folder_of: Callable[[str], Path], family: str) -> None:
    still = {} if family == "modernbert" else dict.fromkeys(DROPOUT, 0.0)  # ModernBERT has none to begin with
    path = save_teacher(folder_of("stacked") / "m", family, **still)
    one = AutoModelForSequenceClassification.from_pretrained(path)
    models = [copy.deepcopy(one).double() for _ in range(2)]
    for parameter in models[1].parameters():
        nn.init.normal_(parameter, std=0.1)
    students = StackedStudents(copy.deepcopy(models), CPU, records=True)
    assert students.fused
    _, states = students(IDS, torch.zeros_like(IDS), MASK)
    for k, model in enumerate(models):
        _, alone = Student(model, records=True)(IDS, torch.zeros_like(IDS), MASK)
        assert alone.keys() == states.keys() == {"hidden", "queries", "keys", "values"}
        for name, layers in alone.items():
            for layer, expected in enumerate(layers):
                torch.testing.assert_close(states[name][layer][k][MASK], expected[MASK], rtol=0, atol=1e-10)


def test_an_unknown_attention_is_named() -> None:
    with pytest.raises(InputError, match="Linear: its queries, keys and values cannot be found"):
        attention_width(nn.Linear(2, 2))  # type: ignore[arg-type]
