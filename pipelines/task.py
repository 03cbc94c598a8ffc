"""A task: what is predicted, and what follows from its kind."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from distiller.spaces.datasets import TaskKind

Layout = Literal["classes", "scores", "labels", "tokens", "spans"]
LAYOUTS: Mapping[TaskKind, Layout] = types.MappingProxyType(
    {
        "classification": "classes",
        "regression": "scores",
        "multi_label": "labels",
        "qa": "spans",
        "token_classification": "tokens",
    }
)
"""How the losses on a kind's outputs read them (see `PredictionGroup`)."""


@dataclass(frozen=True)
class Task:
    """What is predicted: names of classes, labels or tags by index (none for numbers and spans).

    `outputs` is how many numbers a model gives: for each row, or for each token where the task is
    `tokenwise`; those of `qa` are the logits of a span's first and last token.
    """

    kind: TaskKind
    labels: tuple[str, ...]
    metric: str
    outputs: int
    pair: bool

    @property
    def tokenwise(self) -> bool:
        """Whether a model's outputs are [B, T, C] rather than [B, C]."""
        return self.kind in ("qa", "token_classification")

    @property
    def layout(self) -> Layout:
        """How the losses read a model's outputs."""
        return LAYOUTS[self.kind]


def described(task: Task) -> str:
    """A task in a few words, as a model card says it."""
    return {
        "classification": f"classification into {len(task.labels)} classes",
        "regression": "regression",
        "multi_label": f"multi-label classification with {len(task.labels)} labels",
        "qa": "extractive question answering",
        "token_classification": f"token classification with {len(task.labels)} tags",
    }[task.kind]
