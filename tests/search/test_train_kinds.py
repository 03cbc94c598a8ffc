"""`distiller train` on labels, spans and tags: a recipe becomes a student with the task's own head."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.pipelines.kinds import KINDS, save_encoder, save_kind

HEADS = {
    "multi_label": "BertForSequenceClassification",
    "qa": "BertForQuestionAnswering",
    "token_classification": "BertForTokenClassification",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_of_each_kind(tmp_path, command, kind):
    dataset = save_kind(tmp_path / "rows", kind)
    save_encoder(tmp_path / "encoder")
    recipe = {
        "name": "mine",
        "dataset": dataset.model_dump(mode="json", exclude_unset=True),
        "teachers": {"big": {"model": "./encoder", "fine_tune": {"epochs": 2, "learning_rate": 4e-3}}},
        "budget": {"steps": 12, "evaluations": 1},
        "config": {
            "student": {"initialization": "svd", "layers": 1, "width": 16},
            "intermediate": {"objective": "mse"},
            "augmentation": {"method": "random"},
            "teacher": {"checkpoint": "big"},
            "optimization": {"batch_size": 8},
        },
        "cache": {"path": "./cache"},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    done = command(tmp_path, "train", "recipe.yaml", "--out", "student", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{dataset.headline} \d\.\d{{4}} on validation", done.stdout)
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert config["architectures"] == [HEADS[kind]]
    assert config["num_hidden_layers"] == 1
