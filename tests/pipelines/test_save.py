"""A saved student is loaded by transformers alone, in a process that cannot import distiller."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from distiller.pipelines.checkpoint import predict
from distiller.pipelines.cohort import Member
from distiller.pipelines.distill import Cohort, distill
from distiller.pipelines.material import Material
from distiller.pipelines.save import check_target, save_student
from distiller.pipelines.tokens import tokenize
from distiller.spaces.errors import InputError
from tests.pipelines.conftest import LABELS, config_of, make_material

LOAD = """
import json, sys
class Blocked:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == "distiller":
            raise ImportError("distiller is not here")
sys.meta_path.insert(0, Blocked())
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
torch.set_num_threads(1)
found = {}
for folder in sys.argv[2:]:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = json.loads(sys.argv[1])
    with torch.no_grad():
        logits = model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits
    found[folder] = [model.config.id2label[0], tokenizer.model_max_length, logits.tolist()]
print(json.dumps(found))
"""


def trained(material: Material, prediction: str) -> tuple[Member, object]:
    member = Member(config_of(prediction=prediction), 0)
    (result,) = distill(Cohort((member,), 5, 0), material, keep_students=True)
    assert result.student is not None
    return member, result.student


def test_reloads_without_distiller(material: Material, regression: Material, tmp_path: Path) -> None:
    folders = [tmp_path / 'it\'s "a" student', tmp_path / "scores"]
    models = []
    for folder, where, prediction in zip(folders, (material, regression), ("kl", "mse"), strict=True):
        member, model = trained(where, prediction)
        save_student(model, where, member.config, folder, {"validation": 0.5, "test": 0.25})  # type: ignore[arg-type]
        save_student(model, where, member.config, folder, {"validation": 0.5, "test": 0.25})  # type: ignore[arg-type]
        models.append(model)
    texts = [*material.dataset.splits["test"].text_a[:7], " ".join(["w5"] * 90)]
    ran = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(texts), *map(str, folders)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    rows = tokenize(material.teacher.tokenizer, texts, None, 66)
    for folder, model, (mean, deviation) in zip(folders, models, ((0.0, 1.0), regression.scale), strict=True):
        label, longest, outputs = found[str(folder)]
        expected = predict(model, rows, 0) * deviation + mean  # type: ignore[arg-type]
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
        assert longest == 66
        assert label == (LABELS[0] if folder is folders[0] else "LABEL_0")
    labels = regression.dataset.splits["train"].labels
    assert labels is not None
    unit = np.array(found[str(folders[1])][2])
    assert abs(unit.mean() - labels.mean()) < 3 * labels.std() < abs(labels.mean())


def test_model_card(material: Material, tmp_path: Path) -> None:
    member, model = trained(material, "kl")
    save_student(
        model, material, member.config, tmp_path / "s", {"validation": 0.51234, "test": float("nan")}
    )  # type: ignore[arg-type]
    card = (tmp_path / "s" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: transformers\n")
    for piece in (
        "| matthews | score |",
        "| validation | 0.5123 |",
        "| test | nan |",
        "3 classes",
        "loss: kl",
    ):
        assert piece in card, piece


def test_positions_that_padding_takes_are_not_promised(tmp_path: Path) -> None:
    material = make_material(tmp_path, "roberta")
    member, model = trained(material, "kl")
    before = material.teacher.tokenizer.model_max_length
    save_student(model, material, member.config, tmp_path / "s", {})  # type: ignore[arg-type]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "s")
    assert tokenizer.model_max_length == 64
    assert material.teacher.tokenizer.model_max_length == before
    encoded = tokenizer(" ".join(["w1"] * 200), truncation=True, return_tensors="pt")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "s")
    assert bool(torch.isfinite(loaded(**encoded).logits).all())


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        check_target(tmp_path / "file")
    with pytest.raises(InputError, match="holds other files"):
        check_target(tmp_path / "other")
    with pytest.raises(InputError, match="cannot be written"):
        check_target(tmp_path / "file" / "below")
    check_target(tmp_path / "new" / "deep")
    assert (tmp_path / "new" / "deep").is_dir()
