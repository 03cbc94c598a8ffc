"""What differs between model types: how a size is written, and what a model makes of segments and padding.

A student of the teacher's own type keeps the teacher's proportions. One of another type is built anew in that
type's proportions, with the teacher's vocabulary, special ids and reach. Types that are not named here can be
teachers, and students of their own kind.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from torch import Tensor
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

HEAD_WIDTH = 64
"""Width of an attention head, as in BERT."""
SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
FACTORISED = {"albert": 128, "electra": 128, "mobilebert": 128}
"""Types whose word table is narrower than the model, and its width there (the width of a narrower model)."""
COUNTED_FROM_PADDING = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer"}
)
"""Types whose first position is the one after their padding id."""
ORDINARY_REACH = 512
"""Tokens that a student reads whose teacher names no limit."""


def family_of(family: str, teacher: PretrainedConfig) -> str:
    """The model type that a student's `family` comes to."""
    own: str = teacher.model_type
    return own if family == "teacher" else family


def heads_of(width: int, head_width: int = HEAD_WIDTH) -> int:
    """How many heads of about `head_width` make up `width`, each of an even width (rotations turn pairs)."""
    most = max(1, width // head_width)
    return next((h for h in range(most, 0, -1) if width % h == 0 and width // h % 2 == 0), 1)


def table_width(family: str, width: int, teacher: PretrainedConfig) -> int:
    """The width of a student's word table: its own, or less where its type has it factorised.

    In the teacher's type as the teacher has it. ALBERT, ELECTRA and MobileBERT students of other teachers
    have 128, as they were published, or their own width where that is less.
    """
    if family_of(family, teacher) == teacher.model_type:
        factorised = int(getattr(teacher, "embedding_size", teacher.hidden_size))
        return width if factorised == teacher.hidden_size else factorised
    return min(width, FACTORISED.get(family, width))


def sized_config(family: str, layers: int, width: int, teacher: PretrainedConfig) -> PretrainedConfig:
    """The config of a student of a model type; vocabulary, special ids and reach are the teacher's."""
    if family_of(family, teacher) == teacher.model_type:
        return _resized(teacher, layers, width)
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads_of(width),
        **_proportions(family, width),
    }
    config = AutoConfig.for_model(
        family,
        **sizes,
        vocab_size=teacher.vocab_size,
        **{name: getattr(teacher, name, None) for name in SPECIAL_IDS},
    )
    config.max_position_embeddings = reach(teacher) + _spent_positions(config)
    return config


def _proportions(family: str, width: int) -> dict[str, Any]:
    """What a model type has beside layers, width and heads, as its published checkpoints have it."""
    table = min(width, FACTORISED.get(family, width))
    inner: Mapping[str, Callable[[], dict[str, Any]]] = {
        "distilbert": lambda: {"hidden_dim": 4 * width},
        "roberta": lambda: {"intermediate_size": 4 * width, "type_vocab_size": 1},
        "electra": lambda: {"intermediate_size": 4 * width, "embedding_size": table},
        "albert": lambda: {"intermediate_size": 4 * width, "embedding_size": table},
        # Layers work in a bottleneck of a quarter of the width, in heads of 32.
        "mobilebert": lambda: {
            "intra_bottleneck_size": width // 4,
            "intermediate_size": width,
            "embedding_size": table,
            "num_attention_heads": heads_of(width // 4, HEAD_WIDTH // 2),
        },
        # As in version 3: relative positions alone, in 256 buckets.
        "deberta-v2": lambda: {
            "intermediate_size": 4 * width,
            "pooler_hidden_size": width,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
        # Its feed-forward networks are gated, and so narrower than elsewhere.
        "modernbert": lambda: {"intermediate_size": width * 3 // 2},
    }
    return inner.get(family, lambda: {"intermediate_size": 4 * width})()


def _resized(teacher: PretrainedConfig, layers: int, width: int) -> PretrainedConfig:
    """The teacher's config with other layers and another width, in its own proportions."""
    config = copy.deepcopy(teacher)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):  # ModernBERT lists its layers' kinds
        config.layer_types = _kinds(teacher, layers)
    if width == teacher.hidden_size:
        return config
    inner = "hidden_dim" if teacher.model_type == "distilbert" else "intermediate_size"

    def scaled(size: int) -> int:
        return max(1, round(width * size / int(teacher.hidden_size)))

    setattr(config, inner, scaled(getattr(teacher, inner)))
    config.hidden_size = width
    config.num_attention_heads = heads_of(width)
    if hasattr(config, "embedding_size"):
        config.embedding_size = table_width("teacher", width, teacher)
    if hasattr(config, "pooler_hidden_size"):  # DeBERTa writes its width twice
        config.pooler_hidden_size = width
    if teacher.model_type == "mobilebert" and teacher.use_bottleneck:
        bottleneck = scaled(teacher.intra_bottleneck_size)
        config.intra_bottleneck_size = config.true_hidden_size = bottleneck
        heads = max(1, bottleneck * teacher.num_attention_heads // teacher.intra_bottleneck_size)
        config.num_attention_heads = next(h for h in range(heads, 0, -1) if bottleneck % h == 0)
    return config


def _kinds(teacher: PretrainedConfig, layers: int) -> list[str]:
    """The kinds of the teacher's first layers; where it has fewer, as its config class would go on."""
    known: list[str] = list(teacher.layer_types)
    if layers <= len(known):
        return known[:layers]
    far = [layer for layer, kind in enumerate(known) if kind == "full_attention"]
    every = {"global_attn_every_n_layers": far[1] - far[0]} if len(far) > 1 else {}
    made = cast(Any, type(teacher))(num_hidden_layers=layers, **every)
    return known + list(made.layer_types)[len(known) :]


def reach(config: PretrainedConfig) -> int:
    """How many tokens a model reads at most."""
    positions = getattr(config, "max_position_embeddings", None)
    return ORDINARY_REACH if not positions else int(positions) - _spent_positions(config)


def _spent_positions(config: PretrainedConfig) -> int:
    """Positions that no token ever has."""
    return int(config.pad_token_id) + 1 if config.model_type in COUNTED_FROM_PADDING else 0


@lru_cache
def _arguments(model: Any) -> frozenset[str]:
    return frozenset(inspect.signature(model.forward).parameters)


def takes_types(model: PreTrainedModel) -> bool:
    """Whether a model takes segment ids (by signature: its `forward` is wrapped by decorators)."""
    return "token_type_ids" in _arguments(cast(Any, type(model)))


def tells_segments(model: PreTrainedModel) -> bool:
    """Whether segment ids make a difference to a model: RoBERTa has one segment, DeBERTa and others none."""
    return takes_types(model) and int(getattr(model.config, "type_vocab_size", 2)) > 1


def inputs_of(
    model: PreTrainedModel, ids: Tensor, types: Tensor, real: Tensor, words: Tensor | None = None
) -> dict[str, Tensor]:
    """The arguments of a model's `forward` but the mask.

    Args:
        ids, types: [B, T].
        real: [B, T] or [B, 1, 1, T], 1 at real tokens.
        words: [B, T, E] word embeddings that stand in for those of `ids`.
    """
    inputs: dict[str, Tensor] = {}
    if takes_types(model):
        # A tokenizer of another family may tell segments that the model has no embedding for.
        inputs["token_type_ids"] = types if tells_segments(model) else types * 0
    if words is None and reads_neighbours(model):
        words = word_states(model, ids, real)
    return {**inputs, "input_ids": ids} if words is None else {**inputs, "inputs_embeds": words}


def reads_neighbours(model: PreTrainedModel) -> bool:
    """Whether a token's embedding is made of its neighbours' words too (MobileBERT's trigrams)."""
    return bool(getattr(model.config, "trigram_input", False))


def word_states(model: PreTrainedModel, ids: Tensor, real: Tensor) -> Tensor:
    """Word embeddings [B, T, E], those of padding 0 where a neighbour would read them.

    Else the last token of a text would depend on whether padding follows.
    """
    words: Tensor = cast(Any, model.get_input_embeddings())(ids)
    if not reads_neighbours(model):
        return words
    if real.dim() == 4:
        real = real[:, 0, 0]
    return words * real[..., None].to(words.dtype)
