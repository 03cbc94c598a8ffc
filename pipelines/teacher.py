"""Teachers: loaded from a hub or a folder, checked against the task, fine-tuned once where asked."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from distiller.pipelines.builtin import package_folder
from distiller.pipelines.content import built_once, content_key, file_digest
from distiller.pipelines.data import Dataset, Task
from distiller.pipelines.metrics import headline, score
from distiller.pipelines.optimizer import learning_rates
from distiller.pipelines.student import fold_scale, name_the_labels, takes_types
from distiller.pipelines.tokens import Tokens, by_length, tokenize, training_batches
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import FineTune, TeacherConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Teacher:
    """A teacher in evaluation mode and what it was made of.

    Attributes:
        name: its name in the sweep.
        model: on its device, without gradients.
        tokenizer: shared with its students.
        fingerprint: changes with its weights and with its tokenizer.
        path: the folder or hub name that it was loaded from.
        order: [C] the teacher's output for each of the task's classes.
    """

    name: str
    model: PreTrainedModel
    tokenizer: Any
    fingerprint: str
    path: str
    order: Tensor

    @property
    def layers(self) -> int:
        """The number of transformer layers."""
        return int(self.model.config.num_hidden_layers)


def prepare_teacher(
    name: str, config: TeacherConfig, dataset: Dataset, cache: Path, base: Path, max_length: int, device: torch.device
) -> Teacher:
    """The teacher named `name` for a dataset; fine-tuned on its labelled rows once per node where asked.

    Raises:
        InputError: no such checkpoint, or one that does not fit the task.
    """
    place = f"teachers.{name}.model"
    source = _located(config.model, base, place)
    if config.fine_tune is None:
        return _load(name, source, config.revision, dataset.task, device, place, max_length)
    fingerprint = weights_fingerprint(source, config.revision, place)
    settings = config.fine_tune
    key = content_key(
        weights=fingerprint,
        train=dataset.splits["train"].fingerprint,
        validation=dataset.splits["validation"].fingerprint,
        task=asdict(dataset.task),
        fine_tune=settings.model_dump(),
        max_length=max_length,
        revision=1,
    )

    def build(folder: Path) -> None:
        fine_tune(source, config.revision, dataset, settings, max_length, device, place).save(folder)

    folder = built_once(cache / "teachers" / key, build)
    return _load(name, str(folder), None, dataset.task, device, place, max_length)


def _located(model: str, base: Path, place: str) -> str:
    if model.startswith("package:"):
        package, _, inside = model.removeprefix("package:").partition("/")
        folder = package_folder(package)
        if folder is None or not (folder / inside).is_dir():
            raise InputError(f"{place}: no folder {inside!r} in package {package!r}; install the package")
        return str(folder / inside)
    path = Path(model).expanduser()
    local = path if path.is_absolute() else base / path
    if local.is_dir():
        return str(local)
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise InputError(f"{place}: no folder {local}; check the path")
    return model


def weights_fingerprint(source: str, revision: str | None, place: str) -> str:
    """What changes when a checkpoint's weights or tokenizer change: file digests, or the hub's commit."""
    folder = Path(source)
    if folder.is_dir():
        files = sorted(p for p in folder.iterdir() if p.suffix in {".safetensors", ".json", ".txt", ".model"})
        digests = {p.name: file_digest(p) for p in files if p.name != "complete.json"}
        return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:16]
    config = _from_pretrained(AutoConfig, source, revision, place)
    return f"{source}@{config._commit_hash}"


def _from_pretrained(kind: Any, source: str, revision: str | None, place: str, **options: Any) -> Any:
    try:
        return kind.from_pretrained(source, revision=revision, **options)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"{place}: {source!r} cannot be loaded ({first}); give a local folder or a hub name of a model "
            "with safetensors weights"
        ) from error


def load_tokenizer(source: str, revision: str | None, place: str) -> Any:
    """A checkpoint's tokenizer.

    Raises:
        InputError: it is missing, or it has no padding token.
    """
    tokenizer = _from_pretrained(AutoTokenizer, source, revision, place)
    if tokenizer.pad_token_id is None:
        raise InputError(f"{place}: the tokenizer of {source!r} has no pad token; set one and save it again")
    return tokenizer


def check_length(model: PreTrainedModel, max_length: int, place: str) -> None:
    """Raise InputError where a dataset's texts may be longer than the teacher can read."""
    if max_length > longest_input(model):
        raise InputError(
            f"{place}: the teacher reads at most {longest_input(model)} tokens, the dataset's max_length is "
            f"{max_length}; lower max_length"
        )


def _load(
    name: str,
    source: str,
    revision: str | None,
    task: Task,
    device: torch.device,
    place: str,
    max_length: int,
) -> Teacher:
    config = _from_pretrained(AutoConfig, source, revision, place)
    if config.num_labels != task.outputs:
        wanted = f"{task.outputs} labels" if task.kind == "classification" else "1 output (a regression)"
        raise InputError(
            f"{place}: the teacher has {config.num_labels} labels, the dataset needs {wanted}; "
            "name another teacher or set fine_tune: true"
        )
    model = _from_pretrained(
        AutoModelForSequenceClassification, source, revision, place, use_safetensors=True, dtype=torch.float32
    )
    check_length(model, max_length, place)
    model = model.to(device).eval().requires_grad_(False)
    tokenizer = load_tokenizer(source, revision, place)
    order = label_order(config, task, place)
    return Teacher(name, model, tokenizer, weights_fingerprint(source, revision, place), source, order)


