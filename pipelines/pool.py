"""The rows that a cohort draws from, in one view: their tokens and their hard labels.

Texts with labels come first. Where a context is cut into windows, each window is a row; one that lacks the
answer has no hard label (as in BERT's own training on SQuAD 1.1), but the teacher speaks of it. Rows of all
views correspond: a view's row is the window of the changed context that holds the answer, else the one at
the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distiller.pipelines.data import Split
from distiller.pipelines.encoding import encode
from distiller.pipelines.labels import NO_LABEL, Labels
from distiller.pipelines.spans import span_in
from distiller.pipelines.task import Task
from distiller.pipelines.tokens import IntArray, Tokens
from distiller.spaces.errors import InputError

Span = tuple[int, int]
"""Characters [start, end) of a context."""
NO_SPAN = (0, 0)


@dataclass(frozen=True, eq=False)
class Pool:
    """N rows in one view; `windows` [N] is which of its text's windows a row is in the original texts."""

    tokens: Tokens
    labels: Labels
    windows: IntArray

    @property
    def labeled_rows(self) -> int:
        """How many rows have a hard label; they come first."""
        return int(self.labels.labeled.sum())


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of a pool in one view, and the labels that their words carry.

    Attributes:
        split: texts, labelled ones first.
        spans: for questions, the characters of each labelled context that are the answer.
        tags: for tagged words, the tag index of each word of each labelled text, -100 where it has none.
    """

    split: Split
    spans: Sequence[Span] = ()
    tags: Sequence[Sequence[int]] = ()


def texts_of(task: Task, labeled: Split, unlabeled: Split | None = None) -> Texts:
    """Labelled texts and those without a label as they are; of several answers the first is learned."""
    split = labeled if unlabeled is None else labeled.followed_by(unlabeled)
    labels: Any = labeled.labels
    if task.kind == "qa":
        firsts = [answers[0] for answers in labels]
        return Texts(split, spans=[(start, start + len(answer)) for answer, start in firsts])
    return Texts(split, tags=list(labels) if task.kind == "token_classification" else ())


def row_labels(task: Task, labels: npt.NDArray[Any], scale: tuple[float, float]) -> Tensor:
    """Classes, 0/1 labels, scores less the mean by the deviation; nothing where labels belong to words."""
    if task.tokenwise:
        return torch.empty(0)
    if task.kind == "regression":
        labels = ((labels - scale[0]) / scale[1]).astype(np.float32)
    return torch.from_numpy(labels)


def make_pool(
    texts: Texts,
    labels: Tensor,
    task: Task,
    tokenizer: Any,
    max_length: int,
    overlap: int,
    original: Pool | None = None,
) -> Pool:
    """The pool of a view.

    Args:
        labels: the `row_labels` of the labelled texts.
        overlap: tokens that two windows of a context share.
        original: the pool of the original texts; None while it is made itself.
    """
    tokens = encode(tokenizer, texts.split, task, max_length, overlap)
    if task.kind == "qa":
        return _windows(tokens, texts.spans, original)
    if task.kind == "token_classification":
        found = _tag_labels(tokens, texts.tags)
    else:
        blank = labels.new_zeros(len(tokens) - len(labels), *labels.shape[1:])
        labeled = torch.arange(len(tokens)) < len(labels)
        found = Labels(tokens, torch.cat([labels, blank]), labeled)
    return Pool(tokens, found, np.zeros(len(tokens), np.int64))


def _tag_labels(tokens: Tokens, tags: Sequence[Sequence[int]]) -> Labels:
    assert tokens.units is not None
    values = np.full(len(tokens.ids), NO_LABEL, np.int64)
    for row, own in enumerate(tags):
        inside = slice(tokens.offsets[row], tokens.offsets[row + 1])
        words = tokens.units[inside, 0]
        values[inside] = np.where(words >= 0, np.array(own)[words], NO_LABEL)
    return Labels(tokens, torch.from_numpy(values), torch.arange(len(tokens)) < len(tags), tags=True)


def _windows(tokens: Tokens, spans: Sequence[Span], original: Pool | None) -> Pool:
    assert tokens.sources is not None
    firsts = np.searchsorted(tokens.sources, np.arange(int(tokens.sources.max(initial=-1)) + 2))
    found = [
        span_in(tokens, row, *spans[source]) if source < len(spans) else None
        for row, source in enumerate(tokens.sources.tolist())
    ]
    if original is None:
        if spans and not any(found):
            raise InputError("no window of a context holds a whole answer; raise the dataset's max_length")
        order = np.array(sorted(range(len(tokens)), key=lambda row: found[row] is None), np.int64)
        windows = order - firsts[tokens.sources[order]]
    else:
        windows, wanted = original.windows, original.tokens.sources
        assert wanted is not None
        order = np.empty(len(windows), np.int64)
        for row, (source, window) in enumerate(zip(wanted.tolist(), windows.tolist(), strict=True)):
            own = range(int(firsts[source]), int(firsts[source + 1]))
            order[row] = own[min(window, len(own) - 1)]
            if row < original.labeled_rows and found[order[row]] is None:
                order[row] = next((other for other in own if found[other] is not None), order[row])
    rows = tokens.take(order)
    places = torch.tensor([found[row] or NO_SPAN for row in order], dtype=torch.int64).reshape(-1, 2)
    labeled = torch.tensor([found[row] is not None for row in order], dtype=torch.bool)
    return Pool(rows, Labels(rows, places, labeled), windows)
