"""Datasets of labels, spans and tags: every way to write them, and every flaw named with its remedy."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Features, List, Value
from datasets import Dataset as Table

from distiller.pipelines.data import Dataset, load_dataset
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.errors import InputError

Rows = list[dict[str, Any]]


def load(base: Path, **written: Any) -> Dataset:
    return load_dataset("mine", DatasetConfig(**written), base)


def write(path: Path, rows: Rows) -> None:
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        path.write_text("\n".join(map(json.dumps, rows)))


def named(data: Dataset, split: str = "train") -> list[list[str]]:
    """Each row's labels or tags by name."""
    labels = data.splits[split].labels
    assert labels is not None
    if data.task.kind == "multi_label":
        return [[data.task.labels[i] for i in np.flatnonzero(row)] for row in labels]
    return [[data.task.labels[tag] for tag in row] for row in labels]


TOPICS = [["b"], [], ["a", "b"], ["c", "a"]]


def several(n: int) -> Rows:
    return [{"text": f"text {i}", "labels": TOPICS[i % 4]} for i in range(n)]


@pytest.mark.parametrize("way", ["jsonl", "parquet", "cells", "columns"])
def test_several_labels_in_every_way(tmp_path: Path, way: str) -> None:
    rows, file, more = several(24), f"t.{way}", {"labels": "labels"}
    if way == "cells":
        rows, file = [row | {"labels": " | ".join(row["labels"])} for row in rows], "t.csv"
        more["label_separator"] = "|"
    if way == "columns":
        rows = [{"text": row["text"], **{c: int(c in row["labels"]) for c in "cab"}} for row in rows]
        file, more = "t.csv", {"labels": ["a", "b", "c"]}  # type: ignore[dict-item]
    write(tmp_path / file, rows)
    data = load(tmp_path, train=file, text="text", **more)
    assert (data.task.kind, data.task.labels, data.task.outputs) == ("multi_label", ("a", "b", "c"), 3)
    for split in ("train", "validation", "test"):
        found = data.splits[split]
        assert found.labels is not None
        assert found.labels.dtype == np.float32
        truth = [sorted(TOPICS[int(text.split()[1]) % 4]) for text in found.text_a]
        assert named(data, split) == truth
    assert sum(len(s) for s in data.splits.values()) == 24


def asked(n: int, contexts: int = 99) -> Rows:
    rows = []
    for i in range(n):
        context = f"In {i % contexts}, someone called N{i % contexts} wrote."
        start = context.index("N")
        answers = {"text": [context[start:].split()[0]], "answer_start": [start]}
        rows.append({"question": f"Who {i}?", "context": context, "answers": answers})
    return rows


def squad_file(rows: Rows) -> dict[str, Any]:
    articles = []
    for number, row in enumerate(rows):
        answers = row.get("answers")
        own = {"id": str(number), "question": row["question"]}
        if answers:
            own["answers"] = [
                {"text": t, "answer_start": s}
                for t, s in zip(answers["text"], answers["answer_start"], strict=True)
            ]
        articles.append({"title": f"t{number}", "paragraphs": [{"context": row["context"], "qas": [own]}]})
    return {"version": "1.1", "data": articles}


def test_answers_in_every_way_are_the_same(tmp_path: Path) -> None:
    rows = asked(20)
    write(tmp_path / "t.jsonl", rows)
    write(tmp_path / "t.parquet", rows)
    (tmp_path / "s.json").write_text(json.dumps(squad_file(rows)))
    with gzip.open(tmp_path / "s.json.gz", "wt") as file:
        json.dump(squad_file(rows), file)
    listed = [r | {"answers": [{"text": r["answers"]["text"][0],
                                "answer_start": r["answers"]["answer_start"][0]}]} for r in rows]  # fmt: skip
    write(tmp_path / "l.jsonl", listed)
    files = ("t.jsonl", "t.parquet", "s.json", "s.json.gz", "l.jsonl")
    found = [load(tmp_path, task="qa", train=file) for file in files]
    assert len({data.fingerprint for data in found}) == 1
    data = found[0]
    assert (data.task.kind, data.task.labels, data.task.outputs, data.task.pair) == ("qa", (), 2, True)
    train = data.splits["train"]
    assert train.labels is not None
    assert train.text_b is not None
    for context, answers in zip(train.text_b, train.labels, strict=True):
        ((text, start),) = answers
        assert context[start : start + len(text)] == text
        assert text.startswith("N")


