"""What each dataset of a sweep was searched over, for every command that analyses it."""

from __future__ import annotations

from distiller.results.design import Design
from distiller.results.frozen import frozen_sweep
from distiller.results.imported import imported_designs
from distiller.results.store import Store
from distiller.search.plan import searched_space
from distiller.spaces.errors import InputError


def designs(store: Store, sweep: str) -> dict[str, Design]:
    """The design of each dataset, in the order of the sweep's file or of the imported table.

    Raises:
        InputError: the store holds neither file nor mapping of the sweep: what it searched is unknown.
    """
    imported = imported_designs(store, sweep)
    if imported is not None:
        return imported
    config = frozen_sweep(store, sweep)
    if config is None:
        raise InputError(f"--sweep {sweep}: its file is not in the store, so its space is unknown")
    return {dataset: Design.of(searched_space(store, config, dataset)) for dataset in config.datasets}
