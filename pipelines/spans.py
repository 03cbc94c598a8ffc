"""Spans of a context: the best one that two logits per token allow, over all windows of the context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distiller.pipelines.tokens import Tokens

LONGEST_ANSWER = 30
"""Tokens of an answer, as in the reference evaluation of BERT on SQuAD."""


def best_spans(tokens: Tokens, outputs: npt.NDArray[np.floating], rows: int) -> npt.NDArray[np.int64]:
    """[rows, 2] characters [start, end) of each row's best span; (0, 0) where it has no token of a context.

    The span from token i to token j scores start_i + end_j; i <= j, both in one window's context, at most 30
    tokens. Among equals the first window's, the leftmost, the shortest one is taken.

    Args:
        tokens: windows, with units.
        outputs: [total, 2] logits of a span's first and of its last token.
    """
    assert tokens.units is not None
    assert tokens.sources is not None
    window = np.repeat(np.arange(len(tokens)), tokens.lengths)
    inside = tokens.units[:, 0] >= 0
    total = len(inside)
    best = np.full(total, -np.inf)  # of the spans that begin here
    length = np.zeros(total, np.int64)
    for more in range(min(LONGEST_ANSWER, total)):
        # A context's tokens stand side by side: both ends inside of one window, and all between them is.
        fits = inside[: total - more] & inside[more:] & (window[: total - more] == window[more:])
        score = np.where(fits, outputs[: total - more, 0] + outputs[more:, 1], -np.inf)
        better = score > best[: total - more]
        best[: total - more][better] = score[better]
        length[: total - more][better] = more
    spans = np.zeros((rows, 2), np.int64)
    reached = np.full(rows, -np.inf)
    for number, source in enumerate(tokens.sources):
        first, last = tokens.offsets[number], tokens.offsets[number + 1]
        start = first + int(best[first:last].argmax())
        if best[start] > reached[source]:
            reached[source] = best[start]
            spans[source] = tokens.units[start, 0], tokens.units[start + length[start], 1]
    return spans


def answers_of(tokens: Tokens, outputs: npt.NDArray[np.floating], contexts: Sequence[str]) -> list[str]:
    """The best span of each context as text, without space around it."""
    spans = best_spans(tokens, outputs, len(contexts))
    return [context[start:end].strip() for context, (start, end) in zip(contexts, spans, strict=True)]


def span_in(tokens: Tokens, row: int, start: int, end: int) -> tuple[int, int] | None:
    """Where in a window the first and last token of the characters [start, end) are; None if some are not."""
    assert tokens.units is not None
    units = tokens.units[tokens.offsets[row] : tokens.offsets[row + 1]]
    inside = np.flatnonzero(units[:, 0] >= 0)
    if not len(inside) or units[inside[0], 0] > start or units[inside[-1], 1] < end:
        return None
    covering = inside[(units[inside, 1] > start) & (units[inside, 0] < end)]
    return (int(covering[0]), int(covering[-1])) if len(covering) else None
