"""EDA's operations: what is conserved, what is bounded, what protected words are spared."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.pipelines.augment.contract import changes
from distiller.pipelines.augment.random_words import delete, insert, random_edit, swap
from distiller.pipelines.augment.rows import Edited, Row, core_of, like, row_generator, share_of, with_core

WORD = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=4)
WORDS = st.lists(WORD, min_size=2, max_size=30)
STRENGTH = st.floats(0.01, 0.99)
SEED = st.integers(0, 2**32)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    words = draw(st.lists(WORD, max_size=20))
    return Row(tuple(words), tuple(draw(st.booleans()) for _ in words))


def words_of(edited: list[Edited]) -> list[str]:
    return [word for word, _ in edited]


def free(words: list[str]) -> Row:
    return Row(tuple(words), (False,) * len(words))


@settings(deadline=None)
@given(WORDS, st.integers(1, 30), SEED)
def test_operations_touch_as_many_words_as_asked(words: list[str], count: int, seed: int) -> None:
    count, row = min(count, len(words)), free(words)
    rng = np.random.default_rng(seed)
    swapped = words_of(swap(row, count, rng))
    assert Counter(swapped) == Counter(words)
    assert sum(a != b for a, b in zip(swapped, words, strict=True)) <= count + count % 2
    shorter = delete(row, count, rng)
    assert len(shorter) == max(1, len(words) - count)
    kept = [origin for _, origin in shorter if origin is not None]
    assert kept == sorted(kept)
    assert words_of(shorter) == [words[i] for i in kept]
    longer = insert(row, count, rng)
    assert len(longer) == len(words) + count
    assert [origin for _, origin in longer if origin is not None] == list(range(len(words)))
    assert set(words_of(longer)) == set(words)


def test_swap_moves_exactly_the_words_asked() -> None:
    row = free([str(i) for i in range(20)])
    for count in range(1, 21):
        assert changes(row, swap(row, count, np.random.default_rng(count))) == min(count + count % 2, 20)


@settings(deadline=None, max_examples=300)
@given(rows(), STRENGTH, SEED)
def test_protected_words_stay_as_and_where_they_are(row: Row, strength: float, seed: int) -> None:
    edited = random_edit(row, strength, np.random.default_rng(seed))
    held = [i for i, flag in enumerate(row.protected) if flag]
    places = [at for at, (_, origin) in enumerate(edited) if origin in held]
    assert [edited[at] for at in places] == [(row.words[i], i) for i in held]
    for n in range(1, len(held)):
        apart = held[n] - held[n - 1] > 1
        assert (places[n] - places[n - 1] > 1) == apart
    for word, origin in edited:
        if origin is None:  # a copy of a protected word elsewhere would carry no label
            assert word in {row.words[i] for i in row.free}
        else:
            assert word == row.words[origin]
    if row.free:
        assert changes(row, edited) <= share_of(strength, len(row.free)) + 1
        assert len(row.words) < 2 or words_of(edited) != list(row.words)
    else:
        assert edited == row.unchanged()


def test_all_operations_spare_what_is_protected() -> None:
    """By hand: a b [C D] e [F] g, where e must stay between D and F."""
    row = Row(tuple("abCDeFg"), (False, False, True, True, False, True, False))
    for seed in range(200):
        rng = np.random.default_rng(seed)
        text = "".join(words_of(delete(row, 7, rng)))
        assert text == "CDeF"
        text = "".join(words_of(insert(row, 3, rng)))
        assert "CD" in text
        assert text.count("F") == text.count("C") == 1
        text = "".join(words_of(swap(row, 4, rng)))
        assert (text[2:4], text[5]) == ("CD", "F")
        assert Counter(text) == Counter("abCDeFg")


def test_nothing_to_give() -> None:
    rng = np.random.default_rng(0)
    for row in (free([]), free(["one"]), Row(("a", "b"), (True, True))):
        assert random_edit(row, 0.5, rng) == row.unchanged()
    with pytest.raises(ValueError, match="2 words with 1 flags"):
        Row(("a", "b"), (True,))


def test_unprotected_texts_change_as_they_always_did() -> None:
    """Caches of teachers' outputs rest on these texts."""
    text = "the quick brown fox jumps over the lazy dog"
    edited = [random_edit(Row.of(text), 0.3, row_generator(text, "a", 0, "random", n)) for n in range(1, 6)]
    assert [" ".join(words_of(row)) for row in edited] == [
        "dog quick brown fox jumps over lazy the the",
        "quick brown jumps over the dog",
        "the quick brown fox lazy jumps over the brown the lazy dog",
        "jumps quick the fox the over brown lazy dog",
        "the quick brown fox jumps the over the lazy jumps dog over",
    ]


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("Why?", ("", "Why", "?")),
        ('"(so)', ('"(', "so", ")")),
        ("don't", ("", "don't", "")),
        ("--", ("--", "", "")),
        ("_a_", ("_", "a", "_")),
    ],
)
def test_punctuation_is_no_part_of_a_word(word: str, parts: tuple[str, str, str]) -> None:
    assert core_of(word) == parts
    assert with_core("(Movie,", "film") == "(Film,"
    assert [like("film", old) for old in ("movie", "Movie", "MOVIE", "A")] == ["film", "Film", "FILM", "Film"]


def test_a_generator_depends_on_its_key_alone() -> None:
    assert row_generator("text", "a", 0, "random", 1).integers(1000, size=4).tolist() == [685, 142, 170, 503]
