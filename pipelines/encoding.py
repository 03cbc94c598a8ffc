"""Texts -> token ids, and what each token stands for where a task reads outputs token by token.

Questions and contexts: `[CLS] question [SEP] context [SEP]`; a context that does not fit is cut into windows
that overlap, each a row of its own. Tagged words: the first token of each word speaks for it; words beyond
`max_length` have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from distiller.pipelines.data import Split
from distiller.pipelines.task import Task
from distiller.pipelines.tokens import IntArray, Tokens, tokenize
from distiller.spaces.errors import InputError

OUTSIDE = (-1, -1)
"""The unit of a token whose outputs are not read."""


def encode(tokenizer: Any, split: Split, task: Task, max_length: int, overlap: int) -> Tokens:
    """The token rows of a split, each cut to `max_length`; `overlap` is what windows of a context share."""
    if not task.tokenwise:
        return tokenize(tokenizer, split.text_a, split.text_b, max_length)
    if len(split) == 0:
        none = np.empty((0, 2), np.int64)
        return Tokens(*_no_tokens(), sources=none[:, 0], units=none)
    if not tokenizer.is_fast:
        raise InputError(
            f"{type(tokenizer).__name__} does not say which characters its tokens stand for, as {task.kind} "
            "needs it; save the teacher with a tokenizer.json"
        )
    if task.kind == "qa":
        assert split.text_b is not None
        return encode_windows(tokenizer, split.text_a, split.text_b, max_length, overlap)
    return encode_words(tokenizer, split.text_a, max_length)


def encode_words(tokenizer: Any, texts: Sequence[str], max_length: int) -> Tokens:
    """Texts whose words single spaces part; units are (w, w + 1) at the first token of word w."""
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=max_length,
        return_offsets_mapping=True,
        return_attention_mask=False,
    )
    units = []
    for text, characters in zip(texts, encoded["offset_mapping"], strict=True):
        word_of = _words_of(text)
        spoken_for = -1
        for start, end in characters:
            # Some tokenizers count the space before a word as its own.
            word = int(word_of[start:end].max(initial=-1))
            units.append((word, word + 1) if word > spoken_for else OUTSIDE)
            spoken_for = max(spoken_for, word)
    return _rows(encoded, np.arange(len(texts)), units)


def encode_windows(
    tokenizer: Any, questions: Sequence[str], contexts: Sequence[str], max_length: int, overlap: int
) -> Tokens:
    """Windows of contexts behind their questions; units are the characters of the context, [start, end).

    A question is cut to half of `max_length` tokens, so that there is room for its context.
    """
    encoded = tokenizer(
        _cut(tokenizer, questions, max_length // 2),
        list(contexts),
        truncation="only_second",
        max_length=max_length,
        stride=overlap,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_attention_mask=False,
    )
    units = [
        unit if side == 1 else OUTSIDE
        for window, characters in enumerate(encoded["offset_mapping"])
        for side, unit in zip(encoded.sequence_ids(window), characters, strict=True)
    ]
    return _rows(encoded, np.array(encoded["overflow_to_sample_mapping"], np.int64), units)


def _cut(tokenizer: Any, texts: Sequence[str], most: int) -> list[str]:
    """The beginnings of texts that have at most `most` tokens."""
    encoded = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
    return [
        text if len(characters) <= most else text[: characters[most - 1][1]]
        for text, characters in zip(texts, encoded["offset_mapping"], strict=True)
    ]


def _words_of(text: str) -> npt.NDArray[np.int64]:
    """For each character of a text, the word that it belongs to; -1 for the spaces between."""
    space = np.array([character == " " for character in text])
    return np.where(space, -1, np.cumsum(space))


def _rows(encoded: Any, sources: IntArray, units: Sequence[tuple[int, int]]) -> Tokens:
    rows = encoded["input_ids"]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    ids = torch.from_numpy(np.concatenate([np.asarray(row, np.int64) for row in rows]))
    if "token_type_ids" in encoded:
        types = torch.from_numpy(np.concatenate([np.asarray(t, np.int64) for t in encoded["token_type_ids"]]))
    else:
        types = torch.zeros_like(ids)
    return Tokens(ids, types, offsets, sources, np.array(units, np.int64).reshape(-1, 2))


def _no_tokens() -> tuple[Any, Any, IntArray]:
    empty = torch.empty(0, dtype=torch.int64)
    return empty, empty, np.zeros(1, np.int64)
