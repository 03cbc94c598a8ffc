"""Where a student comes from: its teacher, or a checkpoint of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from distiller.pipelines.checkpoint import tokenizer_key


@dataclass(frozen=True, eq=False)
class Origin:
    """The model that a student's tokenizer and config are those of.

    Attributes:
        model: the teacher, or a pretrained student's checkpoint with the task's outputs, on the CPU.
        unlearned: the parameters that each student draws for itself: what the checkpoint lacks, and its head.
    """

    model: PreTrainedModel
    tokenizer: Any
    unlearned: frozenset[str] = frozenset()

    @cached_property
    def key(self) -> str:
        """Equal for tokenizers that give the same ids."""
        return tokenizer_key(self.tokenizer)

    @property
    def gives_types(self) -> bool:
        """Whether the tokenizer tells the segments of a pair."""
        return "token_type_ids" in self.tokenizer.model_input_names

    def shares_tokens(self, other: Origin) -> bool:
        """Whether the same text is the same ids for both."""
        return self.key == other.key

    def reads_like(self, other: Origin) -> bool:
        """Whether the same text is the same ids and segments for both."""
        return self.shares_tokens(other) and self.gives_types == other.gives_types

    @property
    def config(self) -> PretrainedConfig:
        """The model's config."""
        return self.model.config

    @property
    def pad_id(self) -> int:
        """The tokenizer's padding."""
        return int(self.tokenizer.pad_token_id)

    @property
    def table(self) -> Tensor:
        """[V, E] the word embeddings, float32 on the CPU."""
        words: nn.Module = self.model.get_input_embeddings()
        return cast(Tensor, words.weight).detach().float().cpu()
