"""Pairs of runs whose configs differ in one stage only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.differences import student
from distiller.results.comparison.question import Asked
from distiller.results.comparison.report import Paired
from distiller.results.comparison.selection import is_full, searched
from distiller.results.design import Design


def paired_scores(trials: pd.DataFrame, dataset: str, design: Design, asked: Asked) -> pd.DataFrame:
    """[rest of the config and seed, choices] mean scores of full runs; NaN where there is none.

    All origins count: who proposed a config does not matter where its companions are equal.
    """
    rows = searched(trials[trials["dataset"] == dataset])
    rows = rows[is_full(rows)]
    rows = rows.assign(choice=asked.answers(rows))
    rows = rows[rows["choice"].notna()]
    rest = [q.column for q in design.searched() if q.stage != asked.stage]
    keys = [name for name in dict.fromkeys([*rest, "seed"]) if name in rows]
    if asked.stage is None or rows.empty:
        return pd.DataFrame(columns=list(asked.choices), dtype=float)
    rest_of = pd.Series(_numbered(rows[keys]), index=rows.index)
    scores = rows["score"].astype(float).groupby([rest_of, rows["choice"]]).mean()
    return scores.unstack().reindex(columns=list(asked.choices))


def paired(scores: pd.DataFrame, one: str, other: str) -> Paired:
    """The pairs among `scores`, their mean difference with Student's t interval, and Wilcoxon's p."""
    both = scores[[one, other]].dropna()
    gaps = (both[one] - both[other]).to_numpy(dtype=np.float64)
    if not len(gaps):
        return Paired(0, None)
    low, high = student(gaps)
    p = float(stats.wilcoxon(gaps, zero_method="pratt").pvalue) if np.any(gaps) else 1.0
    return Paired(len(gaps), Estimate(float(gaps.mean()), low, high, p))


def _numbered(columns: pd.DataFrame) -> npt.NDArray[np.intp]:
    """[rows] a number for each distinct row; null equals null."""
    number = np.zeros(len(columns), dtype=np.intp)
    for name in columns:
        codes, distinct = pd.factorize(columns[name])
        _, number = np.unique(number * (len(distinct) + 1) + codes + 1, return_inverse=True)
    return np.asarray(number, dtype=np.intp)
