"""A fragment's two encodings: the same rows by either, bit for bit, and one damaged is noticed by both."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.results import unify as unifying
from distiller.results.fragments import (
    BadFragmentError,
    Unparsed,
    decode,
    encode,
    fragment_path,
    open_fragment,
)
from distiller.results.lines import find, with_lines
from distiller.results.schema import IDENTITY, core_schema
from distiller.results.store import Store
from distiller.results.unify import unify
from tests.results.simulated import row, trial

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = {
    pa.float64(): st.floats() | st.floats(allow_infinity=False),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.string(): text
    | st.sampled_from(["\0", "\r\n", "\u2028", "\U0001f600", "NaN", "2026-01-01", '"}', ""]),
    pa.bool_(): st.booleans(),
    core_schema("trials").field("ended_at").type: st.datetimes(
        datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)
    ),
}
SPACE = st.dictionaries(st.sampled_from(["x_a", "x_b", "x_c"]), st.sampled_from(list(VALUES)[:4]))


@st.composite
def fragments(draw):
    """Fragments of trials, datasets or epochs whose space columns may clash, as (path, bytes)."""
    table = draw(st.sampled_from(["trials", "trials", "datasets", "epochs"]))
    found = []
    for number in range(draw(st.integers(1, 4))):
        space = {} if table == "epochs" else draw(SPACE)
        rows = []
        for step in range(draw(st.integers(1, 3)) if table == "epochs" else 1):
            one = row(f"c{number}", step=step) if table == "epochs" else row(f"c{number}")
            if table == "datasets":
                one = {"sweep": "s", "dataset": f"d{number}"}
            own = {f.name: draw(st.none() | VALUES[f.type]) for f in core_schema(table)
                   if f.name not in {*IDENTITY[table], "step"}}  # fmt: skip
            own |= {name: draw(st.none() | VALUES[kind]) for name, kind in space.items()}
            rows.append(own | one)
        found.append((fragment_path(table, rows[0]), encode(table, rows, space)))
    return table, found


@settings(max_examples=30, deadline=None)
@given(fragments(), st.booleans())
def test_by_lines_and_by_parquet_rows_are_the_same(drawn, few):
    table, found = drawn
    columns = ("score",) if few and table in ("trials", "epochs") else None
    by_lines = [open_fragment(table, path, data, columns, {}) for path, data in found]
    by_parquet = [decode(table, path, data, columns) for path, data in found]
    for one, other in zip(by_lines, by_parquet, strict=True):
        values = [v for record in other.rows.to_pylist() for v in record.values() if isinstance(v, float)]
        if columns is None:  # JSON has no word for an infinity
            assert isinstance(one, Unparsed) == all(abs(value) < float("inf") for value in values)
        assert (one.path, one.write_id) == (other.path, other.write_id)
    rows, bad = unify(table, by_lines, columns)
    other_rows, other_bad = unify(table, by_parquet, columns)
    order = [(name, "ascending") for name in [*IDENTITY[table], *(["step"] * (columns is None))]
             if name in rows.column_names]  # fmt: skip
    assert rows.schema.equals(other_rows.schema, check_metadata=True)
    assert bits(rows.sort_by(order)) == bits(other_rows.sort_by(order))
    if columns is None:
        assert bad == other_bad


def bits(rows):
    """Values, floats by their bits: -0.0 is not 0.0."""
    return [
        [struct.pack("<d", value) if isinstance(value, float) else value for value in column.to_pylist()]
        for column in rows.columns
    ]


def test_every_flipped_byte_is_found():
    path, whole = fragment_path("trials", trial()), encode("trials", [trial(score=0.5)])
    assert isinstance(open_fragment("trials", path, whole, None, {}), Unparsed)
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 0x10
        with pytest.raises(BadFragmentError):
            open_fragment("trials", path, bytes(broken), None, {})


def test_both_encodings_say_the_same_of_a_fragment_that_is_none(tmp_path):
    good = encode("trials", [trial()])
    newer = good.replace(b'"version": 2', b'"version": 3')
    cases = {
        fragment_path("trials", trial("other")): good,
        "trials/t/trec-abc123-0-search.parquet": good,
        fragment_path("trials", trial()): encode("attempts", [row()]),
        fragment_path("trials", trial("newer")): newer,
    }
    for path, data in cases.items():
        said = []
        for read in (decode, lambda *given: open_fragment(*given, None, {})):
            with pytest.raises(BadFragmentError) as caught:
                read("trials", path, data)
            said.append(str(caught.value))
        assert said[0] == said[1]


def test_a_file_of_before_there_were_lines_still_reads(tmp_path, monkeypatch):
    store = Store.create(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("distiller.results.fragments.to_lines", lambda *given: b"")
        assert store.write_trial(trial("old", score=0.25, x_p=1), {"x_p": pa.int64()})
    assert store.write_trial(trial("new", score=0.5, x_p=0.5), {"x_p": pa.float64()})
    held = {c: store.files.read(fragment_path("trials", trial(c))) for c in ("old", "new")}
    assert [find(data) is None for data in held.values()] == [True, False]
    rows, bad = store.read_with_report("trials")
    assert bad == []
    assert rows.select(["config_id", "score", "x_p"]).to_pylist() == [
        {"config_id": "new", "score": 0.5, "x_p": 0.5},
        {"config_id": "old", "score": 0.25, "x_p": 1.0},
    ]


def test_other_readers_of_parquet_pass_over_the_lines(tmp_path):
    file = tmp_path / "one.parquet"
    file.write_bytes(encode("trials", [trial(score=0.5, steps=2**60)]))
    assert find(file.read_bytes()) is not None
    assert pq.read_table(file).select(["score", "steps"]).to_pylist() == [{"score": 0.5, "steps": 2**60}]
    assert pd.read_parquet(file)["trial_id"].tolist() == ["trec-abc123-0-search"]
    with duckdb.connect() as connection:
        assert connection.sql(f"SELECT score, steps FROM '{file}'").fetchall() == [(0.5, 2**60)]


def seal(data: bytes, change) -> bytes:
    """The file with other lines and a trailer that fits them: by someone who knows how."""
    found = find(data)
    at = data.index(found.head)
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") :]
    return with_lines(data[:at] + footer, b"\n".join(change(*found)))


FORGERIES = {
    "another's row": lambda h, b, r: (h, b, r.replace(b"abc123", b"other9")),
    "no row": lambda h, b, r: (h, b, b""),
    "no object": lambda h, b, r: (h, b, b"[1]"),
    "another type": lambda h, b, r: (h, b, r.replace(b'"attempt":1', b'"attempt":"one"')),
    "no identity": lambda h, b, r: (h, b, b"{}"),
    "a sweep that is no name": lambda h, b, r: (h, b, r.replace(b'"sweep":"s"', b'"sweep":"../s"')),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_forged_lines_are_reported_and_harm_nobody(tmp_path, kind):
    store = Store.create(str(tmp_path))
    for name in ("a", "b", "c"):
        assert store.write_trial(trial(name, score=0.5))
    path = fragment_path("trials", trial())
    store.files.put(path, seal(encode("trials", [trial()]), FORGERIES[kind]))
    rows, bad = store.read_with_report("trials")
    assert rows.column("config_id").to_pylist() == ["a", "b", "c"]
    assert [item.path for item in bad] == [path]
    assert "\n" not in bad[0].reason


GARBAGE = {
    "head": lambda h, b, r: (b"[", b, r),
    "columns": lambda h, b, r: (json.dumps({**json.loads(h), "columns": [1]}).encode(), b, r),
    "type": lambda h, b, r: (h.replace(b'"int64"', b'"float16"', 1), b, r),
    "nulls": lambda h, b, r: (json.dumps({**json.loads(h), "nulls": {"x_p": []}}).encode(), b, r),
    "label": lambda h, b, r: (h, b"[1, 2]", r),
    "time": lambda h, b, r: (h, b[:-1] + b', "x"]', r),
    "deep": lambda h, b, r: (b"[" * 100_000, b, r),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_lines_that_make_no_sense_never_end_a_read(tmp_path, kind):
    store = Store.create(str(tmp_path))
    assert store.write_trial(trial("a"))
    path = fragment_path("trials", trial())
    store.files.put(path, seal(encode("trials", [trial()]), GARBAGE[kind]))
    rows, bad = store.read_with_report("trials")
    assert rows.column("config_id").to_pylist() == ["a"]
    assert [item.path for item in bad] == [path]


def test_a_row_as_long_as_a_book_is_read_beside_others(tmp_path):
    store = Store.create(str(tmp_path))
    long = "x" * (5 << 20)
    for name, trace in (("a", "y"), ("b", long), ("c", None)):
        assert store.write_trial(trial(name, traceback=trace))
    assert store.read("trials").column("traceback").to_pylist() == ["y", long, None]


def test_thousands_are_parsed_at_once(tmp_path, monkeypatch):
    """None of them by way of Parquet."""
    store = Store.create(str(tmp_path))
    for number in range(40):
        assert store.write_trial(
            trial(f"c{number}", x_p=number, x_q=None), {"x_p": pa.int64(), "x_q": pa.bool_()}
        )
    calls = []
    parse = unifying.parse
    monkeypatch.setattr(unifying, "parse", lambda *given: calls.append(1) or parse(*given))
    monkeypatch.setattr("distiller.results.fragments.decode", None)
    rows = store.read("trials")
    assert sorted(rows.column("x_p").to_pylist()) == list(range(40))
    assert rows.schema.field("x_q").type == pa.bool_()
    assert len(calls) == 1
