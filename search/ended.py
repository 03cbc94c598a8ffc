"""Why a dataset's search ended before all its trials had run, kept beside the sweep's file."""

from __future__ import annotations

import json
from typing import Any

from distiller.results.store import Store


def _file(dataset: str) -> str:
    return f"{dataset}-ended.json"


def record_end(store: Store, sweep: str, dataset: str, fewer: int, why: str) -> None:
    """Keep why a search ended with `fewer` trials than asked."""
    store.write_text(sweep, _file(dataset), json.dumps({"fewer": fewer, "why": why}))


def recorded_end(store: Store, sweep: str, dataset: str) -> dict[str, Any] | None:
    """What `record_end` kept: `fewer` and `why`; None where the search has not ended early."""
    text = store.read_text(sweep, _file(dataset))
    found: dict[str, Any] | None = None if text is None else json.loads(text)
    return found
