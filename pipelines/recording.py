"""Queries, keys and values of each attention layer, taken down while a model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from distiller.spaces.errors import InputError

ATTENTION_STATES = ("queries", "keys", "values")
NAMES = (
    ("query", "key", "value"),  # BERT, RoBERTa, ELECTRA, ALBERT, MobileBERT
    ("q_lin", "k_lin", "v_lin"),  # DistilBERT
    ("query_proj", "key_proj", "value_proj"),  # DeBERTa
)
JOINT = "Wqkv"  # ModernBERT: one layer for all three, end to end


def attention_projections(model: PreTrainedModel) -> list[tuple[nn.Module, ...]]:
    """For each attention module, in order, its query, key and value layers (or one layer for all three).

    Raises:
        InputError: the model's attention is built in another way.
    """
    found: list[tuple[nn.Module, ...]] = []
    for module in model.modules():
        children = dict(module.named_children())
        if JOINT in children:
            found.append((children[JOINT],))
        for names in NAMES:
            if all(name in children for name in names):
                found.append(tuple(children[name] for name in names))
    if not found:
        raise InputError(
            f"{type(model).__name__}: its queries, keys and values cannot be found; leave attention, minilm "
            "and minilm_v2 out of space.intermediate"
        )
    return found


@contextmanager
def recorded(model: PreTrainedModel, wanted: bool = True) -> Iterator[dict[str, list[Tensor]]]:
    """While the block runs, each layer's queries, keys and values [B, T, heads * d], before any rotation.

    Filled by every forward of the model, in the order of its layers; empty where they are not `wanted`.
    """
    if not wanted:
        yield {}
        return
    states: dict[str, list[Tensor]] = {name: [] for name in ATTENTION_STATES}
    places = attention_projections(model)
    # ALBERT runs one module as several layers. Elsewhere only a module's first call is its layer's: DeBERTa
    # sends its relative positions through the same projections later on.
    shared = len(places) < int(model.config.num_hidden_layers)
    handles = []

    def hook(names: tuple[str, ...], seen: list[bool]) -> Any:
        def take(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if shared or not seen:
                seen.append(True)
                for name, part in zip(names, output.chunk(len(names), -1), strict=True):
                    states[name].append(part)

        return take

    for layers in places:
        split = [ATTENTION_STATES] if len(layers) == 1 else [(name,) for name in ATTENTION_STATES]
        handles += [
            layer.register_forward_hook(hook(names, [])) for layer, names in zip(layers, split, strict=True)
        ]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def attention_heads(model: PreTrainedModel) -> int:
    """The number of attention heads of each layer."""
    return int(model.config.num_attention_heads)


def attention_width(model: PreTrainedModel) -> int:
    """The width of a layer's queries: heads times their size, as the layers themselves have it."""
    layers = attention_projections(model)[0]
    width = cast(Tensor, layers[0].weight).shape[0]
    return width // 3 if len(layers) == 1 else width
