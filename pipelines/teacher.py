"""Teachers: loaded from a hub or a folder, checked against the task, fine-tuned once where asked."""

from __future__ import annotations

import copy
import logging
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from distiller.pipelines.checkpoint import (
    check_length,
    forward,
    from_pretrained,
    load_tokenizer,
    predict,
    weights_fingerprint,
)
from distiller.pipelines.content import content_key
from distiller.pipelines.data import Dataset, Task
from distiller.pipelines.fine_tuning import fine_tune
from distiller.pipelines.heads import MODELS
from distiller.pipelines.origin import Origin
from distiller.pipelines.places import located
from distiller.pipelines.shelf import Shelf, built_for_all
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import TeacherConfig

log = logging.getLogger(__name__)

__all__ = ["Teacher", "forward", "label_order", "predict", "prepare_teacher"]


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
    _copies: dict[torch.dtype, PreTrainedModel] = field(default_factory=dict, init=False, repr=False)

    def in_precision(self, precision: torch.dtype) -> PreTrainedModel:
        """The model with its parameters in `precision`, kept for the next call."""
        if precision is torch.float32:
            return self.model
        if precision not in self._copies:
            self._copies[precision] = cast(Any, copy.deepcopy(self.model)).to(precision)
        return self._copies[precision]

    @cached_property
    def origin(self) -> Origin:
        """The teacher as that from which students take tokenizer and shape."""
        return Origin(self.model, self.tokenizer)

    @property
    def layers(self) -> int:
        """The number of transformer layers."""
        return int(self.model.config.num_hidden_layers)


def prepare_teacher(
    name: str,
    config: TeacherConfig,
    dataset: Dataset,
    cache: Path,
    base: Path,
    max_length: int,
    device: torch.device,
    overlap: int = 0,
    shelf: Shelf | None = None,
) -> Teacher:
    """The teacher named `name` for a dataset; fine-tuned on its labelled rows where asked.

    That is done once per node or, with a `shelf`, once for all nodes that share it.

    Raises:
        InputError: no such checkpoint, or one that does not fit the task.
    """
    place = f"teachers.{name}.model"
    source = located(config.model, base, place)
    trust = config.trust_remote_code
    if config.fine_tune is None:
        return _load(name, source, config.revision, dataset.task, device, place, max_length, trust)
    fingerprint = weights_fingerprint(source, config.revision, place, trust)
    settings = config.fine_tune
    key = content_key(
        weights=fingerprint,
        train=dataset.splits["train"].fingerprint,
        validation=dataset.splits["validation"].fingerprint,
        task=asdict(dataset.task),
        fine_tune=settings.model_dump(),
        max_length=max_length,
        revision=2,
        **({"overlap": overlap} if dataset.task.kind == "qa" else {}),
    )

    def build(folder: Path) -> None:
        tuned = fine_tune(
            source, config.revision, dataset, settings, max_length, device, place, overlap, trust
        )
        tuned.save(folder)

    folder = built_for_all(cache / "teachers", key, build, shelf)
    return _load(name, str(folder), None, dataset.task, device, place, max_length, trust)


def _load(
    name: str,
    source: str,
    revision: str | None,
    task: Task,
    device: torch.device,
    place: str,
    max_length: int,
    trust: bool,
) -> Teacher:
    config = from_pretrained(AutoConfig, source, revision, place, trust)
    if config.num_labels != task.outputs:
        wanted = f"{task.outputs} labels" if task.labels else "1 output (a regression)"
        raise InputError(
            f"{place}: the teacher has {config.num_labels} labels, the dataset needs {wanted}; "
            "name another teacher or set fine_tune: true"
        )
    model, loading = from_pretrained(
        MODELS[task.kind],
        source,
        revision,
        place,
        trust,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if loading["missing_keys"]:
        raise InputError(
            f"{place}: the teacher has no head for {task.kind} ({sorted(loading['missing_keys'])[0]} is not "
            "there); name another teacher or set fine_tune: true"
        )
    check_length(model, max_length, place)
    model = model.to(device).eval().requires_grad_(False)
    tokenizer = load_tokenizer(source, revision, place, trust)
    if model.config.pad_token_id is None:  # students build their tables by it
        model.config.pad_token_id = tokenizer.pad_token_id
    order = label_order(config, task, place)
    fingerprint = weights_fingerprint(source, revision, place, trust)
    return Teacher(name, model, tokenizer, fingerprint, source, order)


def label_order(config: Any, task: Task, place: str) -> Tensor:
    """[C] the teacher's output index of each of the task's classes, by name where the teacher has names.

    Case counts only where names differ in nothing else. Outputs without names are in the dataset's order.

    Raises:
        InputError: the teacher's names are of other classes.
    """
    if not task.labels:
        return torch.arange(task.outputs)
    named = {str(label): int(i) for i, label in config.id2label.items()}
    if set(named) == set(task.labels):
        return torch.tensor([named[label] for label in task.labels])
    if all(label.isdigit() for label in task.labels):
        return torch.arange(task.outputs)
    if all(name.casefold().startswith("label_") for name in named):
        log.warning(
            "%s: the teacher's outputs have no names; they are taken for %s, in this order; where that is "
            "wrong, name them in id2label of the teacher's config.json",
            place,
            ", ".join([*task.labels[:6], *(["..."] if len(task.labels) > 6 else [])]),
        )
        return torch.arange(task.outputs)
    folded = {name.casefold(): i for name, i in named.items()}
    wanted = [label.casefold() for label in task.labels]
    if set(folded) != set(wanted) or not len(folded) == len(named) == len(set(wanted)) == len(wanted):
        raise InputError(
            f"{place}: the teacher's labels {sorted(named)} are not the dataset's {sorted(task.labels)}; "
            "rename them in the teacher's config.json or the dataset"
        )
    return torch.tensor([folded[label] for label in wanted])
