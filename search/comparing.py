"""Comparisons, ablation paths and findings of a sweep in a store."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from distiller.results.comparison import AblationPath, ComparisonResult
from distiller.results.comparison.ablation import ablation_path, start_of
from distiller.results.comparison.compare import compare
from distiller.results.comparison.surrogate import Surrogates
from distiller.results.findings import Findings, find
from distiller.results.frames import to_frame
from distiller.results.frozen import frozen_sweep
from distiller.results.leaderboard import leaderboard
from distiller.results.store import Store
from distiller.search.designs import designs
from distiller.search.summary import importances
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import nearest
from distiller.spaces.presets import PRESETS


def compared(store: Store, sweep: str, what: str, choices: Sequence[str], rope: float) -> ComparisonResult:
    """How the choices of a question compare in a sweep."""
    return compare(_trials(store, sweep), designs(store, sweep), what, choices, rope=rope)


def found_in(store: Store, sweep: str) -> Findings:
    """What a sweep says about the claims of He et al. 2021."""
    config = frozen_sweep(store, sweep)
    sizes = {name: one.train_rows for name, one in config.datasets.items()} if config else {}
    asked = {name: rows for name, rows in sizes.items() if rows is not None}
    return find(_trials(store, sweep), designs(store, sweep), importances(store, sweep), asked)


def ablation_paths(
    store: Store, sweep: str, preset: str, surrogates: Surrogates | None = None
) -> list[AblationPath]:
    """From a preset to the best config of each dataset.

    Args:
        surrogates: of the sweep's trials and designs, where they are at hand.

    Raises:
        InputError: no such preset, or no dataset has a full run yet.
    """
    if preset not in PRESETS:
        raise InputError(f"--ablation {preset}: no such preset; {nearest(preset, PRESETS)}")
    if frozen_sweep(store, sweep) is None:
        raise InputError(
            f"--ablation {preset}: {sweep} was not launched, its configs are no recipes; leave --ablation out"
        )
    searched = designs(store, sweep)
    surrogates = surrogates or Surrogates(_trials(store, sweep), searched)
    paths = []
    for board in leaderboard(store, sweep):
        if board.best is None or board.task_kind is None:
            continue
        best, design = board.best.config, searched[board.dataset]
        start = start_of(preset, best, design, board.task_kind)
        path = ablation_path(
            surrogates.trials, board.dataset, design, preset, start, best, surrogates=surrogates
        )
        paths.append(path)
    if not paths:
        raise InputError(f"--ablation {preset}: no trial of {sweep} has run in full yet; launch it first")
    return paths


def _trials(store: Store, sweep: str) -> pd.DataFrame:
    return to_frame(store.read("trials", sweep))
