"""Metrics against scikit-learn and scipy; degenerate cases by definition."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from distiller.pipelines.data import Task
from distiller.pipelines.metrics import METRICS, headline, majority_score, score
from distiller.spaces.datasets import KIND_METRICS, Metric

TWO = Task("classification", ("no", "yes"), "matthews", 2, False)
THREE = Task("classification", ("a", "b", "c"), "macro_f1", 3, False)
NUMBER = Task("regression", (), "pearson", 1, False)


def test_names_agree_with_what_a_person_may_write() -> None:
    assert {kind: tuple(table) for kind, table in METRICS.items()} == KIND_METRICS
    assert sorted(name for names in KIND_METRICS.values() for name in names) == sorted(get_args(Metric))


@pytest.mark.parametrize("task", [TWO, THREE])
def test_classification_against_sklearn(task: Task) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(task.outputs, size=200)
    outputs = np.eye(task.outputs)[labels] + rng.normal(size=(200, task.outputs))
    predicted, found = outputs.argmax(1), score(task, outputs.astype(np.float32), labels)
    truth = {
        "matthews": sk.matthews_corrcoef(labels, predicted),
        "accuracy": sk.accuracy_score(labels, predicted),
        "macro_f1": sk.f1_score(labels, predicted, average="macro"),
    }
    if task is TWO:
        truth["binary_f1"] = sk.f1_score(labels, predicted)
    assert found == pytest.approx(truth)
    assert headline(task, found) == found[task.metric]


def test_regression_against_scipy() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=100).astype(np.float32)
    outputs = labels[:, None] + rng.normal(size=(100, 1))
    assert score(NUMBER, outputs, labels) == pytest.approx(
        {
            "pearson": stats.pearsonr(outputs[:, 0], labels).statistic,
            "spearman": stats.spearmanr(outputs[:, 0], labels).statistic,
            "negative_rmse": -sk.root_mean_squared_error(labels, outputs[:, 0]),
        }
    )
    perfect = score(NUMBER, labels[:, None], labels)
    assert perfect["negative_rmse"] == 0 > score(NUMBER, labels[:, None] + 1, labels)["negative_rmse"]


@pytest.mark.parametrize("labels", [[0, 1, 1, 0], [1, 1, 1, 1], [1]])
def test_constant_predictions_score_zero_without_a_warning(labels: list[int]) -> None:
    truth = np.array(labels)
    found = score(TWO, np.tile([0.0, 1.0], (len(truth), 1)), truth)
    assert found["matthews"] == 0
    assert found["accuracy"] == truth.mean()
    for value in (0.0, 1 / 3, 1e6):
        near = np.full((len(truth), 1), value) * (1 + np.arange(len(truth))[:, None] * 1e-16)
        found = score(NUMBER, near, truth.astype(np.float32))
        assert (found["pearson"], found["spearman"]) == (0, 0)


def test_majority_and_mean() -> None:
    found = majority_score(THREE, np.array([2, 2, 0]), np.array([2, 0, 1, 2]))
    assert found["accuracy"] == 0.5
    assert found["matthews"] == 0
    found = majority_score(NUMBER, np.array([1.0, 3.0], np.float32), np.array([1.0, 5.0], np.float32))
    assert found["pearson"] == 0
    assert found["negative_rmse"] == pytest.approx(-np.sqrt(5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_outputs_raise(value: float) -> None:
    outputs = np.zeros((5, 2))
    outputs[3] = value
    with pytest.raises(FloatingPointError, match="NaN or infinite in 1 of 5 rows"):
        score(TWO, outputs, np.array([0, 1, 0, 1, 0]))


@pytest.mark.parametrize("shape", [(4, 2), (5, 3), (5,), (0, 2)])
def test_shapes_must_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        score(
            TWO,
            np.zeros(shape),
            np.array([0, 1, 0, 1, 0][: shape[0] or 0] if shape[0] == 0 else [0, 1, 0, 1, 0]),
        )
