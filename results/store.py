"""The results store: every worker writes its own rows, every reader trusts only whole ones.

Layout: `<table>/<sweep>/<fragment>.parquet`, `sweeps/<sweep>/<frozen file>`, the marker `store.json`, and
below `compacted/` what `distiller compact` gathered (see `manifest`). No lock is taken anywhere.
while trials run `checkpoints/<sweep>/<cohort>.safetensors`, which no reader of results lists.
"""

import difflib
import errno
import json
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from distiller.results.files import Files, open_files
from distiller.results.fragments import (
    BadFragmentError,
    Quarantined,
    decode,
    encode,
    fragment_path,
    repairs,
)
from distiller.results.local_files import LocalFiles
from distiller.results.manifest import ROOT, compacted_write
from distiller.results.patience import PatientFiles
from distiller.results.reading import Snapshot, settled, snapshot
from distiller.results.schema import STATUSES, TABLES, Extra, Identity, check_name, check_table
from distiller.spaces.errors import InputError

FORMAT = 1
_MARKER = "store.json"
_KIND = "distiller results"
_log = logging.getLogger("distiller.results")

Row = Mapping[str, Any]
SORT = {
    "attempts": ("sweep", "trial_id", "attempt"),
    "trials": ("sweep", "trial_id"),
    "epochs": ("sweep", "trial_id", "attempt", "step"),
    "datasets": ("sweep", "dataset"),
}