def label_order(config: Any, task: Task, place: str) -> Tensor:
    """[C] the teacher's output index of each of the task's classes, by name where the teacher has names.

    Raises:
        InputError: the teacher's names are of other classes.
    """
    if task.kind == "regression":
        return torch.zeros(1, dtype=torch.int64)
    named = {str(label).casefold(): int(i) for i, label in config.id2label.items()}
    if all(name.startswith("label_") for name in named) or all(label.isdigit() for label in task.labels):
        return torch.arange(task.outputs)
    wanted = [label.casefold() for label in task.labels]
    if set(named) != set(wanted):
        raise InputError(
            f"{place}: the teacher's labels {sorted(named)} are not the dataset's {sorted(wanted)}; "
            "rename them in the teacher's config.json or the dataset"
        )
    return torch.tensor([named[label] for label in wanted])


@dataclass(frozen=True, eq=False)
class _FineTuned:
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
) -> _FineTuned:
    """A checkpoint trained on the dataset's labelled rows; the epoch with the best validation score is kept.

    A regression learns standardised scores; the scale is folded into its last layer afterwards.
    """
    task = dataset.task
    tokenizer = load_tokenizer(source, revision, place)
    config = _from_pretrained(AutoConfig, source, revision, place)
    name_the_labels(config, task)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        model = cast(
            PreTrainedModel,
            _from_pretrained(
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
        cast(torch.nn.Module, model).to(device)
        rows = tokenize(tokenizer, train.text_a, train.text_b, max_length)
        held_out = tokenize(tokenizer, validation.text_a, validation.text_b, max_length)
        mean, deviation = score_scale(task, train.labels)
        labels = torch.from_numpy((train.labels - mean) / deviation if task.kind == "regression" else train.labels)
        best_score, best_state = -np.inf, {}
        scale = (mean, deviation)
        epochs = _epochs(model, rows, labels, held_out, validation.labels, task, settings, tokenizer, scale)
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
    fold_scale(model.cpu(), task, mean, deviation)
    return _FineTuned(model, tokenizer)


def _epochs(
    model: PreTrainedModel,
    rows: Tokens,
    labels: Tensor,
    held_out: Tokens,
    held_out_labels: Any,
    task: Task,
    settings: FineTune,
    tokenizer: Any,
    scale: tuple[float, float],
) -> Iterator[float]:
    """The validation score after each epoch."""
    device = model.device
    size = min(settings.batch_size, len(rows))
    per_epoch = max(1, len(rows) // size)
    steps = per_epoch * settings.epochs
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    batches = training_batches(rows.lengths, size, settings.seed, window=min(50, per_epoch))
    for step in range(steps):
        model.train()
        picked, _ = next(batches)
        batch = rows.padded(picked, tokenizer.pad_token_id).to(device)
        (rate,) = learning_rates(step, steps, [settings.learning_rate], [settings.warmup], ["linear"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = forward(model, batch.ids, batch.types, batch.mask).logits
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
            outputs = predict(model, held_out, tokenizer.pad_token_id)
            yield headline(task, score(task, outputs * scale[1] + scale[0], held_out_labels))


def forward(model: PreTrainedModel, ids: Tensor, types: Tensor, mask: Tensor, **options: Any) -> Any:
    """A model's outputs on a padded batch, segment ids given only to models that take them."""
    if takes_types(type(model)):
        options["token_type_ids"] = types
    return model(input_ids=ids, attention_mask=mask.long(), return_dict=True, **options)


@torch.no_grad()
def predict(
    model: PreTrainedModel, rows: Tokens, pad_id: int, batch_size: int = 64
) -> npt.NDArray[np.float32]:
    """Logits [N, C] as float32 numpy, in evaluation mode."""
    cast(torch.nn.Module, model).eval()
    outputs = np.empty((len(rows), int(model.config.num_labels)), np.float32)
    for picked in by_length(rows.lengths, batch_size):
        batch = rows.padded(picked, pad_id).to(model.device)
        outputs[picked] = forward(model, batch.ids, batch.types, batch.mask).logits.float().cpu().numpy()
    return outputs


def score_scale(task: Task, labels: Any) -> tuple[float, float]:
    """Mean and standard deviation of a regression's training scores; (0, 1) for classes."""
    if task.kind != "regression":
        return 0.0, 1.0
    return float(np.mean(labels)), float(np.std(labels))


def longest_input(model: PreTrainedModel) -> int:
    """How many tokens a model can read; RoBERTa's kin spend their first positions on padding."""
    positions = int(getattr(model.config, "max_position_embeddings", None) or 1_000_000)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            return positions - (0 if module.padding_idx is None else module.padding_idx + 1)
    return positions
