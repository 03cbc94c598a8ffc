"""Task metrics, all "higher is better", from scikit-learn and scipy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn import metrics as sk

from distiller.pipelines.data import Task

Array = npt.NDArray[Any]


def _constant(values: Array) -> bool:
    """Nothing but rounding apart: a correlation would be 0 / 0."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def matthews(predicted: Array, labels: Array) -> float:
    """Matthews correlation of class indices [N]; 0 where either side is constant."""
    if _constant(predicted) or _constant(labels):
        return 0.0
    return float(sk.matthews_corrcoef(labels, predicted))


def pearson(predicted: Array, labels: Array) -> float:
    """Pearson's r of scores [N]; 0 where either side is constant."""
    if _constant(predicted) or _constant(labels):
        return 0.0
    return float(stats.pearsonr(predicted, labels).statistic)


def spearman(predicted: Array, labels: Array) -> float:
    """Spearman's rank correlation of scores [N]; 0 where either side is constant."""
    if _constant(predicted) or _constant(labels):
        return 0.0
    return float(stats.spearmanr(predicted, labels).statistic)


def _f1(average: str) -> Callable[[Array, Array], float]:
    return lambda predicted, labels: float(sk.f1_score(labels, predicted, average=average, zero_division=0))


METRICS: dict[str, dict[str, Callable[[Array, Array], float]]] = {
    "classification": {
        "matthews": matthews,
        "accuracy": lambda predicted, labels: float(np.mean(predicted == labels)),
        "macro_f1": _f1("macro"),
        "binary_f1": _f1("binary"),  # of class 1; two classes only
    },
    "regression": {
        "pearson": pearson,
        "spearman": spearman,
        "negative_rmse": lambda predicted, labels: -float(np.sqrt(np.mean((predicted - labels) ** 2))),
    },
}


def score(task: Task, outputs: Array, labels: Array) -> dict[str, float]:
    """Every metric of the task's kind.

    `outputs` [N, C] are logits, for regression scores [N, 1]; `labels` [N]. FloatingPointError where an
    output is NaN or infinite, ValueError where shapes disagree.
    """
    outputs, labels = np.asarray(outputs, np.float64), np.asarray(labels)
    if len(labels) == 0 or outputs.shape != (len(labels), task.outputs):
        raise ValueError(f"outputs {outputs.shape} do not fit {len(labels)} labels x {task.outputs} outputs")
    bad = len(outputs) - int(np.isfinite(outputs).all(axis=1).sum())
    if bad:
        raise FloatingPointError(f"outputs are NaN or infinite in {bad} of {len(outputs)} rows")
    if task.kind == "classification":
        predicted = outputs.argmax(1)
    else:
        predicted, labels = outputs[:, 0], labels.astype(np.float64)
    return {
        name: metric(predicted, labels)
        for name, metric in METRICS[task.kind].items()
        if name != "binary_f1" or task.outputs == 2
    }


def headline(task: Task, metrics: dict[str, float]) -> float:
    """The one number that a trial is judged by: the task's metric."""
    return metrics[task.metric]


def majority_score(task: Task, train_labels: Array, labels: Array) -> dict[str, float]:
    """What the predictor that ignores the text reaches: train's most frequent class or mean score."""
    if task.kind == "classification":
        row = np.bincount(train_labels, minlength=task.outputs).astype(np.float64)
    else:
        row = np.array([np.mean(train_labels, dtype=np.float64)])
    return score(task, np.tile(row, (len(labels), 1)), labels)
