"""What compaction has made: few large Parquet files, and the numbered manifests that say which ones count.

`compacted/<table>/<sweep>/<generation>.json` names the data files beside it. The greatest generation counts;
each holds every row of the one before. A manifest is put where none of its number is, so of several
compactions at once one commits, and it is never removed, so that its number is never free again.

A row that is in a data file counts, whatever a fragment of its identity says: the fragment is either what was
compacted, or came later from a zombie. The column `_write_id` tells a writer which of the two its own is.
"""

import json
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from distiller.results.files import Files
from distiller.results.fragments import Quarantined, own_path
from distiller.results.schema import IDENTITY, SCHEMA_VERSION, TABLE_KEY, VERSION_KEY
from distiller.results.unify import merge_kinds
from distiller.spaces.errors import InputError

ROOT = "compacted"
WRITE_COLUMN = "_write_id"
DATA_FILE = re.compile(r"(\d{8})-[0-9a-f]{32}\.parquet")
_MANIFEST = re.compile(r"(\d{8})\.json")
_READ_ERRORS = (pa.ArrowException, OSError, ValueError)
_FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)


class MovedError(Exception):
    """A reader's listing is older than the files: a compaction took some away, or they cannot be seen yet."""


class Key(NamedTuple):
    """What a row of a sweep is known by; `attempt` is None in the trials table."""

    trial_id: str
    attempt: int | None


def key_of(table: str, name: str) -> Key | None:
    """The key in a fragment's file name; None of a name that no fragment has."""
    stem = own_path(name).removesuffix(".parquet")
    if table == "trials":
        return Key(stem, None)
    trial_id, _, attempt = stem.rpartition(".")
    return Key(trial_id, int(attempt)) if re.fullmatch(r"\d{1,18}", attempt) else None


def folder(table: str, sweep: str) -> str:
    """Where a sweep's manifests and data files of a table are."""
    return f"{ROOT}/{table}/{sweep}"


@dataclass(frozen=True)
class Manifest:
    """The data files that count until the next commit: by name their `rows` and their footers' checksums.

    Pages have checksums of their own in Parquet, footers have none.
    """

    table: str
    sweep: str
    generation: int
    committed_at: datetime
    rows: dict[str, int]
    footers: dict[str, int]

    @property
    def path(self) -> str:
        return f"{folder(self.table, self.sweep)}/{self.generation:08d}.json"

    def to_json(self) -> bytes:
        """As text, for the store."""
        facts = {"committed_at": self.committed_at.isoformat(), "rows": self.rows, "footers": self.footers}
        return (json.dumps({"table": self.table, "sweep": self.sweep, **facts}) + "\n").encode()

    @classmethod
    def from_json(cls, path: str, data: bytes) -> "Manifest":
        """What `to_json` wrote; InputError where it is anything else: no reader may do without it."""
        _, table, sweep, name = path.split("/")
        try:
            told = json.loads(data)
            when = datetime.fromisoformat(told["committed_at"])
            rows = {file: int(count) for file, count in told["rows"].items()}
            footers = {file: int(checksum) for file, checksum in told["footers"].items()}
            sound = (
                rows.keys() == footers.keys()
                and told["table"] == table
                and told["sweep"] == sweep
                and when.tzinfo is not None
            )
        except (ValueError, LookupError, TypeError, AttributeError):
            sound = False
        if not sound or not all(map(DATA_FILE.fullmatch, rows)):
            raise InputError(f"{path}: torn or no manifest of Distiller's; put the file back from a backup")
        return cls(table, sweep, int(name.removesuffix(".json")), when, rows, footers)


def generations(files: Files, table: str, sweep: str) -> list[int]:
    """Numbers of all manifests, ascending."""
    found = map(_MANIFEST.fullmatch, files.names(folder(table, sweep)))
    return sorted(int(match.group(1)) for match in found if match)


def read_manifest(files: Files, table: str, sweep: str, generation: int) -> Manifest:
    """One manifest that was listed; MovedError where it cannot be seen yet."""
    path = f"{folder(table, sweep)}/{generation:08d}.json"
    data = files.read(path)
    if data is None:
        raise MovedError(path)
    return Manifest.from_json(path, data)


def latest(files: Files, table: str, sweep: str) -> Manifest | None:
    """The manifest that counts; None where nothing was compacted."""
    numbers = generations(files, table, sweep)
    return read_manifest(files, table, sweep, numbers[-1]) if numbers else None


