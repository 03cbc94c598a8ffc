"""From a table and its mapping to a sweep in the store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from distiller.results.compaction import SETTLE_SECONDS, remove_superfluous
from distiller.results.design import Design
from distiller.results.differences import difference
from distiller.results.files import Files, open_files
from distiller.results.frozen import OVER
from distiller.results.imported.cells import ARROW
from distiller.results.imported.columns import Rows, dataset_names, metric_of, stored_rows
from distiller.results.imported.committing import commit_rows, generation_of
from distiller.results.imported.kept import MAPPING, RECORD, import_record
from distiller.results.imported.mapping import TableMapping, parse_mapping, snake
from distiller.results.imported.questions import design_of
from distiller.results.imported.settling import check_columns, settle
from distiller.results.imported.tables import Table
from distiller.results.imported.trials import read_trials
from distiller.results.schema import FLOAT, INT
from distiller.results.store import Store
from distiller.spaces.catalog import column_types
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import NAME


@dataclass(frozen=True)
class Imported:
    """What an import came to, or would come to.

    Attributes:
        design: what was searched, on every dataset.
        notes: what was taken for granted, one sentence each.
        written: whether rows were written; False of a dry run, and where the store has them already.
        status: trials by how they ended.
    """

    sweep: str
    source: str
    mapping: TableMapping
    design: Design
    rows: Rows
    notes: tuple[str, ...]
    status: Mapping[str, int]
    written: bool = False

    @property
    def datasets(self) -> list[str]:
        return [row["dataset"] for row in self.rows.datasets]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them."""
        return {
            "sweep": self.sweep,
            "source": self.source,
            "written": self.written,
            "trials": dict(self.status),
            "evaluations": self.rows.epochs.num_rows,
            "datasets": self.datasets,
            "stages": {
                snake(stage): [self._told(stage, column) for column in columns]
                for stage, columns in self.mapping.stages.items()
            },
            "notes": list(self.notes),
            "mapping": self.mapping.document(),
        }

    def _told(self, stage: str, column: str) -> dict[str, Any]:
        prior, when = self.mapping.prior(stage, column), self.mapping.stages[stage][column].when
        assert prior is not None
        stored = self.mapping.stored(stage, column)
        return {"column": stored, "from": column, "prior": prior.written(), "when": dict(when)}


def read_import(table: Table, mapping: TableMapping) -> Imported:
    """What importing the table comes to; nothing is written.

    Raises:
        InputError: the table is not what the mapping says; one line with the place and the remedy.
    """
    sweep = mapping.name or table.name
    if not NAME.fullmatch(sweep):
        raise InputError(
            f"name: {sweep[:60]!r} of {table.source} is no usable name; write `name:` in the mapping"
        )
    check_columns(table, mapping)
    trials = read_trials(table, mapping, metric_of(mapping))
    notes = [*table.notes, *trials.notes]
    trials.facts["dataset"] = dataset_names(trials.facts["dataset"], sweep, notes)
    trials.notes.clear()
    roles, origins = trials.facts["role"], trials.facts["origin"]
    drawn = [role == "search" and origin != "warm" for role, origin in zip(roles, origins, strict=True)]
    failed = [status == "failed" for status in trials.facts["status"]]
    settled = settle(table, mapping, trials.last, trials.facts["dataset"], drawn, failed)
    final = settled.mapping.model_copy(update={"name": sweep})
    rows = stored_rows(table, mapping, sweep, trials, settled, version("kd-distiller"))
    reread = parse_mapping(final.to_yaml(), MAPPING)  # what is kept reads back, or nothing is
    notes += [*settled.notes, *trials.notes]
    status = Counter(rows.trials.column("status").to_pylist())
    return Imported(
        sweep, table.source, reread, design_of(reread), rows, tuple(dict.fromkeys(notes)), dict(status)
    )


def import_into(url: str, table: Table, mapping: TableMapping, again: bool = False) -> Imported:
    """As `import_table`, into the store at a path or URL.

    Where there is none it is made once nothing speaks against the import: a refused one leaves nothing.
    """
    found = read_import(table, mapping)
    if not Store.is_at(url):
        _check_exclusive(open_files(url))
        _check_types(None, found)
    return _import(Store.create(url), found, again)


