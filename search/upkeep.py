"""A launch compacts its own sweep now and then, so that no query ever meets ten thousand small files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from distiller.results.compaction import SETTLE_SECONDS, compact, remove_abandoned
from distiller.results.store import Store

RAW = 2000
"""Small files of trials from which on they are gathered."""

EVERY_SECONDS = 150.0
"""Longer than a commit needs to settle: the next compaction then removes what the last one has gathered."""

GRACE_SECONDS = 5.0
"""How long the end of a launch waits for a compaction, which may be killed at any moment."""


@contextmanager
def kept_compact(
    store: Store,
    sweep: str,
    say: Callable[[str], None],
    raw: int = RAW,
    every: float = EVERY_SECONDS,
    settle: float = SETTLE_SECONDS,
) -> Iterator[None]:
    """While the block runs, compact the sweep in the background whenever it has `raw` trials in small files.

    What goes wrong is said in one line, and the sweep goes on without.
    """
    if not store.files.exclusive:  # where `compact` refuses
        yield
        return
    ending = threading.Event()

    def work() -> None:
        while not ending.wait(every):
            try:
                if len(store.files.names(f"trials/{sweep}")) >= raw:
                    compact(store, sweep, settle)
                    remove_abandoned(store)
            except Exception as error:
                said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                say(f"not compacted: {said}; the sweep goes on, `distiller compact` does it later")
                return

    thread = threading.Thread(target=work, name="upkeep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(GRACE_SECONDS)
