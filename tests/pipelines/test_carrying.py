"""Labels of words after any edit that keeps protected words: the answer's text, each word's own tag."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.pipelines.augment.rows import Edited, Row
from distiller.pipelines.carrying import edited_texts
from distiller.pipelines.data import Split
from distiller.pipelines.labels import NO_LABEL
from distiller.pipelines.pool import Texts, make_pool, texts_of
from distiller.pipelines.task import Task
from tests.pipelines.conftest import tokenizer_of

QA = Task("qa", (), "f1", 2, True)
TAGS = Task("token_classification", ("O", "B-X", "I-X"), "entity_f1", 3, False)


def anything(seed: int) -> Callable[[Sequence[Row], Sequence[str], str], list[list[Edited]]]:
    """Replaces, deletes and moves free words and puts words in, but never between protected ones."""
    rng = np.random.default_rng(seed)

    def edited(row: Row) -> list[Edited]:
        blocks: list[list[Edited]] = []
        for i, (word, held) in enumerate(zip(row.words, row.protected, strict=True)):
            if held:
                after = i > 0 and row.protected[i - 1] and blocks
                (blocks[-1].append if after else lambda e: blocks.append([e]))(Edited(word, i))
            elif rng.random() < 0.7:
                blocks.append([Edited(f"NEW{i}" if rng.random() < 0.5 else word, i)])
            if not held and rng.random() < 0.3:
                blocks.append([Edited("put-in", None)])
        return [edit for block in blocks for edit in block] or [Edited(row.words[0], 0)]

    return lambda rows, texts, side: [edited(row) for row in rows]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(0, 10_000))
def test_the_answer_stays_what_it_is(data: st.DataObject, seed: int) -> None:
    """Also where it begins or ends inside of a word, and where words are apart by more than a space."""
    words = data.draw(st.lists(st.text("ab(,)é", min_size=1, max_size=5), min_size=1, max_size=9))
    gaps = data.draw(
        st.lists(st.sampled_from([" ", "  ", "\n", "\t "]), min_size=len(words), max_size=len(words))
    )
    context = "".join(w + g for w, g in zip(words, gaps, strict=True))
    start = data.draw(st.integers(0, len(context) - 1).filter(lambda i: not context[i].isspace()))
    end = data.draw(st.integers(start + 1, len(context)).filter(lambda i: not context[i - 1].isspace()))
    split = Split(["who is it", "free"], [context, "no answer here"], None)
    found = edited_texts(Texts(split, spans=[(start, end)]), QA, anything(seed))
    assert found.split.text_b is not None
    ((first, last),) = found.spans
    assert found.split.text_b[0][first:last].split() == context[start:end].split()
    assert len(found.split.text_b) == len(found.split.text_a) == 2


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=9), st.integers(0, 10_000))
def test_words_keep_their_tags(tags: list[int], seed: int) -> None:
    """Each word is numbered: its tag after the edit is the one that it had; what was put in has none."""
    text = " ".join(f"v{i}" for i in range(len(tags)))
    split = Split([text, "without any tags"], None, None)
    found = edited_texts(Texts(split, tags=[tags]), TAGS, anything(seed))
    words, (own,) = found.split.text_a[0].split(" "), found.tags
    assert len(words) == len(own)
    for word, tag in zip(words, own, strict=True):
        number = int(word.removeprefix("NEW").removeprefix("v")) if word != "put-in" else None
        assert tag == (NO_LABEL if number is None else tags[number])
        assert not (word.startswith("NEW") and tag > 0)
    kept = [(word, tag) for word, tag in zip(words, own, strict=True) if tag > 0]
    assert kept == [(f"v{i}", tag) for i, tag in enumerate(tags) if tag > 0]
    assert len(found.tags) == 1


@pytest.mark.parametrize("moved", [0, 30])
def test_rows_of_a_view_are_windows_of_the_same_texts(moved: int) -> None:
    """An answer that an edit pushes into a later window takes its row along."""
    tokenizer = tokenizer_of(0)
    labels = np.empty(1, object)
    context = " ".join(f"w{i}" for i in range(40))
    labels[:] = [(("w5 w6", context.index("w5 w6")),)]
    texts = texts_of(QA, Split(["w9"], [context], labels), Split(["w8"], ["w1 w2"], None))
    original = make_pool(texts, torch.empty(0), QA, tokenizer, 32, 8)

    def pushed(rows: Sequence[Row], own: Sequence[str], side: str) -> list[list[Edited]]:
        more = [Edited("w99", None)] * moved
        return [more + row.unchanged() if side == "b" else row.unchanged() for row in rows]

    view = make_pool(edited_texts(texts, QA, pushed), torch.empty(0), QA, tokenizer, 32, 8, original)
    assert len(view.tokens) == len(original.tokens)
    assert view.tokens.sources is not None
    assert original.tokens.sources is not None
    assert view.tokens.sources.tolist() == original.tokens.sources.tolist()
    assert original.labeled_rows == 1
    assert original.labels.labeled.tolist() == [True, False, False]
    # A window that comes to hold the answer is labelled too; that of another text never.
    assert view.labels.labeled.tolist() == [True, moved > 0, False]
    for row in np.flatnonzero(view.labels.labeled.numpy()):
        start, end = view.labels.of(np.array([row]), 32).values[0].tolist()
        ids = view.tokens.ids[view.tokens.offsets[row] : view.tokens.offsets[row + 1]]
        assert tokenizer.convert_ids_to_tokens(ids[start : end + 1].tolist()) == ["w5", "w6"]
