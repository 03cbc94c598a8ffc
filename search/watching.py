"""`status --watch`: a sweep's standing, looked at again and again until it is over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import typer
from rich.console import Console
from rich.live import Live

from distiller.results.standing import Standing, standing
from distiller.results.standing_text import render
from distiller.results.store import Store

LEAST_SECONDS = 2.0
SHARE = 0.05
"""Of the time, what is spent on reading: a big table, or a slow store, is looked at less often."""


def watch(
    store: Store,
    sweep: str,
    console: Console,
    as_json: bool = False,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Show each look in place, on a terminal; elsewhere, or as JSON (an object a line), one after another.

    Returns once the sweep is over. Ctrl-C ends it before.

    Raises:
        InputError: there is no such sweep.
    """
    if as_json or not console.is_terminal:
        for look in looks(store, sweep, sleep):
            if as_json:
                typer.echo(json.dumps(look.to_dict(), allow_nan=False))
            else:
                console.print(render(look), highlight=False)
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        for look in looks(store, sweep, sleep):
            live.update(render(look), refresh=True)


def looks(store: Store, sweep: str, sleep: Callable[[float], object]) -> Iterator[Standing]:
    """One look after another, pauses between them, the last when the sweep is over."""
    while True:
        began = time.perf_counter()
        look = standing(store, sweep)
        yield look
        if look.over:
            return
        sleep(max(LEAST_SECONDS, (time.perf_counter() - began) / SHARE))
