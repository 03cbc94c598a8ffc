"""Students that start from a checkpoint of their own, with a tokenizer of their own."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from distiller.pipelines.checkpoint import check_length, from_pretrained, load_tokenizer
from distiller.pipelines.data import Task
from distiller.pipelines.heads import MODELS
from distiller.pipelines.origin import Origin
from distiller.pipelines.places import located
from distiller.pipelines.student import give_words, output_layer, student_config
from distiller.pipelines.tokens import Vocabulary
from distiller.spaces.student import Pretrained
from distiller.spaces.student import Student as StudentChoice

PLACE = "space.student.pretrained.checkpoint"
"""Where a sweep names the checkpoint."""


def load_origin(choice: Pretrained, base: Path, task: Task, max_length: int) -> Origin:
    """A pretrained student's checkpoint; relative paths start at `base`.

    Raises:
        InputError: no such checkpoint, one without padding, or one that reads too few tokens.
    """
    source = located(choice.checkpoint, base, PLACE)
    config = student_config(choice, from_pretrained(AutoConfig, source, None, PLACE), task)
    tokenizer = load_tokenizer(source, None, PLACE)
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    model, found = from_pretrained(
        MODELS[task.kind],
        source,
        None,
        PLACE,
        config=config,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    check_length(model, max_length, PLACE, "student")
    head = {id(p) for p in cast(nn.Module, output_layer(model)).parameters()}
    absent = {*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])}
    unlearned = {name for name, p in model.named_parameters() if name in absent or id(p) in head}
    return Origin(model.eval(), tokenizer, frozenset(unlearned))


def own_config(choice: StudentChoice, teacher: PretrainedConfig, base: Path) -> PretrainedConfig:
    """The config of a student's origin, read without its weights."""
    if not isinstance(choice, Pretrained):
        return teacher
    found = from_pretrained(AutoConfig, located(choice.checkpoint, base, PLACE), None, PLACE)
    return cast(PretrainedConfig, found)


@torch.no_grad()
def build_pretrained(origin: Origin, vocabulary: Vocabulary | None, seed: int) -> PreTrainedModel:
    """A pretrained student at its start, on the CPU in float32; what it has not learned is drawn from `seed`.

    Matrices are N(0, `initializer_range`), biases 0 and scales 1. The output layer is always new: the
    checkpoint's own is of other classes, or of the same in another order.
    """
    model = copy.deepcopy(origin.model)
    generator = torch.Generator().manual_seed(seed)
    deviation = float(getattr(model.config, "initializer_range", 0.02))
    for name, parameter in model.named_parameters():
        if name in origin.unlearned:
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    give_words(model, origin.table, vocabulary)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model
