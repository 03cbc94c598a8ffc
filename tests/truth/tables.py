"""Rows of the trials and epochs tables, as a sweep would have left them."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from distiller.results.design import Design
from distiller.results.schema import trial_id
from tests.truth.response import Truth
from tests.truth.tree import Floats

DATASET = "known"
STEPS = 900


class Case(NamedTuple):
    """Rows of the trials and epochs tables, what was searched, and what there is to find."""

    trials: pd.DataFrame
    epochs: pd.DataFrame
    design: Design
    truth: Truth


def table(drawn: pd.DataFrame, scores: Floats, **more: Any) -> pd.DataFrame:
    """Rows of the trials table, typed as `distiller.results.load` types them."""
    rows = drawn.copy()
    for column in rows:
        rows[column] = typed(rows[column])
    ids = [config_id(row) for row in drawn.itertuples(index=False)]
    rows = rows.assign(
        dataset=DATASET, config_id=ids, seed=0, role="search", origin="prior", status="completed",
        fidelity=1.0, score=scores,
    ).assign(**more)  # fmt: skip
    names = zip(rows["dataset"], rows["config_id"], rows["seed"], rows["role"], strict=True)
    return rows.assign(trial_id=[trial_id(*name) for name in names])


def typed(column: pd.Series) -> pd.Series:
    """Whole numbers and booleans in pandas' nullable types, other numbers as floats."""
    kinds = {type(value) for value in column if value is not None}
    if kinds <= {int}:
        return column.astype("Int64")
    if kinds <= {bool}:
        return column.astype("boolean")
    return column.astype(float) if kinds <= {int, float} else column


def config_id(row: Any) -> str:
    """12 hexadecimal digits, the same for equal answers."""
    return hashlib.sha256(repr(tuple(row)).encode()).hexdigest()[:12]


def distinct(design: Design, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """[rows] configs from the prior, each once, as a sweep never runs one twice."""
    drawn = design.draw(rows, rng).drop_duplicates(ignore_index=True)
    while len(drawn) < rows:
        more = design.draw(rows, rng)
        drawn = pd.concat([drawn, more], ignore_index=True).drop_duplicates(ignore_index=True).head(rows)
    return drawn


def curves(trials: pd.DataFrame) -> pd.DataFrame:
    """The row of the epochs table of each trial's last evaluation."""
    rows = trials[["trial_id", "dataset", "config_id", "seed", "role", "fidelity", "score"]]
    return rows.assign(step=(rows["fidelity"] * STEPS).round().astype(int))
