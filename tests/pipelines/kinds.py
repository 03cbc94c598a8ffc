"""Tiny datasets of labels, spans and tags that a tiny model can learn, and materials made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel

from distiller.pipelines.material import Material, prepare_material
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.sweep import CacheConfig, FineTune, TeacherConfig
from tests.pipelines.conftest import CPU, FAMILIES, SIZES, tokenizer_of

KINDS = ("multi_label", "qa", "token_classification")
TUNED = FineTune(epochs=12, learning_rate=4e-3, batch_size=16)
ROWS = {"train": 160, "validation": 40, "test": 40, "unlabeled": 60}
Record = dict[str, Any]


def some(rng: np.random.Generator, low: int, high: int, count: int) -> list[str]:
    return [f"w{i}" for i in rng.integers(low, high, count)]


def several_labels(rng: np.random.Generator) -> Record:
    """Any of the labels x, y and z: a row has one where a word of its range occurs."""
    chosen = [i for i in range(3) if rng.random() < 0.4]
    words = some(rng, 90, 180, int(rng.integers(3, 8)))
    for i in chosen:
        words.insert(int(rng.integers(len(words) + 1)), f"w{i * 30 + int(rng.integers(4))}")
    return {"text": " ".join(words), "labels": ["xyz"[i] for i in chosen]}


def question(rng: np.random.Generator, before: int = 12) -> Record:
    """The answer begins with a word below 30 and ends with one below 60; all others are above."""
    words = some(rng, 60, 180, int(rng.integers(2, before)))
    answer = some(rng, 0, 30, 1) + some(rng, 60, 180, int(rng.integers(2))) + some(rng, 30, 60, 1)
    start = len(" ".join(words)) + 1
    context = " ".join([*words, *answer, *some(rng, 60, 180, int(rng.integers(2, 8)))])
    answers = {"text": [" ".join(answer)], "answer_start": [start]}
    return {"question": " ".join(some(rng, 60, 180, 4)), "context": context, "answers": answers}


def sentence(rng: np.random.Generator) -> Record:
    """Entities of two types begin with words below 20 and 40, and go on with those below 50 and 60."""
    tokens, tags = some(rng, 60, 180, 1), ["O"]
    for _ in range(int(rng.integers(1, 4))):
        i, more = int(rng.integers(2)), int(rng.integers(3))
        name = ("PER", "LOC")[i]
        tokens += some(rng, 20 * i, 20 * i + 20, 1) + some(rng, 40 + 10 * i, 50 + 10 * i, more)
        tags += [f"B-{name}", *[f"I-{name}"] * more]
        plain = int(rng.integers(1, 3))
        tokens, tags = tokens + some(rng, 60, 180, plain), tags + ["O"] * plain
    return {"tokens": tokens, "tags": tags}


MAKERS = {"multi_label": several_labels, "qa": question, "token_classification": sentence}
COLUMNS: dict[str, Record] = {
    "multi_label": {"text": "text", "labels": "labels"},
    "qa": {"task": "qa"},
    "token_classification": {"task": "token_classification"},
}


def save_kind(folder: Path, kind: str, seed: int = 0, max_length: int = 40, **more: Any) -> DatasetConfig:
    """JSONL files of all four splits."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in ROWS.items():
        records = [MAKERS[kind](rng, **more) for _ in range(size)]
        for record in records if split == "unlabeled" else ():
            for key in ("labels", "answers", "tags"):
                record.pop(key, None)
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, records)))
    files = {split: f"{folder}/{split}.jsonl" for split in ROWS}
    return DatasetConfig(**files, max_length=max_length, **COLUMNS[kind])


def save_encoder(folder: Path, family: str = "bert") -> Path:
    """A random encoder of 3 layers x 32 without a head."""
    options = {**SIZES, "max_position_embeddings": 66, "pad_token_id": 0, **FAMILIES[family]}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModel.from_config(AutoConfig.for_model(family, **options))
    model.save_pretrained(folder)
    tokenizer_of(model.config.pad_token_id).save_pretrained(folder)
    return folder


def kind_material(folder: Path, kind: str, family: str = "bert", **more: Any) -> Material:
    """A dataset of a kind with a teacher that was fine-tuned on it, all in `folder`."""
    return prepare_material(
        kind,
        save_kind(folder / "rows", kind, **more),
        ["teacher"],
        {"teacher": TeacherConfig(model=str(save_encoder(folder / "encoder", family)), fine_tune=TUNED)},
        CacheConfig(path=str(folder / "cache")),
        folder,
        CPU,
    )
