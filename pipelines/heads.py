"""What a task's kind makes of a model: its class, the labels in its config, where its outputs are."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
)

from distiller.pipelines.task import Task
from distiller.spaces.datasets import TaskKind

MODELS: Mapping[TaskKind, Any] = types.MappingProxyType(
    {
        "classification": AutoModelForSequenceClassification,
        "regression": AutoModelForSequenceClassification,
        "multi_label": AutoModelForSequenceClassification,
        "qa": AutoModelForQuestionAnswering,
        "token_classification": AutoModelForTokenClassification,
    }
)
"""The class of `transformers` that loads a model with the head of a task's kind."""

Problem = Literal["regression", "single_label_classification", "multi_label_classification"]
PROBLEMS: Mapping[TaskKind, Problem] = types.MappingProxyType(
    {
        "classification": "single_label_classification",
        "regression": "regression",
        "multi_label": "multi_label_classification",
    }
)
"""What tells the three kinds of one class apart in a model's config."""

PIPELINE_TAGS: Mapping[TaskKind, str] = types.MappingProxyType(
    {
        "classification": "text-classification",
        "regression": "text-classification",
        "multi_label": "text-classification",
        "qa": "question-answering",
        "token_classification": "token-classification",
    }
)
"""What model cards call a kind."""


def logits_of(outputs: Any) -> Tensor:
    """A model's outputs as [B, C] or, token by token, [B, T, C]; starts and ends of spans are two classes."""
    if "start_logits" in outputs:
        return torch.stack([outputs.start_logits, outputs.end_logits], -1)
    logits: Tensor = outputs.logits
    return logits


def name_the_labels(config: PretrainedConfig, task: Task) -> None:
    """Write the task's outputs into a model's config."""
    if task.labels:
        config.id2label = dict(enumerate(task.labels))
        config.label2id = {label: i for i, label in enumerate(task.labels)}
    else:
        config.num_labels = task.outputs
    config.problem_type = PROBLEMS.get(task.kind)
