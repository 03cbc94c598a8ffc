"""Entities by hand, and against seqeval, for every scheme and for tags that follow none."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics as seqeval
from seqeval.scheme import IOB2

from distiller.pipelines.entities import entities, entity_scores, is_tag, strict_entities

PER_LOC = {("PER", 0, 1), ("LOC", 2, 2), ("LOC", 4, 5)}


@pytest.mark.parametrize(
    "tags",
    [
        "B-PER I-PER B-LOC O B-LOC I-LOC",
        "I-PER I-PER I-LOC O I-LOC I-LOC",  # IOB1
        "B-PER E-PER S-LOC O B-LOC E-LOC",  # IOBES
        "B-PER L-PER U-LOC O B-LOC L-LOC",  # BILOU
    ],
)
def test_every_scheme_marks_the_same_entities(tags: str) -> None:
    assert entities(tags.split()) == PER_LOC


def test_neighbours_and_types_with_dashes() -> None:
    assert entities(["B-A", "B-A", "I-A"]) == {("A", 0, 0), ("A", 1, 2)}
    assert entities(["I-A", "B-A"]) == {("A", 0, 0), ("A", 1, 1)}  # IOB1: B parts equal neighbours
    assert entities(["S-A", "S-A", "E-A"]) == {("A", 0, 0), ("A", 1, 1), ("A", 2, 2)}
    assert entities(["B-event-war", "I-event-war", "O"]) == {("event-war", 0, 1)}
    assert entities(["O", "O"]) == entities([]) == set()
    assert strict_entities(["I-A", "B-A", "I-A", "I-B", "B-B", "O", "I-B"]) == {("A", 1, 2), ("B", 4, 4)}


def test_scores_by_hand() -> None:
    truth = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG"]]
    said = [["B-PER", "I-PER", "O", "I-LOC"], ["B-ORG", "B-ORG"]]
    assert entity_scores(said, truth) == pytest.approx((6 / 7, 3 / 4, 1.0))
    assert entity_scores(said, truth, strict_entities) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    cut = [["B-PER", "O", "O", "B-LOC"], ["O", "B-ORG"]]  # a part of an entity is none
    assert entity_scores(cut, truth) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert entity_scores([["O"]], [["O"]]) == (0.0, 0.0, 0.0)
    assert entity_scores([["O"]], [["B-X"]]) == (0.0, 0.0, 0.0)
    # Sentences are apart: an entity does not go on in the next one.
    assert entity_scores([["B-X"], ["I-X"]], [["B-X"], ["O"]]) == pytest.approx((2 / 3, 1 / 2, 1.0))


def tagged(prefixes: str) -> st.SearchStrategy[list[list[str]]]:
    tags = ["O", *(f"{p}-{t}" for p, t in product(prefixes, ("X", "Y")))]
    return st.lists(st.lists(st.sampled_from(tags), min_size=1, max_size=7), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(tagged("BIES"), st.data())
def test_as_seqeval_reads_them(truth: list[list[str]], data: st.DataObject) -> None:
    said = [data.draw(st.lists(st.sampled_from(["O", "B-X", "I-X", "I-Y", "E-X", "S-Y"]), min_size=len(row),
                               max_size=len(row))) for row in truth]  # fmt: skip
    expected = [
        metric(truth, said, zero_division=0)
        for metric in (seqeval.f1_score, seqeval.precision_score, seqeval.recall_score)
    ]
    assert entity_scores(said, truth) == pytest.approx(expected)


@settings(max_examples=150, deadline=None)
@given(tagged("BI"), st.data())
def test_as_seqeval_reads_them_strictly(truth: list[list[str]], data: st.DataObject) -> None:
    said = [data.draw(st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"]), min_size=len(row),
                               max_size=len(row))) for row in truth]  # fmt: skip
    options = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    names = {tag[2:] for row in (*truth, *said) for tag in row if tag[0] == "B"}
    if not names:  # seqeval has no answer where no entity begins
        assert entity_scores(said, truth, strict_entities) == (0.0, 0.0, 0.0)
        return
    expected = [
        metric(truth, said, **options)
        for metric in (seqeval.f1_score, seqeval.precision_score, seqeval.recall_score)
    ]
    assert entity_scores(said, truth, strict_entities) == pytest.approx(expected)


def test_what_is_a_tag() -> None:
    assert all(map(is_tag, ["O", "B-PER", "I-x", "E-a-b", "S-1", "L-Q", "U-Q"]))
    assert not any(map(is_tag, ["", "PER", "B", "B-", "X-PER", "o", "B_PER", "NN"]))
