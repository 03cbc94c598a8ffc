"""What a person may write under `datasets:`, and what each slip is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from distiller.spaces.datasets import KIND_METRICS, DatasetConfig, one_dataset_a_size

FILES: dict[str, Any] = {"train": "a.csv", "text": "body", "label": "stars"}


def test_strings_stand_for_lists_of_one() -> None:
    config = DatasetConfig(**FILES)
    assert (config.train, config.text, config.kind, config.headline) == (
        ("a.csv",),
        ("body",),
        "classification",
        "matthews",
    )


@pytest.mark.parametrize(
    ("written", "kind", "headline"),
    [
        ({"builtin": "trec"}, "classification", "matthews"),
        ({"builtin": "amazon", "metric": "spearman"}, "regression", "spearman"),
        ({"train": ["a.csv", "b.csv"], "text": ["p", "q"], "score": "s"}, "regression", "pearson"),
        ({"train": "a.csv", "text": "p", "labels": ["x", "y"]}, "multi_label", "micro_f1"),
        ({"train": "a.csv", "text": "p", "labels": "l", "label_separator": "|"}, "multi_label", "micro_f1"),
        ({"task": "qa", "train": "a.json", "metric": "exact_match"}, "qa", "exact_match"),
        ({"train": "a.jsonl", "question": "q", "answers": "a"}, "qa", "f1"),
        ({"task": "token_classification", "train": "a.conll"}, "token_classification", "entity_f1"),
        ({"load_dataset": "conll2003", "tags": "ner_tags"}, "token_classification", "entity_f1"),
        (
            {"load_dataset": "glue", "config": "sst2", "splits": {"test": None}, "text": "s", "label": "l"},
            "classification",
            "matthews",
        ),
    ],
)
def test_kinds_and_round_trip(written: dict[str, Any], kind: str, headline: str) -> None:
    config = DatasetConfig(**written)
    assert (config.kind, config.headline) == (kind, headline)
    assert DatasetConfig.model_validate_json(config.model_dump_json(exclude_unset=True)) == config
    assert headline in KIND_METRICS[config.kind]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({}, "none as its source; give exactly one of builtin, train, load_dataset"),
        (FILES | {"builtin": "trec"}, "builtin and train"),
        ({"builtin": "trek"}, "trec"),
        ({"builtin": "trec", "label": "x"}, "label does not go with builtin; remove label"),
        (FILES | {"splits": {"train": "x"}}, "splits does not go with train"),
        ({"train": "a.csv", "label": "x"}, "text: column"),
        ({"train": "a.csv", "text": "x"}, "neither label nor score"),
        (FILES | {"score": "y"}, "both label and score"),
        (FILES | {"text": ["a", "b", "c"]}, "at most 2"),
        (FILES | {"metric": "pearson"}, "choose one of matthews, accuracy"),
        (FILES | {"metric": "acuracy"}, "accuracy"),
        (FILES | {"test": "b.csv", "test_rows": 5}, "test_rows holds rows out of train"),
        (FILES | {"rest_as_unlabeled": True}, "needs train_rows"),
        (FILES | {"train_rows": 0}, "greater than or equal to 2"),
        (FILES | {"trian_rows": 5}, "trian_rows"),
        ({"load_dataset": "g", "text": "t", "label": "l", "splits": {"dev": "x"}}, "splits.dev"),
        (FILES | {"task": "qa"}, "text does not go with qa; remove text"),
        (FILES | {"tokens": "t"}, "tokens does not go with classification"),
        (FILES | {"label": None, "task": "classification"}, "no column of what classification predicts"),
        (FILES | {"labels": "l"}, "both label and labels"),
        (FILES | {"label": None, "labels": ["a", "b"], "label_separator": "|"}, "label_separator is for one"),
        ({"task": "qa", "train": "a.json", "text": "t"}, "text does not go with qa"),
        ({"task": "qa", "train": "a.json", "metric": "entity_f1"}, "choose one of f1, exact_match"),
        ({"task": "qa", "train": "a.json", "max_length": 16}, "leaves a qa no context; give 32"),
        ({"task": "qa", "train": "a.json", "window_overlap": 43}, "a third of max_length; give at most 42"),
        ({"task": "qa", "builtin": "trec"}, "task does not go with builtin"),
        (FILES | {"window_overlap": 3}, "window_overlap does not go with classification"),
        (FILES | {"train_rows": [4, 8]}, "train_rows"),
    ],
)
def test_slips(written: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DatasetConfig(**written)
    assert said in str(caught.value)


def test_columns_of_questions_and_tags_have_names_of_their_own() -> None:
    asked = DatasetConfig(task="qa", train="a.json", context="c", max_length=90)
    assert (asked.text_columns, asked.target_columns, asked.overlap) == (("question", "c"), ("answers",), 30)
    assert DatasetConfig(task="qa", train="a.json", window_overlap=0).overlap == 0
    tagged = DatasetConfig(train="a.jsonl", tags="ner")
    assert (tagged.text_columns, tagged.target_columns) == (("tokens",), ("ner",))
    several = DatasetConfig(train="a.csv", text=["p", "q"], labels=["x", "y"])
    assert (several.text_columns, several.target_columns) == (("p", "q"), ("x", "y"))


def test_one_dataset_a_size() -> None:
    written = {
        "datasets": {"a": FILES, "b": FILES | {"train_rows": [500, 2000]}, "c": FILES | {"train_rows": 7}},
        "space_for": {"a": {"student": "svd"}, "b": {"student": "random"}, "b-2000": {"prediction": "kl"}},
    }
    before = copy.deepcopy(written)
    found = one_dataset_a_size(written)
    assert written == before
    assert list(found["datasets"]) == ["a", "b-500", "b-2000", "c"]
    assert found["datasets"]["b-500"] == FILES | {"train_rows": 500}
    assert found["datasets"]["a"] == FILES
    assert found["space_for"] == {
        "a": {"student": "svd"},
        "b-500": {"student": "random"},
        "b-2000": {"prediction": "kl"},
    }
    assert one_dataset_a_size(found) == found
    assert one_dataset_a_size({"name": "x", "datasets": None}) == {"name": "x", "datasets": None}


@pytest.mark.parametrize(
    ("datasets", "said"),
    [
        ({"a": {"train_rows": []}}, "datasets.a.train_rows: .* is no list of sizes; write whole numbers"),
        ({"a": {"train_rows": [500, "x"]}}, "no list of sizes"),
        ({"a": {"train_rows": [True]}}, "no list of sizes"),
        ({"a": {"train_rows": [1]}}, "at least 2"),
        ({"a": {"train_rows": [5, 5]}}, "names a size twice"),
        ({"a": {"train_rows": [5]}, "a-5": {}}, "'a-5', which is there already"),
    ],
)
def test_slips_in_sizes(datasets: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        one_dataset_a_size({"datasets": datasets})
