"""SQL reads the four tables, and nothing but them."""

import csv
import io
import json
import os
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distiller.results.output import write_table
from distiller.results.schema import TABLES, core_schema, trial_id
from distiller.results.sql import query
from distiller.results.store import Store
from distiller.spaces.errors import InputError


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store.create(str(tmp_path / 'it\'s "a" store'))
    for n, (score, layers) in enumerate([(0.5, 2), (0.75, 2), (0.25, 4), (float("nan"), 4)]):
        store.write_trial(
            {"sweep": "s", "dataset": "trec", "config_id": f"c{n}", "seed": 0, "role": "search", "attempt": 1,
             "trial_id": trial_id("trec", f"c{n}", 0, "search"), "status": "completed", "score": score,
             "steps": 250, "student_layers": layers, "config": '{"a": [1, "ü"]}',
             "ended_at": datetime(2026, 1, 1, 12, tzinfo=UTC)},
            {"student_layers": pa.int64()},
        )  # fmt: skip
    return store


def test_reads(store):
    sql = "SELECT dataset, student_layers, max(score) s, sum(steps) n FROM trials GROUP BY ALL ORDER BY 2;"
    assert query(store, sql).to_pylist() == [
        {"dataset": "trec", "student_layers": 2, "s": 0.75, "n": 500},
        {"dataset": "trec", "student_layers": 4, "s": 0.25, "n": 500},  # NaN is no score, not the best one
    ]
    assert query(store, "SELECT config->>'$.a[1]' AS u FROM trials LIMIT 1").to_pylist() == [{"u": "ü"}]
    hour = query(store, "SELECT DISTINCT extract(hour FROM ended_at) h FROM trials").to_pylist()
    assert hour == [{"h": 12}]  # UTC whatever this machine's zone


READS = [
    "WITH a AS (FROM trials) SELECT count(*) FROM a",
    "DESCRIBE trials",
    "SHOW TABLES",
    "SUMMARIZE trials",
    "EXPLAIN SELECT * FROM trials",
    "-- a\n/* b */ EXPLAIN ANALYZE SELECT 1",
    "SELECT * FROM trials JOIN datasets USING (sweep, dataset)",
]


@pytest.mark.parametrize("sql", READS)
def test_every_reading_statement_is_taken(store, sql):
    assert query(store, sql).num_columns > 0


def test_every_table_is_there_with_its_core_columns(store):
    assert query(store, "SHOW TABLES").column(0).to_pylist() == sorted(TABLES)
    for table in ("attempts", "epochs", "datasets"):
        got = query(store, f"SELECT * FROM {table}")
        assert (got.num_rows, got.column_names) == (0, core_schema(table).names)
    assert query(store, "SELECT count(*) n FROM trials", sweep="s").to_pylist() == [{"n": 4}]


ATTACKS = [
    "INSERT INTO trials SELECT * FROM trials",
    "UPDATE trials SET score = 1",
    "DELETE FROM trials",
    "DROP VIEW trials",
    "CREATE TABLE t AS SELECT * FROM trials",
    "CREATE MACRO m() AS 1",
    "COPY trials TO '{out}'",
    "COPY (SELECT 1) TO '{out}' (FORMAT parquet)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'",
    "EXPLAIN (FORMAT json) CREATE TABLE t (i INT)",
    "EXPORT DATABASE '{out}'",
    "ATTACH '{out}' AS a",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA database_list",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CALL pragma_version()",
    "USE memory",
    "PREPARE p AS SELECT 1",
    "BEGIN TRANSACTION",
    "CHECKPOINT",
    "SELECT 1; COPY trials TO '{out}'",
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM read_json('{file}')",
    "SELECT * FROM read_parquet('{parquet}')",
    "SELECT * FROM parquet_metadata('{parquet}')",
    "SELECT * FROM sniff_csv('{file}')",
    "SELECT * FROM glob('{folder}/*')",
    "FROM '{file}'",
    "FROM '{parquet}'",
    "DESCRIBE '{file}'",
    "SUMMARIZE '{parquet}'",
    "SELECT * FROM query('FROM read_text(''{file}'')')",
    "SELECT (SELECT count(*) FROM '{file}') FROM trials",
    "FROM 'https://example.org/x.parquet'",
    "FROM enable_logging(storage := 'file', storage_path := '{out}')",
    "SELECT * FROM secret_frame",
    "",
    "-- nothing",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_else_is_read_or_written(store, tmp_path, attack):
    secret_frame = pa.table({"secret": [1]})  # a local that a replacement scan would find
    (tmp_path / "file.csv").write_text("secret,b\n1,2\n")
    pq.write_table(secret_frame, tmp_path / "file.parquet")
    before = sorted(os.listdir(tmp_path))
    sql = attack.format(out=tmp_path / "out", file=tmp_path / "file.csv", parquet=tmp_path / "file.parquet",
                        folder=tmp_path)  # fmt: skip
    with pytest.raises(InputError) as caught:
        query(store, sql)
    assert str(caught.value).startswith("SQL: ")
    assert "trials" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("SELECT scor FROM trials", ['"scor" not found', '"score"']),
        ("SELECT * FROM trails", ["trails does not exist", 'Did you mean "trials"']),
        ("SELECT * FROM nope", ["nope does not exist", "no such table (tables: attempts, trials"]),
        ("SELEC 1", ["syntax error", "attempts, trials, epochs, datasets"]),
        ("SELECT CAST(dataset AS INT) FROM trials", ["Conversion Error"]),
        ("COPY trials TO 'x'", ["COPY statement", "SELECT"]),
        ("SELECT error('a\nb')", ["a;"]),
    ],
)
def test_failing_sql_names_the_remedy(store, sql, parts):
    with pytest.raises(InputError) as caught:
        query(store, sql)
    message = str(caught.value)
    assert message.startswith("SQL: ")
    assert "\n" not in message
    assert all(part in message for part in parts), message


def test_output_formats_agree(store, tmp_path):
    columns = "config_id, score, sum(steps) n, list(student_layers) l, ended_at, score"
    got = query(store, f"SELECT {columns} FROM trials GROUP BY ALL ORDER BY 1")
    stream = io.StringIO()
    write_table(got, "json", stream)
    parsed = json.loads(stream.getvalue())
    assert [one["score"] for one in parsed] == [0.5, 0.75, 0.25, None]
    assert parsed[0] | {"score_1": 0.5} == parsed[0]
    assert (parsed[0]["n"], parsed[0]["l"], parsed[0]["ended_at"]) == (250, [2], "2026-01-01T12:00:00+00:00")
    write_table(got, "csv", tmp_path / "a b.csv")
    read = list(csv.DictReader((tmp_path / "a b.csv").read_text().splitlines()))
    assert [one["score"] for one in read] == ["0.5", "0.75", "0.25", ""]
    write_table(got, "parquet", str(tmp_path / "a.parquet"))
    assert pq.read_table(tmp_path / "a.parquet").column("config_id").to_pylist() == ["c0", "c1", "c2", "c3"]
    stream = io.StringIO()
    write_table(pa.table({"[b]x": ["[red]y" * 40], "n": [0.123456]}), "table", stream)
    assert "[red]y" * 40 in stream.getvalue()
    assert "[b]x" in stream.getvalue()
    assert "0.1235" in stream.getvalue()
    write_table(got.slice(0, 0), "json", empty := io.StringIO())
    assert json.loads(empty.getvalue()) == []
    for bad in (lambda: write_table(got, "xml"), lambda: write_table(got, "parquet"),
                lambda: write_table(got, "csv", tmp_path / "none" / "x.csv")):  # fmt: skip
        with pytest.raises(InputError):
            bad()
