"""What a dataset is like, of its texts, its labels and a teacher: numbers to compare datasets by.

Read are train, unlabelled text and validation; of test nothing, neither texts nor labels. None of the numbers
depends on the order of rows. What is costly is done on a sample: the rows with the smallest sha256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from distiller.pipelines.checkpoint import inference_dtype, weights_fingerprint
from distiller.pipelines.content import content_key
from distiller.pipelines.data import Dataset, Split
from distiller.pipelines.distill import Cohort, distill
from distiller.pipelines.encoding import encode
from distiller.pipelines.fine_tuning import with_task_head
from distiller.pipelines.material import Material
from distiller.pipelines.member import Member
from distiller.pipelines.places import located
from distiller.pipelines.probe import mean_states, probe_score
from distiller.pipelines.shelf import Shelf, built_for_all
from distiller.pipelines.task import Task
from distiller.pipelines.teacher_features import teacher_features
from distiller.pipelines.text_features import text_features
from distiller.pipelines.tokens import tokenize
from distiller.spaces.config import PipelineConfig
from distiller.spaces.presets import PRESETS
from distiller.spaces.sweep import TeacherConfig

FILE = "meta_features.json"
TEXTS = 2000
"""Texts of train and unlabelled whose words are counted, at most."""
TRAIN_ROWS, VALIDATION_ROWS = 600, 400
"""Rows that the probe and the student learn from, and are scored on, at most."""
MOST_TOKENS, OVERLAP = 128, 32
"""Of a row that they read, at most, and what two windows of a context then share, at most."""
STEPS = 60
STUDENT = {
    "student": {"initialization": "svd", "layers": 2, "width": 128, "family": "bert"},
    "optimization": {"batch_size": 16, "learning_rate": 2e-3, "warmup": 0.1, "schedule": "linear"},
}
"""The student without a teacher: the same for every dataset and, words aside, for every teacher."""

Features = dict[str, float | int | str | bool | None]
Array = npt.NDArray[Any]


def meta_features(
    material: Material, teachers: Mapping[str, TeacherConfig], shelf: Shelf | None = None
) -> Features:
    """The features by name; computed once per node or, with a `shelf`, once for all that share it.

    Args:
        teachers: where the material's teachers came from, by name.

    Raises:
        InputError: the leading teacher's checkpoint is gone.
    """
    dataset = material.dataset
    frozen = Frozen.of(material, teachers[material.teacher.name])
    read = {name: split.fingerprint for name, split in dataset.splits.items() if name != "test"}
    key = content_key(
        splits=read,
        task=asdict(dataset.task),
        teachers=[teacher.fingerprint for teacher in material.teachers],
        orders=[teacher.order.tolist() for teacher in material.teachers],
        frozen=frozen.fingerprint,
        max_length=material.max_length,
        overlap=material.overlap,
        revision=1,
    )

    def build(folder: Path) -> None:
        text = json.dumps(computed(material, frozen), allow_nan=False)
        (folder / FILE).write_text(text)

    folder = built_for_all(material.cache / "meta_features", f"meta-{key}", build, shelf)
    return cast(Features, json.loads((folder / FILE).read_text()))


@dataclass(frozen=True)
class Frozen:
    """The leading teacher's checkpoint as the sweep names it: before fine-tuning, where that is asked for.

    After fine-tuning, a probe would say again what the teacher's own score says, and embeddings of two
    datasets would be of two models.
    """

    material: Material
    config: TeacherConfig
    place: str
    source: str
    fingerprint: str

    @classmethod
    def of(cls, material: Material, config: TeacherConfig) -> Frozen:
        """The checkpoint of a material's leading teacher, not yet loaded."""
        place = f"teachers.{material.teacher.name}.model"
        source = located(config.model, material.base, place)
        trust = config.trust_remote_code
        return cls(
            material, config, place, source, weights_fingerprint(source, config.revision, place, trust)
        )

    def model(self) -> PreTrainedModel:
        """The model on the material's device; its head is of no use."""
        material, config = self.material, self.config
        if config.fine_tune is None:
            return material.teacher.model
        device = material.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)  # a head is drawn, which nobody reads
            model = with_task_head(
                self.source, config.revision, material.dataset.task, self.place, config.trust_remote_code
            )
        moved = cast(Any, model).to(device).eval().requires_grad_(False)
        if moved.config.pad_token_id is None:
            moved.config.pad_token_id = material.teacher.tokenizer.pad_token_id
        return cast(PreTrainedModel, moved)


