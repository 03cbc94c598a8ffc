"""Metrics against scikit-learn and scipy; degenerate cases by definition."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from distiller.pipelines.data import Split, Task
from distiller.pipelines.encoding import encode
from distiller.pipelines.metrics import METRICS, headline, majority_score, score, score_split, tag_scores
from distiller.pipelines.squad import squad_scores
from distiller.spaces.datasets import KIND_METRICS, Metric
from tests.pipelines.conftest import tokenizer_of

TWO = Task("classification", ("no", "yes"), "matthews", 2, False)
THREE = Task("classification", ("a", "b", "c"), "macro_f1", 3, False)
SEVERAL = Task("multi_label", ("x", "y", "z"), "micro_f1", 3, False)
NUMBER = Task("regression", (), "pearson", 1, False)


def test_names_agree_with_what_a_person_may_write() -> None:
    rows = {kind: names for kind, names in KIND_METRICS.items() if kind in METRICS}
    assert {kind: tuple(table) for kind, table in METRICS.items()} == rows
    of_words = {
        "qa": squad_scores(["x"], [[("x", 0)]]),
        "token_classification": tag_scores(["O"], [[0]], [[0]]),
    }
    assert rows | {kind: tuple(found) for kind, found in of_words.items()} == KIND_METRICS
    assert {name for names in KIND_METRICS.values() for name in names} == set(get_args(Metric))


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


def test_several_labels_against_sklearn() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((200, 3)) < [0.5, 0.2, 0.05]).astype(np.float32)
    outputs = 2 * labels - 1 + rng.normal(size=(200, 3))
    predicted = outputs > 0
    assert score(SEVERAL, outputs.astype(np.float32), labels) == pytest.approx(
        {
            "micro_f1": sk.f1_score(labels, predicted, average="micro"),
            "macro_f1": sk.f1_score(labels, predicted, average="macro"),
            "subset_accuracy": sk.accuracy_score(labels, predicted),
        }
    )
    nothing = score(SEVERAL, np.full((200, 3), -1.0), labels)
    assert nothing["micro_f1"] == nothing["macro_f1"] == 0


def test_spans_and_tags_of_a_split() -> None:
    """From logits: a perfect reading scores 1, and words that the model never saw are missed."""
    tokenizer = tokenizer_of(0)
    asked = Task("qa", (), "f1", 2, True)
    labels = np.empty(2, object)
    labels[:] = [(("w7 w8", 6), ("w8", 9)), (("w1", 0),)]
    split = Split(["w99", "w98"], ["w5 w6 w7 w8 w9", "w1 w2"], labels)
    tokens = encode(tokenizer, split, asked, 32, 8)
    outputs = np.zeros((len(tokens.ids), 2))
    outputs[[5, 12], 0] = outputs[[6, 12], 1] = 1  # [CLS] q [SEP] w5 w6 w7 w8 w9 [SEP] [CLS] q [SEP] w1 …
    assert score_split(asked, split, tokens, outputs) == {"f1": 1.0, "exact_match": 1.0}
    outputs[5, 0], outputs[4, 0] = 0, 1
    assert score_split(asked, split, tokens, outputs) == pytest.approx(
        {"f1": (0.8 + 1) / 2, "exact_match": 0.5}
    )

    tagged = Task("token_classification", ("O", "B-X", "I-X"), "entity_f1", 3, False)
    truth = np.empty(1, object)
    truth[:] = [(1, 2, 0, 1)]
    split = Split(["w1 w2 w3 w4"], None, truth)
    for length, expected in ((8, 1.0), (5, 2 / 3)):  # in five tokens w4 is cut off
        tokens = encode(tokenizer, split, tagged, length, 0)
        outputs = np.zeros((len(tokens.ids), 3))
        for place, tag in zip((1, 2, 3, 4), truth[0], strict=True):
            if place < len(outputs) - 1:
                outputs[place, tag] = 1
        assert score_split(tagged, split, tokens, outputs)["entity_f1"] == pytest.approx(expected)
    with pytest.raises(FloatingPointError, match="NaN or infinite in 1 of 5 rows"):
        score_split(tagged, split, tokens, outputs + np.array([[np.nan], [0], [0], [0], [0]]))
    with pytest.raises(ValueError, match="do not fit"):
        score_split(tagged, split, tokens, outputs[:3])


def test_who_ignores_the_text() -> None:
    several = majority_score(
        SEVERAL, np.array([[1, 0, 1], [1, 0, 0]], np.float32), np.array([[1, 0, 0], [0, 1, 0]])
    )
    assert several["micro_f1"] == pytest.approx(0.5)  # says x alone: exactly half of the rows is not most
    assert several["subset_accuracy"] == 0.5
    answers, held_out = np.empty(3, object), np.empty(2, object)
    answers[:] = [(("The yes", 0),), (("yes!", 3),), (("no", 1),)]
    held_out[:] = [(("yes", 0),), (("yes it is", 0), ("no", 2))]
    found = majority_score(Task("qa", (), "f1", 2, True), answers, held_out)
    assert found == pytest.approx({"f1": (1 + 0.5) / 2, "exact_match": 0.5})
    task = Task("token_classification", ("O", "B-X"), "entity_f1", 2, False)
    assert majority_score(task, np.array([[0, 0, 1]]), np.array([[0, 1]]))["entity_f1"] == 0
    assert majority_score(task, np.array([[1, 1, 0]]), np.array([[0, 1]]))["entity_f1"] == pytest.approx(
        2 / 3
    )


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
