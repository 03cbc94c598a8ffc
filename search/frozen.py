"""A sweep in the store: same file and own parts at every launch of its name; marked once all is done."""

from __future__ import annotations

import json
from pathlib import Path

from distiller.results.differences import difference
from distiller.results.frozen import OVER, about_launch, keep_part
from distiller.results.imported.kept import is_imported
from distiller.results.store import Store
from distiller.search.code_digest import code_digest
from distiller.search.rows import now
from distiller.search.session import provenance
from distiller.spaces.errors import InputError
from distiller.spaces.own import part_digest, part_text
from distiller.spaces.sweep import SweepConfig, read_sweep

MOVABLE = ("resources", "cache", "mirrors")
"""Parts of a sweep that say where it runs, not what: a relaunch may change them."""


def mark_over(store: Store, sweep: str) -> str | None:
    """Keep that the sweep's last trial has ended; or say which rows are torn, for these trials run again."""
    rows, bad = store.read_with_report("trials", sweep)
    # A torn file that was written again beside it is no loss.
    if bad and (lost := store.unfinished_attempts(sweep)):
        return (
            f"{len(lost)} trials have ended and have no row: {bad[0].path} is {bad[0].reason}; "
            "launch again, and they are run again"
        )
    ended = sum(role != "ablation" for role in rows["role"].to_pylist())
    store.write_text(sweep, OVER, json.dumps({"trials": ended}))
    return None


def check_same(store: Store, sweep: SweepConfig, base: Path) -> None:
    """A relaunch must be the same sweep; one that never started a trial may still be mended.

    Raises:
        InputError: another sweep of this name was launched before, or this one with another module of own
            parts; names the first difference. Or a table was imported under this name.
    """
    if is_imported(store, sweep.name):
        raise InputError(f"sweep {sweep.name!r} is an imported table in {store.url}; give yours another name")
    before = store.read_text(sweep.name, "sweep.yaml")
    if before is not None and store.read("attempts", sweep.name).num_rows:
        old = read_sweep(before, f"{sweep.name} as launched").model_dump(mode="json")
        new = sweep.model_dump(mode="json")
        for part in MOVABLE:
            old[part] = new[part]
        change = difference(old, new)
        if change is not None:
            raise InputError(
                f"sweep {sweep.name!r} was launched before with another file ({change}); "
                "undo the change or give the sweep another name"
            )
        kept = about_launch(store, sweep.name).get("parts", {})
        for written in sweep.parts:
            if kept.get(written, digest := part_digest(part_text(written, base))) != digest:
                raise InputError(
                    f"sweep {sweep.name!r} was launched before with another module {written}; "
                    "undo the change in it or give the sweep another name"
                )


def freeze(store: Store, sweep: SweepConfig, text: str, base: Path) -> None:
    """Keep the sweep and its own parts in the store; a relaunch has the same, and the first stay."""
    if store.read_text(sweep.name, "sweep.yaml") is not None and store.read("attempts", sweep.name).num_rows:
        return
    parts = {written: keep_part(store, sweep.name, part_text(written, base)) for written in sweep.parts}
    about = {"base": str(base), "launched_at": now().isoformat(), **provenance(sweep), "code": code_digest()}
    about["parts"] = parts
    store.write_text(sweep.name, "sweep.json", json.dumps(about, indent=1))
    store.write_text(sweep.name, "sweep.yaml", text)
