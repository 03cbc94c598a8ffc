"""Tags of words, read off the logits of their first tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distiller.pipelines.tokens import Tokens


def tags_of(
    tokens: Tokens, outputs: npt.NDArray[np.floating], words: Sequence[int], outside: int
) -> list[list[int]]:
    """The most probable tag of each word; `outside` for words that no token speaks for.

    Args:
        tokens: one row a text, with units.
        outputs: [total, C] logits.
        words: how many words each text has.
    """
    assert tokens.units is not None
    said = outputs.argmax(1)
    found = []
    for row, count in enumerate(words):
        inside = slice(tokens.offsets[row], tokens.offsets[row + 1])
        spoken = tokens.units[inside, 0]
        tags = np.full(count, outside)
        tags[spoken[spoken >= 0]] = said[inside][spoken >= 0]
        found.append(tags.tolist())
    return found
