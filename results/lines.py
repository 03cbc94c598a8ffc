"""A fragment's rows once more, as lines of JSON between its Parquet pages and its footer.

To open a Parquet file of 60 columns takes milliseconds however little is in it, so thousands of one row each
take half a minute. Their lines are parsed together, in C++, in a fraction of a second. Whatever else reads
Parquet goes by the footer's offsets and never looks at the gap:

    pages, head, newline, label, newline, rows (a line each), length, CRC-32, magic, footer

The head (JSON: table, schema version, types of columns) is the same bytes for all fragments with the same
columns, so that it is read once for all of them. The label is a JSON list of the fragment's path, its
write_id and when its trial ended. The length (4 bytes, little-endian) is that of head, label and rows; the
CRC-32 covers every byte of the file but its own four. So the two encodings cannot part unnoticed.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.json

MAGIC = b"DISTLN01"
_END = b"PAR1"
_LENGTH, _CRC = struct.Struct("<I"), struct.Struct("<I")
_TRAILER = _LENGTH.size + _CRC.size + len(MAGIC)
_BLOCK = 1 << 20


class Found(NamedTuple):
    """The three parts of a sound file's lines; `rows` without a newline at its end."""

    head: bytes
    label: bytes
    rows: bytes


def to_lines(head: bytes, label: bytes, rows: pa.Table) -> bytes:
    """The lines of rows that a Parquet file holds; empty where JSON has no word for a value (infinity).

    Floats are written so that the nearest float64 to what is read is the same again, timestamps as whole
    microseconds, nulls not at all.
    """
    for at, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            rows = rows.set_column(at, field.name, rows.column(at).cast(pa.int64()))
    known = ({name: value for name, value in row.items() if value is not None} for row in rows.to_pylist())
    try:
        texts = [json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for row in known]
    except ValueError:
        return b""
    return b"\n".join([head, label, *(text.encode() for text in texts)]) if texts else b""


def plain(schema: pa.Schema) -> pa.Schema:
    """The types that the lines have: timestamps are int64."""
    kinds = (pa.int64() if pa.types.is_timestamp(kind) else kind for kind in schema.types)
    return pa.schema(list(zip(schema.names, kinds, strict=True)))


def with_lines(file: bytes, lines: bytes) -> bytes:
    """A Parquet file with lines before its footer."""
    if not lines:
        return file
    at = _footer_at(file)
    before, after = b"".join([file[:at], lines, _LENGTH.pack(len(lines))]), MAGIC + file[at:]
    return b"".join([before, _CRC.pack(zlib.crc32(after, zlib.crc32(before))), after])


def _footer_at(data: bytes) -> int:
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def gap_is_sound(data: bytes, start: int) -> bool:
    """Whether from `start` to the footer there is nothing, or the trailer of lines that are as written."""
    return start == _footer_at(data) or (start == _footer_at(data) - _TRAILER and find(data) is not None)


def find(data: bytes) -> Found | None:
    """The lines of a file of which every byte is as it was written; None of any other."""
    at = _footer_at(data)
    trailer = at - _TRAILER
    if data[-4:] != _END or trailer < 0 or data[at - len(MAGIC) : at] != MAGIC:
        return None
    start = trailer - _LENGTH.unpack_from(data, trailer)[0]
    crc = trailer + _LENGTH.size
    view = memoryview(data)
    checksum = zlib.crc32(view[crc + _CRC.size :], zlib.crc32(view[:crc]))
    if start < 0 or checksum != _CRC.unpack_from(data, crc)[0]:
        return None
    parts = data[start:trailer].split(b"\n", 2)
    return Found(*parts) if len(parts) == 3 else None


def parse(rows: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """One table of all lines under a schema, in their order; columns that are not in it are passed over.

    Raises:
        pa.ArrowException: a line is no object, or a value is not of its column's type.
    """
    if not rows:
        return schema.empty_table()
    types = plain(schema)
    options = pa.json.ParseOptions(explicit_schema=types, unexpected_field_behavior="ignore")
    block = pa.json.ReadOptions(block_size=max(_BLOCK, 2 * max(map(len, rows))))
    table = pa.json.read_json(pa.BufferReader(b"\n".join(rows)), block, options)
    if table.num_rows != sum(map(count, rows)):
        raise pa.ArrowInvalid("lines without a row")
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    return table.select(schema.names).cast(nullable)


def count(rows: bytes) -> int:
    """How many there are."""
    return rows.count(b"\n") + 1
