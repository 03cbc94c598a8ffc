"""Loading: formats agree, splits are what they should be, and every flaw is named with its remedy."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.pipelines.data import Dataset, Split, draw, load_dataset, nested_draw
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.errors import InputError

Rows = list[dict[str, Any]]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / 'it\'s a "folder" [1]'
    folder.mkdir()
    return folder


def rows(n: int, classes: str = "ab", start: int = 0) -> Rows:
    return [
        {"text": f"text, number {i}", "label": classes[i % len(classes)]} for i in range(start, start + n)
    ]


def write(path: Path, table: Rows) -> None:
    frame = pd.DataFrame(table)
    plain = path.name.lower().removesuffix(".gz")
    if plain.endswith((".csv", ".tsv")):
        frame.to_csv(path, index=False, sep="\t" if plain.endswith(".tsv") else ",")
    elif plain.endswith(".parquet"):
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=plain.endswith("l"))


def load(base: Path, **written: Any) -> Dataset:
    target = {} if "score" in written else {"label": "label"}
    return load_dataset("mine", DatasetConfig(**{"train": "t.csv", "text": "text"} | target | written), base)


def sizes(dataset: Dataset) -> list[int]:
    assert list(dataset.splits) == ["train", "validation", "test", "unlabeled"]
    return [len(split) for split in dataset.splits.values()]


def texts(dataset: Dataset, split: str) -> list[str]:
    return dataset.splits[split].text_a


FORMATS = ["t.csv", "t.tsv", "t.jsonl", "t.json", "t.parquet", "t.csv.gz", "t.jsonl.gz", "T.CSV"]


@pytest.mark.parametrize("file", FORMATS)
def test_formats_agree(base: Path, file: str) -> None:
    table = [{"text": t, "label": i % 2} for i, t in enumerate(["NA", "null", "1.0", 'say "hi"', "é ☃"] * 4)]
    write(base / file, table)
    write(base / "v.jsonl", rows(4, "01", 50))
    write(base / "w.jsonl", rows(4, "01", 60))
    data = load(base, train=file, validation="v.jsonl", test="w.jsonl")
    assert data.task.labels == ("0", "1")
    assert data.task.outputs == 2
    train = data.splits["train"]
    assert train.text_a == [row["text"] for row in table]
    assert train.labels is not None
    assert train.labels.dtype == np.int64
    assert train.labels.tolist() == [row["label"] for row in table]


def test_globs_lists_and_packages(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = base / "spare_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    write(package / "x.csv", rows(4, start=100))
    monkeypatch.syspath_prepend(str(base))
    write(base / "p2.csv", rows(4, start=4))
    write(base / "p1.csv", rows(4))
    files = ["p*.csv", str(base / "p1.csv"), "package:spare_package/x.csv"]
    data = load(
        base, train=files, validation="p1.csv", test="p2.csv", unlabeled="package:spare_package/*.csv"
    )
    assert texts(data, "validation") == [row["text"] for row in rows(4)]
    assert texts(data, "train") == texts(data, "unlabeled") == [row["text"] for row in rows(4, start=100)]
    with pytest.raises(InputError, match="package 'no_such' is not installed; install it"):
        load(base, train="package:no_such/x.csv")


def test_labels_sort_by_number_or_name(base: Path) -> None:
    write(base / "t.parquet", [{"text": f"t{i}", "label": float(i % 11)} for i in range(110)])
    assert load(base, train="t.parquet").task.labels == tuple(map(str, range(11)))
    write(base / "t.csv", rows(60, "zAb"))
    data = load(base)
    assert data.task.labels == ("A", "b", "z")
    split = data.splits["train"]
    assert split.labels is not None
    truth = {row["text"]: row["label"] for row in rows(60, "zAb")}
    assert [data.task.labels[i] for i in split.labels] == [truth[text] for text in split.text_a]


def test_pairs_and_scores(base: Path) -> None:
    table = [{"text": f"p{i}", "b": f"h{i}", "y": i / 3} for i in range(20)]
    write(base / "t.csv", table)
    data = load(base, text=["text", "b"], score="y")
    assert (data.task.kind, data.task.labels, data.task.outputs, data.task.pair) == (
        "regression",
        (),
        1,
        True,
    )
    for split in data.splits.values():
        assert split.text_b == [text.replace("p", "h") for text in split.text_a]
    train = data.splits["train"]
    assert train.labels is not None
    assert train.labels.dtype == np.float32
    np.testing.assert_allclose(train.labels, [int(t[1:]) / 3 for t in train.text_a], rtol=1e-6)


def test_hold_outs_are_stratified_fixed_and_disjoint(base: Path) -> None:
    write(base / "t.csv", rows(400, "aaab"))
    first = load(base, train_rows=100, rest_as_unlabeled=True)
    second = load(base, train_rows=100, rest_as_unlabeled=True, data_seed=1)
    assert sizes(first) == [100, 40, 40, 220]
    for split in ("train", "validation", "test"):
        labels = first.splits[split].labels
        assert labels is not None
        assert labels.mean() == 0.25
    assert sorted(t for s in first.splits for t in texts(first, s)) == sorted(r["text"] for r in rows(400))
    assert texts(first, "test") == texts(second, "test")
    assert set(texts(first, "train")) != set(texts(second, "train"))
    assert any("220 become unlabeled" in note for note in first.notes)
    write(base / "t.csv", rows(400, "aaab")[::-1])
    turned = load(base, train_rows=100, rest_as_unlabeled=True)
    assert all(texts(turned, split) == texts(first, split)[::-1] for split in first.splits)


def test_leaks_leave_train_unlabeled_and_validation(base: Path) -> None:
    write(base / "t.csv", [*rows(10), {"text": " TEXT,  number 90", "label": "a"}])
    write(base / "v.csv", rows(4, start=90))
    write(base / "test.csv", rows(4, start=93))
    write(base / "u.csv", rows(5, start=91))
    data = load(base, validation="v.csv", test="test.csv", unlabeled="u.csv")
    assert sizes(data) == [10, 3, 4, 0]
    assert any("train: 1 rows removed" in note and "validation" in note for note in data.notes)
    assert sum("unlabeled:" in note for note in data.notes) == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=12, max_size=60), st.integers(2, 30))
def test_a_hold_out_takes_what_is_asked_and_leaves_some_of_each(strata: list[int], wanted: int) -> None:
    counts, keys = Counter(strata), [str(i) for i in range(len(strata))]
    if wanted > len(strata) - len(counts):
        with pytest.raises(InputError, match="rows asked; ask"):
            draw(keys, np.array(strata), wanted, "place")
        return
    chosen = draw(keys, np.array(strata), wanted, "place")
    assert len(set(chosen)) == len(chosen) == wanted
    taken = Counter(strata[i] for i in chosen)
    assert all(taken[c] < counts[c] for c in counts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(0, 3))
def test_smaller_draws_are_part_of_larger_ones_in_proportion(strata: list[int], seed: int) -> None:
    counts, keys = Counter(strata), [str(i) for i in range(len(strata))]
    before: set[int] = set()
    for wanted in range(len(counts), len(strata) + 1):
        chosen = nested_draw(keys, np.array(strata), wanted, "place", seed)
        assert chosen == sorted(set(chosen))
        assert len(chosen) == wanted
        assert before <= set(chosen)
        before = set(chosen)
        taken = Counter(strata[i] for i in chosen)
        assert set(taken) == set(counts)
        # Webster's rule: no seat beyond a stratum's first would be better placed elsewhere.
        later = [(taken[c] - 0.5) / counts[c] for c in counts if taken[c] > 1]
        assert max(later, default=0.0) <= min((taken[c] + 0.5) / counts[c] for c in counts) + 1e-12
    for wanted in (len(counts) - 1, len(strata) + 1):
        with pytest.raises(InputError, match="rows asked; ask"):
            nested_draw(keys, np.array(strata), wanted, "place", seed)


def test_groups_stay_whole() -> None:
    groups = [f"g{i // 7}" for i in range(140)]
    chosen = {groups[i] for i in draw(groups, np.zeros(140, np.int64), 30, "place")}
    assert len(chosen) == 4
    assert len(draw(groups, np.zeros(140, np.int64), 30, "place")) == 28


PROGRAM = """
import sys
from pathlib import Path
from distiller.pipelines.data import load_dataset
from distiller.spaces.datasets import DatasetConfig
config = DatasetConfig(train="t.csv", text="text", label="label", train_rows=20, rest_as_unlabeled=True)
print(load_dataset("mine", config, Path(sys.argv[1])).fingerprint)
assert not {"torch", "datasets", "ray"} & set(sys.modules)
"""


def test_fingerprint_is_stable_across_processes_and_sensitive(base: Path) -> None:
    write(base / "t.csv", rows(60, "xyz"))
    here = load(base, train_rows=20, rest_as_unlabeled=True)
    for seed in ("1", "2"):
        env, command = os.environ | {"PYTHONHASHSEED": seed}, [sys.executable, "-c", PROGRAM, str(base)]
        assert subprocess.check_output(command, env=env, text=True).strip() == here.fingerprint
    write(base / "t.csv", rows(60, "xyw"))
    assert load(base, train_rows=20, rest_as_unlabeled=True).fingerprint != here.fingerprint
    one = Split(["ab", "c"], None, None)
    assert (
        len(
            {
                one.fingerprint,
                Split(["a", "bc"], None, None).fingerprint,
                Split(["ab"], ["c"], None).fingerprint,
            }
        )
        == 3
    )


TABLE = "text,label\n" + "".join(f'"text, number {i}",{"ab"[i % 2]}\n' for i in range(20))
LEAKED = {"validation": "v.csv", "test": "v.csv"}
THREE = "text,label\n" + "".join(f"t{i},{i % 3}\n" for i in range(30))
JSONL, JSON, SCORE = {"train": "t.jsonl"}, {"train": "t.json"}, {"score": "s"}
BAD: list[
    tuple[str, str, str, dict[str, Any], str]
] = [  # name, file, its content, config, parts of the message
    ("missing file", "", "", {"train": "no.csv"}, "mine.train: there is no file|no.csv|mend the path"),
    ("empty glob", "", "", {"train": "no*.csv"}, "mine.train: no file matches|no*.csv"),
    ("folder", "", "", {"train": "."}, "mine.train|is a folder|*.csv"),
    ("format", "t.xlsx", "x", {"train": "t.xlsx"}, "t.xlsx|unknown format|.jsonl"),
    ("column", "t.csv", "txt,label\na,b\n", {}, "t.csv|no column 'text'|did you mean 'txt'|'label'"),
    ("json column", "t.jsonl", '{"text": "a", "lable": 1}', JSONL, "t.jsonl|did you mean 'lable'"),
    ("empty file", "t.csv", "", {}, "t.csv|no column 'text'|none"),
    ("header only", "t.csv", "text,label\n", {}, "mine.train|no rows|add some"),
    ("empty json", "t.jsonl", "\n", JSONL, "mine.train|no rows"),
    ("one class", "t.csv", "text,label\na,x\nb,x\n", {}, "mine.train|all rows have class 'x'|another"),
    ("unseen", "v.csv", "text,label\na,a\nb,q\n", {"validation": "v.csv"}, "v.csv row 2|'label'|'q'|(a, b)"),
    ("blank text", "t.csv", "text,label\na,x\n ,y\n", {}, "t.csv row 2|'text'|empty|remove the row"),
    ("null text", "t.jsonl", '{"text": null, "label": 1}', JSONL, "t.jsonl row 1|'text'|empty"),
    ("number text", "t.jsonl", '{"text": 3, "label": 1}', JSONL, "row 1|int instead of text"),
    ("blank unlabeled", "u.csv", 'text\na\n" "\n', {"unlabeled": "u.csv"}, "mine.unlabeled|u.csv row 2"),
    ("null label", "t.csv", "text,label\na,x\nb,\n", {}, "row 2|'label'|label is empty|unlabeled"),
    ("half label", "t.json", '[{"text": "a", "label": 0.5}]', JSON, "row 1|0.5|`score:`"),
    ("list label", "t.json", '[{"text": "a", "label": [1]}]', JSON, "row 1|not a class"),
    ("word score", "t.csv", "text,s\na,1\nb,good\n", SCORE, "row 2|'s'|'good'|`label:`"),
    ("infinite score", "t.csv", "text,s\na,1\nb,inf\n", SCORE, "row 2|not a finite"),
    ("huge score", "t.csv", "text,s\na,1\nb,1e39\n", SCORE, "row 2|not a finite"),
    ("nan score", "t.csv", "text,s\na,1\nb,nan\n", SCORE, "row 2|not a finite"),
    ("null score", "t.csv", "text,s\na,1\nb,\n", SCORE, "row 2|'s'|score is empty"),
    ("constant", "t.csv", "text,s\na,1\nb,1\n", SCORE, "mine.train|all scores are 1|another"),
    ("train_rows", "", "", {"train_rows": 99}, "mine.train_rows|99 of 16 rows|2 to 16"),
    ("test_rows", "", "", {"test_rows": 20}, "mine.test_rows|20 of 20|more train rows"),
    ("ragged", "t.csv", "text,label\na,x\nb, c,y\n", {}, "t.csv row 2|3 fields|quote"),
    ("open quote", "t.csv", 'text,label\n"a,x\nb,y\n', {}, "t.csv|cannot be read|UTF-8 CSV"),
    ("tsv quote", "t.tsv", 'text\tlabel\n"a\tx\nb"\ty\n', {"train": "t.tsv"}, "row 1|quote|JSONL"),
    ("bad json", "t.jsonl", '{"text": ', JSONL, "t.jsonl|cannot be read|JSONL"),
    ("not objects", "t.json", '["a"]', JSON, "t.json|one object a row"),
    ("bad parquet", "t.parquet", "PAR1", {"train": "t.parquet"}, "t.parquet|cannot be read"),
    ("bad gzip", "t.csv.gz", "text", {"train": "t.csv.gz"}, "t.csv.gz|cannot be read"),
    ("binary_f1", "t.csv", THREE, {"metric": "binary_f1"}, "mine.metric|2 classes, not 3|macro_f1"),
    ("all leaked", "v.csv", TABLE, LEAKED, "mine.train: no rows are left|more rows"),
]


@pytest.mark.parametrize(
    ("file", "content", "written", "said"), [pytest.param(*bad[1:], id=bad[0]) for bad in BAD]
)
def test_bad_input_is_one_line_with_place_and_remedy(
    base: Path, file: str, content: str, written: dict[str, Any], said: str
) -> None:
    write(base / "t.csv", rows(20))
    if file:
        (base / file).write_text(content)
    with pytest.raises(InputError) as caught:
        load(base, **written)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("datasets.mine")
    assert [part for part in said.split("|") if part not in message] == [], message


def test_latin_1_and_byte_order_mark(base: Path) -> None:
    (base / "t.csv").write_bytes("text,label\ncafé,x\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"cannot be read.*UTF-8 CSV"):
        load(base)
    body = "\ufefftext,label\n" + "".join(f"café {i},{i % 2}\n" for i in range(20))
    (base / "t.csv.gz").write_bytes(gzip.compress(body.encode()))
    assert len(load(base, train="t.csv.gz").splits["train"]) == 16
