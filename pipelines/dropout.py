"""Dropout of a student in training: one rate for hidden states and attention (Srivastava et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel


def set_dropout(model: PreTrainedModel, rate: float) -> None:
    """Give every dropout of a model one rate, those of its attention and what its config says included."""
    for module in list(model.modules()):
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name, value in list(vars(module).items()):
            if "dropout" in name and isinstance(value, float):  # ModernBERT's attention keeps a number
                setattr(module, name, rate)
        for name, child in list(module.named_children()):
            if "drop" in name and isinstance(child, nn.Identity):  # its dropout, where it was built with none
                setattr(module, name, nn.Dropout(rate).train(module.training))
    for name, value in model.config.to_dict().items():
        if "dropout" in name and isinstance(value, float):
            setattr(model.config, name, rate)


@contextmanager
def drawn_masks(rate: float, entropy: Sequence[int], device: torch.device) -> Iterator[None]:
    """Draw dropout masks from a run's own seeds: the same in every process, torch's generator untouched.

    A member's masks depend on its neighbours: with dropout, fused equals solo in distribution only.
    """
    if not rate:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence(list(entropy)).generate_state(1, np.uint64)[0]))
        yield
