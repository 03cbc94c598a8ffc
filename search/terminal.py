"""What commands share: options, consoles, and JSON for programs."""

from __future__ import annotations

import json
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
