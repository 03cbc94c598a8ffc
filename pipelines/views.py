"""A view: one deterministic augmented copy of a split, shared by all trials that ask for it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller.pipelines.augment.methods import METHODS, TextMethod, WordMethod
from distiller.pipelines.augment.rows import Edited, Row, row_generator
from distiller.pipelines.augment.sources import Sources
from distiller.pipelines.content import content_key
from distiller.pipelines.tokens import IntArray
from distiller.spaces.augmentation import NoAugmentation
from distiller.spaces.choice import Choice, id_of, parts

NO_AUGMENTATION = NoAugmentation()

VIEW_SEED = 0
"""Views do not depend on the trial, so that all trials share them."""

DRAWING = ("copies", "redraw")
"""Parameters of a choice that say which rounds are drawn, not what they hold."""


@dataclass(frozen=True)
class View:
    """Which copy of the texts: by which choice of method, `seed`, `round`; round 0 is the original.

    Views of one round differ by seed, method and its parameters only, never by trial, so that trials share
    them; `copies` and `redraw` stand at their defaults.
    """

    choice: Choice = NO_AUGMENTATION
    seed: int = 0
    round: int = 0

    def __post_init__(self) -> None:
        if self.round < 0:
            raise ValueError(f"view round {self.round} is negative")
        choice = NO_AUGMENTATION if self.round == 0 else self.choice
        if self.round > 0 and self.method not in METHODS:
            raise ValueError(f"no text augmentation {self.method!r}; there are {', '.join(METHODS)}")
        plain = {name: field.default for name, field in type(choice).model_fields.items() if name in DRAWING}
        object.__setattr__(self, "choice", choice.model_copy(update=plain))

    @property
    def method(self) -> str:
        """The method's id."""
        return id_of(type(self.choice))

    @property
    def parameters(self) -> dict[str, Any]:
        """What the texts depend on, beside method, seed and round."""
        return {name: getattr(self.choice, name) for name in parts(type(self.choice)) if name not in DRAWING}

    @property
    def key(self) -> str:
        """Stable name, fit for a file: equal keys, equal texts (of one dataset and teacher)."""
        if self.round == 0:
            return "original"
        values = [
            content_key(value=v)[:8] if isinstance(v, str) else repr(v) for v in self.parameters.values()
        ]
        return "-".join([self.method, *values, f"seed{self.seed}", f"round{self.round}"])

    def generators(self, texts: Sequence[str], side: str) -> list[np.random.Generator]:
        """One generator for each text of one side."""
        return [row_generator(text, side, self.seed, self.method, self.round) for text in texts]


ORIGINAL = View()


