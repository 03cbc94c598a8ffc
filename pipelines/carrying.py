"""Labels of words, carried through an edit of the words: tags, and the span of an answer.

Words of entities and of answers are protected, so no edit damages them. A word that was put in has no tag:
the student learns from the teacher alone what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from distiller.pipelines.augment.rows import Edited, Row
from distiller.pipelines.data import Split
from distiller.pipelines.entities import OUTSIDE
from distiller.pipelines.labels import NO_LABEL
from distiller.pipelines.pool import Span, Texts
from distiller.pipelines.task import Task

Edit = Callable[[Sequence[Row], Sequence[str], str], Sequence[Sequence[Edited]]]
"""Rows of words, their texts, and which text of an example they are (`a`, `b`) -> the edited rows."""

WORD = re.compile(r"\S+")


def edited_texts(texts: Texts, task: Task, edit: Edit) -> Texts:
    """The texts of a tokenwise task with their words edited and their labels carried along."""
    return _edited_questions(texts, edit) if task.kind == "qa" else _edited_tags(texts, task, edit)


def _edited_tags(texts: Texts, task: Task, edit: Edit) -> Texts:
    sentences = [text.split(" ") for text in texts.split.text_a]
    protected = [[task.labels[tag] != OUTSIDE for tag in tags] for tags in texts.tags]
    protected += [[False] * len(words) for words in sentences[len(texts.tags) :]]
    rows = [Row(tuple(words), tuple(held)) for words, held in zip(sentences, protected, strict=True)]
    edited = edit(rows, texts.split.text_a, "a")
    tags = [
        [NO_LABEL if origin is None else own[origin] for _, origin in row]
        for own, row in zip(texts.tags, edited, strict=False)
    ]
    return Texts(Split([_joined(row) for row in edited], None, None), tags=tags)


def _edited_questions(texts: Texts, edit: Edit) -> Texts:
    questions, contexts = texts.split.text_a, texts.split.text_b
    assert contexts is not None
    asked = edit([Row.of(question) for question in questions], questions, "a")
    rows, kept = [], []
    for number, context in enumerate(contexts):
        found = list(WORD.finditer(context))
        start, end = texts.spans[number] if number < len(texts.spans) else (0, 0)
        inside = [match.start() < end and match.end() > start for match in found]
        rows.append(Row(tuple(match[0] for match in found), tuple(inside)))
        if number < len(texts.spans):
            words = [match for match, held in zip(found, inside, strict=True) if held]
            kept.append((inside.index(True), start - words[0].start(), words[-1].end() - end))
    edited = edit(rows, contexts, "b")
    spans = [
        carried_span(row, origins.protected, *ends)
        for row, origins, ends in zip(edited, rows, kept, strict=False)
    ]
    split = Split([_joined(row) for row in asked], [_joined(row) for row in edited], None)
    return Texts(split, spans=spans)


def carried_span(
    edited: Sequence[Edited], inside: Sequence[bool], first: int, before: int, after: int
) -> Span:
    """The characters of an answer in the edited words, joined by single spaces.

    Args:
        inside: which of the original words hold a part of the answer.
        first: the first of them.
        before, after: characters of the first and the last of them that are not of the answer.
    """
    position, start, end = 0, -1, -1
    for word, origin in edited:
        if origin is not None and inside[origin]:
            start = position + before if origin == first else start
            end = position + len(word) - after
        position += len(word) + 1
    return start, end


def _joined(row: Sequence[Edited]) -> str:
    return " ".join(word for word, _ in row)
