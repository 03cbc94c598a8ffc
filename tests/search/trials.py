"""Spaces, samplers and outcomes that several tests share."""

from __future__ import annotations

import numpy as np

from distiller.search.assignment import Outcome
from distiller.search.samplers import make_sampler
from distiller.spaces.narrowing import parse_space
from distiller.spaces.search import Search

WIDE = {
    "intermediate": {"none": {}, "mse": {"weight": {"loguniform": [0.1, 10]}, "mapping": ["skip", "emd"]}},
    "prediction": {"kl": {"hard_weight": {"uniform": [0, 1]}}, "mse": {"hard_weight": 0.5}},
    "student": {"svd": {"layers": [1, 2], "width": 16}},
    "augmentation": "none",
    "teacher": {"checkpoint": "bert"},
    "optimization": {"learning_rate": {"loguniform": [1e-4, 1]}, "weight_decay": 0.0, "warmup": 0.1,
                     "schedule": "linear"},
}  # fmt: skip
SMALL = {**WIDE, "intermediate": "none", "prediction": {"mse": {"hard_weight": [0.1, 0.5]}},
         "optimization": {"learning_rate": [0.001, 0.1], "weight_decay": 0.0, "warmup": 0.1,
                          "schedule": "linear"}}  # fmt: skip
RUNG, BUDGET = 4, 12


def played(config, score, status="completed"):
    """The outcome of a trial; one that was stopped has been seen at the first rung only."""
    curve = ((RUNG, score), (BUDGET, score))[: {"completed": 2, "stopped": 1, "failed": 0}[status]]
    return Outcome(config, "prior", status, curve, curve[-1][0] if curve else 0)


def rate(config):
    return np.log10(config.optimization.learning_rate)


def quality(config):
    """Best at a learning rate of 0.01, the rest nearly noise."""
    return 0.9 - 0.1 * (rate(config) + 2) ** 2 + 0.001 * config.student.layers


def run(sampler, count, judge):
    """`count` proposals, each told at once."""
    found = []
    for _ in range(count):
        config, origin = sampler.propose()
        sampler.tell(judge(config))
        found.append((config, origin))
    return found


def make(written=WIDE, stream=0, **search):
    return make_sampler(parse_space(written), Search(**search), stream, BUDGET)
