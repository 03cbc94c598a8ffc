"""Dropout of a student in training: one rate for hidden states and attention (Srivastava et al. 2014)."""

from __future__ import annotations

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
