"""Fragments: small Parquet files of rows, each of one trial.

A fragment that is torn, foreign, misplaced or at odds with the others is quarantined: left where it is,
skipped, and reported with the reason.

Reading thousands of them costs by the column, so a column that is null in all rows is not stored: its type
is, in the metadata. The checksum there covers the pages and the lines (see `lines`), by which many are read.
"""

import io
import itertools
import json
import math
import re
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from distiller.results.lines import count, find, gap_is_sound, to_lines, with_lines
from distiller.results.schema import (
    CHECKSUM_KEY,
    EXTRA_TYPES,
    IDENTITY,
    NULLS_KEY,
    SCHEMA_VERSION,
    TABLE_KEY,
    UTC,
    VERSION_KEY,
    WRITE_KEY,
    Extra,
    check_extra,
    check_name,
    core_schema,
    trial_id,
)
from distiller.spaces.errors import InputError

NAMED_TYPES = {str(kind): kind for kind in (*EXTRA_TYPES, UTC)}
_READ_ERRORS = (pa.ArrowException, OSError, ValueError)
_JSON_ERRORS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class Quarantined(NamedTuple):
    """A fragment that no table contains, with the reason in one line."""

    path: str
    reason: str


class BadFragmentError(Exception):
    """Bytes that are not a fragment of the table; the message says why."""


def fragment_path(table: str, row: Mapping[str, Any]) -> str:
    """Path of the fragment that `row` belongs to, relative to the store."""
    folder = f"{table}/{check_name('sweep', row['sweep'])}"
    if table == "datasets":
        return f"{folder}/{check_name('dataset', row['dataset'])}.parquet"
    name = trial_id(row["dataset"], row["config_id"], row["seed"], row["role"])
    # A zombie and its retry have the same trial_id, so only what is terminal goes without the attempt.
    return f"{folder}/{name}.parquet" if table == "trials" else f"{folder}/{name}.{row['attempt']}.parquet"


_REPAIR = re.compile(r"~(\d+)(?=\.parquet$)")


def repairs(path: str) -> Iterator[str]:
    """Where a row goes whose fragment's own path, and each before, holds a torn file: `<name>~1.parquet`, …

    Nothing is ever put in the place of what is there, which would take a lock: the first intact one counts.
    """
    stem = path.removesuffix(".parquet")
    return (f"{stem}~{number}.parquet" for number in itertools.count(1))


def own_path(path: str) -> str:
    """The path that a fragment stands for: its own, or the one that it repairs."""
    return _REPAIR.sub("", path)


def firsts(fragments: Sequence["Fragment | Unparsed"]) -> list["Fragment | Unparsed"]:
    """Of the fragments that stand for one path, the first."""
    found: dict[str, Fragment | Unparsed] = {}
    for fragment in sorted(fragments, key=_repair):
        found.setdefault(own_path(fragment.path), fragment)
    return list(found.values())


def _repair(fragment: "Fragment | Unparsed") -> int:
    number = _REPAIR.search(fragment.path)
    return int(number.group(1)) if number else 0


