"""`distiller import`: where tables come from, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table as Shown
from rich.text import Text

from distiller.results.imported import Imported, Table, TableMapping, parse_mapping, read_table
from distiller.results.imported.tables import SUFFIXES
from distiller.spaces.errors import InputError
from distiller.spaces.files import read_text

MOST_NOTES = 60


def source_table(source: str, study: str | None) -> Table:
    """The table that a person named: a file, or an Optuna storage.

    Raises:
        InputError: it cannot be read.
    """
    path = Path(source).expanduser()
    if "://" not in source and path.suffix.lower() in SUFFIXES:
        if study is not None:
            raise InputError(f"--study {study}: {source} is no Optuna storage; leave --study out")
        return read_table(path)
    if "://" not in source and not path.exists():
        raise InputError(f"{source}: no such file; check the path")
    from distiller.search.optuna_table import is_journal, is_sqlite, read_study

    if "://" in source:
        return read_study(source, study)
    if path.is_file() and (is_sqlite(path) or is_journal(path)):
        return read_study(str(path), study)
    raise InputError(
        f"{source}: neither a table ({', '.join(SUFFIXES)}) nor an Optuna storage; name a file of these "
        "kinds, sqlite:///FILE or an Optuna journal"
    )


def read_mapping(path: Path) -> TableMapping:
    """The mapping in a file; InputError where it is none."""
    return parse_mapping(read_text(path), str(path))


def render(found: Imported, dry: bool) -> RenderableType:
    """What an import came to, for a terminal."""
    count = found.rows.trials.num_rows
    ends = ", ".join(f"{n:,} {status}" for status, n in sorted(found.status.items()))
    curves = f", {found.rows.epochs.num_rows:,} evaluations" if found.rows.epochs.num_rows else ""
    doing = "would import" if dry else "imported" if found.written else "already there, nothing written:"
    parts: list[RenderableType] = [
        Text(f"{doing} {count:,} trials ({ends}){curves} as sweep {found.sweep}", style="bold"),
        Text(f"datasets: {', '.join(found.datasets)}"),
        _columns(found),
    ]
    parts += [Text(f"- {note}") for note in found.notes[:MOST_NOTES]]
    if len(found.notes) > MOST_NOTES:
        parts.append(Text(f"- and {len(found.notes) - MOST_NOTES} notes more (--json lists all)"))
    return Group(*parts)


def _columns(found: Imported) -> Shown:
    table = Shown("stage", "column in the store", "prior", "asked", show_edge=False, pad_edge=False)
    mapping = found.mapping
    for stage, columns in mapping.stages.items():
        for column, one in columns.items():
            when = _when(one.when) if one.when else "always"
            table.add_row(
                Text(stage),
                Text(mapping.stored(stage, column)),
                Text(str(mapping.prior(stage, column))),
                Text(when),
            )
    return table


def _when(conditions: Mapping[str, object]) -> str:
    return " and ".join(
        f"{parent} is {' or '.join(map(str, values)) if isinstance(values, tuple) else values}"
        for parent, values in conditions.items()
    )
