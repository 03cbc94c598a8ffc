"""What a sweep's parts take on this machine, timed on a few rows: models of the right shape, nothing loaded.

Teachers and pretrained students are built from their configs, at random: as fast as the real ones, and no
weights are read or downloaded. Each part is run until it has taken a fraction of a second.
"""

from __future__ import annotations

import copy
import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from distiller.pipelines.augment.sources import Sources
from distiller.pipelines.cache import compute_outputs
from distiller.pipelines.checkpoint import from_pretrained, inference_dtype, load_tokenizer, predict
from distiller.pipelines.cohort import Member
from distiller.pipelines.data import Dataset, Split
from distiller.pipelines.demand import Demand
from distiller.pipelines.distill import Cohort, Distillation
from distiller.pipelines.encoding import encode
from distiller.pipelines.fine_tuning import score_scale, tuning_step
from distiller.pipelines.heads import MODELS, name_the_labels
from distiller.pipelines.material import Material
from distiller.pipelines.origin import Origin
from distiller.pipelines.places import located
from distiller.pipelines.pool import make_pool, row_labels, texts_of
from distiller.pipelines.student import restrict_words, student_config
from distiller.pipelines.task import Task
from distiller.pipelines.teacher import Teacher
from distiller.spaces.config import PipelineConfig
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.student import Pretrained
from distiller.spaces.sweep import Budget, FineTune, TeacherConfig

SAMPLE_ROWS = 128
"""Rows of a split that are tried, at most."""
ENOUGH_SECONDS = 0.25
"""A part has been timed once it has taken so long."""
MOST_STEPS = 12


@dataclass(frozen=True)
class TeacherPace:
    """Seconds of a teacher.

    Attributes:
        row: its outputs on a row of tokens, written to disk.
        tuning_step: an optimizer step of its fine-tuning; 0 where it is not asked for, as is the next.
        validation_row: a row in an evaluation of that.
    """

    row: float
    tuning_step: float
    validation_row: float


@dataclass(frozen=True)
class StudentPace:
    """Seconds of a student, or its share of a cohort's.

    Attributes:
        build: before the first step.
        step: an optimizer step.
        validation_row: a text in an evaluation.
        cost: what is found out once per architecture and process, FLOPs above all.
    """

    build: float
    step: float
    validation_row: float
    cost: float


@dataclass(frozen=True)
class Sizes:
    """Of a dataset as a teacher reads it: token rows per text and tokens per row."""

    rows_per_text: float
    tokens_per_row: float