def encode(
    table: str, rows: Sequence[Mapping[str, Any]], extra: Extra = None, write_id: str | None = None
) -> bytes:
    """Rows as one fragment. Absent keys are null and so is NaN (in SQL it would be the greatest score).

    No two writes are the same bytes: each has its own `write_id`.

    ValueError on a key that is no column, a missing identity, a naive timestamp or a wrong type.
    """
    core = core_schema(table)
    schema = pa.schema([*core, *check_extra(table, extra)], metadata=core.metadata)
    known = set(schema.names)
    for row in rows:
        if unknown := row.keys() - known:
            raise ValueError(f"{table}: no columns {sorted(unknown)}; give their types with the write")
        if missing := [name for name in IDENTITY[table] if row.get(name) is None]:
            raise ValueError(f"{table}: {missing} must be given")
        if "trial_id" in row and row["trial_id"] != trial_id(
            row["dataset"], row["config_id"], row["seed"], row["role"]
        ):
            raise ValueError(f"{table}: trial_id {row['trial_id']!r} is not that of the row")
    clean = [{name: _value(name, value) for name, value in row.items()} for row in rows]
    try:
        data = pa.Table.from_pylist(clean, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueError(f"{table}: {error}") from error
    stored = [name for name in schema.names if data.column(name).null_count < max(data.num_rows, 1)]
    said = {*stored, *core.names}
    nulls = {field.name: str(field.type) for field in schema if field.name not in said}
    data = data.select(stored).replace_schema_metadata()
    write_id = write_id or uuid.uuid4().hex
    types = {field.name: str(field.type) for field in data.schema}
    version = int(core.metadata[VERSION_KEY])
    head = {"table": table, "version": version, "columns": types, "nulls": nulls}
    label = [fragment_path(table, rows[0]), write_id, _first_end(data)] if rows else []
    lines = to_lines(json.dumps(head).encode(), json.dumps(label).encode(), data)
    sink = io.BytesIO()
    # Dictionaries, statistics and a second copy of the schema would only cost time to read.
    with pq.ParquetWriter(sink, data.schema, use_dictionary=False, compression="none",
                          write_statistics=False, store_schema=False) as writer:  # fmt: skip
        writer.write_table(data)
        body = sink.getvalue() + lines
        checksum = f"{len(body)}:{zlib.crc32(body)}".encode()
        metadata = {**core.metadata, CHECKSUM_KEY: checksum, NULLS_KEY: json.dumps(nulls).encode()}
        metadata[WRITE_KEY] = write_id.encode()
        writer.add_key_value_metadata(metadata)
    return with_lines(sink.getvalue(), lines)


def _value(name: str, value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"{name}: {value} has no time zone; use datetime.now(UTC)")
    return None if isinstance(value, float) and math.isnan(value) else value


class Fragment(NamedTuple):
    """Rows of one fragment; `nulls` is the JSON of its unstored space columns and their types.

    `write_id` tells the write that made it from any other; fragments of old have none. `ended_at`: when its
    trial ended, microseconds since 1970.
    """

    path: str
    rows: pa.Table
    nulls: bytes
    write_id: str | None
    ended_at: int | None


@dataclass(frozen=True, eq=False)
class Head:
    """Columns of fragments that have the same ones, with their types: of those stored and of the others."""

    stored: dict[str, pa.DataType]
    nulls: dict[str, pa.DataType]


class Unparsed(NamedTuple):
    """One fragment's lines, checked but for what only their values tell (see `check_owners`)."""

    path: str
    head: Head
    rows: bytes
    write_id: str
    ended_at: int | None


def decode(table: str, path: str, data: bytes, columns: Sequence[str] | None = None) -> Fragment:
    """The fragment's rows, identity columns always among them; BadFragmentError where it is none."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        metadata = file.metadata.metadata or {}
        _check_origin(table, metadata, data)
        wanted = None if columns is None else list(dict.fromkeys([*IDENTITY[table], *columns]))
        rows = file.read(columns=wanted, use_threads=False).replace_schema_metadata()
    except _READ_ERRORS as error:
        line = " ".join(str(error).split())[:200]
        raise BadFragmentError(f"torn or not Parquet ({line})") from error
    if missing := [name for name in IDENTITY[table] if name not in rows.column_names]:
        raise BadFragmentError(f"foreign: no column {missing[0]}")
    check_owners(table, path, rows.select(IDENTITY[table]).to_pylist())
    nulls = metadata.get(NULLS_KEY, b"{}") if columns is None else b"{}"
    write_id = metadata.get(WRITE_KEY)
    write = None if write_id is None else write_id.decode("ascii", "replace")
    return Fragment(path, rows, nulls, write, _first_end(rows))


Heads = dict[bytes, Head | None]
"""Heads that were read, by their bytes: alike fragments share one."""


def open_fragment(
    table: str, path: str, data: bytes, columns: Sequence[str] | None, heads: Heads
) -> Fragment | Unparsed:
    """As `decode`, and many times faster for a fragment that has lines: `unify` parses those together."""
    found = find(data)
    if found is None or (table != "epochs" and count(found.rows) != 1):
        return decode(table, path, data, columns)
    if found.head not in heads:
        heads[found.head] = _head(table, found.head)
    head, label = heads[found.head], _label(found.label)
    if head is None or label is None or label[0] != own_path(path):
        return decode(table, path, data, columns)
    return Unparsed(path, head, found.rows, *label[1:])


def _head(table: str, text: bytes) -> Head | None:
    """None of a head that is not of this table and version, or is no head: `decode` says why."""
    try:
        told = json.loads(text)
        stored, nulls = (
            {name: NAMED_TYPES[kind] for name, kind in told[part].items()} for part in ("columns", "nulls")
        )
        known = told["table"] == table and 0 < told["version"] <= SCHEMA_VERSION
    except _JSON_ERRORS:
        return None
    return Head(stored, nulls) if known and {*IDENTITY[table]} <= stored.keys() else None


def _label(text: bytes) -> tuple[str, str, int | None] | None:
    """Path, write_id and when the trial ended; None of what is no label."""
    try:
        path, write_id, ended_at = json.loads(text)
    except _JSON_ERRORS:
        return None
    sound = isinstance(path, str) and isinstance(write_id, str) and isinstance(ended_at, int | None)
    return (path, write_id, ended_at) if sound else None


def _first_end(rows: pa.Table) -> int | None:
    if not rows.num_rows or "ended_at" not in rows.column_names:
        return None
    ended_at: int | None = rows.column("ended_at")[0].cast(pa.int64()).as_py()
    return ended_at


def check_owners(table: str, path: str, owners: Sequence[Mapping[str, Any]]) -> None:
    """BadFragmentError unless rows with these identity columns belong into the fragment at `path`."""
    number = len(owners) if table != "epochs" else len({tuple(owner.values()) for owner in owners})
    if number != 1:
        raise BadFragmentError(f"rows of {number} trials where one is expected")
    if None in owners[0].values():
        raise BadFragmentError("a row without identity")
    if (place := _place(table, owners[0])) != own_path(path):
        raise BadFragmentError(f"its row belongs to {place}")


def _place(table: str, owner: Mapping[str, Any]) -> str:
    """`fragment_path` of a row that was read, which may be anybody's: nothing but a comparison trusts it."""
    for kind in ("sweep", "dataset"):
        try:
            check_name(kind, owner[kind])
        except InputError as error:
            raise BadFragmentError(f"foreign: {error}") from None
    if table == "datasets":
        return f"datasets/{owner['sweep']}/{owner['dataset']}.parquet"
    name = "-".join(str(owner[part]) for part in ("dataset", "config_id", "seed", "role"))
    if owner["trial_id"] != name:
        raise BadFragmentError(f"trial_id {owner['trial_id']!r} is not that of its row, {name!r}")
    attempt = "" if table == "trials" else f".{owner['attempt']}"
    return f"{table}/{owner['sweep']}/{name}{attempt}.parquet"


def _check_origin(table: str, metadata: Mapping[bytes, bytes], data: bytes) -> None:
    if metadata.get(TABLE_KEY) != table.encode():
        raise BadFragmentError(f"foreign: no fragment of {table}")
    version = metadata.get(VERSION_KEY, b"")
    if not version.isdigit():
        raise BadFragmentError("foreign: no schema version")
    if int(version) > SCHEMA_VERSION:
        raise BadFragmentError(
            f"schema version {int(version)} is newer than {SCHEMA_VERSION}: upgrade Distiller"
        )
    length, _, checksum = metadata.get(CHECKSUM_KEY, b"").partition(b":")
    sound = length.isdigit() and str(zlib.crc32(data[: int(length)])).encode() == checksum
    if not sound or not gap_is_sound(data, int(length)):
        raise BadFragmentError("torn: the checksum does not fit")