def import_table(store: Store, table: Table, mapping: TableMapping, again: bool = False) -> Imported:
    """Writes the table as a sweep of the store; `again` puts it in the place of an earlier import.

    A table that is there already is written no second time. Killed between any two writes, the same import
    begins anew.

    Raises:
        InputError: as `read_import`; a launched sweep has the name, or another table or mapping; a column has
            another type elsewhere in the store.
    """
    return _import(store, read_import(table, mapping), again)


def _import(store: Store, found: Imported, again: bool) -> Imported:
    store = store.patient()
    _check_exclusive(store.files)
    before = import_record(store, found.sweep)
    if before:
        if _is_same(store, found, before, again):
            return found
    elif found.sweep in store.sweeps():
        raise InputError(f"sweep {found.sweep!r} was launched into {store.url}; write another `name:`")
    _check_types(store, found)
    _write(store, found)
    return replace(found, written=True)


def _check_exclusive(files: Files) -> None:
    if not files.exclusive:
        raise InputError(
            f"--store {files.url}: this filesystem cannot put a file only where there is none, which a "
            "commit rests on; import into a folder or into S3"
        )


def _is_same(store: Store, found: Imported, before: Mapping[str, Any], again: bool) -> bool:
    """Whether the store has just this; InputError where it has something else of that name."""
    if not before["done"]:
        return False
    text = store.read_text(found.sweep, MAPPING) or ""
    old = parse_mapping(text, f"{store.url}: sweeps/{found.sweep}/{MAPPING}").document()
    change = difference(old, found.mapping.document())
    if change is None and before["digest"] == found.rows.digest:
        return True
    if again:
        return False
    if change is None:
        change = f"rows: {before['trials']} -> {found.rows.trials.num_rows}, or other values"
    raise InputError(
        f"sweep {found.sweep!r} was imported before from something else ({change}); undo the change, write "
        "another `name:`, or put this in its place with --replace"
    )


def _check_types(store: Store | None, found: Imported) -> None:
    """One name has one type in a store, and those of the choices of KD are taken; None is a store to be."""
    known = {name: ARROW[kind] for name, kind in column_types().items()}
    if store is not None:
        for sweep in store.sweeps():
            if sweep != found.sweep:
                known |= {field.name: field.type for field in store.scan("trials", sweep).raw.schema}
    schema = found.rows.trials.schema
    for stage, columns in found.mapping.stages.items():
        for column in columns:
            name = found.mapping.stored(stage, column)
            one, other = schema.field(name).type, known.get(name)
            if other is not None and one != other and {one, other} != {INT, FLOAT}:
                raise InputError(
                    f"stages.{stage}.{column}: would be {name} of type {one}, which is {other} elsewhere; "
                    "write {as: name}"
                )


def _write(store: Store, found: Imported) -> None:
    """In this order: until the record says that it is done, no analysis relies on what is there. Of two
    imports at once, one commits the epochs, and the other ends there."""
    sweep, datasets = found.sweep, found.datasets
    record = {
        "done": False,
        "source": found.source,
        "digest": found.rows.digest,
        "trials": found.rows.trials.num_rows,
        "datasets": datasets,
        "imported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "distiller_version": version("kd-distiller"),
        "notes": list(found.notes),
    }
    tables: dict[str, pa.Table] = {"epochs": found.rows.epochs, "trials": found.rows.trials}
    after = {table: generation_of(store, table, sweep) for table in tables}
    store.write_text(sweep, RECORD, json.dumps(record, indent=1))
    for table, rows in tables.items():
        commit_rows(store, table, sweep, rows, after[table])
    for row in found.rows.datasets:
        store.write_dataset(row)
    for name in store.files.names(f"datasets/{sweep}"):
        if name.removesuffix(".parquet") not in datasets:
            store.files.remove(f"datasets/{sweep}/{name}")
    store.write_text(sweep, OVER, json.dumps({"trials": record["trials"]}))
    store.write_text(sweep, MAPPING, found.mapping.to_yaml())
    store.write_text(sweep, RECORD, json.dumps(record | {"done": True}, indent=1))
    for table in tables:
        remove_superfluous(store.files, table, sweep, SETTLE_SECONDS)
