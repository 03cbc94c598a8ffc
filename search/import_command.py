"""`distiller import`, loaded with the command line: it imports only what that has already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distiller.search.terminal import STORE, JsonOption, StoreOption, console, print_json
from distiller.spaces.errors import InputError


def import_trials(
    source: Annotated[
        str,
        typer.Argument(
            help="A table of trials (CSV, Parquet, JSON lines, an MLflow export) or an Optuna storage "
            "(sqlite:///FILE, a journal file)."
        ),
    ],
    mapping: Annotated[
        Path | None, typer.Option(help="YAML that says what its columns are; --suggest prints a first one.")
    ] = None,
    store: StoreOption = STORE,
    suggest: Annotated[bool, typer.Option("--suggest", help="Print a first mapping, to be edited.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be imported; write nothing.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of an earlier import of its name.")
    ] = False,
    study: Annotated[str | None, typer.Option(help="Which study of an Optuna storage.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a table of trials of your own: it becomes a sweep, which every analysis works on."""
    from distiller.results.imported import import_into, read_import
    from distiller.results.imported import suggest as suggested
    from distiller.search.importing import read_mapping, render, source_table

    table = source_table(source, study)
    if suggest:
        typer.echo(suggested(table), nl=False)
        return
    if mapping is None:
        raise InputError("--mapping: missing; `distiller import TABLE --suggest` prints a first one to edit")
    told = read_mapping(mapping)
    found = read_import(table, told) if dry_run else import_into(store, table, told, replace)
    if as_json:
        print_json(found.to_dict())
    else:
        console.print(render(found, dry_run), soft_wrap=True, highlight=False)
