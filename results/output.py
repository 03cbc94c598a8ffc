"""A result as a person or a program wants it: table, csv, json or parquet."""

import csv
import io
import json
import math
import os
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from distiller.results.fitted import Fitted
from distiller.spaces.errors import InputError

FORMATS = ("table", "csv", "json", "parquet")


def write_table(table: pa.Table, fmt: str, out: str | Path | TextIO | None = None) -> None:
    """Writes to a path, a text stream, or standard output.

    json is an array of objects, one a line; NaN and infinities become null there, null is an empty cell in
    csv. InputError on an unknown format, a path that cannot be written, or parquet without a path.
    """
    if fmt not in FORMATS:
        raise InputError(f"--format {fmt}: no such format; use one of {', '.join(FORMATS)}")
    if fmt == "parquet":
        if not isinstance(out, str | Path):
            raise InputError("--format parquet: needs a file; give --out FILE.parquet")
        sink = pa.BufferOutputStream()
        pq.write_table(table.rename_columns(_unique(table.column_names)), sink)
        _write_file(out, sink.getvalue().to_pybytes())
    elif isinstance(out, str | Path):
        text = io.StringIO()
        _write_text(table, fmt, text)
        _write_file(out, text.getvalue().encode())
    else:
        _write_text(table, fmt, out or sys.stdout)


def _write_file(path: str | Path, data: bytes) -> None:
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(f"--out {path}: {reason}; give a file in a folder you may write") from error


def _write_text(table: pa.Table, fmt: str, stream: TextIO) -> None:
    names = _unique(table.column_names)
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    if fmt == "csv":
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(_plain(value)) for value in row] for row in rows)
    elif fmt == "json":
        lines = (json.dumps(dict(zip(names, map(_finite, map(_plain, row)), strict=True)), allow_nan=False,
                            ensure_ascii=False) for row in rows)  # fmt: skip
        stream.write("[" + ",\n ".join(lines) + "]\n")
    else:
        _print(names, rows, stream)


def _print(names: list[str], rows: list[tuple[Any, ...]], stream: TextIO) -> None:
    numbers = [any(isinstance(row[i], int | float | Decimal) for row in rows) for i in range(len(names))]
    texts = [[_short(_plain(value)) for value in row] for row in rows]
    # A pipe has no width: cells are never broken there, and no row becomes a record.
    width = None if stream.isatty() else 1_000_000
    console = Console(file=stream, width=width, highlight=False)
    console.print(Fitted(names, texts, numbers, whole=width is not None), soft_wrap=width is not None)


def _short(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value) and value:
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 else f"{value:.3g}"
    return "" if value is None else str(_cell(value))


def _cell(value: Any) -> Any:
    return json.dumps(_finite(value), ensure_ascii=False) if isinstance(value, list | dict) else value


def _plain(value: Any) -> Any:
    """Python's JSON types for whatever Arrow has: SQL sums are decimals, for one."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value.hex() if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {key: _finite(item) for key, item in value.items()} if isinstance(value, dict) else value


def _unique(names: list[str]) -> list[str]:
    """`SELECT score, score` gives two columns of one name, which neither JSON nor Parquet's readers take."""
    taken: list[str] = []
    for name in names:
        new, count = name, 1
        while new in taken:
            new, count = f"{name}_{count}", count + 1
        taken.append(new)
    return taken
