"""Fragments: small Parquet files of rows, and how many of them become one table.

A fragment that is torn, foreign, misplaced or at odds with the others is quarantined: left where it is,
skipped, and reported with the reason.

Reading thousands of them costs by the column, so a column that is null in all rows is not stored: its type
is, in the metadata. The checksum there covers everything before the footer.
"""

import io
import itertools
import json
import math
import re
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from distiller.results.schema import (
    CHECKSUM_KEY,
    EXTENSIBLE,
    EXTRA_TYPES,
    FLOAT,
    IDENTITY,
    INT,
    NULLS_KEY,
    SCHEMA_VERSION,
    TABLE_KEY,
    VERSION_KEY,
    WRITE_KEY,
    Extra,
    check_extra,
    check_name,
    core_schema,
    trial_id,
)
from distiller.spaces.errors import InputError

_NAMED_TYPES = {str(kind): kind for kind in EXTRA_TYPES}
_READ_ERRORS = (pa.ArrowException, OSError, ValueError)


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


def firsts(fragments: Sequence["Fragment"]) -> list["Fragment"]:
    """Of the fragments that stand for one path, the first."""
    found: dict[str, Fragment] = {}
    for fragment in sorted(fragments, key=_repair):
        found.setdefault(own_path(fragment.path), fragment)
    return list(found.values())


def _repair(fragment: "Fragment") -> int:
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
    nulls = {field.name: str(field.type) for field in schema if field.name not in {*stored, *core.names}}
    data = data.select(stored).replace_schema_metadata()
    sink = io.BytesIO()
    # Dictionaries, statistics and a second copy of the schema would only cost time to read.
    with pq.ParquetWriter(sink, data.schema, use_dictionary=False, compression="none",
                          write_statistics=False, store_schema=False) as writer:  # fmt: skip
        writer.write_table(data)
        body = sink.getvalue()
        checksum = f"{len(body)}:{zlib.crc32(body)}".encode()
        metadata = {**core.metadata, CHECKSUM_KEY: checksum, NULLS_KEY: json.dumps(nulls).encode()}
        metadata[WRITE_KEY] = (write_id or uuid.uuid4().hex).encode()
        writer.add_key_value_metadata(metadata)
    return sink.getvalue()


def _value(name: str, value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"{name}: {value} has no time zone; use datetime.now(UTC)")
    return None if isinstance(value, float) and math.isnan(value) else value


class Fragment(NamedTuple):
    """Rows of one fragment; `nulls` is the JSON of its unstored space columns and their types.

    `write_id` tells the write that made it from any other; fragments of old have none.
    """

    path: str
    rows: pa.Table
    nulls: bytes
    write_id: str | None


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
    owners = rows.select(IDENTITY[table]).to_pylist()
    count = len(owners) if table != "epochs" else len({tuple(owner.values()) for owner in owners})
    if count != 1:
        raise BadFragmentError(f"rows of {count} trials where one is expected")
    if None in owners[0].values():
        raise BadFragmentError("a row without identity")
    if (place := _place(table, owners[0])) != own_path(path):
        raise BadFragmentError(f"its row belongs to {place}")
    nulls = metadata.get(NULLS_KEY, b"{}") if columns is None else b"{}"
    write_id = metadata.get(WRITE_KEY)
    return Fragment(path, rows, nulls, None if write_id is None else write_id.decode("ascii", "replace"))


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
    if not length.isdigit() or str(zlib.crc32(data[: int(length)])).encode() != checksum:
        raise BadFragmentError("torn: the checksum does not fit")


def _promote(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one == other:
        return one
    return FLOAT if {one, other} == {INT, FLOAT} else None


class _Group(NamedTuple):
    schema: pa.Schema
    clash: str | None
    tables: list[pa.Table]


def unify(
    table: str,
    fragments: Sequence[Fragment],
    columns: Sequence[str] | None = None,
    kinds: Mapping[str, pa.DataType] | None = None,
) -> tuple[pa.Table, list[Quarantined]]:
    """One table under the union of the fragments' schemas, and the fragments whose columns clash with it.

    int64 and float64 become float64; of two other types of one name, that of `kinds` (space columns known
    already, which the table has too), else of the earlier fragment (by `ended_at` where it is known, else in
    the order given) stays. `columns` restricts the core columns.
    """
    core = core_schema(table)
    kinds = dict(kinds or {})
    groups: dict[Any, list[_Group]] = {}  # few: one per set of active columns
    bad: list[Quarantined] = []
    for path, rows, nulls, _ in sorted(fragments, key=_ended_at):
        alike = groups.setdefault((nulls, *rows.schema.names), [])
        group = next((one for one in alike if one.schema.equals(rows.schema)), None)
        if group is None:
            group = _Group(rows.schema, merge_kinds(table, kinds, rows.schema, nulls), [])
            alike.append(group)
        if group.clash is None:
            group.tables.append(rows)
        else:
            bad.append(Quarantined(path, group.clash))
    fields = [field for field in core if columns is None or field.name in {*columns, *IDENTITY[table]}]
    schema = pa.schema([*fields, *(pa.field(*pair) for pair in kinds.items())], metadata=core.metadata)
    parts = [
        pa.concat_tables(one.tables).combine_chunks()
        for alike in groups.values()
        for one in alike
        if one.tables
    ]
    whole = pa.concat_tables([schema.empty_table(), *parts], promote_options="permissive")
    return whole.select(schema.names).combine_chunks().cast(schema), bad


def _ended_at(fragment: Fragment) -> tuple[bool, int]:
    known = "ended_at" in fragment.rows.column_names and fragment.rows.column("ended_at")[0].value
    return (False, known) if known else (True, 0)


def merge_kinds(
    table: str, kinds: dict[str, pa.DataType], schema: pa.Schema, nulls: bytes = b"{}"
) -> str | None:
    """Adds the schema's space columns to `kinds`; where one cannot be, adds none and says why."""
    core = core_schema(table)
    if len(set(schema.names)) != len(schema.names):
        return "a column twice"
    try:
        declared = {name: _NAMED_TYPES[kind] for name, kind in json.loads(nulls).items()}
    except (ValueError, KeyError, AttributeError) as error:
        return f"foreign: {NULLS_KEY.decode()} ({error})"
    merged = {}
    for name, found in [*zip(schema.names, schema.types, strict=True), *declared.items()]:
        if name in core.names:
            kind = core.field(name).type
            if _promote(found, kind) != kind:
                return f"column {name} is {found}, not {kind}"
        elif table not in EXTENSIBLE or found not in EXTRA_TYPES:
            return f"foreign: column {name} of type {found}"
        elif (promoted := _promote(found, kinds.get(name, found))) is None:
            return f"column {name} is {found}, elsewhere {kinds[name]}"
        else:
            merged[name] = promoted
    kinds.update(merged)
    return None
