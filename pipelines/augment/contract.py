"""What every word-level method of augmentation promises, checked on texts: ours and those that users add.

    check_augmentation("synonym", METHODS["synonym"].editor(choice, sources), strength=0.2)

A check is a function of the method; its docstring is the promise. One clear line says which promise is
broken. That a method's words mean what they should needs a truth of its own.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from distiller.pipelines.augment.rows import Edited, Editor, Row, row_generator, share_of

ORDINARY = (
    "The quick brown fox jumps over the lazy dog near the old river bank",
    "A gripping movie , well acted and beautifully filmed from start to end .",
    "What is the name of the city where the first modern games took place ?",
    "She bought a small house with a large garden and a view of the sea",
    "Critics found the story weak, but the music is good and the actors are great!",
    "He will travel by train because the weather makes the road dangerous",
)
ROUNDS = 6
"""Draws of each text in each check."""


class ContractError(Exception):
    """A promise that a method breaks: one line that names the method and the promise."""


@dataclass(frozen=True)
class Trial:
    """A method and what it is tried on."""

    editor: Editor
    rows: tuple[Row, ...]
    strength: float | None

    def edits(self, rows: Sequence[Row], key: object = 0) -> list[list[Edited]]:
        """The changed rows, each with the generator that its words and `key` give."""
        return self.editor(rows, [row_generator(" ".join(row.words), key) for row in rows])

    def guarded(self) -> Iterator[tuple[Row, list[Edited]]]:
        """Rows with protected words, at random and every second one, and what became of them."""
        for number in range(ROUNDS):
            rng = np.random.default_rng(number)
            rows = [Row(row.words, _spans(len(row.words), rng)) for row in self.rows]
            rows += [Row(row.words, tuple(i % 2 == 0 for i in range(len(row.words)))) for row in self.rows]
            yield from zip(rows, self.edits(rows, number), strict=True)


def check_augmentation(
    name: str, editor: Editor, strength: float | None = None, texts: Sequence[str] = ORDINARY
) -> None:
    """Raise ContractError, with one line, where a method breaks a promise.

    Args:
        editor: the method with its parameters; `by_row` makes one of a function of one row.
        strength: the share of words that it may change; None leaves that unchecked.
        texts: of a dozen words or so that the method can change, most of them at least.
    """
    trial = Trial(editor, tuple(Row.of(text) for text in texts), strength)
    for promise in PROMISES:
        try:
            promise(trial)
        except ContractError as broken:
            raise ContractError(f"{name}: {broken}") from None
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            kept = promise.__name__.replace("_", " ")
            raise ContractError(f"{name}: raises where it is checked that {kept}: {reason}") from error


def _require(kept: bool, broken: str) -> None:
    if not kept:
        raise ContractError(broken)


def _spans(length: int, rng: np.random.Generator) -> tuple[bool, ...]:
    """Flags with some runs of protected words."""
    held = np.zeros(length, bool)
    for _ in range(int(rng.integers(1, 4))):
        start = int(rng.integers(length))
        held[start : start + int(rng.integers(1, 4))] = True
    return tuple(held.tolist())


def it_gives_one_row_for_each(trial: Trial) -> None:
    """As many rows as were given, each of words without blanks; no rows where there are none."""
    _require(trial.edits([]) == [], "gives rows where there are none")
    edited = trial.edits(trial.rows)
    _require(len(edited) == len(trial.rows), "gives another number of rows than it was given")
    for row in edited:
        _require(all(word.split() == [word] for word, _ in row), "gives words that are blank or hold blanks")


def it_depends_on_words_and_generators_alone(trial: Trial) -> None:
    """The same each time, whatever was changed before, without global random numbers."""
    kept = _global_states()
    try:
        first, found, drawn = trial.edits(trial.rows), [], False
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            before = _compared(_global_states())
            trial.edits(trial.rows, "other")
            found.append(trial.edits(trial.rows))
            drawn = drawn or _compared(_global_states()) != before
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        torch.random.set_rng_state(kept[2])
    same = all(edits == first for edits in found)
    _require(same, "changes a text otherwise the next time: other random numbers, or a state")
    _require(not drawn, "draws global random numbers: take the generator's")


def _global_states() -> tuple[Any, Any, Any]:
    return random.getstate(), np.random.get_state(), torch.random.get_rng_state()


def _compared(states: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    """What of the states `==` can compare."""
    python, (_, keys, position, *_), pytorch = states
    return python, keys.tolist(), position, pytorch.tolist()


def it_changes_each_row_by_itself(trial: Trial) -> None:
    """A row's change does not depend on the rows beside it, nor on their order."""
    together = trial.edits(trial.rows)
    _require(trial.edits(trial.rows[::-1]) == together[::-1], "depends on the order of rows")
    alone = [edited for row in trial.rows for edited in trial.edits([row])]
    _require(alone == together, "depends on the rows that are changed together")


