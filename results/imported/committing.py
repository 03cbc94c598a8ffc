"""Thousands of rows into the store at once: one data file, and the manifest that makes it count.

A fragment per trial, as workers write them, takes an fsync each. An import has all its rows in hand, so that
it commits as a compaction does: the data file first, which nobody knows of yet, then the manifest that names
it.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pyarrow as pa

from distiller.results.compaction import write_data
from distiller.results.manifest import Manifest, folder, footer_checksum, generations
from distiller.results.store import Store
from distiller.spaces.errors import InputError


def generation_of(store: Store, table: str, sweep: str) -> int:
    """The number of the manifest that counts; 0 where there is none."""
    return max(generations(store.files, table, sweep), default=0)


def commit_rows(store: Store, table: str, sweep: str, rows: pa.Table, after: int) -> None:
    """Makes `rows` all that the sweep's table has, in place of those that manifest `after` names.

    Raises:
        InputError: another one committed since.
    """
    generation = after + 1
    counts: dict[str, int] = {}
    footers: dict[str, int] = {}
    path = None
    if rows.num_rows:
        name = f"{generation:08d}-{uuid.uuid4().hex}.parquet"
        path = f"{folder(table, sweep)}/{name}"
        data = write_data(table, rows)
        store.files.put(path, data)
        counts[name], footers[name] = rows.num_rows, footer_checksum(pa.BufferReader(data))
    commit = Manifest(table, sweep, generation, datetime.now(UTC), counts, footers)
    if not store.files.put_new(commit.path, commit.to_json()):
        if path is not None:
            store.files.remove(path)
        raise InputError(
            f"sweep {sweep!r}: another import of this name commits at this time; look at its rows"
        )
