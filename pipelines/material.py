"""What all trials of a dataset share on a node: texts, tokens, teachers and what teachers say."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distiller.pipelines.augment.sources import Sources
from distiller.pipelines.cache import GIB, TeacherOutputs, cached_outputs
from distiller.pipelines.cost import StudentCost
from distiller.pipelines.data import Dataset, Split, load_dataset
from distiller.pipelines.demand import Demand
from distiller.pipelines.fine_tuning import score_scale
from distiller.pipelines.metrics import headline, majority_score, score
from distiller.pipelines.student import embedding_width, word_table
from distiller.pipelines.teacher import Teacher, prepare_teacher
from distiller.pipelines.tokens import Tokens, Vocabulary, tokenize
from distiller.pipelines.views import ORIGINAL, View, materialise
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
    costs: dict[str, StudentCost] = field(default_factory=dict)
    _views: dict[str, Tokens] = field(default_factory=dict)
    _outputs: dict[str, TeacherOutputs] = field(default_factory=dict)
    _tables: dict[int, Tensor] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the teacher is, and its students will be."""
        return torch.device(self.teacher.model.device)

    @property
    def labels(self) -> npt.NDArray[np.generic]:
        """[pool] the labels, standardised for a regression; 0 where a row has none."""
        train = self.dataset.splits["train"].labels
        assert train is not None
        if self.dataset.task.kind == "regression":
            train = ((train - self.scale[0]) / self.scale[1]).astype(np.float32)
        unlabeled = len(self.dataset.splits["unlabeled"])
        return np.concatenate([train, np.zeros(unlabeled, train.dtype)])

    @property
    def labeled_rows(self) -> int:
        """How many rows of the pool have labels; they come first."""
        return len(self.dataset.splits["train"])

    def texts(self, view: View = ORIGINAL) -> tuple[list[str], list[str] | None]:
        """The pool's texts in a view, and their second texts where the task has pairs."""
        splits = [self.dataset.splits["train"], self.dataset.splits["unlabeled"]]
        text_a = [text for split in splits for text in split.text_a]
        text_b = [text for split in splits for text in split.text_b or []] or None
        return materialise(text_a, text_b, view, self.sources)

    def tokens(self, view: View = ORIGINAL) -> Tokens:
        """The pool's token ids in a view."""
        if view.key not in self._views:
            self._views[view.key] = tokenize(self.teacher.tokenizer, *self.texts(view), self.max_length)
        return self._views[view.key]

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
        """All metrics of standardised outputs [N, C] on validation or test."""
        labels = self.dataset.splits[split].labels
        assert labels is not None
        return score(self.dataset.task, outputs * self.scale[1] + self.scale[0], labels)

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
    length = dataset_config.max_length
    teacher = prepare_teacher(teacher_name, teacher_config, dataset, cache, base, length, device)
    task = dataset.task
    labels = dataset.splits["train"].labels
    assert labels is not None
    held_out, teacher_scores, majority_scores = {}, {}, {}
    for split in ("validation", "test"):
        rows: Split = dataset.splits[split]
        assert rows.labels is not None
        held_out[split] = tokenize(teacher.tokenizer, rows.text_a, rows.text_b, length)
        said = cached_outputs(teacher, held_out[split], Demand(), cache, math.inf, split).logits
        teacher_scores[split] = score(task, said.numpy(), rows.labels)
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
    )