def it_draws_anew_each_round(trial: Trial) -> None:
    """Other generators give other texts, at least now and then."""
    rounds = [trial.edits(trial.rows, number) for number in range(ROUNDS)]
    _require(any(r != rounds[0] for r in rounds[1:]), "gives the same text in every round")


def it_changes_ordinary_texts(trial: Trial) -> None:
    """More than half of ordinary texts change."""
    rounds = [trial.edits(trial.rows, number) for number in range(ROUNDS)]
    changed = [
        [word for word, _ in edited] != list(row.words)
        for edits in rounds
        for row, edited in zip(trial.rows, edits, strict=True)
    ]
    _require(2 * sum(changed) > len(changed), f"changes {sum(changed)} of {len(changed)} ordinary texts")


def its_origins_are_words_of_the_text(trial: Trial) -> None:
    """An origin is the index of a word, and no word has two successors."""
    for row, edited in trial.guarded():
        origins = [origin for _, origin in edited if origin is not None]
        _require(all(0 <= o < len(row.words) for o in origins), "names origins that are no words of the text")
        _require(len(set(origins)) == len(origins), "lets two words stand for one")


def it_keeps_protected_words(trial: Trial) -> None:
    """Protected words stay, in order; neighbours stay neighbours, and those that were apart stay apart."""
    for row, edited in trial.guarded():
        held = [i for i, flag in enumerate(row.protected) if flag]
        places = [at for at, (_, origin) in enumerate(edited) if origin in held]
        kept = [edited[at] for at in places]
        _require(kept == [Edited(row.words[i], i) for i in held], "changes, drops or moves protected words")
        neighbours = zip(itertools.pairwise(held), itertools.pairwise(places), strict=True)
        for (i, j), (at, then) in neighbours:
            if j == i + 1:
                _require(then == at + 1, "puts words between protected neighbours")
            else:
                _require(then > at + 1, "brings protected words together that stood apart")


def it_is_never_empty(trial: Trial) -> None:
    """A text of some words keeps at least one; a text without words stays so; all protected, all stay."""
    words = [word for row in trial.rows for word in row.words]
    for length in (1, 2, 3):
        rows = [Row(tuple(words[i : i + length]), (False,) * length) for i in range(len(words) - length + 1)]
        for number in range(ROUNDS):
            _require(all(trial.edits(rows, number)), f"can leave nothing of {length} words")
    _require(trial.edits([Row((), ())]) == [[]], "puts words into a text without any")
    held = [Row(row.words, (True,) * len(row.words)) for row in trial.rows]
    _require(trial.edits(held) == [row.unchanged() for row in held], "changes texts that are all protected")


def it_changes_no_more_than_its_share(trial: Trial) -> None:
    """At most max(1, round(strength * free words)) words change, one more where they change places."""
    if trial.strength is None:
        return
    for row, edited in trial.guarded():
        if row.free:
            most = share_of(trial.strength, len(row.free)) + 1
            _require(
                changes(row, edited) <= most, f"changes {changes(row, edited)} words where {most} may change"
            )


def changes(row: Row, edited: Sequence[Edited]) -> int:
    """How many words were replaced or moved, or put in and taken out."""
    origins = [origin for _, origin in edited]
    if None not in origins and set(origins) == set(range(len(row.words))):
        return sum(edit != as_it_was for edit, as_it_was in zip(edited, row.unchanged(), strict=True))
    put_in = sum(origin is None for _, origin in edited)
    replaced = sum(origin is not None and word != row.words[origin] for word, origin in edited)
    return put_in + replaced + len(row.words) - (len(edited) - put_in)


PROMISES: tuple[Callable[[Trial], None], ...] = (
    it_gives_one_row_for_each,
    it_depends_on_words_and_generators_alone,
    it_changes_each_row_by_itself,
    it_draws_anew_each_round,
    it_changes_ordinary_texts,
    its_origins_are_words_of_the_text,
    it_keeps_protected_words,
    it_is_never_empty,
    it_changes_no_more_than_its_share,
)
