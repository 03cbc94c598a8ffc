"""Everything after a trial ends: the store, SQL, importance, leaderboard, report and export."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def load(url: str, table: str = "trials", sweep: str | None = None) -> pd.DataFrame:
    """A table of the store at `url` (trials, epochs, attempts, datasets) as a pandas DataFrame.

    Raises:
        InputError: no store there, no such table or no such sweep.
    """
    from distiller.results import frames  # pandas takes its time: only where it is asked for

    return frames.load(url, table, sweep)
