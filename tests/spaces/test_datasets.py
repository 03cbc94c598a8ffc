"""What a person may write under `datasets:`, and what each slip is told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from distiller.spaces.datasets import KIND_METRICS, DatasetConfig

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
    ],
)
def test_slips(written: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DatasetConfig(**written)
    assert said in str(caught.value)
