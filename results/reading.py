"""One table as it stands: compacted rows, and those of the fragments that no manifest covers.

Fragments are listed first and manifests after. What a compaction deletes between the two is then in the
manifest; what it deletes after makes a fragment vanish under the reader, which then begins anew.
"""

import errno
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from distiller.results.files import Files
from distiller.results.fragments import (
    BadFragmentError,
    Fragment,
    Heads,
    Quarantined,
    Unparsed,
    firsts,
    open_fragment,
)
from distiller.results.manifest import ROOT, Compacted, MovedError, generations, latest
from distiller.results.unify import unify
from distiller.spaces.errors import InputError

PAUSES = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Before each further try of a reader whose files vanish; compactions are minutes apart."""

_CHUNK, _THREADS = 64, 4
_Answer = TypeVar("_Answer")


class Snapshot(NamedTuple):
    """A table's rows: `raw` (of fragments, all columns of the table) and those of `compacted`."""

    table: str
    raw: pa.Table
    compacted: list[Compacted]
    bad: list[Quarantined]

    def dataset(self) -> Any:
        """All rows under one schema, for whoever reads but some columns and rows of them."""
        parts = [one.dataset(self.raw.schema) for one in self.compacted]
        return ds.UnionDataset(self.raw.schema, [*parts, ds.InMemoryDataset(self.raw)])

    def to_table(self) -> tuple[pa.Table, list[Quarantined]]:
        """All rows, and what had to be skipped; MovedError where a file is gone."""
        try:
            return self.dataset().to_table(), self.bad
        except FileNotFoundError as error:
            raise MovedError(str(error)) from error
        except (pa.ArrowException, OSError, ValueError):
            sound, broken = self.without_damaged()
            if not broken:
                raise
            return sound.to_table()

    def without_damaged(self) -> tuple["Snapshot", list[Quarantined]]:
        """The same without the data files that turn out to be damaged, which are then among `bad`."""
        broken = [item for one in self.compacted for item in one.drop_damaged()]
        return self._replace(bad=sorted([*self.bad, *broken])), broken

    def attempts(self, trial_ids: pa.Array) -> set[tuple[str, str, int]]:
        """Sweep, trial and attempt of the rows of these trials."""
        own = self.raw.filter(pc.is_in(self.raw.column("trial_id"), trial_ids))
        names = ("sweep", "trial_id", "attempt")
        found = set(zip(*(own.column(name).to_pylist() for name in names), strict=True))
        for one in self.compacted:
            rows = one.attempts(trial_ids.to_pylist())
            sweeps = [one.manifest.sweep] * rows.num_rows
            found |= set(zip(sweeps, *(rows.column(name).to_pylist() for name in names[1:]), strict=True))
        return found

    def moved(self, files: Files) -> bool:
        """Whether a compaction committed since."""
        return any(
            generations(files, self.table, one.manifest.sweep)[-1:] != [one.manifest.generation]
            for one in self.compacted
        )


def settled(work: Callable[[bool], _Answer]) -> _Answer:
    """`work(last)` again, a little later each time, while files vanish under it; `last` at the final try.

    Raises:
        InputError: what is listed cannot be read at all.
    """
    for pause in PAUSES:
        try:
            return work(False)
        except MovedError:
            time.sleep(pause)
    try:
        return work(True)
    except MovedError as error:
        raise InputError(
            f"--store: {error} is listed and cannot be read; try again, or restore it"
        ) from error


def snapshot(
    files: Files, table: str, sweep: str | None, columns: Sequence[str] | None = None, last: bool = True
) -> Snapshot:
    """The table of one sweep or of all; with `columns`, these core columns and none of the space's.

    Raises:
        MovedError: files vanish; unless `last`, where fragments that do are reported as skipped.
    """
    # As with fragments and manifests: a sweep whose last fragment goes is listed among the compacted.
    sweeps = [sweep] if sweep is not None else files.folders(table)
    if sweep is None:
        sweeps = sorted({*sweeps, *files.folders(f"{ROOT}/{table}")})
    paths: list[str] = []
    kinds: dict[str, pa.DataType] = {}
    compacted, bad = [], []
    for one in sweeps:
        names = [name for name in files.names(f"{table}/{one}") if name.endswith(".parquet")]
        manifest = latest(files, table, one)
        if manifest is not None:
            opened = Compacted.open(files, manifest, kinds, last)
            kinds = opened.kinds
            compacted.append(opened)
            gone = opened.covered(names)
            bad += opened.bad
            names = [name for name in names if name not in gone]
        paths += [f"{table}/{one}/{name}" for name in names]
    fragments, skipped = read_fragments(files, table, paths, columns, last)
    raw, clashes = unify(table, fragments, columns, kinds if columns is None else None)
    return Snapshot(table, raw, compacted, sorted([*bad, *skipped, *clashes]))


def read_fragments(
    files: Files, table: str, paths: Sequence[str], columns: Sequence[str] | None = None, last: bool = True
) -> tuple[list[Fragment | Unparsed], list[Quarantined]]:
    """The fragments that count, and those that are none; MovedError as `snapshot`."""

    heads = Heads()

    def parse(chunk: Sequence[str]) -> list[Fragment | Unparsed | Quarantined]:
        found = zip(chunk, files.read_many(chunk), strict=True)
        return [_parse(table, path, data, columns, last, heads) for path, data in found]

    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    with ThreadPoolExecutor(_THREADS) as pool:
        parsed = [got for part in pool.map(parse, chunks) for got in part]
    bad = [got for got in parsed if isinstance(got, Quarantined)]
    return firsts([got for got in parsed if not isinstance(got, Quarantined)]), bad


def _parse(
    table: str,
    path: str,
    data: bytes | Exception,
    columns: Sequence[str] | None,
    last: bool,
    heads: Heads,
) -> Fragment | Unparsed | Quarantined:
    if isinstance(data, Exception):
        gone = isinstance(data, FileNotFoundError) or getattr(data, "errno", None) == errno.ESTALE
        if gone and not last:
            raise MovedError(path)
        return Quarantined(path, f"not readable ({' '.join(f'{type(data).__name__}: {data}'.split())[:200]})")
    try:
        return open_fragment(table, path, data, columns, heads)
    except BadFragmentError as error:
        return Quarantined(path, str(error))
