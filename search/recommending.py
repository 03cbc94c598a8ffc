"""Recommenders on the trials of a store's sweeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distiller.results.export import chosen_sweep
from distiller.results.frames import to_frame
from distiller.results.recommendation import Chosen, Evaluation, Searched, choose, evaluate, read_tried
from distiller.results.store import Store
from distiller.search.designs import designs
from distiller.spaces.errors import InputError


def evaluated(
    store: Store, sweeps: Sequence[str], related: Sequence[str], said: Callable[[str], None]
) -> tuple[Evaluation, Chosen]:
    """How the recommenders do on the store's datasets, each left out with all that are related to it.

    Args:
        sweeps: their names; none for all.
        related: `NAME=dataset,dataset,...` each.
        said: told what is being done.

    Raises:
        InputError: no such sweep or dataset, or too little to compare them by.
    """
    names = [store.check_sweep(name) for name in dict.fromkeys(sweeps)] or store.sweeps()
    if not names:
        chosen_sweep(store, None)  # says what to do about an empty store
    groups = [_group(text) for text in related]
    found = evaluate(read_tried([_searched(store, name) for name in names], dict(groups)), said=said)
    return found, choose(found)


def _searched(store: Store, sweep: str) -> Searched:
    trials, datasets, epochs = (
        to_frame(store.read(name, sweep)) for name in ("trials", "datasets", "epochs")
    )
    return Searched(sweep, trials, designs(store, sweep), datasets, epochs)


def _group(text: str) -> tuple[str, list[str]]:
    name, _, members = text.partition("=")
    found = [member.strip() for member in members.split(",") if member.strip()]
    if not name.strip() or not found:
        raise InputError(f"--related {text}: write NAME=dataset,dataset")
    return name.strip(), found