def test_questions_of_one_context_stay_on_one_side(tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl", asked(200, contexts=40))
    (tmp_path / "u.json").write_text(json.dumps(squad_file([{"question": "?", "context": "Free text."}])))
    data = load(
        tmp_path, task="qa", train="t.jsonl", unlabeled="u.json", train_rows=60, rest_as_unlabeled=True
    )
    sides = [set(data.splits[s].text_b or []) for s in ("train", "validation", "test")]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert len(data.splits["train"]) == 60
    assert len(data.splits["unlabeled"]) == 1 + 200 - 60 - 20 - 20
    assert "Free text." in (data.splits["unlabeled"].text_b or [])


def test_answers_are_stripped_and_all_are_kept(tmp_path: Path) -> None:
    rows = asked(12)
    rows[0] = {
        "question": "q",
        "context": "the  old mill",
        "answers": {"text": [" old ", "mill"], "answer_start": [4, 9]},
    }
    write(tmp_path / "t.jsonl", rows)
    data = load(tmp_path, task="qa", train="t.jsonl")
    found = [a for s in data.splits.values() if s.labels is not None
             for c, a in zip(s.text_b or [], s.labels, strict=True) if "mill" in c]  # fmt: skip
    assert found == [(("old", 5), ("mill", 9))]


TAGGED = [(["EU", "rejects", "German", "call"], ["B-ORG", "O", "B-MISC", "O"]),
          (["Peter", "Blackburn"], ["B-PER", "I-PER"])]  # fmt: skip


def sentences(n: int) -> Rows:
    return [{"tokens": [*TAGGED[i % 2][0], str(i)], "tags": [*TAGGED[i % 2][1], "O"]} for i in range(n)]


def as_conll(rows: Rows, tagged: bool = True) -> str:
    lines = ["-DOCSTART- -X- -X- O", ""]
    for row in rows:
        for word, tag in zip(row["tokens"], row["tags"], strict=True):
            lines.append(f"{word} NN I-NP {tag}" if tagged else word)
        lines.append("")
    return "\n".join(lines) + "\n\n"


def test_tags_in_every_way_are_the_same(tmp_path: Path) -> None:
    rows = sentences(20)
    write(tmp_path / "t.jsonl", rows)
    write(tmp_path / "t.parquet", rows)
    write(tmp_path / "t.csv", [{k: " ".join(v) for k, v in row.items()} for row in rows])
    (tmp_path / "t.conll").write_text(as_conll(rows))
    (tmp_path / "u.txt").write_text(
        as_conll([{"tokens": ["Free", "words"], "tags": ["O", "O"]}], tagged=False)
    )
    write(tmp_path / "u.jsonl", [{"tokens": "Free words"}])
    free = {"t.csv": "u.jsonl", "t.conll": "u.txt"}
    found = [
        load(tmp_path, task="token_classification", train=f, unlabeled=free.get(f, "u.jsonl"))
        for f in ("t.jsonl", "t.parquet", "t.csv", "t.conll")
    ]
    assert len({data.fingerprint for data in found}) == 1
    data = found[0]
    assert data.task.labels == ("O", "B-MISC", "B-ORG", "B-PER", "I-PER")
    assert data.splits["unlabeled"].text_a == ["Free words"]
    for split in ("train", "validation", "test"):
        for text, tags in zip(data.splits[split].text_a, named(data, split), strict=True):
            words = text.split(" ")
            assert tags[:-1] == {tuple(w): t for w, t in TAGGED}[tuple(words[:-1])]


def test_the_hubs_class_names(tmp_path: Path) -> None:
    """Lists of ClassLabels are read by their names, in their order."""
    names = ["O", "B-X", "I-X", "B-never"]
    features = Features({"words": List(Value("string")), "ner": List(ClassLabel(names=names))})
    rows = [{"words": ["a", "b", str(i)], "ner": [i % 2, 2 * (i % 2), 0]} for i in range(20)]
    Table.from_list(rows, features=features).save_to_disk(tmp_path / "x")
    folder = tmp_path / "hub"
    folder.mkdir()
    Table.from_list(rows, features=features).to_parquet(folder / "train.parquet")
    data = load(tmp_path, load_dataset="hub", task="token_classification", tokens="words", tags="ner")
    assert data.task.labels == tuple(names)
    assert {tuple(tags) for tags in named(data)} == {("O", "O", "O"), ("B-X", "I-X", "O")}


QA: dict[str, Any] = {"task": "qa", "train": "t.jsonl"}
TAG: dict[str, Any] = {"task": "token_classification", "train": "t.jsonl"}
MANY: dict[str, Any] = {"text": "text", "labels": "labels", "train": "t.jsonl"}


def question(**more: Any) -> Rows:
    return [
        {"question": "Who?", "context": "Ada wrote.", "answers": {"text": ["Ada"], "answer_start": [0]}}
        | more
    ]


def words(**more: Any) -> Rows:
    return [{"tokens": ["a", "b"], "tags": ["O", "B-X"]} | more]


def answered(texts: list[str], starts: list[int]) -> Rows:
    return question(answers={"text": texts, "answer_start": starts})


BAD: list[tuple[str, dict[str, Any], Rows, str]] = [
    ("no such offset", QA, answered(["Ada"], [4]), "row 1, column 'answers'|'Ada'|character 4|'wro'"),
    ("negative offset", QA, answered(["Ada"], [-10]), "not at character -10"),
    ("unequal answers", QA, answered(["Ada"], []), "as many texts as starts|answer_start"),
    ("no answer", QA, answered([], []), "no answer|SQuAD 2.0|unlabeled"),
    ("answers as text", QA, question(answers="Ada"), "holds no answers|JSON or Parquet"),
    ("blank answer", QA, answered([" "], [3]), "no text with its first character"),
    ("null context", QA, question(context=None), "'context'|the text is empty"),
    ("no question column", QA, [{"q": "x", "context": "c", "answers": {}}], "no column 'question'|'q'"),
    ("fewer tags", TAG, words(tags=["O"]), "row 1, column 'tags'|1 tags for 2 words"),
    ("a tag of no scheme", TAG, words(tags=["O", "NOUN"]), "tag 'NOUN'|IOB2"),
    ("null tags", TAG, words(tags=None), "no list of tags"),
    ("no words", TAG, words(tokens=[]), "the text is empty"),
    ("an empty word", TAG, words(tokens=["a", " "]), "' ' is no word"),
    ("a word with a space", TAG, words(tokens=["a", "New York"]), "'New York' is no word|without spaces"),
    ("all outside", TAG, words(tags=["O", "O"]), "mine.train|all words have tag O"),
    ("null labels", MANY, [{"text": "x", "labels": None}], "the labels are empty|[] for none"),
    ("labels as text", MANY, [{"text": "x", "labels": "a,b"}], "'a,b' is text|label_separator"),
    ("a label twice", MANY, [{"text": "x", "labels": ["a", "a"]}], "names a label twice"),
    ("one class a row", MANY, [{"text": "x", "labels": 3}], "no list of labels|`label:`"),
    (
        "the same labels",
        MANY,
        [{"text": f"{i}", "labels": ["a"]} for i in range(4)],
        "all rows have the same labels",
    ),
    (
        "no 0 or 1",
        MANY | {"labels": ["a", "b"]},
        [{"text": "x", "a": 1, "b": 2}],
        "column 'b'|2 is neither 0 nor 1",
    ),
]


@pytest.mark.parametrize(("written", "rows", "said"), [pytest.param(*bad[1:], id=bad[0]) for bad in BAD])
def test_flaws_are_one_line_with_place_and_remedy(
    tmp_path: Path, written: dict[str, Any], rows: Rows, said: str
) -> None:
    write(tmp_path / "t.jsonl", rows)
    with pytest.raises(InputError) as caught:
        load(tmp_path, **written)
    message = str(caught.value)
    assert message.startswith("datasets.mine")
    assert [part for part in said.split("|") if part not in message] == [], message


def test_unseen_labels_and_tags(tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl", sentences(8))
    write(tmp_path / "v.jsonl", words(tags=["O", "B-NEW"]))
    with pytest.raises(
        InputError, match=r"v\.jsonl row 1, column 'tags': tag 'B-NEW' is not in train \(B-MISC"
    ):
        load(tmp_path, **TAG, validation="v.jsonl")
    write(tmp_path / "t.jsonl", several(8))
    write(tmp_path / "v.jsonl", [{"text": "x", "labels": ["a", "z"]}])
    with pytest.raises(InputError, match=r"label 'z' is not in train \(a, b, c\)"):
        load(tmp_path, **MANY, validation="v.jsonl")
    (tmp_path / "t.conll").write_text("word\n\n")
    with pytest.raises(InputError, match=r"t\.conll line 1: 'word' has no tag; write"):
        load(tmp_path, task="token_classification", train="t.conll")


@pytest.mark.parametrize("kind", ["multi_label", "token_classification"])
def test_train_rows_keep_rare_labels_and_nest(tmp_path: Path, kind: str) -> None:
    """Every label of train is in the smallest part, and each part is in the next."""
    if kind == "multi_label":
        rows, written = (
            [{"text": f"t{i}", "labels": ["often"] * (i % 2) + ["rare"] * (i % 50 == 0)} for i in range(400)],
            MANY,
        )
    else:
        rows = [
            {"tokens": ["a", str(i)], "tags": ["O", "B-rare" if i % 50 == 0 else "B-often" if i % 2 else "O"]}
            for i in range(400)
        ]
        written = TAG
    write(tmp_path / "t.jsonl", rows)
    before: set[str] = set()
    fixed = set()
    for size in (10, 40, 160):
        data = load(tmp_path, **written, train_rows=size)
        here = set(data.splits["train"].text_a)
        assert len(here) == size
        assert before <= here
        before = here
        assert any("rare" in name for row in named(data) for name in row)
        fixed.add(tuple(data.splits["validation"].text_a + data.splits["test"].text_a))
    assert len(fixed) == 1
