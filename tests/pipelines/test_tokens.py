"""Batches against slow loops; every row once a pass, at most once a batch, with little padding."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.pipelines.tokens import Tokens, Vocabulary, by_length, tokenize, training_batches
from tests.pipelines.conftest import tokenizer_of

ROWS = st.lists(st.lists(st.integers(2, 90), min_size=1, max_size=9), min_size=1, max_size=12)


def tokens_of(rows: list[list[int]]) -> Tokens:
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    ids = torch.tensor([i for row in rows for i in row])
    return Tokens(ids, ids % 2, offsets)


@settings(deadline=None)
@given(ROWS, st.data())
def test_padding_and_positions(rows: list[list[int]], data: st.DataObject) -> None:
    tokens = tokens_of(rows)
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=6))
    longest = max(len(rows[i]) for i in picked)
    length = data.draw(st.none() | st.integers(longest, longest + 3))
    batch = tokens.padded(np.array(picked), 1, length)
    width = length or longest
    assert batch.ids.tolist() == [rows[i] + [1] * (width - len(rows[i])) for i in picked]
    assert batch.types.tolist() == [[t % 2 for t in rows[i]] + [0] * (width - len(rows[i])) for i in picked]
    assert batch.mask.tolist() == [[j < len(rows[i]) for j in range(width)] for i in picked]
    position, mask = tokens.positions(np.array(picked), length)
    assert torch.equal(tokens.ids[position[mask]], batch.ids[mask])
    assert tokens.lengths.tolist() == [len(row) for row in rows]


@settings(deadline=None)
@given(ROWS, st.integers(1, 5))
def test_by_length_is_a_permutation_longest_first(rows: list[list[int]], size: int) -> None:
    lengths = tokens_of(rows).lengths
    batches = list(by_length(lengths, size))
    order = np.concatenate(batches)
    assert sorted(order) == list(range(len(rows)))
    assert all(len(b) <= size for b in batches)
    assert (np.diff(lengths[order]) <= 0).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 70), st.integers(1, 20), st.integers(1, 6), st.integers(0, 2**31))
def test_training_batches_make_passes(size: int, batch_size: int, window: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 30, size)
    passes = 4
    wanted = passes * size // batch_size + 1
    batches = list(islice(training_batches(lengths, batch_size, seed, window), wanted))
    drawn = Counter((int(r), int(n)) for rows, rounds in batches for r, n in zip(rows, rounds, strict=True))
    assert set(drawn.values()) == {1}  # a row comes once in each round
    assert {n for _, n in drawn} <= set(range(passes + 2 + batch_size // size))
    early = [r for r, n in drawn if n < passes - 1]  # rounds that are over
    assert Counter(early) == dict.fromkeys(range(size), passes - 1)
    for rows, _ in batches:
        assert len(rows) == batch_size
        assert size < batch_size or len(set(rows.tolist())) == batch_size


def test_training_batches_repeat_by_seed_and_differ_between_seeds() -> None:
    lengths = np.arange(1, 101)

    def first(seed: int) -> list[list[int]]:
        return [rows.tolist() for rows, _ in islice(training_batches(lengths, 8, seed), 30)]

    assert first(3) == first(3)
    assert first(3) != first(4)
    with pytest.raises(ValueError, match="no rows"):
        next(training_batches(lengths[:0], 8, 0))


def test_buckets_spare_padding() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 2000)

    def share(window: int) -> float:
        batches = [rows for rows, _ in islice(training_batches(lengths, 32, 0, window), 60)]
        return sum(int(lengths[b].sum()) for b in batches) / sum(32 * int(lengths[b].max()) for b in batches)

    assert share(1) < 0.6
    assert share(50) > 0.93


def test_tokenizing_texts_and_pairs() -> None:
    tokenizer = tokenizer_of(0)
    tokens = tokenize(tokenizer, ["w1 w2 w3 w4", "w5"], ["w6", "w7 w8"], 7)
    words = [tokenizer.convert_ids_to_tokens(tokens.ids[a:b].tolist()) for a, b in ((0, 7), (7, 13))]
    assert words == [
        ["[CLS]", "w1", "w2", "w3", "[SEP]", "w6", "[SEP]"],
        ["[CLS]", "w5", "[SEP]", "w7", "w8", "[SEP]"],
    ]
    assert tokens.types.tolist() == [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1]
    assert tokenize(tokenizer, ["w1"], None, 7).offsets.tolist() == [0, 3]
    assert len(tokenize(tokenizer, [], None, 7)) == 0


@settings(deadline=None)
@given(ROWS, st.integers(0, 99))
def test_vocabulary_renumbers_and_leaves_padding_in_place(rows: list[list[int]], pad: int) -> None:
    tokens = tokens_of(rows)
    vocabulary = Vocabulary.of([tokens], 100, [0, 95], pad)
    kept = vocabulary.kept
    assert sorted(kept.tolist()) == sorted({0, 95, pad, *tokens.ids.tolist()})
    assert vocabulary.new_ids[kept].tolist() == list(range(len(kept)))
    assert int((vocabulary.new_ids >= 0).sum()) == len(kept)
    assert torch.equal(kept[tokens.remapped(vocabulary.new_ids).ids], tokens.ids)
    if pad < len(kept):
        assert int(vocabulary.new_ids[pad]) == pad
