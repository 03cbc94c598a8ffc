"""Compaction: thousands of fragments into few large files, while others write and read.

Each step leaves every row readable exactly once, so that a compaction may be killed between any two:

1. fragments that no manifest covers are read, and with them the smaller data files;
2. their rows go into a new data file, which nobody knows of yet;
3. the next manifest names it: this is the commit, and of several compactions at once one makes it;
4. what a manifest that everybody sees makes superfluous is removed.

A commit may be seen late elsewhere (an NFS client shows a folder as it was up to a minute ago), so step 4
goes by the newest manifest that is `settle` seconds old. Until then readers pass over covered fragments by
name, which costs next to nothing.
"""

import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq

from distiller.results.files import Files
from distiller.results.fragments import Fragment, Unparsed, own_path
from distiller.results.manifest import (
    DATA_FILE,
    WRITE_COLUMN,
    Compacted,
    Manifest,
    MovedError,
    folder,
    footer_checksum,
    generations,
    key_of,
    latest,
    read_manifest,
)
from distiller.results.reading import PAUSES, read_fragments, settled
from distiller.results.schema import core_schema
from distiller.results.store import SORT, Store
from distiller.results.unify import unify
from distiller.spaces.errors import InputError

COMPACTED = ("trials", "attempts", "epochs")
"""In this order: epochs wait for their trials. Datasets are few, and replaced."""

SETTLE_SECONDS = 120.0
"""How late another machine may see a commit: NFS shows a folder up to 60 s late (acdirmax) unless told
otherwise, and clocks differ."""

ROUND = 20_000
"""Fragments that one commit takes at most: they are in memory together, at about 20 KB each."""

ABANDONED_SECONDS = 86_400.0
"""A file that is half-written for so long has no writer any more: no write waits for longer than minutes."""

FILE_ROWS = 250_000
"""A data file that has so many rows is not merged any further."""

ROW_GROUP = 65_536
_log = logging.getLogger("distiller.results")


