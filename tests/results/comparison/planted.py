"""Tables of trials whose truth is planted: configs drawn from a design, scores by a formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from distiller.results.comparison import differences, interaction, surrogate
from distiller.results.design import Design
from distiller.results.importance import trees
from distiller.spaces.narrowing import parse_space

SPACE: dict[str, object] = {
    "augmentation": {"none": {}, "random": {"strength": 0.1, "copies": 1}},
    "intermediate": {
        "none": {},
        "mse": {"weight": [0.1, 1.0], "mapping": "skip", "projection": "linear", "representation": "tokens"},
        "mi_alpha": {"alpha": [0.1, 0.5, 0.9], "weight": 0.1, "mapping": "skip", "representation": "cls"},
    },
    "prediction": {
        "kl": {"hard_weight": {"uniform": [0, 0.6]}, "temperature": 2},
        "mse": {"hard_weight": 0.5},
    },
    "student": {"svd": {"layers": [2, 4], "width": 128}},
    "teacher": {"checkpoint": "bert"},
    "optimization": {
        "learning_rate": {"loguniform": [1e-4, 1e-2]}, "warmup": 0.1, "weight_decay": 0.0,
        "schedule": "linear", "batch_size": 32,
    },
}  # fmt: skip
DESIGN = Design.of(parse_space(SPACE))
NOISE = 0.02

Score = Callable[[pd.DataFrame, str], "np.ndarray | pd.Series | float"]


def table(
    score: Score,
    datasets: Sequence[str] = ("a", "b", "c", "d"),
    trials: int = 60,
    seed: int = 0,
    noise: float = NOISE,
) -> tuple[pd.DataFrame, dict[str, Design]]:
    """Full search runs drawn from the prior, and their designs."""
    rng = np.random.default_rng(seed)
    frames = []
    for name in datasets:
        drawn = DESIGN.draw(trials, rng).assign(dataset=name)
        frames.append(drawn.assign(score=0.6 + score(drawn, name) + rng.normal(0, noise, trials)))
    frame = pd.concat(frames, ignore_index=True)
    frame = frame.assign(
        role="search", origin="prior", status="completed", fidelity=1.0, seed=0, metric="matthews",
        config_id=[f"c{i}" for i in range(len(frame))], teacher_score=0.9, no_teacher_score=0.6,
        parameters=np.where(frame["student_layers"] == 4, 4_000_000, 2_000_000),
    )  # fmt: skip
    return frame, dict.fromkeys(datasets, DESIGN)


def chose(frame: pd.DataFrame, objective: str) -> np.ndarray:
    """1.0 where a trial has this objective."""
    return (frame["intermediate_objective"] == objective).to_numpy(dtype=float)


def augmented(frame: pd.DataFrame) -> np.ndarray:
    return (frame["augmentation_method"] != "none").to_numpy(dtype=float)


def layers(frame: pd.DataFrame, number: int) -> np.ndarray:
    return (frame["student_layers"] == number).to_numpy(dtype=float)


def quickly(patch: pytest.MonkeyPatch) -> None:
    """Fewer draws and trees, where tables are many and what is planted is large."""
    patch.setattr(differences, "PERMUTATIONS", 1999)
    patch.setattr(differences, "DRAWS", 300)
    patch.setattr(interaction, "PERMUTATIONS", 999)
    for module in (surrogate, trees):
        patch.setattr(module, "TREES", (15, 30, 60))
