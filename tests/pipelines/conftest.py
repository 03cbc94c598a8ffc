"""Tiny teachers and datasets, made on the spot: no network, one thread, seconds in all."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from distiller.pipelines import cache, fine_tuning, streams
from distiller.pipelines.demand import Demand
from distiller.pipelines.material import Material, prepare_material
from distiller.spaces.config import PipelineConfig
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.sweep import CacheConfig, TeacherConfig

LABELS = ("bird", "fish", "horse")
WORDS = [f"w{i}" for i in range(180)]
CPU = torch.device("cpu")
SIZES = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {"intermediate_size": 64},
    "roberta": {"intermediate_size": 64, "type_vocab_size": 1, "pad_token_id": 1},
    "distilbert": {"hidden_dim": 64},
    "electra": {"intermediate_size": 64, "embedding_size": 16},
    "albert": {"intermediate_size": 64, "embedding_size": 16},
    "mobilebert": {"intermediate_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16},
    "deberta-v2": {
        "intermediate_size": 64,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
        "pooler_hidden_size": 32,
    },
    "modernbert": {"intermediate_size": 48, "pad_token_id": 199, "local_attention": 8},
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(autouse=True, scope="session")
def exact_teacher() -> Iterator[None]:
    """The teacher in float32 on every machine (bf16 where the CPU has it would blur comparisons)."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (cache, streams, fine_tuning):
            patch.setattr(module, "inference_dtype", lambda device: torch.float32)
        yield


def tokenizer_of(pad_id: int) -> PreTrainedTokenizerFast:
    """A word tokenizer of 200 ids with padding at `pad_id`; pairs get segment ids."""
    special = ["[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    order = [*special, *WORDS, *(f"[x{i}]" for i in range(15))]
    order.insert(pad_id, "[PAD]")
    ids = {word: i for i, word in enumerate(order)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [(m, ids[m]) for m in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def save_teacher(
    folder: Path, family: str = "bert", labels: tuple[str, ...] | None = LABELS, seed: int = 0, **more: Any
) -> Path:
    """A random teacher of 3 layers x 32 in `folder`; with `labels` of None a regression."""
    options = {**SIZES, "max_position_embeddings": 66, "pad_token_id": 0, **FAMILIES[family], **more}
    config = AutoConfig.for_model(family, initializer_range=0.2, **options)
    if labels is None:
        config.num_labels, config.problem_type = 1, "regression"
    else:
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: i for i, name in enumerate(labels)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config)
        for name, parameter in model.named_parameters():  # biases too, or a wrong one would go unseen
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    tokenizer_of(config.pad_token_id).save_pretrained(folder)
    return folder


def save_rows(folder: Path, task: str = "classification", pair: bool = False, seed: int = 0) -> DatasetConfig:
    """CSV files of train, validation, test, unlabeled: the class is in a word, the score is their sum."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)

    def text() -> str:
        return " ".join(rng.choice(WORDS, rng.integers(2, 15)))

    for split, size in {"train": 60, "validation": 30, "test": 30, "unlabeled": 41}.items():
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["a", "b", "label", "score"])
            for i in range(size):
                first = text()
                score = 3.0 + 2.0 * float(np.mean([int(word[1:]) / 60 for word in first.split()]))
                writer.writerow([first, text(), LABELS[i % 3], score])
    files = {split: f"{folder}/{split}.csv" for split in ("train", "validation", "test", "unlabeled")}
    target = {"label": "label"} if task == "classification" else {"score": "score"}
    return DatasetConfig(**files, text=["a", "b"] if pair else "a", max_length=24, **target)


def make_material(
    folder: Path,
    family: str = "bert",
    task: str = "classification",
    pair: bool = False,
    demand: Demand | None = None,
    max_gb: float = 1.0,
    teacher: Path | None = None,
    device: torch.device = CPU,
    others: Mapping[str, Path] | None = None,
    **more: Any,
) -> Material:
    """A dataset with a random teacher, all in `folder`; with `others`, the mean of it and them."""
    others = others or {}
    names = ["teacher", *others]
    labels = LABELS if task == "classification" else None
    if teacher is None:
        teacher = folder / "teacher"
        if not teacher.exists():
            save_teacher(teacher, family, labels, **more)
    return prepare_material(
        "animals",
        save_rows(folder / "rows", task, pair),
        names,
        {name: TeacherConfig(model=str(others.get(name, teacher))) for name in names},
        CacheConfig(path=str(folder / "cache"), max_gb=max_gb),
        folder,
        device,
        demand,
    )


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders whose names hold what careless code trips over."""
    return lambda name: tmp_path_factory.mktemp(f'it\'s a "{name}"')


@pytest.fixture(scope="session")
def material(folder_of: Callable[[str], Path]) -> Material:
    return make_material(folder_of("classes"))


@pytest.fixture(scope="session")
def regression(folder_of: Callable[[str], Path]) -> Material:
    return make_material(folder_of("scores"), task="regression")


def config_of(**stages: Any) -> PipelineConfig:
    """A config with a student of 2 layers x 16 and batches of 8, unless said otherwise."""
    stages.setdefault("student", {"initialization": "svd", "layers": 2, "width": 16})
    optimization = {"batch_size": 8, "learning_rate": 3e-3, **stages.pop("optimization", {})}
    return PipelineConfig.model_validate({**stages, "optimization": optimization})
