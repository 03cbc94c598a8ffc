"""A sweep as it was launched: its file in the store and the text of the modules of own parts that it names.

The modules are `sweeps/<sweep>/part-<digest>.py`; `sweep.json` says which path each stands for. Readers take
them, not the files: those are on the machine that launched, and may have changed. To read such a sweep is to
run them: a store with own parts deserves the trust that its authors' code does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from distiller.results.store import Store
from distiller.spaces.errors import InputError
from distiller.spaces.own import load_parts, part_digest
from distiller.spaces.sweep import SweepConfig, parse_sweep

OVER = "over.json"
"""Kept beside a sweep's file once its last trial has ended, so that launching again starts nothing."""


def about_launch(store: Store, sweep: str) -> dict[str, Any]:
    """What the first launch said of itself: `base`, `launched_at`, versions and `parts`."""
    about: dict[str, Any] = json.loads(store.read_text(sweep, "sweep.json") or "{}")
    return about


def frozen_sweep(store: Store, sweep: str) -> SweepConfig | None:
    """The sweep as it was launched; None where its results came without a file."""
    text = store.read_text(sweep, "sweep.yaml")
    if text is None:
        return None
    base = Path(about_launch(store, sweep).get("base", "."))
    return parse_sweep(
        text, f"{store.url}: sweeps/{sweep}/sweep.yaml", base, parts=frozen_parts(store, sweep)
    )


def is_over(store: Store, sweep: str, ended: int | None = None) -> bool:
    """Whether a launch saw the sweep's last trial end, and all those rows (`ended`) are still there.

    Ablation paths are run afterwards, and do not count.
    """
    text = store.read_text(sweep, OVER)
    return text is not None and json.loads(text)["trials"] == (
        sum(key.role != "ablation" for key in store.finished(sweep)) if ended is None else ended
    )


def frozen_parts(store: Store, sweep: str) -> dict[str, str]:
    """By path as the sweep writes it, the text of each module that was kept; none for an older sweep.

    Raises:
        InputError: one that was kept is gone: its file elsewhere may be another by now.
    """
    texts = {}
    for written, digest in about_launch(store, sweep).get("parts", {}).items():
        text = store.read_text(sweep, _file(digest))
        if text is None:
            raise InputError(
                f"{store.url}: sweeps/{sweep}/{_file(digest)} is gone, the module {written} as launched; "
                "put it back"
            )
        texts[written] = text
    return texts


def load_frozen_parts(store: Store, sweep: SweepConfig, base: Path) -> None:
    """Register a sweep's own parts in a worker, as they were frozen: a file may change under a launch."""
    if sweep.parts:
        load_parts(sweep.parts, base, frozen_parts(store, sweep.name))


def keep_part(store: Store, sweep: str, text: str) -> str:
    """Keep a module's text beside the sweep's file; the digest to name it by."""
    digest = part_digest(text)
    store.write_text(sweep, _file(digest), text)
    return digest


def _file(digest: str) -> str:
    return f"part-{digest}.py"
