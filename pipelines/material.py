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
from distiller.pipelines.cache import TeacherOutputs, cached_outputs
from distiller.pipelines.carrying import edited_texts
from distiller.pipelines.cost import StudentCost
from distiller.pipelines.data import Dataset, Split, load_dataset
from distiller.pipelines.demand import Demand
from distiller.pipelines.encoding import encode
from distiller.pipelines.ensemble import mean_logits
from distiller.pipelines.fine_tuning import score_scale
from distiller.pipelines.labels import Labels
from distiller.pipelines.metrics import headline, majority_score, score_split
from distiller.pipelines.origin import Origin
from distiller.pipelines.places import node_folder
from distiller.pipelines.pool import Pool, Texts, make_pool, row_labels, texts_of
from distiller.pipelines.pretrained import load_origin
from distiller.pipelines.room import GIB
from distiller.pipelines.shelf import Shelf
from distiller.pipelines.student import embedding_width, word_table
from distiller.pipelines.teacher import Teacher, prepare_teacher
from distiller.pipelines.tokens import Tokens, Vocabulary
from distiller.pipelines.views import ORIGINAL, View, edited_rows, materialise
from distiller.spaces.config import MEAN
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.errors import InputError
from distiller.spaces.student import Pretrained, SvdEmbeddings, TeacherLayers
from distiller.spaces.student import Student as StudentChoice
from distiller.spaces.sweep import CacheConfig, TeacherConfig

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Material:
    """A dataset with its teacher, or with several whose mean is the teacher, ready to distil.

    Rows of the pool are the labelled rows first, then the unlabelled ones.

    Attributes:
        teachers: in order of their names; one that is asked for twice stands here twice.
        base: the folder that relative paths of checkpoints start from.
        held_out: validation and test as the first teacher's tokenizer cuts them.
        scale: mean and standard deviation of a regression's labels; students learn standardised scores.
        teacher_scores: the teacher's metrics on validation and test.
        majority_scores: those of the predictor that ignores the text.
        sources: what the methods of augmentation draw on.
        overlap: tokens that two windows of a long context share.
        limit_bytes, total_bytes: of hidden states on a view, and of the whole cache.
    """

    dataset: Dataset
    teachers: tuple[Teacher, ...]
    base: Path
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
    total_bytes: float = math.inf
    costs: dict[str, StudentCost] = field(default_factory=dict)
    _texts: dict[str, Texts] = field(default_factory=dict)
    _pools: dict[tuple[str, str, bool], Pool] = field(default_factory=dict)
    _held_out: dict[tuple[str, str, bool], Tokens] = field(default_factory=dict)
    _outputs: dict[str, TeacherOutputs] = field(default_factory=dict)
    _tables: dict[int, Tensor] = field(default_factory=dict)
    _origins: dict[str, Origin] = field(default_factory=dict)

    @property
    def teacher(self) -> Teacher:
        """The teacher that leads: its tokenizer, hidden states and shape are what students start from."""
        return self.teachers[0]

    @property
    def teacher_name(self) -> str:
        """One name for all teachers, `a+b` for the mean of two."""
        return MEAN.join(teacher.name for teacher in self.teachers)

    @property
    def device(self) -> torch.device:
        """Where the teacher is, and its students will be."""
        return torch.device(self.teacher.model.device)

    @property
    def labeled_rows(self) -> int:
        """How many rows of the pool have labels; they come first."""
        return self.pool().labeled_rows

    def origin(self, choice: StudentChoice) -> Origin:
        """The model that a student's tokenizer and config are those of.

        Raises:
            InputError: a checkpoint that is not there or does not fit.
        """
        if not isinstance(choice, Pretrained):
            return self.teacher.origin
        if choice.checkpoint not in self._origins:
            self._origins[choice.checkpoint] = load_origin(
                choice, self.base, self.dataset.task, self.max_length
            )
        return self._origins[choice.checkpoint]

    def pool(self, view: View = ORIGINAL, origin: Origin | None = None) -> Pool:
        """The rows that students learn from, in a view, cut by an origin's tokenizer (else the teacher's)."""
        origin = origin or self.teacher.origin
        key = (view.key, origin.key, origin.gives_types)
        if key not in self._pools:
            task, train = self.dataset.task, self.dataset.splits["train"]
            assert train.labels is not None
            self._pools[key] = make_pool(
                self.texts(view),
                row_labels(task, train.labels, self.scale),
                task,
                origin.tokenizer,
                self.max_length,
                self.overlap,
                None if view.round == 0 else self.pool(ORIGINAL, origin),
            )
        return self._pools[key]

    def texts(self, view: View = ORIGINAL) -> Texts:
        """The pool's texts in a view, with the labels that their words carry."""
        if view.key not in self._texts:
            task, splits = self.dataset.task, self.dataset.splits
            texts = texts_of(task, splits["train"], splits["unlabeled"])
            if task.tokenwise and view.round > 0:
                self._texts[view.key] = edited_texts(
                    texts, task, lambda rows, own, side: edited_rows(rows, view, side, self.sources, own)
                )
            else:
                text_a, text_b = materialise(texts.split.text_a, texts.split.text_b, view, self.sources)
                self._texts[view.key] = replace(texts, split=Split(text_a, text_b, None))
        return self._texts[view.key]

    def tokens(self, view: View = ORIGINAL, origin: Origin | None = None) -> Tokens:
        """The token ids of `pool`."""
        return self.pool(view, origin).tokens

    def labels(self, view: View = ORIGINAL) -> Labels:
        """The pool's hard labels in a view, standardised for a regression."""
        return self.pool(view).labels

    def held_out_tokens(self, split: str, origin: Origin) -> Tokens:
        """Validation or test as an origin's tokenizer cuts it."""
        if origin.reads_like(self.teacher.origin):
            return self.held_out[split]
        key = (split, origin.key, origin.gives_types)
        if key not in self._held_out:
            rows, task = self.dataset.splits[split], self.dataset.task
            self._held_out[key] = encode(origin.tokenizer, rows, task, self.max_length, self.overlap)
        return self._held_out[key]

    def outputs(self, view: View = ORIGINAL) -> TeacherOutputs:
        """What the teacher says of the pool in a view: mean logits, hidden states of the first teacher.

        Each teacher's own outputs are cached by themselves, so that every mean with it shares them.
        """
        if view.key not in self._outputs:
            said = [
                cached_outputs(
                    teacher,
                    self.tokens(view, teacher.origin),
                    self.demand if number == 0 else Demand(),
                    self.cache,
                    self.limit_bytes,
                    view.key,
                    self.total_bytes,
                )
                for number, teacher in enumerate(self.teachers)
            ]
            self._outputs[view.key] = replace(said[0], logits=mean_logits([s.logits for s in said]))
        return self._outputs[view.key]

    def vocabulary(self, views: Sequence[View], origin: Origin | None = None) -> Vocabulary:
        """The token ids of an origin's tokenizer that training in `views` and evaluation can meet."""
        origin = origin or self.teacher.origin
        pad = origin.config.pad_token_id  # the tokenizer's, in a sound checkpoint
        held_out = [self.held_out_tokens(split, origin) for split in self.held_out]
        return Vocabulary.of(
            [*(self.tokens(view, origin) for view in views), *held_out],
            int(origin.config.vocab_size),
            [*origin.tokenizer.all_special_ids, *([] if pad is None else [pad])],
            origin.pad_id,
        )

    def word_table(self, choice: StudentChoice, seed: int) -> Tensor:
        """The student's start for all word embeddings; those that no seed enters are kept."""
        origin = self.origin(choice)
        if isinstance(choice, (TeacherLayers, Pretrained)):
            return origin.table
        deviation = float(getattr(origin.config, "initializer_range", 0.02))
        width, table = embedding_width(choice, origin.config), origin.table
        if isinstance(choice, SvdEmbeddings) and width <= table.shape[1]:
            if width not in self._tables:
                self._tables[width] = word_table(choice, table, width, deviation, 0)
            return self._tables[width]
        return word_table(choice, table, width, deviation, seed)

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
    teacher_names: Sequence[str],
    teachers: Mapping[str, TeacherConfig],
    cache_config: CacheConfig,
    base: Path,
    device: torch.device,
    demand: Demand | None = None,
    shelf: Shelf | None = None,
) -> Material:
    """Load, check, fine-tune the teachers if asked and not done before, and score their mean.

    With a `demand` of None every layer and representation is cached (within the limit). Teachers that are
    fine-tuned are those of the `shelf`, where nodes have one together.

    Raises:
        InputError: data or teachers that do not fit.
    """
    cache = node_folder(cache_config.path)
    dataset = load_dataset(name, dataset_config, base)
    length, overlap = dataset_config.max_length, dataset_config.overlap
    ready = {
        each: prepare_teacher(each, teachers[each], dataset, cache, base, length, device, overlap, shelf)
        for each in dict.fromkeys(teacher_names)
    }
    team = tuple(ready[each] for each in sorted(teacher_names))
    teacher, task = team[0], dataset.task
    for other in team[1:]:
        if task.tokenwise and not other.origin.shares_tokens(teacher.origin):
            raise InputError(
                f"teachers.{other.name}: its tokenizer differs from that of {teacher.name}, and {name} has "
                "its outputs at tokens; average teachers of one tokenizer"
            )
    labels = dataset.splits["train"].labels
    assert labels is not None
    held_out, teacher_scores, majority_scores = {}, {}, {}
    for split in ("validation", "test"):
        rows: Split = dataset.splits[split]
        assert rows.labels is not None
        read = {each: encode(ready[each].tokenizer, rows, task, length, overlap) for each in ready}
        held_out[split] = read[teacher.name]
        said = mean_logits(
            [cached_outputs(t, read[t.name], Demand(), cache, math.inf, split).logits for t in team]
        )
        teacher_scores[split] = score_split(task, rows, held_out[split], said.numpy())
        majority_scores[split] = majority_score(task, labels, rows.labels)
    words: torch.nn.Module = teacher.model.get_input_embeddings()
    everything = Demand.grid(range(1, teacher.layers + 1), ("cls", "mean", "tokens"))
    return Material(
        dataset=dataset,
        teachers=team,
        base=base,
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
        total_bytes=math.inf if cache_config.total_gb is None else cache_config.total_gb * GIB,
    )