@dataclass(frozen=True)
class Draws:
    """The views of one policy, and which of them a row is in.

    Attributes:
        views: the original, then slot by slot the copies, those of later generations after the earlier.
        slots: of each slot the first view, the copies at a time, and the passes that they serve (0 for all).
    """

    views: tuple[View, ...]
    slots: tuple[tuple[int, int, int], ...]

    def views_in(self, rows: IntArray, rounds: IntArray) -> IntArray:
        """[B] the view of each row in its `rounds`-th pass (from 0).

        A row goes through the original and all copies in turn, from a start of its own; every `redraw`
        passes a slot's copies give way to its next ones.
        """
        turn = (rows * 2654435761 // 128 + rounds) % (1 + sum(copies for _, copies, _ in self.slots))
        view, before = np.zeros_like(turn), 1
        for first, copies, redraw in self.slots:
            generation = rounds // redraw if redraw else np.zeros_like(rounds)
            here = (turn >= before) & (turn < before + copies)
            view = np.where(here, first + generation * copies + turn - before, view)
            before += copies
        return view


def draws_of(policy: Sequence[Any], passes: int = 1) -> Draws:
    """All that a policy draws from in `passes` passes over the rows; `passes` counts only with `redraw`.

    A slot that equals an earlier one, but for what it draws, goes on with the rounds after that one's.
    """
    views, slots = [ORIGINAL], []
    drawn: Counter[View] = Counter()
    for slot in policy:
        if slot.method in METHODS:
            copies, redraw = getattr(slot, "copies", 1), getattr(slot, "redraw", 0)  # a user's may lack them
            generations = -(-passes // redraw) if redraw else 1
            slots.append((len(views), copies, redraw))
            first, rounds = View(slot, VIEW_SEED, 1), copies * generations
            views += [View(slot, VIEW_SEED, drawn[first] + copy) for copy in range(1, rounds + 1)]
            drawn[first] += rounds
    return Draws(tuple(views), tuple(slots))


def views_of(policy: Sequence[Any], passes: int = 1) -> list[View]:
    """The original, then each text slot's copies of it, for `passes` passes."""
    return list(draws_of(policy, passes).views)


def passes_of(steps: int, batch_size: int, rows: int) -> int:
    """How many passes over `rows` rows that many steps begin."""
    return -(-steps * batch_size // rows)


def materialise(
    text_a: Sequence[str], text_b: Sequence[str] | None, view: View, sources: Sources
) -> tuple[list[str], list[str] | None]:
    """The view's texts, made from the original ones; the two sides of a pair are changed on their own.

    Raises:
        InputError: what the method needs is not there.
    """

    def side(texts: Sequence[str], name: str) -> list[str]:
        if view.round == 0:
            return list(texts)
        if isinstance(METHODS[view.method], TextMethod):
            return rewritten(texts, view, name, sources)
        rows = [Row.of(text) for text in texts]
        changed = edited_rows(rows, view, name, sources, texts)
        return [
            text if edits == row.unchanged() else " ".join(word for word, _ in edits)
            for text, row, edits in zip(texts, rows, changed, strict=True)
        ]

    return side(text_a, "a"), None if text_b is None else side(text_b, "b")


def edited_rows(
    rows: Sequence[Row], view: View, side: str, sources: Sources, texts: Sequence[str] | None = None
) -> list[list[Edited]]:
    """What became of each word of each row in a view by a word-level method; equal rows change equally.

    Args:
        side: which text of an example the rows are (`a`, `b`).
        texts: what their random numbers depend on; by default the words.

    Raises:
        InputError: what the method needs is not there.
        ValueError: the method takes whole texts only.
    """
    if view.round == 0:
        return [row.unchanged() for row in rows]
    method = METHODS[view.method]
    if not isinstance(method, WordMethod):
        raise ValueError(f"{view.method} takes whole texts: it cannot say what became of each word")
    texts = [" ".join(row.words) for row in rows] if texts is None else texts
    distinct = list(dict.fromkeys(zip(texts, rows, strict=True)))
    content = [[text, row.words, row.protected] for text, row in distinct]

    def compute() -> list[list[Edited]]:
        editor = method.editor(view.choice, sources)
        return editor([row for _, row in distinct], view.generators([text for text, _ in distinct], side))

    changed = _kept(method, view, side, content, compute, sources)
    found = {key: [Edited(*edit) for edit in row] for key, row in zip(distinct, changed, strict=True)}
    return [found[key] for key in zip(texts, rows, strict=True)]


def rewritten(texts: Sequence[str], view: View, side: str, sources: Sources) -> list[str]:
    """The texts of one side in a view by a method that takes whole texts; equal texts change equally.

    Raises:
        InputError: what the method needs is not there.
    """
    method = METHODS[view.method]
    assert isinstance(method, TextMethod)
    distinct = list(dict.fromkeys(texts))

    def compute() -> list[str]:
        return method.rewriter(view.choice, sources)(distinct, view.generators(distinct, side))

    found = dict(zip(distinct, _kept(method, view, side, distinct, compute, sources), strict=True))
    return [found[text] for text in texts]


def _kept(
    method: WordMethod | TextMethod,
    view: View,
    side: str,
    content: list[Any],
    compute: Callable[[], list[Any]],
    sources: Sources,
) -> list[Any]:
    """What `compute` gives, from the node's disk where it is costly."""
    if method.fingerprint is None:
        return compute()
    kept: list[Any] = sources.kept(
        compute,
        method=view.method,
        parameters=view.parameters,
        seed=view.seed,
        round=view.round,
        side=side,
        texts=hashlib.sha256(json.dumps(content).encode()).hexdigest(),
        fingerprint=method.fingerprint(view.choice, sources),
        revision=2,
    )
    return kept
