"""The real space, narrowed to what a benchmark searches."""

from __future__ import annotations

import functools
from typing import Any

from distiller.results.design import Design
from distiller.spaces.narrowing import parse_space
from distiller.spaces.space import Space

STAGES = ("augmentation", "intermediate", "prediction", "student", "teacher", "optimization")

PLAIN = {"schedule": "constant", "projection": "linear", "mapping": "skip"}
MIXED: dict[str, Any] = {
    "augmentation": {
        "slots": [
            {"none": {}, "random": {"strength": {"uniform": [0.05, 0.4]}, "copies": [1, 2, 4]}},
            {"none": {}, "mixup": {"concentration": {"loguniform": [0.1, 2.0]}}},
        ]
    },
    "intermediate": {
        "none": {},
        "mse": {
            **PLAIN,
            "representation": ["cls", "mean", "tokens"],
            "mapping": {"skip": {"embeddings": False}, "emd": {"temperature": {"loguniform": [0.1, 10]}}},
        },
        "cosine": {**PLAIN, "representation": ["cls", "mean"]},
        "mi_alpha": {"schedule": "constant", "representation": "cls", "mapping": ["skip", "last"]},
    },
    "prediction": {"ce": {}, "kl": {}, "mse": {}},
    "student": {
        "random": {"layers": {"integers": [2, 6]}, "width": 128},
        "svd": {"layers": {"integers": [2, 6]}, "width": [128, 256, 384]},
    },
    "teacher": {"checkpoint": ["small", "large"]},
    "optimization": {"schedule": ["linear", "cosine", "constant"]},
}
"""Ranges, integers, lists and choices; two slots of augmentation."""
LISTED: dict[str, Any] = {
    "augmentation": {
        "slots": [
            {"none": {}, "random": {"strength": 0.1, "copies": 1}, "synonym": {"strength": 0.1, "copies": 1}},
            {"none": {}, "embedding": {"strength": 0.1, "copies": 1}, "mixup": {"concentration": 0.4}},
        ]
    },
    "intermediate": {
        "none": {},
        **{
            name: {
                "weight": 1.0,
                "schedule": ["constant", "linear"],
                "mapping": ["skip", "last", "first"],
                "representation": ["cls", "mean", "tokens"],
                "projection": ["linear", "mlp"],
            }
            for name in ("mse", "l1", "cosine")
        },
        "attention": {
            "weight": 1.0,
            "schedule": "constant",
            "mapping": ["skip", "last"],
            "target": ["maps", "scores"],
        },
    },
    "prediction": {
        name: {"hard_weight": 0.5, **({} if name in ("mse", "l1") else {"temperature": 2.0})}
        for name in ("ce", "kl", "reverse_kl", "js", "mse", "l1")
    },
    "student": {
        "random": {"layers": 2, "width": 128, "family": ["bert", "electra"]},
        "svd": {"layers": 2, "width": 128, "family": ["bert", "electra", "roberta"]},
        "teacher_layers": {"layers": 2, "selection": ["first", "last", "even"]},
    },
    "teacher": {"checkpoint": ["small", "middle", "large"]},
    "optimization": {
        "learning_rate": 1e-3,
        "warmup": 0.1,
        "weight_decay": 0.01,
        "schedule": ["linear", "cosine", "constant"],
    },
}
"""Names only."""


@functools.cache
def space_of(listed: bool = False) -> Space:
    """The real space, narrowed."""
    return parse_space(LISTED if listed else MIXED)


@functools.cache
def design_of(listed: bool = False) -> Design:
    """What `space_of` asks."""
    return Design.of(space_of(listed))
