"""Every word-level method keeps its promises, and an unsound one is caught: by the promise that it breaks."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from distiller.pipelines.augment.contract import ORDINARY, ContractError, check_augmentation
from distiller.pipelines.augment.methods import METHODS, TextMethod, WordMethod, edit_words
from distiller.pipelines.augment.random_words import delete, random_edit
from distiller.pipelines.augment.rows import Edited, Row, by_row
from distiller.spaces.augmentation import (
    BackTranslation,
    Contextual,
    EmbeddingNeighbours,
    RandomWords,
    Synonyms,
)
from distiller.spaces.choice import Choice
from tests.pipelines.augment.conftest import TEXTS, tiny_sources

CHOICES: list[tuple[Choice, tuple[str, ...]]] = [
    (RandomWords(strength=0.3), ORDINARY),
    (Synonyms(strength=0.3), ORDINARY),
    (EmbeddingNeighbours(strength=0.3, neighbours=4), TEXTS),
    (Contextual(checkpoint="masked", strength=0.3, top_p=0.95), TEXTS),
]


@pytest.mark.parametrize(("choice", "texts"), CHOICES, ids=lambda c: getattr(c, "method", ""))
def test_methods_keep_their_promises(choice: Choice, texts: tuple[str, ...], checkpoints: Path) -> None:
    method = METHODS[choice.method]  # type: ignore[attr-defined]
    assert isinstance(method, WordMethod)
    editor = method.editor(choice, tiny_sources(checkpoints))
    check_augmentation(choice.method, editor, strength=0.3, texts=texts)  # type: ignore[attr-defined]


def test_the_list_is_complete() -> None:
    listed = {choice.method for choice, _ in CHOICES}  # type: ignore[attr-defined]
    assert listed == {name for name, method in METHODS.items() if isinstance(method, WordMethod)}
    assert {name for name in METHODS if name not in listed} == {"back_translation"}
    assert isinstance(METHODS["back_translation"], TextMethod)


def test_one_text_by_any_method(checkpoints: Path) -> None:
    sources, words = tiny_sources(checkpoints), TEXTS[0].split()
    held = [i < 4 for i in range(len(words))]
    for choice, _ in CHOICES:
        edited = edit_words(words, held, choice, np.random.default_rng(0), sources)
        assert edited[:4] == [(word, i) for i, word in enumerate(words[:4])] or None in dict(edited).values()
    with pytest.raises(ValueError, match="back_translation does not work on words; random, synonym"):
        edit_words(words, held, BackTranslation(), np.random.default_rng(0), sources)


Edit = Callable[[Row, np.random.Generator], list[Edited]]


def sound(row: Row, rng: np.random.Generator) -> list[Edited]:
    return random_edit(row, 0.2, rng)


def draws_globally(row: Row, rng: np.random.Generator) -> list[Edited]:
    return random_edit(row, 0.2, np.random.default_rng(random.getrandbits(32)))


def draws_from_numpy(row: Row, rng: np.random.Generator) -> list[Edited]:
    return random_edit(row, 0.2, np.random.default_rng(np.random.randint(2**31)))


def seeds_itself(row: Row, rng: np.random.Generator) -> list[Edited]:
    return random_edit(row, 0.2, np.random.default_rng(0))


def ignores_protection(row: Row, rng: np.random.Generator) -> list[Edited]:
    return random_edit(Row(row.words, (False,) * len(row.words)), 0.2, rng)


def puts_words_into_spans(row: Row, rng: np.random.Generator) -> list[Edited]:
    result = row.unchanged()
    if row.free:
        result.insert(int(rng.integers(len(result) + 1)), Edited(row.words[row.free[0]], None))
    return result


def joins_spans(row: Row, rng: np.random.Generator) -> list[Edited]:
    gone = set(rng.permutation(row.free)[:2].tolist()) if len(row.words) > 3 else set()
    return [edit for edit in row.unchanged() if edit.origin not in gone]


def may_leave_nothing(row: Row, rng: np.random.Generator) -> list[Edited]:
    return sound(row, rng) if any(row.protected) or len(row.words) > 3 else delete_all(row, rng)


def delete_all(row: Row, rng: np.random.Generator) -> list[Edited]:
    return [edit for edit in row.unchanged() if rng.random() < 0.5]


def compounds(row: Row, rng: np.random.Generator) -> list[Edited]:
    first = random_edit(row, 0.2, rng)
    held = tuple(e.origin is not None and row.protected[e.origin] for e in first)
    second = random_edit(Row(tuple(word for word, _ in first), held), 0.2, rng)
    return [Edited(word, None if at is None else first[at].origin) for word, at in second]


class GoesOnFromTheLastTime:
    def __init__(self) -> None:
        self.last: dict[Row, list[Edited]] = {}

    def __call__(self, row: Row, rng: np.random.Generator) -> list[Edited]:
        before = self.last.get(row, row.unchanged())
        if any(row.protected) or len(before) < 3:
            return sound(row, rng)
        again = delete(Row(tuple(word for word, _ in before), (False,) * len(before)), 1, rng)
        self.last[row] = [Edited(word, before[at or 0].origin) for word, at in again]
        return self.last[row]


def forgets_origins(row: Row, rng: np.random.Generator) -> list[Edited]:
    return [Edited(word, None) for word, _ in sound(row, rng)]


def numbers_words_anew(row: Row, rng: np.random.Generator) -> list[Edited]:
    return [Edited(word, at) for at, (word, _) in enumerate(sound(row, rng))]


def repeats_origins(row: Row, rng: np.random.Generator) -> list[Edited]:
    return [Edited(word, 0 if origin is None else origin) for word, origin in sound(row, rng)]


def does_nothing(row: Row, rng: np.random.Generator) -> list[Edited]:
    return row.unchanged()


def changes_too_much(row: Row, rng: np.random.Generator) -> list[Edited]:
    return random_edit(row, 0.6, rng)


def writes_blanks(row: Row, rng: np.random.Generator) -> list[Edited]:
    return [Edited(f"{word} ", origin) for word, origin in sound(row, rng)]


def by_place(rows: object, generators: object) -> list[list[Edited]]:
    assert isinstance(rows, (list, tuple))
    return [random_edit(row, 0.2, np.random.default_rng(i)) for i, row in enumerate(rows)]


MUTANTS: list[tuple[Edit, str]] = [
    (draws_globally, "the next time"),
    (draws_from_numpy, "the next time"),
    (seeds_itself, "the same text in every round"),
    (ignores_protection, "protected words"),
    (puts_words_into_spans, "between protected neighbours"),
    (joins_spans, "that stood apart"),
    (may_leave_nothing, "can leave nothing of 1 words"),
    (compounds, "words where"),
    (GoesOnFromTheLastTime(), "the next time"),
    (forgets_origins, "drops or moves protected words"),
    (numbers_words_anew, "no words of the text"),
    (repeats_origins, "two words stand for one"),
    (does_nothing, "the same text in every round"),
    (changes_too_much, "words where"),
    (writes_blanks, "hold blanks"),
]


@pytest.mark.parametrize(("mutant", "said"), MUTANTS, ids=lambda m: getattr(m, "__name__", None))
def test_unsound_methods_are_caught(mutant: Edit, said: str) -> None:
    with pytest.raises(ContractError, match=said) as caught:
        check_augmentation("mine", by_row(mutant), strength=0.2)
    assert str(caught.value).startswith("mine: ")
    assert "\n" not in str(caught.value)


def test_an_editor_that_looks_at_places_is_caught() -> None:
    with pytest.raises(ContractError, match="the order of rows"):
        check_augmentation("mine", by_place, strength=0.2)


def test_a_method_that_raises_is_named() -> None:
    def raises(row: Row, rng: np.random.Generator) -> list[Edited]:
        raise KeyError("word")

    with pytest.raises(ContractError, match=r"mine: raises where .* it gives one row for each"):
        check_augmentation("mine", by_row(raises))


def test_the_sound_one_passes() -> None:
    check_augmentation("mine", by_row(sound), strength=0.2)
