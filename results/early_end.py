"""Why a dataset's search ended before all its trials had run, kept beside the sweep's file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from distiller.results.store import Store


@dataclass(frozen=True)
class EarlyEnd:
    """A search ended with `fewer` trials than asked."""

    fewer: int
    why: str


def _file(dataset: str) -> str:
    return f"{dataset}-ended.json"


def record_end(store: Store, sweep: str, dataset: str, end: EarlyEnd) -> None:
    """Keep how a search ended."""
    store.write_text(sweep, _file(dataset), json.dumps(asdict(end)))


def recorded_end(store: Store, sweep: str, dataset: str) -> EarlyEnd | None:
    """What `record_end` kept; None where the search has not ended early."""
    text = store.read_text(sweep, _file(dataset))
    return None if text is None else EarlyEnd(**json.loads(text))
