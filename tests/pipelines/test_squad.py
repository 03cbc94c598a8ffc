"""The official rules of SQuAD 1.1, case by case, and the nesting of its files."""

from __future__ import annotations

import pytest

from distiller.pipelines.squad import (
    exact_match,
    flattened,
    is_published,
    normalised,
    squad_scores,
    word_f1,
)
from distiller.spaces.errors import InputError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The  Cat,\tsat!", "cat sat"),
        ("A.B.C.", "abc"),
        ("an apple a day", "apple day"),
        ("theatre and anthem", "theatre and anthem"),  # articles are whole words
        ("the-end", "theend"),  # punctuation goes first
        ("§5 “quoted”", "§5 “quoted”"),  # ASCII punctuation alone
        ("the", ""),
    ],
)
def test_normalisation(text: str, found: str) -> None:
    assert normalised(text) == found


@pytest.mark.parametrize(
    ("said", "truth", "f1", "exact"),
    [
        ("Denver Broncos", "the Denver Broncos!", 1, 1),
        ("Denver", "Denver Broncos", 2 / 3, 0),
        ("Carolina", "Denver Broncos", 0, 0),
        ("to be or not to be", "to be", 2 * 2 / 8, 0),  # words count as often as both have them
        ("be to", "to be", 1, 0),
        ("", "Denver", 0, 0),
        ("the", "an", 0, 1),  # nothing is left of either
    ],
)
def test_answers_by_hand(said: str, truth: str, f1: float, exact: int) -> None:
    assert word_f1(said, truth) == pytest.approx(f1)
    assert exact_match(said, truth) == exact


def test_the_best_of_several_answers_counts_for_each_measure() -> None:
    answers = [(("Denver Broncos", 0), ("Broncos", 7)), (("1066", 3),)]
    assert squad_scores(["Broncos", "in 1066"], answers) == pytest.approx(
        {"f1": (1 + 2 / 3) / 2, "exact_match": 0.5}
    )


def published() -> dict[str, object]:
    asked = {"id": "q1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    paragraph = {"context": "Ada wrote it.", "qas": [asked, {"id": "q2", "question": "What?"}]}
    return {"version": "1.1", "data": [{"title": "Ada", "paragraphs": [paragraph]}]}


def test_files_as_they_are_published() -> None:
    assert is_published(published())
    assert not is_published([published()])
    assert not is_published({"data": [{"question": "x"}]})
    first, second = flattened(published(), "here")
    assert (first["question"], first["context"], first["title"]) == ("Who?", "Ada wrote it.", "Ada")
    assert first["answers"] == [{"text": "Ada", "answer_start": 0}]
    assert "answers" not in second
    broken = {"data": [{"paragraphs": [{"qas": [{"question": "x"}]}]}]}
    with pytest.raises(InputError, match=r"here article 1: 'context' is missing; write"):
        flattened(broken, "here")
