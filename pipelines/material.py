"""What all trials of a dataset share on a node: texts, tokens, teachers and what teachers say."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distiller.pipelines.augment.sources import Sources
from distiller.pipelines.cache import GIB, TeacherOutputs, cached_outputs
from distiller.pipelines.carrying import edited_texts
from distiller.pipelines.cost import StudentCost
from distiller.pipelines.data import Dataset, Split, load_dataset
from distiller.pipelines.demand import Demand
from distiller.pipelines.encoding import encode
from distiller.pipelines.fine_tuning import score_scale
from distiller.pipelines.labels import Labels
from distiller.pipelines.metrics import headline, majority_score, score_split
from distiller.pipelines.pool import Pool, Texts, make_pool, row_labels, texts_of
from distiller.pipelines.student import embedding_width, word_table
from distiller.pipelines.teacher import Teacher, prepare_teacher
from distiller.pipelines.tokens import Tokens, Vocabulary
from distiller.pipelines.views import ORIGINAL, View, edited_rows, materialise
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.student import Student as StudentChoice
from distiller.spaces.student import SvdEmbeddings, TeacherLayers
from distiller.spaces.sweep import CacheConfig, TeacherConfig

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Material:
    """A dataset with one of its teachers, ready to distil.

    Rows of the pool are the labelled rows first, then the unlabelled ones.

    Attributes:
        scale: mean and standard deviation of a regression's labels; students learn standardised scores.
        teacher_scores: the teacher's metrics on validation and test.
        majority_scores: those of the predictor that ignores the text.
        sources: what the methods of augmentation draw on.
        overlap: tokens that two windows of a long context share.
    """

    dataset: Dataset
    teacher: Teacher
    demand: Demand
    cache: Path
    limit_bytes: float
    max_length: int
    scale: tuple[float, float]
    teacher_scores: Mapping[str, dict[str, float]]
    majority_scores: Mapping[str, dict[str, float]]
    held_out: Mapping[str, Tokens]
    sources: Sources
    overlap: int = 0
    costs: dict[str, StudentCost] = field(default_factory=dict)
    _views: dict[str, Pool] = field(default_factory=dict)
    _outputs: dict[str, TeacherOutputs] = field(default_factory=dict)
    _tables: dict[int, Tensor] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the teacher is, and its students will be."""
        return torch.device(self.teacher.model.device)

    @property
    def labeled_rows(self) -> int:
        """How many rows of the pool have labels; they come first."""
        return self.pool().labeled_rows

    def pool(self, view: View = ORIGINAL) -> Pool:
        """The rows that students learn from, in a view."""
        if view.key not in self._views:
            task, splits = self.dataset.task, self.dataset.splits
            assert splits["train"].labels is not None
            self._views[view.key] = make_pool(
                self._texts(view),
                row_labels(task, splits["train"].labels, self.scale),
                task,
                self.teacher.tokenizer,
                self.max_length,
                self.overlap,
                None if view.round == 0 else self.pool(),
            )
        return self._views[view.key]

    def _texts(self, view: View) -> Texts:
        task, splits = self.dataset.task, self.dataset.splits
        texts = texts_of(task, splits["train"], splits["unlabeled"])
        if task.tokenwise and view.round > 0:
            return edited_texts(
                texts, task, lambda rows, own, side: edited_rows(rows, view, side, self.sources, own)
            )
        text_a, text_b = materialise(texts.split.text_a, texts.split.text_b, view, self.sources)
        return replace(texts, split=Split(text_a, text_b, None))

    def tokens(self, view: View = ORIGINAL) -> Tokens:
        """The pool's token ids in a view."""
        return self.pool(view).tokens

    def labels(self, view: View = ORIGINAL) -> Labels:
        """The pool's hard labels in a view, standardised for a regression."""
        return self.pool(view).labels

    def outputs(self, view: View = ORIGINAL) -> TeacherOutputs:
        """What the teacher says of the pool in a view."""
        if view.key not in self._outputs:
            self._outputs[view.key] = cached_outputs(
                self.teacher, self.tokens(view), self.demand, self.cache, self.limit_bytes, view.key
            )
        return self._outputs[view.key]

    def vocabulary(self, views: Sequence[View]) -> Vocabulary:
        """The token ids that training in `views` and evaluation can meet."""
        pad = self.teacher.model.config.pad_token_id  # the tokenizer's, in a sound checkpoint
        return Vocabulary.of(
            [*(self.tokens(view) for view in views), *self.held_out.values()],
            int(self.teacher.model.config.vocab_size),
            [*self.teacher.tokenizer.all_special_ids, *([] if pad is None else [pad])],
            int(self.teacher.tokenizer.pad_token_id),
        )

    def word_table(self, choice: StudentChoice, seed: int) -> Tensor:
        """The student's start for all word embeddings; those that no seed enters are kept."""
        words: torch.nn.Module = self.teacher.model.get_input_embeddings()
        teacher_table = cast(Tensor, words.weight).detach().float().cpu()
        deviation = float(getattr(self.teacher.model.config, "initializer_range", 0.02))
        if isinstance(choice, TeacherLayers):
            return teacher_table
        width = embedding_width(choice, self.teacher.model.config)
        if isinstance(choice, SvdEmbeddings) and width <= teacher_table.shape[1]:
            if width not in self._tables:
                self._tables[width] = word_table(choice, teacher_table, width, deviation, 0)
            return self._tables[width]
        return word_table(choice, teacher_table, width, deviation, seed)

    def scored(self, split: str, outputs: npt.NDArray[np.floating]) -> dict[str, float]:
        """All metrics of standardised outputs [N, C] (or [total, C]) on validation or test."""
        outputs = outputs * self.scale[1] + self.scale[0]
        return score_split(self.dataset.task, self.dataset.splits[split], self.held_out[split], outputs)

    def headline(self, metrics: Mapping[str, float]) -> float:
        """The task's own metric: higher is better."""
        return headline(self.dataset.task, dict(metrics))