@dataclass(frozen=True)
class Compacted:
    """A manifest's data files, open. `kinds` are the types of their space columns.

    `bad` are those that cannot be read: what fragments remain of their rows counts instead.
    """

    manifest: Manifest
    opened: dict[str, Any]
    schemas: dict[str, pa.Schema]
    kinds: dict[str, pa.DataType]
    bad: list[Quarantined]

    @classmethod
    def open(
        cls,
        files: Files,
        manifest: Manifest,
        kinds: dict[str, pa.DataType] | None = None,
        last: bool = False,
    ) -> "Compacted":
        """`kinds` are known already. MovedError where a file is gone; at the `last` try it is `bad`."""
        found = cls(manifest, {}, {}, dict(kinds or {}), [])
        for name in manifest.rows:
            path = f"{folder(manifest.table, manifest.sweep)}/{name}"
            try:
                file = files.open(path)
                if footer_checksum(file) != manifest.footers[name]:
                    raise ValueError("the checksum of its footer does not fit")
                schema = pq.read_schema(file)
            except FileNotFoundError as error:
                if not last:
                    raise MovedError(path) from error
                found.bad.append(Quarantined(path, "gone"))
                continue
            except _READ_ERRORS as error:
                found.bad.append(Quarantined(path, f"torn or not Parquet ({_line(error)})"))
                continue
            named = schema.remove(at) if (at := schema.get_field_index(WRITE_COLUMN)) >= 0 else schema
            why = _foreign(manifest.table, schema) or merge_kinds(manifest.table, found.kinds, named)
            if why:
                found.bad.append(Quarantined(path, why))
            else:
                found.opened[name], found.schemas[name] = file, schema
        return found

    def dataset(self, schema: pa.Schema, names: Iterable[str] | None = None) -> Any:
        """The rows of all files (or of these) under `schema`, read only where they are asked for."""
        fragments = [_FORMAT.make_fragment(self.opened[n]) for n in (self.opened if names is None else names)]
        return ds.FileSystemDataset(fragments, schema, _FORMAT)

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """One file's rows, checksums verified."""
        schema = self.schemas[name].remove_metadata()
        return self.dataset(schema, [name]).to_table(columns=columns)

    def check(self) -> list[Quarantined]:
        """Reads everything; the files that turn out to be damaged. MovedError where one is gone."""
        broken = []
        for name in self.opened:
            path = f"{folder(self.manifest.table, self.manifest.sweep)}/{name}"
            try:
                if (count := self.read(name).num_rows) != self.manifest.rows[name]:
                    broken.append(Quarantined(path, f"{count} rows, not {self.manifest.rows[name]}"))
            except FileNotFoundError as error:
                raise MovedError(path) from error
            except _READ_ERRORS as error:
                broken.append(Quarantined(path, f"damaged ({_line(error)})"))
        return broken

    def drop_damaged(self) -> list[Quarantined]:
        """The files that `check` finds are then among the `bad`."""
        broken = self.check()
        for item in broken:
            del self.opened[item.path.rsplit("/", 1)[-1]]
        self.bad.extend(broken)
        return broken

    @cached_property
    def _identity(self) -> pa.Schema:
        return pa.schema([("trial_id", pa.string()), ("attempt", pa.int64())])

    def attempts(self, trial_ids: Sequence[str], columns: pa.Schema | None = None) -> pa.Table:
        """trial_id and attempt (and `columns`) of the rows of these trials."""
        schema = self._identity if columns is None else pa.schema([*self._identity, *columns])
        if not trial_ids or not self.opened:
            return schema.empty_table()
        low, high = min(trial_ids), max(trial_ids)
        field = pc.field("trial_id")
        # The bounds let the statistics of a sorted file rule most of it out.
        wanted = (field >= low) & (field <= high) & field.isin(pa.array(trial_ids, pa.string()))
        try:
            return self.dataset(schema).to_table(filter=wanted)
        except FileNotFoundError as error:
            raise MovedError(self.manifest.path) from error
        except _READ_ERRORS:
            if not self.drop_damaged():
                raise
            return self.attempts(trial_ids, columns)

    def covered(self, names: Sequence[str]) -> set[str]:
        """Those of the fragments' names whose identity is compacted."""
        table = self.manifest.table
        keys = {name: key for name in names if (key := key_of(table, name)) is not None}
        rows = self.attempts(sorted({key.trial_id for key in keys.values()}))
        ids = rows.column("trial_id").to_pylist()
        numbers = [None] * len(ids) if table == "trials" else rows.column("attempt").to_pylist()
        known = set(map(Key, ids, numbers))
        return {name for name, key in keys.items() if key in known}


def footer_checksum(file: Any) -> int:
    """CRC-32 of a Parquet file's footer; ValueError where there is none."""
    end = file.size() - 8
    file.seek(max(end, 0))
    start = end - int.from_bytes(file.read(4), "little")
    if start < 0:
        raise ValueError("no footer")
    file.seek(start)
    return zlib.crc32(file.read())


def compacted_write(files: Files, table: str, sweep: str, name: str) -> str | None:
    """Which write of a fragment's name is compacted, by its `write_id` ('' where that is not known).

    None where none is. MovedError as `Compacted.open`.
    """
    manifest, key = latest(files, table, sweep), key_of(table, name)
    if manifest is None or key is None:
        return None
    columns = pa.schema([(WRITE_COLUMN, pa.string())])
    rows = Compacted.open(files, manifest).attempts([key.trial_id], columns).to_pylist()
    writes = (row[WRITE_COLUMN] or "" for row in rows if key.attempt in (None, row["attempt"]))
    return next(writes, None)


def _foreign(table: str, schema: pa.Schema) -> str | None:
    metadata = schema.metadata or {}
    version = metadata.get(VERSION_KEY, b"")
    if metadata.get(TABLE_KEY) != table.encode() or not version.isdigit():
        return f"foreign: no data file of {table}"
    if int(version) > SCHEMA_VERSION:
        return f"schema version {int(version)} is newer than {SCHEMA_VERSION}: upgrade Distiller"
    missing = [name for name in IDENTITY[table] if name not in schema.names]
    return f"foreign: no column {missing[0]}" if missing else None


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
