"""Fine-tuning of a teacher on a dataset's labelled rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from distiller.pipelines.checkpoint import (
    check_length,
    forward,
    from_pretrained,
    inference_dtype,
    load_tokenizer,
    predict,
)
from distiller.pipelines.data import Dataset, Task
from distiller.pipelines.metrics import headline, score
from distiller.pipelines.optimizer import learning_rates
from distiller.pipelines.student import fold_scale, name_the_labels, restrict_words, with_full_vocabulary
from distiller.pipelines.tokens import Tokens, tokenize, training_batches
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
) -> FineTuned:
    """A checkpoint trained on the dataset's labelled rows; the epoch with the best validation score is kept.

    A regression learns standardised scores; the scale is folded into its last layer afterwards.
    """
    task = dataset.task
    tokenizer = load_tokenizer(source, revision, place)
    config = from_pretrained(AutoConfig, source, revision, place)
    name_the_labels(config, task)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        model = cast(
            PreTrainedModel,
            from_pretrained(
                AutoModelForSequenceClassification,
                source,
                revision,
                place,
                config=config,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
            ),
        )
        check_length(model, max_length, place)
        train, validation = dataset.splits["train"], dataset.splits["validation"]
        assert train.labels is not None
        assert validation.labels is not None
        rows = tokenize(tokenizer, train.text_a, train.text_b, max_length)
        held_out = tokenize(tokenizer, validation.text_a, validation.text_b, max_length)
        whole, table, vocabulary = restrict_words(model, tokenizer, [rows, held_out])
        rows, held_out = rows.remapped(vocabulary.new_ids), held_out.remapped(vocabulary.new_ids)
        pad_id = int(vocabulary.new_ids[tokenizer.pad_token_id])
        cast(torch.nn.Module, model).to(device)
        mean, deviation = score_scale(task, train.labels)
        labels = torch.from_numpy(
            (train.labels - mean) / deviation if task.kind == "regression" else train.labels
        )
        best_score, best_state = -np.inf, {}
        scale = (mean, deviation)
        epochs = _epochs(model, rows, labels, held_out, validation.labels, task, settings, pad_id, scale)
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


def _epochs(
    model: PreTrainedModel,
    rows: Tokens,
    labels: Tensor,
    held_out: Tokens,
    held_out_labels: Any,
    task: Task,
    settings: FineTune,
    pad_id: int,
    scale: tuple[float, float],
) -> Iterator[float]:
    """The validation score after each epoch."""
    device = model.device
    size = min(settings.batch_size, len(rows))
    per_epoch = max(1, len(rows) // size)
    steps = per_epoch * settings.epochs
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    precision = inference_dtype(device)
    batches = training_batches(rows.lengths, size, settings.seed, window=min(50, per_epoch))
    for step in range(steps):
        model.train()
        picked, _ = next(batches)
        batch = rows.padded(picked, pad_id).to(device)
        (rate,) = learning_rates(step, steps, [settings.learning_rate], [settings.warmup], ["linear"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            logits = forward(model, batch.ids, batch.types, batch.mask).logits.float()
        wanted = labels[picked].to(device)
        loss = (
            F.mse_loss(logits.squeeze(-1), wanted.float())
            if task.kind == "regression"
            else F.cross_entropy(logits, wanted)
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % per_epoch == 0:
            outputs = predict(model, held_out, pad_id, precision=precision)
            yield headline(task, score(task, outputs * scale[1] + scale[0], held_out_labels))


def score_scale(task: Task, labels: Any) -> tuple[float, float]:
    """Mean and standard deviation of a regression's training scores; (0, 1) for classes."""
    if task.kind != "regression":
        return 0.0, 1.0
    return float(np.mean(labels)), float(np.std(labels))
