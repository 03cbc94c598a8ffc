"""Augmentation and views: what is conserved, what is bounded, what the outcome may depend on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.pipelines.augment import AUGMENTATIONS, delete, insert, row_generator, swap
from distiller.pipelines.views import ORIGINAL, View, materialise

WORDS = st.lists(
    st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=4), min_size=2, max_size=30
)
TEXT = st.text(max_size=60)
STRENGTH = st.floats(0.01, 0.99)
SEED = st.integers(0, 2**32)


@settings(deadline=None)
@given(WORDS, st.integers(1, 30), SEED)
def test_operations_touch_as_many_words_as_asked(words: list[str], count: int, seed: int) -> None:
    count = min(count, len(words))
    rng = np.random.default_rng(seed)
    kept = list(words)
    swapped = swap(words, count, rng)
    assert Counter(swapped) == Counter(words)
    assert sum(a != b for a, b in zip(swapped, words, strict=True)) <= count + count % 2
    shorter = delete(words, count, rng)
    assert len(shorter) == max(1, len(words) - count)
    rest = iter(words)
    assert all(word in rest for word in shorter)  # a subsequence
    longer = insert(words, count, rng)
    assert len(longer) == len(words) + count
    rest = iter(longer)
    assert all(word in rest for word in words)
    assert set(longer) == set(words)
    assert words == kept


def test_swap_moves_exactly_the_words_asked() -> None:
    words = [str(i) for i in range(20)]
    for count in range(1, 21):
        moved = sum(
            a != b for a, b in zip(swap(words, count, np.random.default_rng(count)), words, strict=True)
        )
        assert moved == min(count + count % 2, 20)


@settings(deadline=None)
@given(TEXT, STRENGTH, SEED)
def test_random_changes_and_never_empties(text: str, strength: float, seed: int) -> None:
    edited = AUGMENTATIONS["random"](text, strength, np.random.default_rng(seed))
    words = text.split()
    if len(words) < 2:
        assert edited == text
    else:
        assert edited.strip()
        assert edited.split() != words
        count = max(1, round(strength * len(words)))
        assert abs(len(edited.split()) - len(words)) <= count
        assert set(edited.split()) <= set(words)


@settings(deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=6), STRENGTH, st.integers(0, 5), st.integers(1, 3))
def test_a_row_depends_on_its_own_text_alone(
    texts: list[str], strength: float, seed: int, number: int
) -> None:
    view = View("random", strength, seed, number)
    together, _ = materialise(texts, None, view)
    assert together == [materialise([text], None, view)[0][0] for text in texts]
    backwards, _ = materialise(texts[::-1], None, view)
    assert backwards == together[::-1]
    first, second = materialise(texts, texts[::-1], view)
    assert first == together
    assert second == materialise([""] * len(texts), texts[::-1], view)[1]


def test_views_differ_by_seed_round_and_side() -> None:
    text = " ".join(f"w{i}" for i in range(40))
    views = [View("random", 0.3, seed, number) for seed in (0, 1) for number in (1, 2)]
    assert len({materialise([text], None, view)[0][0] for view in views}) == 4
    assert len({view.key for view in views}) == 4
    first, second = materialise([text], [text], views[0])
    assert second is not None
    assert first != second
    assert materialise([text], ["x"], View("random", 0.3)) == ([text], ["x"])
    assert ORIGINAL.key == View("random", 0.3, 7, 0).key == "original"
    assert views[0].key == "random-0.3-seed0-round1"


def test_all_three_operations_occur() -> None:
    texts = [f"a{i} b c d e f g h" for i in range(300)]
    edited, _ = materialise(texts, None, View("random", 0.2, 0, 1))
    counts = Counter(len(text.split()) for text in edited)
    assert set(counts) == {6, 8, 10}
    assert min(counts.values()) > 70


PROGRAM = """
from distiller.pipelines.views import View, materialise
view = View("random", 0.4, 3, 2)
print(ascii(materialise(["the quick brown fox \\u00e9 jumps", "a b c"], ["x y z", "p q"], view)))
"""


def test_the_same_in_every_process() -> None:
    outcomes = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    view = View("random", 0.4, 3, 2)
    here = materialise(["the quick brown fox é jumps", "a b c"], ["x y z", "p q"], view)
    assert outcomes == {ascii(here) + "\n"}
    assert row_generator("text", "a", 0, "random", 1).integers(1000, size=4).tolist() == PINNED


PINNED = [685, 142, 170, 503]


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (("rondom", 0.1, 0, 1), "no text augmentation 'rondom'"),
        (("random", 0.0, 0, 1), "not between 0 and 1"),
        (("random", 1.0, 0, 1), "not between 0 and 1"),
        (("random", 0.1, 0, -1), "negative"),
    ],
)
def test_impossible_views(view: tuple[str, float, int, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        View(*view)
