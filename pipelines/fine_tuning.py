"""Fine-tuning of a teacher on a dataset's labelled rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, PreTrainedModel

from distiller.pipelines.checkpoint import (
    check_length,
    forward,
    from_pretrained,
    inference_dtype,
    load_tokenizer,
    predict,
)
from distiller.pipelines.data import Dataset, Split
from distiller.pipelines.encoding import encode
from distiller.pipelines.heads import MODELS, logits_of, name_the_labels
from distiller.pipelines.labels import NO_LABEL, LabelBatch
from distiller.pipelines.metrics import headline, score_split
from distiller.pipelines.optimizer import learning_rates
from distiller.pipelines.pool import Pool, make_pool, row_labels, texts_of
from distiller.pipelines.student import fold_scale, restrict_words, with_full_vocabulary
from distiller.pipelines.task import Task
from distiller.pipelines.tokens import Batch, Tokens, training_batches
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import FineTune


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A fine-tuned checkpoint, not yet saved."""

    model: PreTrainedModel
    tokenizer: Any

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def fine_tune(
    source: str,
    revision: str | None,
    dataset: Dataset,
    settings: FineTune,
    max_length: int,
    device: torch.device,
    place: str,
    overlap: int = 0,
    trust: bool = False,
) -> FineTuned:
    """A checkpoint trained on the dataset's labelled rows; the epoch with the best validation score is kept.

    A regression learns standardised scores; the scale is folded into its last layer afterwards. Of a
    context's windows (`overlap` is what two of them share) those that hold the answer are learned from.
    """
    task = dataset.task
    tokenizer = load_tokenizer(source, revision, place, trust)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        model = with_task_head(source, revision, task, place, trust)
        check_length(model, max_length, place)
        train, validation = dataset.splits["train"], dataset.splits["validation"]
        assert train.labels is not None
        scale = mean, deviation = score_scale(task, train.labels)
        labels = row_labels(task, train.labels, scale)
        pool = make_pool(texts_of(task, train), labels, task, tokenizer, max_length, overlap)
        held_out = encode(tokenizer, validation, task, max_length, overlap)
        whole, table, vocabulary = restrict_words(model, tokenizer, [pool.tokens, held_out])
        new_ids = vocabulary.new_ids
        pool = replace(pool, tokens=pool.tokens.remapped(new_ids))
        pad_id = int(new_ids[tokenizer.pad_token_id])
        cast(torch.nn.Module, model).to(device)
        best_score, best_state = -np.inf, {}
        epochs = _epochs(model, pool, held_out.remapped(new_ids), validation, task, settings, pad_id, scale)
        try:
            for epoch_score in epochs:
                if epoch_score > best_score:
                    best_score = epoch_score
                    best_state = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
        except FloatingPointError as error:
            raise InputError(
                f"{place}: fine-tuning diverged ({error}); lower fine_tune.learning_rate "
                f"({settings.learning_rate})"
            ) from None
    model.load_state_dict(best_state)
    model = with_full_vocabulary(model, whole, table, vocabulary)
    fold_scale(model.cpu(), task, mean, deviation)
    return FineTuned(model, tokenizer)


def with_task_head(source: str, revision: str | None, task: Task, place: str, trust: bool) -> PreTrainedModel:
    """A checkpoint with a task's outputs, in float32 on the CPU; parameters that it lacks are drawn.

    Raises:
        InputError: it cannot be loaded.
    """
    config = from_pretrained(AutoConfig, source, revision, place, trust)
    name_the_labels(config, task)
    model = from_pretrained(
        MODELS[task.kind],
        source,
        revision,
        place,
        trust,
        config=config,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
    )
    return cast(PreTrainedModel, model)


def _epochs(
    model: PreTrainedModel,
    pool: Pool,
    held_out: Tokens,
    validation: Split,
    task: Task,
    settings: FineTune,
    pad_id: int,
    scale: tuple[float, float],
) -> Iterator[float]:
    """The validation score after each epoch."""
    device = model.device
    lengths = pool.tokens.lengths[: pool.labeled_rows]
    size = min(settings.batch_size, len(lengths))
    per_epoch = max(1, len(lengths) // size)
    steps = per_epoch * settings.epochs
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    precision = inference_dtype(device)
    batches = training_batches(lengths, size, settings.seed, window=min(50, per_epoch))
    for step in range(steps):
        model.train()
        picked, _ = next(batches)
        batch = pool.tokens.padded(picked, pad_id).to(device)
        (rate,) = learning_rates(step, steps, [settings.learning_rate], [settings.warmup], ["linear"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        tuning_step(model, optimizer, batch, pool.labels.of(picked, batch.ids.shape[1]).to(device), task)
        if (step + 1) % per_epoch == 0:
            outputs = predict(model, held_out, pad_id, precision=precision)
            yield headline(task, score_split(task, validation, held_out, outputs * scale[1] + scale[0]))


def tuning_step(
    model: PreTrainedModel, optimizer: torch.optim.Optimizer, batch: Batch, labels: LabelBatch, task: Task
) -> None:
    """One optimizer step on a batch of labelled rows; the gradient's norm is clipped at 1."""
    device, precision = model.device, inference_dtype(model.device)
    with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
        logits = logits_of(forward(model, batch.ids, batch.types, batch.mask)).float()
    loss = label_loss(task, logits, labels)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def label_loss(task: Task, logits: Tensor, labels: LabelBatch) -> Tensor:
    """The loss that a teacher learns labels with, all rows labelled: a mean, in nats or squared units.

    `logits` [B, C], or [B, T, C] token by token: for tags a mean over words; for spans over the first and the
    last token, each among the tokens of the context alone, as they are read in the end.
    """
    if task.kind == "regression":
        return F.mse_loss(logits.squeeze(-1), labels.values.float())
    if task.kind == "multi_label":
        return F.binary_cross_entropy_with_logits(logits, labels.values)
    if task.kind == "token_classification":
        total = F.cross_entropy(logits.flatten(0, 1), labels.values.flatten(), reduction="sum")
        return total / (labels.values != NO_LABEL).sum().clamp_min(1)
    if task.kind == "qa":
        assert labels.read is not None
        logits = logits.masked_fill(~labels.read[..., None], -torch.inf)
    return F.cross_entropy(logits, labels.values)


def score_scale(task: Task, labels: Any) -> tuple[float, float]:
    """Mean and standard deviation of a regression's training scores; (0, 1) for classes."""
    if task.kind != "regression":
        return 0.0, 1.0
    return float(np.mean(labels)), float(np.std(labels))