def computed(material: Material, frozen: Frozen) -> Features:
    """All features, nothing kept.

    Raises:
        RuntimeError: the student without a teacher diverged.
    """
    dataset = material.dataset
    train, unlabeled = dataset.splits["train"], dataset.splits["unlabeled"]
    tokenizer = material.teacher.tokenizer
    texts = sampled(train.followed_by(unlabeled), TEXTS)
    features: Features = {
        "pair": dataset.task.pair,
        "label_entropy": label_entropy(dataset.task, train),
        **text_features(texts, tokenizer, material.max_length),
        **teacher_features(material),
    }
    small = sampled_material(material)
    features |= _frozen_features(small, frozen)
    features["small_student_score"] = small_student_score(small)
    return features


def sampled(split: Split, most: int) -> Split:
    """The rows with the smallest sha256 of their texts (then labels), at most `most`, in that order."""
    second = split.text_b or [""] * len(split)

    def rank(row: int) -> tuple[bytes, str]:
        text = json.dumps([split.text_a[row], second[row]])
        label = "" if split.labels is None else repr(split.labels[row : row + 1].tolist())
        return hashlib.sha256(text.encode()).digest(), label

    return split.take(sorted(range(len(split)), key=rank)[:most])


def sampled_material(material: Material) -> Material:
    """A material of sampled train and validation rows, cut short; without unlabelled text and test."""
    dataset, task = material.dataset, material.dataset.task
    validation = sampled(dataset.splits["validation"], VALIDATION_ROWS)
    splits = {
        "train": sampled(dataset.splits["train"], TRAIN_ROWS),
        "validation": validation,
        "unlabeled": Split([], [] if task.pair else None, None),
    }
    length, overlap = min(material.max_length, MOST_TOKENS), min(material.overlap, OVERLAP)
    return replace(
        material,
        dataset=Dataset(dataset.name, task, splits, dataset.fingerprint, ()),
        held_out={
            "validation": encode(material.teacher.tokenizer, validation, task, length, overlap),
        },
        max_length=length,
        overlap=overlap,
        costs={},
        _texts={},
        _pools={},
        _held_out={},
        _outputs={},
    )


def label_entropy(task: Task, train: Split) -> float | None:
    """Bits of a label: of a row's class or a word's tag; of several labels a row, the mean over labels."""
    assert train.labels is not None
    if task.kind == "classification":
        return bits(np.bincount(train.labels))
    if task.kind == "token_classification":
        return bits(np.bincount(np.concatenate([np.array(row, np.int64) for row in train.labels])))
    if task.kind == "multi_label":
        held = train.labels.sum(0)
        return float(np.mean([bits(np.array([count, len(train) - count])) for count in held]))
    return None


def bits(counts: Array) -> float:
    """Shannon entropy, base 2, of the distribution that is proportional to `counts`."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0  # never -0


def _frozen_features(small: Material, frozen: Frozen) -> Features:
    """The linear probe and the mean embedding; questions and tagged words are embedded, not probed."""
    task, splits = small.dataset.task, small.dataset.splits
    model, tokenizer = frozen.model(), small.teacher.tokenizer
    precision = inference_dtype(small.device)

    def states(split: Split) -> npt.NDArray[np.float32]:
        rows = tokenize(tokenizer, split.text_a, split.text_b, small.max_length)
        return mean_states(model, rows, int(tokenizer.pad_token_id), precision=precision)

    train, validation = splits["train"], splits["validation"]
    seen = states(train)
    probed = None
    if not task.tokenwise:
        assert train.labels is not None
        assert validation.labels is not None
        probed = probe_score(task, seen, train.labels, states(validation), validation.labels)
    embedding = [round(float(value), 4) + 0.0 for value in seen.mean(0, dtype=np.float64)]
    return {
        "probe_score": probed,
        "mean_embedding": json.dumps(embedding),
        "embedding_checkpoint": frozen.fingerprint,
    }


def small_student_score(small: Material) -> float:
    """The validation score of `STUDENT` after `STEPS` steps on labels alone, as references are trained.

    Raises:
        RuntimeError: it diverged.
    """
    config = PRESETS["no_teacher"].applied(PipelineConfig.model_validate(STUDENT), small.dataset.task.kind)
    (result,) = distill(Cohort((Member(config, 0),), STEPS, 0, evaluations=1), small)
    if result.error is not None:
        raise RuntimeError(f"meta-features: the small student without a teacher failed: {result.error}")
    return result.last.score