class Rehearsal:
    """A dataset with one untrained teacher on a few rows, in a folder that is gone in the end."""

    def __init__(
        self,
        dataset: Dataset,
        config: DatasetConfig,
        name: str,
        teacher: TeacherConfig,
        base: Path,
        folder: Path,
        device: torch.device,
    ):
        """Raises InputError where the teacher's config or tokenizer cannot be loaded."""
        self.dataset, self.config, self.device = sampled(dataset), config, device
        self.folder, self.base = folder, base
        place = f"teachers.{name}.model"
        source = located(teacher.model, base, place)
        shape = from_pretrained(AutoConfig, source, teacher.revision, place)
        tokenizer = load_tokenizer(source, teacher.revision, place)
        model = cast(torch.nn.Module, _untrained(shape, dataset.task, tokenizer)).to(device)
        self.teacher = Teacher(
            name,
            cast(PreTrainedModel, model.eval().requires_grad_(False)),
            tokenizer,
            f"untrained {name}",
            source,
            torch.arange(dataset.task.outputs),
        )
        labels = self.dataset.splits["train"].labels
        assert labels is not None
        self.scale = score_scale(self.dataset.task, labels)

    def material(self, demand: Demand) -> Material:
        """The rows with the teacher, as a trial finds them."""
        teacher, task = self.teacher, self.dataset.task
        length, overlap = self.config.max_length, self.config.overlap
        splits = ((split, self.dataset.splits[split]) for split in ("validation", "test"))
        words = cast(Any, teacher.model).get_input_embeddings()
        return Material(
            dataset=self.dataset,
            teachers=(teacher,),
            base=self.base,
            demand=demand,
            cache=self.folder,
            limit_bytes=float("inf"),
            max_length=length,
            scale=self.scale,
            teacher_scores={},
            majority_scores={},
            held_out={name: encode(teacher.tokenizer, rows, task, length, overlap) for name, rows in splits},
            sources=Sources(teacher.tokenizer, words.weight, "", self.folder, self.base, self.device),
            overlap=overlap,
        )

    def sizes(self) -> Sizes:
        """What the texts of the pool come to as tokens."""
        tokens = self.material(Demand()).tokens()
        texts = len(self.dataset.splits["train"]) + len(self.dataset.splits["unlabeled"])
        return Sizes(len(tokens) / texts, float(tokens.lengths.mean()))

    def teacher_pace(self, demand: Demand, fine_tune: FineTune | None) -> TeacherPace:
        """Time the teacher's pass with these states, and steps of its fine-tuning where it is asked for."""
        tokens = self.material(demand).tokens()
        precision = inference_dtype(self.device)
        rng = np.random.default_rng(0)
        teacher = self.teacher

        def outputs(rows: int) -> None:
            some = tokens.take(np.sort(rng.choice(len(tokens), rows, replace=False)))
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                compute_outputs(teacher, some, demand, Path(folder), precision)

        row = self._per_row(outputs, len(tokens))
        if fine_tune is None:
            return TeacherPace(row, 0.0, 0.0)
        pad = teacher.tokenizer.pad_token_id

        def evaluated(rows: int) -> None:
            some = tokens.take(np.sort(rng.choice(len(tokens), rows, replace=False)))
            predict(teacher.model, some, pad, precision=precision)

        return TeacherPace(row, self._tuning_step(fine_tune, row), self._per_row(evaluated, len(tokens)))

    def _tuning_step(self, settings: FineTune, row_seconds: float) -> float:
        """Seconds of a step; of a large teacher a smaller batch is timed, and taken to be a part of it."""
        task, train = self.dataset.task, self.dataset.splits["train"]
        assert train.labels is not None
        tokenizer = self.teacher.tokenizer
        model = _untrained(self.teacher.model.config, task, tokenizer)
        pool = make_pool(
            texts_of(task, train),
            row_labels(task, train.labels, self.scale),
            task,
            tokenizer,
            self.config.max_length,
            self.config.overlap,
        )
        _, _, vocabulary = restrict_words(model, tokenizer, [pool.tokens])
        tokens = pool.tokens.remapped(vocabulary.new_ids)
        model = cast(PreTrainedModel, cast(torch.nn.Module, model).to(self.device).train())
        size = min(settings.batch_size, pool.labeled_rows)
        tried = max(1, min(size, round(ENOUGH_SECONDS / (3 * row_seconds))))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
        rng, seconds = np.random.default_rng(0), []
        for _ in range(2):
            rows = rng.choice(pool.labeled_rows, tried, replace=False)
            batch = tokens.padded(rows, int(vocabulary.new_ids[tokenizer.pad_token_id])).to(self.device)
            labels = pool.labels.of(rows, batch.ids.shape[1]).to(self.device)
            step = functools.partial(tuning_step, model, optimizer, batch, labels, task)
            seconds.append(self._seconds(step))
        return min(seconds) * settings.batch_size / tried

    def student_pace(
        self, configs: Sequence[PipelineConfig], budget: Budget, members: int, depth_demand: Demand
    ) -> StudentPace:
        """Time students of these configs, which have one architecture: means over the configs.

        Args:
            members: students in a cohort; each config is timed with so many of its like.
            depth_demand: the teacher's states that the configs may read.
        """
        material = self.material(depth_demand)
        paces = []
        for config in configs:
            self._give_origin(material, config)
            paces.append(self._student_pace(config, material, budget, members))
        return StudentPace(
            build=float(np.mean([pace.build for pace in paces])),
            step=float(np.mean([pace.step for pace in paces])),
            validation_row=float(np.mean([pace.validation_row for pace in paces])),
            cost=paces[0].cost,  # of the others nothing: it is known then
        )

    def _give_origin(self, material: Material, config: PipelineConfig) -> None:
        """A pretrained student's checkpoint in shape alone."""
        choice = config.student
        if not isinstance(choice, Pretrained) or choice.checkpoint in material._origins:
            return
        place = "space.student.pretrained.checkpoint"
        source = located(choice.checkpoint, self.base, place)
        shape = student_config(choice, from_pretrained(AutoConfig, source, None, place), self.dataset.task)
        tokenizer = load_tokenizer(source, None, place)
        model = _untrained(shape, self.dataset.task, tokenizer)
        material._origins[choice.checkpoint] = Origin(cast(Any, model).eval(), tokenizer)

    def _student_pace(
        self, config: PipelineConfig, material: Material, budget: Budget, members: int
    ) -> StudentPace:
        material.outputs()  # its pass is the teacher's time
        cohort = Cohort(tuple(Member(config, seed) for seed in range(members)), budget.steps, 0, 1)
        made: list[Distillation] = []
        build = self._seconds(lambda: made.append(Distillation(cohort, material)))
        (work,) = made
        run, at, seconds = work.run, 1, 0.0
        first = self._seconds(lambda: run.advance(1))  # slower than any other step
        evaluation = self._seconds(lambda: material.scored("validation", run.outputs("validation")[0]))
        while seconds < ENOUGH_SECONDS and at <= MOST_STEPS and at < budget.steps:
            at += min(6, budget.steps - at)
            seconds += max(0.0, self._seconds(functools.partial(run.advance, at)) - evaluation)
        step = seconds / (at - 1) if at > 1 else max(0.0, first - evaluation)
        cost = self._seconds(lambda: work.cost())
        row = evaluation / len(self.dataset.splits["validation"])
        return StudentPace(build / members, step / members, row / members, cost)

    def _seconds(self, work: Callable[[], Any]) -> float:
        """Seconds of `work`: where one thread computes, of its own, whatever else the machine does."""
        gpu = self.device.type == "cuda"
        clock = time.perf_counter if gpu or torch.get_num_threads() > 1 else time.process_time
        started = clock()
        work()
        if gpu:
            torch.cuda.synchronize(self.device)
        return clock() - started

    def _per_row(self, work: Callable[[int], None], most: int) -> float:
        """Seconds of a row: `work` on a few rows says how many are enough."""
        few = min(8, most)
        work(few)
        first = self._seconds(lambda: work(few))
        rows = min(most, max(few, int(few * ENOUGH_SECONDS / max(first, 1e-6))))
        return first / few if rows == few else self._seconds(lambda: work(rows)) / rows


def sampled(dataset: Dataset) -> Dataset:
    """The dataset with at most `SAMPLE_ROWS` of each split, drawn evenly."""

    def some(split: Split) -> Split:
        rows = np.unique(np.linspace(0, len(split) - 1, min(len(split), SAMPLE_ROWS)).astype(int))
        return split.take(rows.tolist()) if len(split) else split

    splits = {name: some(split) for name, split in dataset.splits.items()}
    return Dataset(dataset.name, dataset.task, splits, dataset.fingerprint, dataset.notes)


def _untrained(shape: PretrainedConfig, task: Task, tokenizer: Any) -> PreTrainedModel:
    shape = copy.deepcopy(shape)
    name_the_labels(shape, task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS[task.kind].from_config(shape)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return cast(PreTrainedModel, model.float())