def prepare_material(
    name: str,
    dataset_config: DatasetConfig,
    teacher_name: str,
    teacher_config: TeacherConfig,
    cache_config: CacheConfig,
    base: Path,
    device: torch.device,
    demand: Demand | None = None,
) -> Material:
    """Load, check, fine-tune the teacher if asked and not done before, and score it.

    With a `demand` of None every layer and representation is cached (within the limit).
    """
    cache = Path(cache_config.path).expanduser()
    dataset = load_dataset(name, dataset_config, base)
    length, overlap = dataset_config.max_length, dataset_config.overlap
    teacher = prepare_teacher(teacher_name, teacher_config, dataset, cache, base, length, device, overlap)
    task = dataset.task
    labels = dataset.splits["train"].labels
    assert labels is not None
    held_out, teacher_scores, majority_scores = {}, {}, {}
    for split in ("validation", "test"):
        rows: Split = dataset.splits[split]
        assert rows.labels is not None
        held_out[split] = encode(teacher.tokenizer, rows, task, length, overlap)
        said = cached_outputs(teacher, held_out[split], Demand(), cache, math.inf, split).logits
        teacher_scores[split] = score_split(task, rows, held_out[split], said.numpy())
        majority_scores[split] = majority_score(task, labels, rows.labels)
    words: torch.nn.Module = teacher.model.get_input_embeddings()
    everything = Demand.grid(range(1, teacher.layers + 1), ("cls", "mean", "tokens"))
    return Material(
        dataset=dataset,
        teacher=teacher,
        demand=everything if demand is None else demand,
        cache=cache,
        limit_bytes=cache_config.max_gb * GIB,
        max_length=length,
        scale=score_scale(task, labels),
        teacher_scores=teacher_scores,
        majority_scores=majority_scores,
        held_out=held_out,
        sources=Sources(
            tokenizer=teacher.tokenizer,
            table=cast(Tensor, words.weight),
            fingerprint=teacher.fingerprint,
            cache=cache,
            base=base,
            device=device,
        ),
        overlap=overlap,
    )
