"""All findings of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from distiller.results.comparison.best_of_n import LEVEL
from distiller.results.comparison.selection import check_columns, is_full
from distiller.results.comparison.surrogate import Surrogates
from distiller.results.design import Design
from distiller.results.findings.augmentation import helps_small
from distiller.results.findings.differs import best_differs
from distiller.results.findings.intermediate import most_important
from distiller.results.findings.objective import best_objective
from distiller.results.findings.report import BeatsNoTeacher, Findings


def find(
    trials: pd.DataFrame,
    designs: Mapping[str, Design],
    importances: Mapping[str, Any],
    train_rows: Mapping[str, int] | None = None,
    *,
    seed: int = 0,
    surrogates: Surrogates | None = None,
) -> Findings:
    """Four claims of He et al. 2021 (arXiv 2109.11105), each with a verdict.

    Args:
        trials: rows of the trials table.
        designs, importances: by dataset.
        train_rows: the train sizes that were asked for, by dataset.
        seed: same input, same answer.
        surrogates: of these trials and designs, where more is asked of them.

    Raises:
        InputError: a column is missing.
    """
    check_columns(trials)
    surrogates = surrogates or Surrogates(trials, designs, seed=seed)
    differs, regret = best_differs(trials, designs, seed=seed, surrogates=surrogates)
    findings = (
        most_important(importances, designs),
        best_objective(trials, designs, seed=seed),
        helps_small(trials, designs, train_rows or {}, surrogates=surrogates),
        differs,
    )
    return Findings(beats_no_teacher(trials, list(designs)), findings, regret)


def beats_no_teacher(trials: pd.DataFrame, datasets: list[str]) -> BeatsNoTeacher:
    """The share of full search runs above the same student without a teacher, that score being known."""
    rows = trials[(trials["role"] == "search") & trials["dataset"].isin(datasets)]
    rows = rows[is_full(rows)]
    if "no_teacher_score" in rows:
        reference = rows["no_teacher_score"].to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        reference = np.full(len(rows), np.nan)
    known = np.isfinite(reference)
    beat = rows["score"].to_numpy(dtype=np.float64) > reference
    of = rows["dataset"].to_numpy()
    shares = {
        name: float(beat[here].mean()) if (here := known & (of == name)).any() else None for name in datasets
    }
    count, number = int(beat[known].sum()), int(known.sum())
    if not number:
        return BeatsNoTeacher(0, 0, None, None, None, shares)
    interval = stats.binomtest(count, number).proportion_ci(LEVEL, "wilson")
    return BeatsNoTeacher(count, number, count / number, float(interval.low), float(interval.high), shares)
