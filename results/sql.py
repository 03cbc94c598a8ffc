"""SQL over the results: one read statement, on the four tables and nothing else."""

import re
from collections.abc import Mapping

import duckdb
import pyarrow as pa

from distiller.results.reading import PAUSES, Snapshot
from distiller.results.schema import TABLES
from distiller.results.store import Store, warn_of
from distiller.spaces.errors import InputError

_LOCKDOWN = (
    "SET TimeZone='UTC'",
    "SET autoinstall_known_extensions=false",
    "SET autoload_known_extensions=false",
    "SET temp_directory=''",  # would otherwise spill into the current folder
    "SET python_enable_replacements=false",
    "SET python_scan_all_frames=false",
    "SET enable_external_access=false",
    "SET lock_configuration=true",
)
_EXPLAIN = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*explain\s+(?:analyze\s+)?(?:\([^)]*\)\s*)?(.*)", re.IGNORECASE | re.DOTALL
)
_USERS = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.PermissionException,
)
"""For these only the statement can be to blame."""

_REMEDY = "write one SELECT, WITH, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN over the tables " + ", ".join(TABLES)


def query(store: Store, sql: str, sweep: str | None = None) -> pa.Table:
    """The statement's result. Tables: attempts, trials, epochs, datasets, of one sweep or of all.

    InputError, one line that begins with "SQL:", where the statement fails, is not a single read, or
    reaches for a file.
    """
    with duckdb.connect(":memory:") as connection:  # one for all: to open it takes a third of a short query
        _check(connection, sql)
        for setting in _LOCKDOWN:
            connection.execute(setting)
        return _answer(connection, store, sql, sweep)


def _answer(connection: duckdb.DuckDBPyConnection, store: Store, sql: str, sweep: str | None) -> pa.Table:
    # A table that the statement cannot mean is not read; one that is not there fails, never reads empty.
    named = [name for name in TABLES if re.search(rf"\b{name}\b", sql, re.IGNORECASE)]
    for _ in PAUSES:
        scans = {name: store.scan(name, sweep) for name in named or TABLES}
        try:
            return _run(connection, sql, scans)
        except _USERS as error:
            raise InputError(_one_line(error)) from error
        except (duckdb.Error, RuntimeError, OSError) as error:
            if any(scan.moved(store.files) for scan in scans.values()):
                continue  # read half, a compaction took the rest away
            sound = {name: scan.without_damaged() for name, scan in scans.items()}
            if not any(broken for _, broken in sound.values()):
                raise InputError(_one_line(error)) from error
            warn_of([item for _, broken in sound.values() for item in broken])
            return _run(connection, sql, {name: scan for name, (scan, _) in sound.items()})
    raise InputError(f"--store {store.url}: compactions commit all the time; let one finish")


def _run(connection: duckdb.DuckDBPyConnection, sql: str, scans: Mapping[str, Snapshot]) -> pa.Table:
    for name, scan in scans.items():
        connection.register(name, scan.dataset() if scan.compacted else scan.raw)
    return connection.sql(sql).to_arrow_table()


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise InputError(_one_line(error)) from error
    if len(statements) != 1:
        raise InputError(f"SQL: {len(statements)} statements where one is expected; {_REMEDY}")
    try:
        kind = statements[0].type
    except ValueError as error:  # DuckDB's parser knows kinds that its Python package has no name for
        raise InputError(f"SQL: no statement that reads ({error}); {_REMEDY}") from error
    if kind == duckdb.StatementType.EXPLAIN:
        inner = _EXPLAIN.match(statements[0].query)
        if inner is not None:
            _check(connection, inner.group(1))
            return
    if kind != duckdb.StatementType.SELECT:
        raise InputError(f"SQL: a {kind.name} statement, results are only read here; {_REMEDY}")


def _one_line(error: Exception) -> str:
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    hint = next((line for line in lines[1:] if line.startswith(("Did you mean", "Candidate"))), None)
    if hint and '"pg_' in hint:  # DuckDB's own tables, of which none is meant
        hint = "no such table"
    remedy = f"{hint} (tables: {', '.join(TABLES)}; DESCRIBE <table> lists columns)" if hint else _REMEDY
    return f"SQL: {first}; {remedy}"
