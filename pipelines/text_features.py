"""What a dataset's texts are like: lengths, vocabulary, and how a teacher's tokenizer cuts their words.

A word is a run of letters, digits or underscores (`\\w+`), told apart without case. A script without spaces
has long words by this, and so many tokens a word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from distiller.pipelines.data import Split
from distiller.pipelines.tokens import IntArray

WORD = re.compile(r"\w+")
RATIO_WORDS = 1000
"""Words among which types are counted: a ratio of types to tokens falls with the size of its sample."""


def text_features(texts: Split, tokenizer: Any, max_length: int) -> Mapping[str, float | int | None]:
    """Means, 95th percentiles and shares over texts, those of a pair taken together.

    Tokens are those of whole texts, special ones included; shares of tokens and words leave special ones out.
    """
    sides = [texts.text_a, *([] if texts.text_b is None else [texts.text_b])]
    marks = int(tokenizer.num_special_tokens_to_add(pair=len(sides) == 2))
    words = Counter[str]()
    characters, word_counts, token_counts = (np.zeros(len(texts), np.int64) for _ in range(3))
    token_counts += marks
    unknown, pieces = 0, list[IntArray]()
    for side in sides:
        found = [list(WORD.finditer(text)) for text in side]
        words.update(match.group().casefold() for matches in found for match in matches)
        # Not verbose: longer texts than the model reads are no news here.
        encoded = tokenizer(
            side,
            add_special_tokens=False,
            return_attention_mask=False,
            return_offsets_mapping=bool(tokenizer.is_fast),
            verbose=False,
        )
        ids = encoded["input_ids"]
        characters += [len(text) for text in side]
        word_counts += [len(matches) for matches in found]
        token_counts += [len(row) for row in ids]
        unknown += sum(row.count(tokenizer.unk_token_id) for row in ids)
        if tokenizer.is_fast:
            spans = ([match.span() for match in matches] for matches in found)
            pieces += map(tokens_of_words, spans, encoded["offset_mapping"])
    cuts = np.concatenate(pieces) if pieces else np.empty(0, np.int64)
    plain = int(token_counts.sum()) - marks * len(texts)
    return {
        **spread("characters", characters),
        **spread("words", word_counts),
        **spread("tokens", token_counts),
        "cut_share": float(np.mean(token_counts > max_length)),
        "vocabulary": len(words),
        "type_token_ratio": type_token_ratio(list(words.values())),
        "tokens_per_word": float(cuts.mean()) if len(cuts) else None,
        "split_word_share": float(np.mean(cuts > 1)) if len(cuts) else None,
        "unknown_token_share": unknown / plain if plain else None,
    }


def spread(name: str, counts: npt.NDArray[Any]) -> dict[str, float]:
    """The mean and the 95th percentile (between the two nearest values in proportion)."""
    return {f"{name}_mean": float(counts.mean()), f"{name}_p95": float(np.percentile(counts, 95))}


def type_token_ratio(counts: Sequence[int], drawn: int = RATIO_WORDS) -> float | None:
    """Expected different words among `drawn` words, by `drawn`; None where there are fewer words than that.

    `counts` are how often each word occurs. Words are drawn without replacement: the expectation needs no
    sample (HD-D; McCarthy & Jarvis 2010, Behavior Research Methods 42(2)).
    """
    occurs = np.array(counts, np.float64)
    total = occurs.sum()
    if total < drawn:
        return None
    rest = total - occurs
    able = rest >= drawn  # where a word can be missed at all
    missed = np.zeros(len(occurs))
    missed[able] = np.exp(
        gammaln(rest[able] + 1)
        - gammaln(rest[able] - drawn + 1)
        - gammaln(total + 1)
        + gammaln(total - drawn + 1)
    )
    return float((1 - missed).sum() / drawn)


def tokens_of_words(words: Sequence[tuple[int, int]], tokens: Sequence[tuple[int, int]]) -> IntArray:
    """[words] how many tokens hold some character of each word; both as characters [start, end) in order."""
    if not words or not tokens:
        return np.zeros(len(words), np.int64)
    starts, ends = np.array(words, np.int64).T
    firsts, lasts = np.array(tokens, np.int64).T
    # Token t holds some of the words from[t] to until[t].
    begin, until = np.searchsorted(ends, firsts, "right"), np.searchsorted(starts, lasts, "left")
    held = until > begin
    change = np.zeros(len(words) + 1, np.int64)
    np.add.at(change, begin[held], 1)
    np.add.at(change, until[held], -1)
    return np.cumsum(change[:-1])
