"""What a cheap trial says of a config: its score when a share of the budget was run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

SHARE = 1 / 3
"""Of the budget, that a cheap trial runs; the evaluation nearest to it counts."""
MOST = 0.5
"""Share of the budget from which on a trial is no cheap one."""
CLOSE = 0.02
"""An evaluation lies at a share of the budget up to the rounding of steps, relative to it."""
FEWEST = 5
"""Configs that were evaluated there, below which a dataset has no early scores."""


class Early(NamedTuple):
    """Early scores of one dataset.

    Attributes:
        score: by config id, the mean over the config's runs, higher is better.
        fidelity: the share of the budget behind them, up to the rounding of steps; NaN without any.
    """

    score: pd.Series
    fidelity: float


def early_scores(trials: pd.DataFrame, epochs: pd.DataFrame | None) -> Early:
    """The scores of all search runs, stopped ones among them, at the one share of the budget that is nearest
    to `SHARE` of those at which enough configs were evaluated: scores at unequal shares do not compare.

    Args:
        trials: rows of the trials table, of one dataset. Where a trial ended it was evaluated too.
        epochs: rows of the epochs table, where there is one; those of other trials do not count.
    """
    ran = trials[(trials["role"] == "search") & (trials["status"] != "failed")]
    points = _points(ran, epochs)
    shares = points["fidelity"].round(6).unique().tolist()
    nearest = sorted(shares, key=lambda share: (abs(share - SHARE), share))
    enough = (s for s in nearest if points.loc[_at(points, s), "config_id"].nunique() >= FEWEST)
    share = next(enough, None)
    if share is None:
        return Early(pd.Series(dtype=np.float64), float("nan"))
    here = points[_at(points, share)]
    near = (here["fidelity"] - share).abs().sort_values(kind="stable").index
    once = here.loc[near].drop_duplicates("run")
    return Early(once.groupby("config_id")["score"].mean(), float(once["fidelity"].median()))


def _points(ran: pd.DataFrame, epochs: pd.DataFrame | None) -> pd.DataFrame:
    """A row per cheap evaluation: `run`, `config_id`, `fidelity`, `score`."""
    columns = ["run", "config_id", "fidelity", "score"]
    ends = ran.assign(run=np.arange(len(ran)))
    parts = [ends[columns]]
    if epochs is not None and len(epochs) and "trial_id" in ran:
        of = [name for name in ("sweep", "trial_id", "attempt") if name in epochs and name in ran]
        parts.append(
            epochs[[*of, "fidelity", "score"]].merge(ends[[*of, "run", "config_id"]], on=of)[columns]
        )
    points = pd.concat([part.astype({"fidelity": float, "score": float}) for part in parts])
    points = points[np.isfinite(points["score"]) & (points["fidelity"] > 0) & (points["fidelity"] <= MOST)]
    order = ["config_id", "fidelity", "score"]
    ordered: pd.DataFrame = points.sort_values(order, kind="stable", ignore_index=True)
    return ordered


def _at(points: pd.DataFrame, share: float) -> pd.Series:
    return (points["fidelity"] - share).abs() <= CLOSE * share
