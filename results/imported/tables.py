"""Tables from files: CSV, TSV, Parquet and JSON lines, cells as they are written."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distiller.spaces.errors import InputError

_DELIMITERS = {".csv": ",;\t", ".tsv": "\t"}
_JSON = (".jsonl", ".ndjson", ".json")
SUFFIXES = (*_DELIMITERS, ".parquet", *_JSON)


@dataclass(frozen=True)
class Table:
    """Somebody's table of trials.

    Attributes:
        source: where it came from, as a person wrote it.
        name: what to call the sweep if the mapping does not say.
        columns: by name [rows] cells; text of a CSV is not parsed yet, None is an empty cell.
        notes: what a reader should know of how it was read.
        priors: as a sweep's file writes them, where the source knows what a column was drawn from.
        hints: keys of a first mapping that the source knows.
    """

    source: str
    name: str
    columns: Mapping[str, Sequence[Any]]
    notes: tuple[str, ...] = ()
    priors: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    hints: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def read_table(path: Path) -> Table:
    """The table in a file.

    Raises:
        InputError: it cannot be read, has no rows, or is not as wide everywhere.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: what kind of table is it? Name a file that ends in {', '.join(SUFFIXES)}")
    try:
        if suffix in _DELIMITERS:
            columns, notes = _read_csv(path, _DELIMITERS[suffix])
        elif suffix in _JSON:
            columns, notes = _read_json_lines(path), ()
        else:
            columns, notes = _read_parquet(path), ()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); check the file") from None
    table = Table(str(path), path.name.removesuffix(path.suffix), columns, notes)
    if not table.rows:
        raise InputError(f"{path}: no rows; a table needs a line of names and a row for each trial")
    return table


def _read_csv(path: Path, delimiters: str) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        delimiter = max(delimiters, key=first.count)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        names = next(reader, [])
        _check_names(path, names)
        rows: list[list[str]] = []
        for row in reader:
            if not row:  # an empty line
                continue
            if len(row) != len(names):
                raise InputError(
                    f"{path}: line {reader.line_num}: {len(row)} cells where {len(names)} are named; "
                    "mend the line, or quote cells that hold the separator"
                )
            rows.append(row)
    columns: dict[str, list[Any]] = {
        name: [cell if cell != "" else None for cell in cells]
        for name, cells in zip(names, zip(*rows, strict=True) if rows else [[]] * len(names), strict=True)
    }
    if "" not in columns:
        return columns, ()
    if columns[""] != [str(number) for number in range(len(rows))]:
        raise InputError(f"{path}: a column without a name; name it in the first line")
    del columns[""]
    return columns, ("the first column has no name and counts the rows from 0: it is left out",)


def _check_names(path: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{path}: two columns are named {name!r}; rename one")
        seen.add(name)


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    with path.open("rb") as file:
        table = pq.read_table(file)
    _check_names(path, table.column_names)
    columns: dict[str, list[Any]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        columns[name] = column.to_pylist()
    return columns


def _read_json_lines(path: Path) -> dict[str, list[Any]]:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{path}: line {number}: no JSON ({error}); write one object a line"
                ) from None
            if not isinstance(row, dict):
                raise InputError(f"{path}: line {number}: no JSON object; write one object a line")
            rows.append(_flat(row, path, number))
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _flat(row: Mapping[str, Any], path: Path, number: int, prefix: str = "") -> dict[str, Any]:
    """Objects inside a row as columns `outer.inner`."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        inner = (
            _flat(value, path, number, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {f"{prefix}{name}": value}
        )
        if twice := found.keys() & inner.keys():
            raise InputError(f"{path}: line {number}: {min(twice)!r} is there twice; rename one")
        found |= inner
    return found
