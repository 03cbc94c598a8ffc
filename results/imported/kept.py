"""What an import leaves beside its rows: the mapping as it was settled, and a record of the import."""

from __future__ import annotations

import json
from typing import Any

from distiller.results.design import Design
from distiller.results.imported.mapping import TableMapping, parse_mapping
from distiller.results.imported.questions import design_of
from distiller.results.store import Store
from distiller.spaces.errors import InputError

MAPPING, RECORD = "mapping.yaml", "import.json"


def is_imported(store: Store, sweep: str) -> bool:
    """Whether the sweep came from a table, not from a launch."""
    return store.read_text(sweep, RECORD) is not None


def import_record(store: Store, sweep: str) -> dict[str, Any]:
    """`done`, `source`, `digest` of the rows, `datasets` and more; empty where nothing was imported."""
    record: dict[str, Any] = json.loads(store.read_text(sweep, RECORD) or "{}")
    return record


def imported_mapping(store: Store, sweep: str) -> TableMapping | None:
    """The settled mapping of an imported sweep; None of any other.

    Raises:
        InputError: its import did not come to its end.
    """
    record = import_record(store, sweep)
    if not record:
        return None
    if not record["done"]:
        raise InputError(
            f"--sweep {sweep}: the import of {record['source']} did not come to its end; import it again"
        )
    text = store.read_text(sweep, MAPPING)
    if text is None:
        raise InputError(f"{store.url}: sweeps/{sweep}/{MAPPING} is gone; import {record['source']} again")
    return parse_mapping(text, f"{store.url}: sweeps/{sweep}/{MAPPING}")


def imported_designs(store: Store, sweep: str) -> dict[str, Design] | None:
    """The design of each dataset of an imported sweep, in the table's order; None of any other sweep."""
    mapping = imported_mapping(store, sweep)
    if mapping is None:
        return None
    design = design_of(mapping)
    return dict.fromkeys(import_record(store, sweep)["datasets"], design)
