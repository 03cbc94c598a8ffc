"""Task metrics, all "higher is better"; those of rows from scikit-learn and scipy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn import metrics as sk

from distiller.pipelines.data import Split
from distiller.pipelines.entities import OUTSIDE, entity_scores, strict_entities
from distiller.pipelines.spans import answers_of
from distiller.pipelines.squad import normalised, squad_scores
from distiller.pipelines.tags import tags_of
from distiller.pipelines.task import Task
from distiller.pipelines.tokens import Tokens

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


def subset_accuracy(predicted: Array, labels: Array) -> float:
    """The share of rows whose labels [N, C] are all right."""
    return float(np.mean((predicted == labels).all(1)))


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
    "multi_label": {
        "micro_f1": _f1("micro"),
        "macro_f1": _f1("macro"),
        "subset_accuracy": subset_accuracy,
    },
}
"""Of tasks with one prediction a row; spans and tags have `squad_scores` and `tag_scores`."""


def score(task: Task, outputs: Array, labels: Array) -> dict[str, float]:
    """Every metric of a task with one prediction a row.

    `outputs` [N, C] are logits, for regression scores [N, 1]; `labels` [N], for several labels a row [N, C].
    FloatingPointError where an output is NaN or infinite, ValueError where shapes disagree.
    """
    outputs, labels = _checked(task, outputs, len(labels)), np.asarray(labels)
    if task.kind == "classification":
        predicted = outputs.argmax(1)
    elif task.kind == "multi_label":
        predicted = (outputs > 0).astype(np.int64)
    else:
        predicted, labels = outputs[:, 0], labels.astype(np.float64)
    return {
        name: metric(predicted, labels)
        for name, metric in METRICS[task.kind].items()
        if name != "binary_f1" or task.outputs == 2
    }


def score_split(task: Task, split: Split, tokens: Tokens, outputs: Array) -> dict[str, float]:
    """Every metric of the task's kind on a split.

    `tokens` are the split as the model read it, `outputs` what it said: as `score` has them, or [total, C]
    logits of tokens. Words beyond `max_length`, whose tokens nobody saw, count as `O`. Raises as `score`.
    """
    assert split.labels is not None
    if not task.tokenwise:
        return score(task, outputs, split.labels)
    outputs = _checked(task, outputs, len(tokens.ids))
    if task.kind == "qa":
        return squad_scores(answers_of(tokens, outputs, split.text_b or []), split.labels)
    words = [text.count(" ") + 1 for text in split.text_a]
    # Where train has no `O`, no word of it is outside of all entities.
    outside = task.labels.index(OUTSIDE) if OUTSIDE in task.labels else 0
    return tag_scores(task.labels, tags_of(tokens, outputs, words, outside), split.labels)


def _checked(task: Task, outputs: Array, rows: int) -> Array:
    outputs = np.asarray(outputs, np.float64)
    if rows == 0 or outputs.shape != (rows, task.outputs):
        raise ValueError(f"outputs {outputs.shape} do not fit {rows} labels x {task.outputs} outputs")
    bad = rows - int(np.isfinite(outputs).all(axis=1).sum())
    if bad:
        raise FloatingPointError(f"outputs are NaN or infinite in {bad} of {rows} rows")
    return outputs


def tag_scores(
    names: Sequence[str], predicted: Iterable[Sequence[int]], labels: Iterable[Sequence[int]]
) -> dict[str, float]:
    """Scores of the entities that tags (indices of `names`) mark, in [0, 1]."""
    ours, theirs = ([[names[tag] for tag in row] for row in rows] for rows in (predicted, labels))
    f1, precision, recall = entity_scores(ours, theirs)
    strict, *_ = entity_scores(ours, theirs, strict_entities)
    return {
        "entity_f1": f1,
        "entity_precision": precision,
        "entity_recall": recall,
        "strict_entity_f1": strict,
    }


def headline(task: Task, metrics: dict[str, float]) -> float:
    """The one number that a trial is judged by: the task's metric."""
    return metrics[task.metric]


def majority_score(task: Task, train_labels: Array, labels: Array) -> dict[str, float]:
    """What the predictor that ignores the text reaches.

    It says train's most frequent class, mean score, each label that most rows have, most frequent answer,
    most frequent tag.
    """
    if task.kind == "qa":
        said = Counter(normalised(answers[0][0]) for answers in train_labels).most_common(1)[0][0]
        return squad_scores([said] * len(labels), labels)
    if task.kind == "token_classification":
        tag = Counter(tag for row in train_labels for tag in row).most_common(1)[0][0]
        return tag_scores(task.labels, [[tag] * len(row) for row in labels], labels)
    if task.kind == "classification":
        row = np.bincount(train_labels, minlength=task.outputs).astype(np.float64)
    else:
        row = np.atleast_1d(np.mean(train_labels, axis=0, dtype=np.float64))
        row = row - 0.5 if task.kind == "multi_label" else row
    return score(task, np.tile(row, (len(labels), 1)), labels)
