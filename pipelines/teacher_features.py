"""How sure a teacher is, and how often it says what the labels say; by the node's cache of its outputs."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit, softmax

from distiller.pipelines.cache import cached_outputs
from distiller.pipelines.data import Split
from distiller.pipelines.demand import Demand
from distiller.pipelines.ensemble import mean_logits
from distiller.pipelines.material import Material
from distiller.pipelines.metrics import score_split
from distiller.pipelines.tags import tags_of
from distiller.pipelines.task import Task
from distiller.pipelines.tokens import Tokens

Array = npt.NDArray[Any]


def teacher_features(material: Material) -> dict[str, float | None]:
    """Features of what the teacher says of all rows of train and validation."""
    task, splits = material.dataset.task, material.dataset.splits
    rows = {"train": _said_of_train(material), "validation": _said_of_validation(material)}
    scores = {name: score_split(task, splits[name], *said) for name, said in rows.items()}
    return {
        "teacher_confidence": confidence(task, *rows["validation"]),
        "teacher_agreement": agreement(task, splits["validation"], *rows["validation"]),
        "teacher_train_agreement": agreement(task, splits["train"], *rows["train"]),
        "teacher_train_score": scores["train"][task.metric],
    }


def _said_of_train(material: Material) -> tuple[Tokens, Array]:
    """The train split's rows of the pool in the split's order, and the teacher's logits there."""
    pool, logits = material.pool(), material.outputs().logits.numpy()
    tokens, count = pool.tokens, len(material.dataset.splits["train"])
    if tokens.units is None:
        return tokens.take(np.arange(count)), logits[:count]
    assert tokens.sources is not None
    order = np.lexsort((pool.windows, tokens.sources))
    order = order[tokens.sources[order] < count]
    numbered = replace(tokens, ids=torch.arange(len(tokens.ids)))
    return tokens.take(order), logits[numbered.take(order).ids.numpy()]


def _said_of_validation(material: Material) -> tuple[Tokens, Array]:
    said = [
        cached_outputs(
            teacher,
            material.held_out_tokens("validation", teacher.origin),
            Demand(),
            material.cache,
            math.inf,
            "validation",
        ).logits
        for teacher in material.teachers
    ]
    return material.held_out["validation"], mean_logits(said).numpy()


def confidence(task: Task, tokens: Tokens, logits: Array) -> float | None:
    """Mean probability of what the teacher holds most probable: a row's class, each of a row's labels, a tag.

    None for scores and spans.
    """
    if task.kind == "multi_label":
        share = expit(logits.astype(np.float64))
        return float(np.maximum(share, 1 - share).mean())
    if task.kind == "token_classification":
        assert tokens.units is not None
        logits = logits[tokens.units[:, 0] >= 0]
    elif task.kind != "classification":
        return None
    return float(softmax(logits.astype(np.float64), axis=-1).max(-1).mean())


def agreement(task: Task, split: Split, tokens: Tokens, logits: Array) -> float | None:
    """Share of rows (for tags: of words) of which the teacher says what the labels say; None for scores.

    Rows with several labels agree where all labels do, questions where the answer is one of the right ones.
    """
    if task.kind == "regression":
        return None
    if task.kind == "token_classification":
        assert split.labels is not None
        # No tag is -1: words beyond `max_length`, of which the teacher says nothing, do not agree.
        said = tags_of(tokens, logits, [len(row) for row in split.labels], -1)
        pairs = zip(chain.from_iterable(said), chain.from_iterable(split.labels), strict=True)
        return float(np.mean([ours == theirs for ours, theirs in pairs]))
    name = {"classification": "accuracy", "multi_label": "subset_accuracy", "qa": "exact_match"}[task.kind]
    return score_split(task, split, tokens, logits)[name]
