"""The methods by name, and how each is run: the one visible table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller.pipelines.augment.contextual import MaskedModel
from distiller.pipelines.augment.neighbours import neighbour_edits
from distiller.pipelines.augment.random_words import random_edit
from distiller.pipelines.augment.rows import Edited, Editor, Row, by_row
from distiller.pipelines.augment.sources import Sources
from distiller.pipelines.augment.synonyms import synonym_edit, synonyms
from distiller.pipelines.augment.translation import Translator, there_and_back
from distiller.pipelines.augment.wordnet import open_wordnet

Rewriter = Callable[[Sequence[str], Sequence[np.random.Generator]], list[str]]
"""A method on whole texts with its parameters: texts and one generator each -> the changed texts."""


@dataclass(frozen=True)
class WordMethod:
    """A method that says what became of each word, so that labels of words and spans carry over.

    Attributes:
        editor: the choice and its surroundings -> the editor; whatever it loads, it loads then.
        fingerprint: what its results depend on beside text, parameters and generator; what it changes is
            kept on the node's disk. None for methods that are cheaper to run again.
    """

    editor: Callable[[Any, Sources], Editor]
    fingerprint: Callable[[Any, Sources], str] | None = None


@dataclass(frozen=True)
class TextMethod:
    """A method that only takes whole texts: not for tasks that label words or spans.

    Attributes:
        rewriter, fingerprint: as for `WordMethod`.
    """

    rewriter: Callable[[Any, Sources], Rewriter]
    fingerprint: Callable[[Any, Sources], str] | None = None


def _random(choice: Any, sources: Sources) -> Editor:
    return by_row(lambda row, rng: random_edit(row, choice.strength, rng))


def _synonym(choice: Any, sources: Sources) -> Editor:
    alternatives = synonyms(open_wordnet(sources.place_of("synonym")))
    return by_row(lambda row, rng: synonym_edit(row, alternatives, choice.strength, rng))


def _embedding(choice: Any, sources: Sources) -> Editor:
    return lambda rows, generators: neighbour_edits(
        rows, sources.neighbours, choice.neighbours, choice.strength, generators
    )


def _contextual(choice: Any, sources: Sources) -> Editor:
    place = "contextual.checkpoint"
    model = MaskedModel(sources.checkpoint(choice.checkpoint, place), sources.place_of(place), sources.device)
    return lambda rows, generators: model.edits(rows, choice.strength, choice.top_p, generators)


def _back_translation(choice: Any, sources: Sources) -> Rewriter:
    there, back = (
        Translator(sources.checkpoint(named, place), sources.place_of(place), sources.device)
        for named, place in ((choice.there, "back_translation.there"), (choice.back, "back_translation.back"))
    )
    return lambda texts, generators: there_and_back(texts, there, back, choice.top_p, generators)


METHODS: dict[str, WordMethod | TextMethod] = {
    "random": WordMethod(_random),
    "synonym": WordMethod(_synonym),
    "embedding": WordMethod(_embedding, lambda choice, sources: sources.fingerprint),
    "contextual": WordMethod(
        _contextual,
        lambda choice, sources: sources.fingerprint_of(choice.checkpoint, "contextual.checkpoint"),
    ),
    "back_translation": TextMethod(
        _back_translation,
        lambda choice, sources: " ".join(
            sources.fingerprint_of(named, f"back_translation.{way}")
            for named, way in ((choice.there, "there"), (choice.back, "back"))
        ),
    ),
}


def edit_words(
    words: Sequence[str], protected: Sequence[bool], choice: Any, rng: np.random.Generator, sources: Sources
) -> list[Edited]:
    """One text changed by a choice of a word-level method; for many texts, `views.edited_rows` is made.

    Raises:
        ValueError: the choice takes whole texts, or is none of texts.
        InputError: what it needs is not there.
    """
    method = METHODS.get(choice.method)
    if not isinstance(method, WordMethod):
        known = ", ".join(name for name, m in METHODS.items() if isinstance(m, WordMethod))
        raise ValueError(f"{choice.method} does not work on words; {known} do")
    return method.editor(choice, sources)([Row(tuple(words), tuple(protected))], [rng])[0]
