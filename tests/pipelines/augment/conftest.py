"""Tiny checkpoints of both kinds, made on the spot: words are numbers, models are random but sharp."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerFast,
)

from distiller.pipelines.augment.sources import Sources
from tests.pipelines.conftest import CPU, WORDS, tokenizer_of

rng = np.random.default_rng(0)
TEXTS = tuple(" ".join(rng.choice(WORDS, 12)) for _ in range(8))


def save_masked(folder: Path, seed: int = 0, **more: int) -> Path:
    """A random BERT of 2 layers x 16 over the words w0 to w179, far from uniform."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=200, max_position_embeddings=40, initializer_range=0.4, **sizes | more)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertForMaskedLM(config).save_pretrained(folder)
    tokenizer_of(0).save_pretrained(folder)
    return folder


TWO_SIDED = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
}
"""The size of a tiny encoder and decoder."""


def save_translator(folder: Path, seed: int = 0) -> Path:
    """A random Marian of one layer x 16 over the words w0 to w179, which ends where it comes upon </s>."""
    order = ["</s>", "<unk>", *WORDS, "<pad>"]
    ids = {word: i for i, word in enumerate(order)}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair=None, special_tokens=[("</s>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=32
    )
    pad = len(order) - 1
    config = MarianConfig(
        **TWO_SIDED,
        vocab_size=len(order),
        max_position_embeddings=32,
        init_std=0.3,
        pad_token_id=pad,
        eos_token_id=0,
        decoder_start_token_id=pad,
        forced_eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MarianMTModel(config)
        with torch.no_grad():
            model.final_logits_bias[0, 0] = 2.0
            model.final_logits_bias[0, pad] = -1e4
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoints(folder_of: Callable[[str], Path]) -> Path:
    """A folder with `masked`, `there` and `back`."""
    folder = folder_of("checkpoints")
    save_masked(folder / "masked")
    save_translator(folder / "there", 1)
    save_translator(folder / "back", 2)
    return folder


def tiny_sources(base: Path, cache: Path | None = None, seed: int = 0) -> Sources:
    """Sources with a random table of 200 x 8 for the tiny tokenizer."""
    table = torch.randn(200, 8, generator=torch.Generator().manual_seed(seed))
    return Sources(tokenizer_of(0), table, f"teacher{seed}", cache or base / "cache", base, CPU)
