"""Labels, spans and tags from files to a saved student: tiny, but all the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distiller.pipelines.cache import cached_outputs, live_targets
from distiller.pipelines.cohort import CohortRun, Member
from distiller.pipelines.demand import Demand
from distiller.pipelines.distill import Cohort, distill
from distiller.pipelines.material import Material
from tests.pipelines.conftest import config_of
from tests.pipelines.kinds import KINDS, kind_material


@pytest.fixture(scope="module")
def materials(folder_of: Callable[[str], Path]) -> dict[str, Material]:
    return {kind: kind_material(folder_of(kind), kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_students_learn(materials: dict[str, Material], kind: str) -> None:
    """Well beyond the predictor that ignores the text, on validation and on test."""
    where = materials[kind]
    config = config_of(
        prediction={"loss": "kl", "hard_weight": 0.3},
        student={"initialization": "svd", "layers": 2, "width": 32},
        optimization={"learning_rate": 5e-3, "batch_size": 16},
    )
    (result,) = distill(Cohort((Member(config, 0),), 150, 0, evaluations=2), where, test=True)
    task = where.dataset.task
    print(kind, where.majority_scores, where.teacher_scores, result.curve[-1].metrics, result.test_metrics)
    for split, metrics in (("validation", result.last.metrics), ("test", result.test_metrics)):
        least = where.majority_scores[split][task.metric] + 0.3
        assert metrics[task.metric] > least
        assert where.teacher_scores[split][task.metric] > least
        assert all(0 <= value <= 1 for value in metrics.values())
