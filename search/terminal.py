"""What commands share: options, consoles, and JSON for programs."""

from __future__ import annotations

import json
import logging
from typing import Annotated, Any

import typer
from rich.console import Console

console = Console()
errors = Console(stderr=True)

StoreOption = Annotated[str, typer.Option("--store", help="Results: a folder or an fsspec URL.")]
SweepOption = Annotated[
    str | None, typer.Option("--sweep", help="Name of the sweep; needed where the store holds several.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
STORE = "results/data"


def print_json(data: Any) -> None:
    """Standard output as JSON, indented, without NaN."""
    typer.echo(json.dumps(data, indent=1, allow_nan=False))


def quiet_checkpoints() -> None:
    """No bars and no reports of checkpoints that are read, unless `--debug` shows all that is logged."""
    import transformers

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if not logging.getLogger().isEnabledFor(logging.INFO):
        transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
