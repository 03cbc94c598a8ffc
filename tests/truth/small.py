"""A small table whose importance is known, and what becomes of it when it is spoiled or written otherwise."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from distiller.results.design import Design, Question
from distiller.spaces.narrowing import parse_space
from distiller.spaces.priors import Prior
from tests.truth.response import Products, Truth
from tests.truth.tables import distinct, table
from tests.truth.tree import Floats, Mix, Node, stage_mix

SPACE: dict[str, Any] = {
    "augmentation": {"none": {}, "mixup": {"concentration": {"uniform": [0.1, 1.0]}}},
    "intermediate": {
        "none": {},
        "mse": {
            "schedule": "constant",
            "projection": "linear",
            "representation": ["cls", "mean"],
            "mapping": {"skip": {"embeddings": False}, "emd": {"temperature": {"loguniform": [0.1, 10]}}},
        },
        "cosine": {
            "schedule": "constant",
            "projection": "linear",
            "representation": "cls",
            "mapping": "skip",
        },
    },
    "prediction": ["kl"],
    "student": {"svd": {"layers": {"integers": [2, 6]}, "width": [128, 256, 384]}},
    "teacher": {"checkpoint": ["small", "large"]},
    "optimization": {
        "learning_rate": 1e-3,
        "warmup": {"uniform": [0, 0.2]},
        "weight_decay": 0.01,
        "schedule": ["linear", "cosine"],
    },
}
STAGES = ("augmentation", "intermediate", "prediction", "student", "teacher", "optimization")
SHARES = {"intermediate": 0.55, "optimization": 0.3, "student": 0.15}
STRONG, NULL = "intermediate", "teacher"
TRIALS = 300


@functools.cache
def small_design() -> Design:
    """Five stages are searched, conditional parameters two levels deep."""
    return Design.of(parse_space({**SPACE, "prediction": {"mse": {"hard_weight": 0.5}}}))


@functools.cache
def response() -> Products:
    """Three additive stages; `augmentation` and `teacher` do nothing."""
    rng = np.random.default_rng(2)
    mixes = {stage: stage_mix(small_design(), stage, rng) for stage in SHARES}
    return Products(STAGES, mixes, {frozenset({stage}): share**0.5 for stage, share in SHARES.items()})


def truth() -> Truth:
    return response().truth(small_design(), 0.1)


@functools.cache
def base() -> pd.DataFrame:
    """Full runs from the prior, a tenth of whose variance is noise."""
    rng = np.random.default_rng(3)
    drawn = distinct(small_design(), TRIALS, rng)
    return table(drawn, 0.6 + 0.05 * (response().score(drawn) + rng.normal(size=TRIALS) / 3))


def other_rows(role: str = "search", origin: str = "prior", status: str = "completed") -> pd.DataFrame:
    """Rows that may not count: their scores follow the null stage."""
    rng = np.random.default_rng(4)
    drawn = distinct(small_design(), 80, rng)
    scores = np.where(drawn["teacher_checkpoint"] == "large", 0.9, 0.2) + 0.01 * rng.normal(size=80)
    if status == "failed":
        scores[::2] = np.nan
    return table(drawn, scores, role=role, origin=origin, status=status)


def with_rows(*more: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([base(), *more], ignore_index=True)


def changed(design: Design, prior: Callable[[Question], Prior], names: Mapping[Any, Any]) -> Design:
    """The design with other priors, answers renamed."""

    def change(question: Question) -> Question:
        below = {
            names.get(answer, answer): tuple(map(change, inner)) for answer, inner in question.below.items()
        }
        return dataclasses.replace(question, prior=prior(question), below=below)

    return Design({stage: tuple(map(change, asked)) for stage, asked in design.stages.items()})


def halves(weights: Mapping[str, float]) -> Products:
    """Two stages of which each is one of two values."""
    questions = {question.path: question for question in small_design().searched()}
    paths = {"teacher": "teacher.checkpoint", "optimization": "optimization.schedule"}
    sides: Floats = np.array([-1.0, 1.0])
    mixes = {stage: Mix((Node(questions[paths[stage]], sides),), np.ones(1)) for stage in weights}
    return Products(STAGES, mixes, {frozenset({stage}): share**0.5 for stage, share in weights.items()})