@dataclass(frozen=True)
class Store:
    """A folder or object-store prefix of results; picklable. Get one by `Store.create` or `Store.open`."""

    files: Files

    @property
    def url(self) -> str:
        """Absolute path, or the URL it was opened by."""
        return self.files.url

    @classmethod
    def create(cls, url: str) -> "Store":
        """Makes the store or opens it, and proves by a write that it is writable; InputError otherwise."""
        store = cls(open_files(url))
        marker = json.dumps({"kind": _KIND, "format": FORMAT}) + "\n"
        probe = f".probe-{uuid.uuid4().hex}"
        try:
            store.files.put_new(_MARKER, marker.encode())
            store.files.put(probe, b"")
            store.files.remove(probe)
        except Exception as error:  # a remote filesystem raises whatever its client library does
            if isinstance(store.files, LocalFiles) and not isinstance(error, OSError):
                raise
            raise InputError(
                f"--store {store.url}: not writable ({_line(error)}); "
                "pass --store PATH of a folder you may write"
            ) from error
        store._check_marker()
        return store

    @classmethod
    def is_at(cls, url: str) -> bool:
        """Whether there is a store; InputError where that cannot be read."""
        return cls(open_files(url))._marker() is not None

    @classmethod
    def open(cls, url: str) -> "Store":
        """Opens a store that exists; InputError where there is none."""
        store = cls(open_files(url))
        store._check_marker()
        return store

    def patient(self) -> "Store":
        """The same store for those who write: what fails for a while is waited for (see `PatientFiles`)."""
        return self if isinstance(self.files, PatientFiles) else Store(PatientFiles(self.files))

    def _marker(self) -> bytes | None:
        try:
            return self.files.read(_MARKER)
        except Exception as error:
            if isinstance(self.files, LocalFiles) and not isinstance(error, OSError):
                raise
            raise InputError(
                f"--store {self.url}: not readable ({_line(error)}); "
                "pass --store PATH of a folder you may read"
            ) from error

    def _check_marker(self) -> None:
        raw = self._marker()
        remedy = "pass --store PATH of a folder that `distiller launch` or `distiller import` wrote"
        if raw is None:
            raise InputError(f"--store {self.url}: not a Distiller store (no {_MARKER}); {remedy}")
        try:
            marker = json.loads(raw)
        except ValueError as error:
            raise InputError(f"--store {self.url}: {_MARKER} is not JSON; {remedy}") from error
        if not isinstance(marker, dict) or marker.get("kind") != _KIND:
            raise InputError(f"--store {self.url}: {_MARKER} is not Distiller's; {remedy}")
        if marker.get("format") != FORMAT:
            raise InputError(
                f"--store {self.url}: format {marker.get('format')}, this Distiller reads {FORMAT}; "
                "use the version of Distiller that wrote it"
            )

    def write_attempt(self, row: Row) -> bool:
        """Records the start of an attempt; False where that attempt is recorded already (by another)."""
        return self._put_new("attempts", row, None)

    def write_epochs(self, rows: Sequence[Row]) -> None:
        """Replaces the learning curve of one attempt. They count once `write_trial` commits the attempt."""
        if not rows:
            return
        paths = {fragment_path("epochs", row) for row in rows}
        if len(paths) != 1:
            raise ValueError(f"epochs: rows of {len(paths)} attempts in one write")
        self.files.put(paths.pop(), encode("epochs", rows))

    def write_trial(self, row: Row, space_columns: Extra = None) -> bool:
        """Commits a trial's one terminal row, after its epochs. False, and the first row stays, where the
        trial has one already. ValueError on a status that is not terminal."""
        if row.get("status") not in STATUSES:
            raise ValueError(f"trials: status {row.get('status')!r} is not one of {STATUSES}")
        return self._put_new("trials", row, space_columns)

    def write_dataset(self, row: Row, extra_schema: Extra = None) -> None:
        """Writes or replaces the row of a dataset in a sweep."""
        self.files.put(fragment_path("datasets", row), encode("datasets", [row], extra_schema))

    def _put_new(self, table: str, row: Row, extra: Extra) -> bool:
        path = own = fragment_path(table, row)
        write_id, later = uuid.uuid4().hex, repairs(own)
        data = encode(table, [row], extra, write_id)
        while not self.files.put_new(path, data):
            try:
                held = self.files.read(path)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                held = b""  # a link, which is no row
            if held is None:  # taken by what cannot be seen yet, or was compacted meanwhile
                return False
            try:
                decode(table, path, held)
            except BadFragmentError as error:
                _log.warning("%s: written again beside it: %s", path, error)
                path = next(later)
            else:
                return False
        # A fragment that was compacted is gone, and its path free again for a zombie.
        name = own.rsplit("/", 1)[-1]
        compacted = settled(lambda _: compacted_write(self.files, table, row["sweep"], name))
        return compacted in (None, write_id)

    def write_text(self, sweep: str, filename: str, text: str) -> None:
        """Writes `sweeps/<sweep>/<filename>`, whole or not at all."""
        path = f"sweeps/{check_name('sweep', sweep)}/{check_name('file', filename)}"
        self.files.put(path, text.encode())

    def read_text(self, sweep: str, filename: str) -> str | None:
        """Text of `sweeps/<sweep>/<filename>`; None where there is no such file."""
        raw = self.files.read(f"sweeps/{check_name('sweep', sweep)}/{check_name('file', filename)}")
        return None if raw is None else raw.decode()

    def write_checkpoint(self, sweep: str, cohort: str, data: bytes) -> None:
        """Writes or replaces the student checkpoint of a cohort (or of one trial)."""
        self.files.put(_checkpoint_path(sweep, cohort), data)

    def read_checkpoint(self, sweep: str, cohort: str) -> bytes | None:
        """The last student checkpoint of a cohort; None where there is none."""
        return self.files.read(_checkpoint_path(sweep, cohort))

    def remove_checkpoint(self, sweep: str, cohort: str) -> None:
        """Removes it, once its trials have their terminal rows; `_removing` says what goes wrong."""
        path = _checkpoint_path(sweep, cohort)
        with self._removing(path):
            self.files.remove(path)

    def remove_checkpoints(self, sweep: str) -> None:
        """Removes all of a sweep that is over, and what killed writers left half-written beside them."""
        path = f"checkpoints/{check_name('sweep', sweep)}"
        with self._removing(path):
            self.files.remove_folder(path)

    @contextmanager
    def _removing(self, path: str) -> Iterator[None]:
        """What is gone already is fine; what will not go is said and left: no result depends on it."""
        try:
            yield
        except FileNotFoundError:
            return
        except Exception as error:  # a remote filesystem raises whatever its client library does
            if isinstance(self.files, LocalFiles) and not isinstance(error, OSError):
                raise
            _log.warning("%s: not removed (%s)", path, _line(error))

    def sweeps(self) -> list[str]:
        """Names of all sweeps that have written anything, sorted."""
        places = ("sweeps", *TABLES, *(f"{ROOT}/{table}" for table in TABLES))
        return sorted({name for place in places for name in self.files.folders(place)})

    def check_sweep(self, sweep: str) -> str:
        """The name itself; InputError with the nearest right one where the store has no such sweep."""
        known = self.sweeps()
        if sweep not in known:
            near = difflib.get_close_matches(sweep, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "it has " + (", ".join(known[:10]) or "none yet")
            raise InputError(f"--sweep {sweep[:120]!r}: no such sweep in {self.url}; {hint}")
        return sweep

    def read(self, table: str, sweep: str | None = None) -> pa.Table:
        """All rows of a table, of one sweep or of all; what had to be skipped goes to the log as warnings."""
        rows, bad = self.read_with_report(table, sweep)
        warn_of(bad)
        return rows

    def read_with_report(
        self, table: str, sweep: str | None = None, *, committed: bool = True
    ) -> tuple[pa.Table, list[Quarantined]]:
        """All rows of a table, sorted by identity, and the fragments that were skipped, with the reason.

        Core columns are always there, space columns where some fragment has them. Epochs are those of
        attempts that a terminal row names; with `committed=False` also those of running or lost attempts.
        """
        check_table(table)
        if sweep is not None:
            self.check_sweep(sweep)

        def whole(last: bool) -> tuple[pa.Table, list[Quarantined]]:
            return self._snapshot(table, sweep, last, committed=committed).to_table()

        rows, bad = settled(whole)
        return rows.sort_by([(name, "ascending") for name in SORT[table]]), bad

    def scan(self, table: str, sweep: str | None = None) -> Snapshot:
        """As `read`, for whoever wants but some columns and rows: what is compacted is not read yet."""
        check_table(table)
        if sweep is not None:
            self.check_sweep(sweep)
        found = settled(lambda last: self._snapshot(table, sweep, last))
        warn_of(found.bad)
        return found._replace(raw=found.raw.sort_by([(name, "ascending") for name in SORT[table]]))

    def _snapshot(
        self,
        table: str,
        sweep: str | None,
        last: bool,
        columns: Sequence[str] | None = None,
        committed: bool = True,
    ) -> Snapshot:
        found = snapshot(self.files, table, sweep, columns, last)
        if table == "epochs" and committed and found.raw.num_rows:  # only those that count are compacted
            trials = self._snapshot("trials", sweep, last, ())
            terminal = trials.attempts(found.raw.column("trial_id").unique())
            counts = pa.array([key in terminal for key in _keys(found.raw)], pa.bool_())
            found = found._replace(raw=found.raw.filter(counts))
        return found

    def finished(self, sweep: str) -> dict[Identity, str]:
        """Status of every trial of the sweep that has its terminal row."""
        check_name("sweep", sweep)
        rows = settled(lambda last: self._snapshot("trials", sweep, last, ("status",)).to_table())[0]
        return {_identity(row): row["status"] for row in rows.to_pylist()}

    def unfinished_attempts(self, sweep: str) -> list[dict[str, Any]]:
        """The latest attempt of every trial of the sweep that has no terminal row, sorted by trial."""
        done = self.finished(sweep)
        latest: dict[Identity, dict[str, Any]] = {}
        rows = settled(lambda last: self._snapshot("attempts", sweep, last).to_table())[0]
        for row in rows.sort_by("attempt").to_pylist():
            if (identity := _identity(row)) not in done:
                latest[identity] = row
        return [latest[identity] for identity in sorted(latest)]


def warn_of(bad: Sequence[Quarantined]) -> None:
    """Say what was skipped."""
    for item in bad[:5]:
        _log.warning("skipped %s: %s", item.path, item.reason)
    if len(bad) > 5:
        _log.warning("skipped %d fragments more", len(bad) - 5)


def _checkpoint_path(sweep: str, cohort: str) -> str:
    return f"checkpoints/{check_name('sweep', sweep)}/{check_name('cohort', cohort)}.safetensors"


def _identity(row: Row) -> Identity:
    return Identity(row["sweep"], row["dataset"], row["config_id"], row["seed"], row["role"])


def _keys(rows: pa.Table) -> list[tuple[str, str, int]]:
    names = ("sweep", "trial_id", "attempt")
    return list(zip(*(rows.column(name).to_pylist() for name in names), strict=True))


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