def now() -> datetime:
    """The present in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Compaction:
    """What was done to one table of a sweep.

    Attributes:
        rows: that were compacted now.
        total: rows in data files.
        files: data files that hold them.
        removed: fragments and files that were superfluous.
        waiting: fragments that are, and are kept until the commit has settled.
    """

    sweep: str
    table: str
    rows: int
    total: int
    files: int
    removed: int
    waiting: int

    @property
    def said(self) -> str:
        """The same on one line."""
        files = f"{self.total:,} in {self.files} file{'s' * (self.files != 1)}"
        later = f"; {self.waiting:,} small files go at a later `compact`" if self.waiting else ""
        done = f"{self.rows:,} rows compacted ({files}), {self.removed:,} files removed"
        return f"{self.sweep}: {self.table}: {done}{later}"


def compact(store: Store, sweep: str | None = None, settle: float = SETTLE_SECONDS) -> list[Compaction]:
    """Compacts one sweep, or all; may run at any time, and several at once.

    Args:
        settle: seconds after which every machine sees a commit; 0 suits a local disk or an object store.

    Raises:
        InputError: no such sweep, a filesystem on which no commit is exclusive, or a data file that is
            damaged and not to be relied on.
    """
    if not store.files.exclusive:
        raise InputError(
            f"--store {store.url}: this filesystem cannot put a file only where there is none, which a "
            "commit rests on; copy the store to a folder or to S3 and compact it there"
        )
    sweeps = store.sweeps() if sweep is None else [store.check_sweep(sweep)]
    return [_compact_table(store.files, table, one, settle) for one in sweeps for table in COMPACTED]


def remove_abandoned(store: Store) -> int:
    """Removes the half-written files of writers that were killed a day ago or longer; how many there were."""
    return store.files.remove_abandoned(ABANDONED_SECONDS)


def _compact_table(files: Files, table: str, sweep: str, settle: float) -> Compaction:
    names = [name for name in files.names(f"{table}/{sweep}") if name.endswith(".parquet")]
    rows = 0
    for start in range(0, len(names), ROUND):
        rows += _retried(files, table, sweep, names[start : start + ROUND], settle)
    removed, waiting = settled(lambda _: remove_superfluous(files, table, sweep, settle))
    manifest = settled(lambda _: latest(files, table, sweep))
    counts = manifest.rows if manifest else {}
    return Compaction(sweep, table, rows, sum(counts.values()), len(counts), removed, waiting)


def _retried(files: Files, table: str, sweep: str, names: Sequence[str], settle: float) -> int:
    for pause in PAUSES:
        rows = settled(lambda last: _commit(files, table, sweep, names, settle, last))
        if rows is not None:
            return rows
        time.sleep(pause)
    _log.warning("%s of %s: left to another compaction, which commits at this time", table, sweep)
    return 0


def _commit(
    files: Files, table: str, sweep: str, names: Sequence[str], settle: float, last: bool
) -> int | None:
    """Rows that were compacted; None where another compaction committed first."""
    manifest = latest(files, table, sweep)
    opened = Compacted.open(files, manifest) if manifest else None
    gone = opened.covered(names) if opened else set()
    fresh = [name for name in names if name not in gone]
    if table == "epochs":
        fresh = _final(files, sweep, fresh, settle)
    fragments, _ = read_fragments(files, table, [f"{table}/{sweep}/{name}" for name in fresh], None, last)
    rows, clashes = unify(table, fragments, None, opened.kinds if opened else None)
    if not rows.num_rows:
        return 0
    clashing = {item.path for item in clashes}
    whole = _with_write_ids(table, rows, [one for one in fragments if one.path not in clashing])
    counts = dict(manifest.rows) if manifest else {}
    footers = dict(manifest.footers) if manifest else {}
    for name in _to_merge(counts, rows.num_rows, opened.opened if opened else ()):
        assert opened is not None
        try:
            old = opened.read(name)
        except FileNotFoundError as error:
            raise MovedError(name) from error
        except (pa.ArrowException, OSError, ValueError) as error:
            _log.warning("%s/%s: left as it is: %s", folder(table, sweep), name, error)
            continue
        whole = pa.concat_tables([whole, old], promote_options="permissive")
        del counts[name], footers[name]
    generation = manifest.generation + 1 if manifest else 1
    name = f"{generation:08d}-{uuid.uuid4().hex}.parquet"
    path = f"{folder(table, sweep)}/{name}"
    data = write_data(table, whole)
    files.put(path, data)
    counts[name], footers[name] = whole.num_rows, footer_checksum(pa.BufferReader(data))
    commit = Manifest(table, sweep, generation, now(), counts, footers)
    if files.put_new(commit.path, commit.to_json()):
        return int(rows.num_rows)
    _remove(files, path)
    return None


def _final(files: Files, sweep: str, names: Sequence[str], settle: float) -> list[str]:
    """Names of the epochs that nobody replaces any more: of attempts whose terminal row is compacted.

    What was replaced just before that row may be seen late, as a commit may.
    """
    manifest = latest(files, "trials", sweep)
    if manifest is None:
        return []
    keys = {name: key for name in names if (key := key_of("epochs", name)) is not None}
    columns = pa.schema([core_schema("trials").field("ended_at")])
    trials = Compacted.open(files, manifest).attempts(
        sorted({key.trial_id for key in keys.values()}), columns
    )
    before = now() - timedelta(seconds=settle)
    final = {
        (row["trial_id"], row["attempt"])
        for row in trials.to_pylist()
        if not settle or (row["ended_at"] is not None and row["ended_at"] <= before)
    }
    return [name for name, key in keys.items() if key in final]


def _with_write_ids(table: str, rows: pa.Table, fragments: Iterable[Fragment | Unparsed]) -> pa.Table:
    if table == "epochs":  # replaced, not put where none is
        return rows
    writes = {key_of(table, own_path(one.path).rsplit("/", 1)[-1]): one.write_id for one in fragments}
    numbers = [None] * rows.num_rows if table == "trials" else rows.column("attempt").to_pylist()
    keys = zip(rows.column("trial_id").to_pylist(), numbers, strict=True)
    ids = pa.array([writes[key] for key in keys], pa.string())  # type: ignore[index]
    return rows.append_column(WRITE_COLUMN, ids)


def _to_merge(counts: dict[str, int], rows: int, readable: Iterable[str]) -> list[str]:
    """Data files that are not much larger than what is added to them: so files are few, and each row is
    written again only as often as the table doubles."""
    merged = []
    for name in sorted(readable, key=lambda name: (counts[name], name)):
        if counts[name] > 2 * rows or rows + counts[name] > FILE_ROWS:
            break
        rows += counts[name]
        merged.append(name)
    return merged


def write_data(table: str, rows: pa.Table) -> bytes:
    """Rows of one sweep as a data file: sorted, so that statistics find a trial, and with page checksums."""
    core = core_schema(table)
    ordered = rows.sort_by([(name, "ascending") for name in SORT[table]])
    sink = pa.BufferOutputStream()
    pq.write_table(
        ordered.replace_schema_metadata(core.metadata),
        sink,
        row_group_size=ROW_GROUP,
        compression="zstd",
        write_page_checksum=True,
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def remove_superfluous(files: Files, table: str, sweep: str, settle: float) -> tuple[int, int]:
    """Removes what the newest settled manifest covers; how many went, and how many fragments still wait.

    By the manifests as they are listed now, not by what this compaction believes to have committed: one that
    slept for long may have been overtaken.
    """
    names = [name for name in files.names(f"{table}/{sweep}") if name.endswith(".parquet")]
    numbers = generations(files, table, sweep)
    if not numbers:
        return 0, 0
    newer: list[Manifest] = []
    before = now() - timedelta(seconds=settle)
    for number in reversed(numbers):
        newer.append(read_manifest(files, table, sweep, number))
        if newer[-1].committed_at <= before:
            break
    head, oldest = newer[0], newer[-1]
    covered = Compacted.open(files, head).covered(names)
    if oldest.committed_at > before:
        return 0, len(covered)
    try:
        opened = Compacted.open(files, oldest)
    except MovedError:  # a compaction by a clock ahead of this one is at it
        return 0, len(covered)
    going = sorted(opened.covered(names))
    if going and (broken := [*opened.bad, *opened.check()]):  # not one row goes before its copy was read
        reasons = "; ".join(f"{item.path}: {item.reason}" for item in broken)
        raise InputError(f"{reasons}; remove nothing more here, and put the file back from a backup")
    kept = {name for manifest in newer for name in manifest.rows}
    removed = 0
    for name in going:
        removed += _remove(files, f"{table}/{sweep}/{name}")
    for name in files.names(folder(table, sweep)):
        data = DATA_FILE.fullmatch(name)
        # One of a later generation may be of a compaction that is about to commit.
        if data and int(data.group(1)) <= oldest.generation and name not in kept:
            removed += _remove(files, f"{folder(table, sweep)}/{name}")
    return removed, len(covered) - len(going)


def _remove(files: Files, path: str) -> bool:
    try:
        files.remove(path)
    except FileNotFoundError:  # another compaction was quicker
        return False
    return True
