"""Text features against closed forms and slow loops."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from distiller.pipelines.data import Split
from distiller.pipelines.text_features import RATIO_WORDS, text_features, tokens_of_words, type_token_ratio
from tests.pipelines.conftest import WORDS, tokenizer_of


def test_type_token_ratio_has_closed_forms() -> None:
    """All words different; one word alone; words that occur so often that all are drawn."""
    assert type_token_ratio([1] * 5000) == pytest.approx(1.0)
    assert type_token_ratio([5000]) == pytest.approx(1 / RATIO_WORDS)
    assert type_token_ratio([10_000] * 40) == pytest.approx(40 / RATIO_WORDS)
    assert type_token_ratio([1] * RATIO_WORDS) == pytest.approx(1.0)
    assert type_token_ratio([1] * (RATIO_WORDS - 1)) is None
    # Two of four words drawn, of counts 3 and 1: the rare one is among them with probability 1/2.
    assert type_token_ratio([3, 1], drawn=2) == pytest.approx((1.0 + 0.5) / 2)


def test_type_token_ratio_is_the_mean_of_draws() -> None:
    rng = np.random.default_rng(0)
    counts = (3000 / np.arange(1, 400)).astype(int)
    words = np.repeat(np.arange(len(counts)), counts)
    draws = [len(np.unique(rng.choice(words, RATIO_WORDS, replace=False))) for _ in range(300)]
    error = np.std(draws) / np.sqrt(len(draws)) / RATIO_WORDS
    assert type_token_ratio(counts.tolist()) == pytest.approx(np.mean(draws) / RATIO_WORDS, abs=4 * error)


def test_type_token_ratio_does_not_fall_with_more_text() -> None:
    """As the plain ratio does: the same distribution, seen ten times as long."""
    counts = [20, 20, 40, 60, 100, 200, 300, 400] * 3
    short, long = type_token_ratio(counts), type_token_ratio([10 * count for count in counts])
    assert short is not None
    assert short == pytest.approx(long, rel=0.01)


def test_tokens_of_words_are_those_that_overlap() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        edges = np.sort(rng.choice(40, 12, replace=False)).tolist()
        words = list(zip(edges[::2], edges[1::2], strict=True))
        cuts = sorted({0, 40, *rng.integers(0, 40, 9).tolist()})
        tokens = [pair for pair in itertools.pairwise(cuts) if rng.random() < 0.8]
        slow = [sum(bool({*range(*word)} & {*range(*token)}) for token in tokens) for word in words]
        assert tokens_of_words(words, tokens).tolist() == slow
    assert tokens_of_words([], [(0, 2)]).tolist() == []
    assert tokens_of_words([(0, 2)], []).tolist() == [0]


def texts(pair: bool = False) -> Split:
    rng = np.random.default_rng(0)

    def text() -> str:
        words = [*rng.choice(WORDS, rng.integers(1, 12)), *["Nobody's"] * int(rng.integers(2))]
        return " ".join(map(str, words)) + "!"

    return Split([text() for _ in range(80)], [text() for _ in range(80)] if pair else None, None)


@pytest.mark.parametrize("pair", [False, True])
def test_counts_are_those_of_a_slow_loop(pair: bool) -> None:
    """By the tokenizer's own encoding of whole examples, one by one."""
    split, tokenizer = texts(pair), tokenizer_of(0)
    rows = [tuple(t for t in row if t) for row in zip(split.text_a, split.text_b or [""] * 80, strict=True)]
    encoded = [tokenizer(*row)["input_ids"] for row in rows]
    lengths = [len(ids) for ids in encoded]
    words = [[w for text in row for w in text.replace("!", " ").replace("'", " ").split()] for row in rows]
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id}
    plain = [i for ids in encoded for i in ids if i not in special]
    found: Any = text_features(split, tokenizer, 9)
    assert found["characters_mean"] == pytest.approx(np.mean([sum(map(len, row)) for row in rows]))
    assert found["words_mean"] == pytest.approx(np.mean([len(w) for w in words]))
    assert found["words_p95"] == pytest.approx(np.percentile([len(w) for w in words], 95))
    assert found["tokens_mean"] == pytest.approx(np.mean(lengths))
    assert found["tokens_p95"] == pytest.approx(np.percentile(lengths, 95))
    assert 0 < found["cut_share"] < 1
    assert found["cut_share"] == pytest.approx(sum(length > 9 for length in lengths) / 80)
    assert found["vocabulary"] == len({w.casefold() for row in words for w in row})
    assert found["unknown_token_share"] == pytest.approx(plain.count(tokenizer.unk_token_id) / len(plain))
    assert found["unknown_token_share"] > 0
    assert (found["tokens_per_word"], found["split_word_share"]) == (1.0, 0.0)  # it cuts at words alone


class Pieces:
    """A tokenizer that cuts after every third character of a text."""

    is_fast, unk_token_id = True, None

    def num_special_tokens_to_add(self, pair: bool) -> int:
        return 3 if pair else 2

    def __call__(self, side: list[str], **options: Any) -> dict[str, Any]:
        spans = [[(i, min(i + 3, len(t))) for i in range(0, len(t), 3)] for t in side]
        return {"input_ids": [[7] * len(s) for s in spans], "offset_mapping": spans}


def test_split_words_and_a_tokenizer_that_does_not_tell() -> None:
    # ab|c de|f g in threes: "abc", " de", "f g": abc 1, def 2, g 1; then "xyzw": 2.
    found = text_features(Split(["abc def g", "xyzw"], None, None), Pieces(), 64)
    assert (found["tokens_per_word"], found["split_word_share"]) == (6 / 4, 2 / 4)
    assert found["unknown_token_share"] == 0
    silent = Pieces()
    silent.is_fast = False
    found = text_features(Split(["abc def g"], None, None), silent, 64)
    assert (found["tokens_per_word"], found["split_word_share"]) == (None, None)
    assert found["tokens_mean"] == 5
