"""SQL that reaches for files, the network or settings; see also tests/results/test_sql.py."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distiller.results.sql import query
from distiller.results.store import Store
from distiller.spaces.errors import InputError
from tests.results.test_fragments import trial

SECRET = "the-secret-words"
ATTACKS = [
    # Readers, by every door
    "WITH a AS (FROM read_text('{csv}')) SELECT * FROM a",
    "WITH a AS MATERIALIZED (SELECT * FROM '{csv}') FROM a",
    "WITH RECURSIVE a AS (SELECT 1 n UNION ALL SELECT n + 1 FROM a, read_text('{csv}') WHERE n < 2) FROM a",
    "WITH read_text AS (SELECT 1) SELECT * FROM read_text('{csv}')",
    "FROM trials, LATERAL (FROM read_text('{csv}'))",
    "FROM trials WHERE EXISTS (FROM read_blob('{csv}'))",
    "SELECT * FROM trials JOIN '{csv}' ON true",
    "SELECT * FROM trials UNION ALL BY NAME FROM '{csv}'",
    "PIVOT '{csv}' ON secret",
    "UNPIVOT '{csv}' ON COLUMNS(*)",
    "FROM query_table('{csv}')",
    "FROM query_table(['{csv}'])",
    "FROM query('FROM ''{csv}''')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{csv}'')'))",
    "SELECT json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{csv}'')'))",
    "FROM read_csv_auto('{csv}')",
    "FROM read_json_auto('{csv}')",
    "FROM read_ndjson('{csv}')",
    "FROM read_json_objects('{csv}')",
    "FROM parquet_scan('{parquet}')",
    "FROM parquet_schema('{parquet}')",
    "FROM parquet_file_metadata('{parquet}')",
    "FROM parquet_kv_metadata('{parquet}')",
    "FROM parquet_bloom_probe('{parquet}', 'secret', 1)",
    "FROM arrow_scan(1, 2, 3)",
    "FROM pandas_scan(1)",
    "FROM python_map_function(1)",
    "FROM seq_scan('x')",
    "FROM glob('/etc/*')",
    "FROM '/proc/self/environ'",
    "FROM read_text('/proc/self/environ')",
    "FROM read_text('file://{csv}')",
    "FROM read_text(['{csv}', '{csv}'])",
    "FROM read_text((SELECT '{csv}'))",
    "SELECT getenv('HOME')",
    "FROM sniff_csv('{csv}')",
    "FROM read_duckdb('{parquet}')",
    "FROM read_xlsx('{csv}')",
    "FROM parquet_metadata('{parquet}')",
    "SELECT (SELECT content FROM read_text('{csv}'))",
    "SUMMARIZE '{csv}'",
    "DESCRIBE '{csv}'",
    "TABLE '{csv}'",
    "FROM duckdb_extensions()",
    # Writers
    "COPY (FROM trials) TO '{out}' (FORMAT csv)",
    "COPY trials FROM '{csv}'",
    "COPY FROM DATABASE memory TO x",
    "WITH a AS (COPY trials TO '{out}') SELECT 1",
    "WITH a AS (INSERT INTO trials SELECT * FROM trials RETURNING *) FROM a",
    "EXPLAIN ANALYZE COPY trials TO '{out}'",
    "EXPLAIN ANALYZE ATTACH '{out}'",
    "EXPLAIN ANALYZE EXPLAIN COPY trials TO '{out}'",
    "EXPLAIN (ANALYZE) COPY trials TO '{out}'",
    "EXPLAIN (ANALYZE, FORMAT json) COPY trials TO '{out}'",
    "EXPLAIN /* c */ ANALYZE -- d\n COPY trials TO '{out}'",
    "IMPORT DATABASE '{folder}'",
    "EXPORT DATABASE '{out}' (FORMAT parquet)",
    "ATTACH '{out}'",
    "ATTACH ':memory:' AS other",
    "ATTACH 'https://example.org/x.db' AS x",
    "DETACH memory",
    "CREATE TEMP TABLE t AS FROM trials",
    "CREATE OR REPLACE VIEW trials AS SELECT 1",
    "CREATE SECRET (TYPE s3)",
    "CREATE PERSISTENT SECRET s (TYPE s3)",
    "CREATE FUNCTION f() AS TABLE FROM read_text('{csv}')",
    "ALTER TABLE trials RENAME TO t",
    "TRUNCATE trials",
    "VACUUM",
    "ANALYZE",
    "COMMENT ON TABLE trials IS 'x'",
    "MERGE INTO trials USING trials AS t ON false WHEN NOT MATCHED THEN INSERT",
    # Settings, extensions, statements by name
    "SET VARIABLE x = 1",
    "SET SESSION enable_external_access = true",
    "SET GLOBAL lock_configuration = false",
    "SET allowed_directories = ['/']",
    "SET allowed_paths = ['{csv}']",
    "SET python_enable_replacements = true",
    "SET home_directory = '/'",
    "SET temp_directory = '{out}'",
    "SET profiling_output = '{out}'",
    "SET extension_directory = '{out}'",
    "RESET enable_external_access",
    "PRAGMA enable_profiling",
    "PRAGMA profiling_output = '{out}'",
    "PRAGMA enable_external_access = true",
    "PRAGMA version",
    "INSTALL sqlite",
    "FORCE INSTALL httpfs",
    "INSTALL httpfs FROM 'https://example.org'",
    "INSTALL '{csv}'",
    "LOAD '{csv}'",
    "UPDATE EXTENSIONS",
    "CALL enable_logging('QueryLog')",
    "FROM enable_profiling()",
    "PREPARE p AS FROM read_text('{csv}')",
    "EXECUTE p",
    "EXECUTE p('{csv}')",
    "DEALLOCATE p",
    "PREPARE p AS SELECT 1; EXECUTE p",
    # Several at once, and hidden ones
    "SELECT 1; SELECT 2",
    "SELECT 1;; COPY trials TO '{out}';",
    "SELECT 1 -- \n; ATTACH '{out}'",
    "SELECT '1'/*;*/; DROP VIEW trials",
    "/* SELECT */ COPY trials TO '{out}'",
    "SELECT 1\0; COPY trials TO '{out}'",
    "ＳＥＬＥＣＴ * FROM read_text('{csv}')",
    "FROM trials\u2028; COPY trials TO '{out}'",
    # Python's own variables, and the network
    "FROM secret_frame",
    "SELECT * FROM secret_list",
    "FROM store",
    "FROM connection",
    "FROM 's3://bucket/x.parquet'",
    "FROM read_csv('http://127.0.0.1:9/x')",
    "FROM read_parquet('hf://datasets/x/y.parquet')",
    "FROM sqlite_scan('{out}', 't')",
    "FROM postgres_scan('host=127.0.0.1', 's', 't')",
    "FROM http_get('http://127.0.0.1:9')",
]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    made = Store.create(str(tmp_path / "store"))
    made.write_trial(trial(score=0.5))
    return made


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_is_read_or_written_but_the_tables(store: Store, tmp_path: Path, attack: str) -> None:
    secret_frame = pa.table({"secret": [SECRET]})
    secret_list = [SECRET]
    assert secret_list
    (tmp_path / "secret.csv").write_text(f"secret,b\n{SECRET},2\n")
    pq.write_table(secret_frame, tmp_path / "secret.parquet")
    before = sorted(os.listdir(tmp_path))
    places = {"csv": tmp_path / "secret.csv", "parquet": tmp_path / "secret.parquet", "out": tmp_path / "out"}
    with pytest.raises(InputError) as refused:
        query(store, attack.format(**places, folder=tmp_path))
    line = str(refused.value)
    assert line.startswith("SQL: ")
    assert "\n" not in line
    assert SECRET not in line
    assert sorted(os.listdir(tmp_path)) == before


READS = [
    "SELECT * FROM duckdb_settings() WHERE name LIKE '%secret%'",
    "SELECT * FROM duckdb_secrets()",
    "SELECT current_setting('enable_external_access')",
    "FROM which_secret('s3://x', 's3')",
    "FROM checkpoint()",
    "FROM force_checkpoint()",
]


@pytest.mark.parametrize("sql", READS)
def test_what_duckdb_tells_of_itself_holds_nothing(store: Store, tmp_path: Path, sql: str) -> None:
    before = sorted(os.listdir(tmp_path))
    try:
        found = query(store, sql)
    except InputError:
        found = None
    assert sorted(os.listdir(tmp_path)) == before
    if "enable_external_access" in sql and found is not None:
        assert found.to_pylist() in ([{found.column_names[0]: value}] for value in (False, "false"))


def test_a_statement_changes_nothing_for_the_next(store: Store, tmp_path: Path) -> None:
    for attack in ("SET enable_external_access = true", "CREATE MACRO m() AS 1", "ATTACH ':memory:' AS x"):
        with pytest.raises(InputError):
            query(store, attack)
    assert query(store, "SELECT score FROM trials").to_pylist() == [{"score": 0.5}]
