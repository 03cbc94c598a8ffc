"""What is lost by using one dataset's best config on another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from distiller.results.comparison.interaction import interactions
from distiller.results.comparison.matrix import Regret, RegretMatrix
from distiller.results.comparison.membership import outside
from distiller.results.comparison.selection import check_columns, is_full, noise, searched
from distiller.results.comparison.surrogate import CrossFit, Surrogates
from distiller.results.design import Design

R2_NEEDED = 0.1


@dataclass(frozen=True)
class _Best:
    """A dataset's best config: its id, one of its rows and its score."""

    config_id: str
    row: pd.DataFrame
    score: float


def regret_matrix(
    trials: pd.DataFrame,
    designs: Mapping[str, Design],
    *,
    seed: int = 0,
    surrogates: Surrogates | None = None,
) -> RegretMatrix:
    """For each two datasets what the best config of the one loses on the other, and each stage's interaction
    with the dataset.

    The best config is the finalist with the best mean, without finalists the best full search run. Where the
    other dataset ran the config in full, the loss is measured; else both configs are predicted by the other
    dataset's surrogate.

    Raises:
        InputError: a column is missing.
    """
    check_columns(trials)
    surrogates = surrogates or Surrogates(trials, designs, seed=seed)
    trials = surrogates.trials
    best = {name: one for name in designs if (one := _best(trials, name)) is not None}
    noises = {name: noise(trials, name)[0] for name in best}
    predictors = {name: surrogates.predictor(name) for name in best}
    asked = {question.column for design in designs.values() for question in design.questions()}
    entries = [
        _regret(trials, of, on, best, designs[on], asked, predictors[on], noises[on])
        for of in best
        for on in best
        if of != on
    ]
    stages, _ = interactions(trials, designs, seed=seed, surrogates=surrogates)
    notes = [f"{name}: no full run, so it has no best config" for name in designs if name not in best]
    if any(value is None for value in noises.values()):
        names = ", ".join(name for name, value in noises.items() if value is None)
        notes.append(f"{names}: no config ran on several seeds, so the noise is unknown")
    return RegretMatrix(tuple(best), tuple(entries), stages, noises, tuple(notes))


def _best(trials: pd.DataFrame, dataset: str) -> _Best | None:
    here = trials[trials["dataset"] == dataset]
    finalists = here[(here["role"] == "finalist") & is_full(here)]
    search = searched(here)
    rows = finalists if len(finalists) else search[is_full(search)]
    if rows.empty:
        return None
    if "config_id" not in rows:
        rows = rows.assign(config_id=[str(i) for i in rows.index])
    means = rows.assign(score=rows["score"].astype(float)).groupby("config_id")["score"].mean()
    config_id = str(means.idxmax())
    return _Best(config_id, rows[rows["config_id"] == config_id].head(1), float(means.max()))


def _regret(
    trials: pd.DataFrame,
    of: str,
    on: str,
    best: Mapping[str, _Best],
    design: Design,
    asked: Collection[str],
    predictor: CrossFit | None,
    sd: float | None,
) -> Regret:
    taken, own = best[of], best[on]
    if "config_id" in trials:
        there = trials[(trials["dataset"] == on) & (trials["config_id"] == taken.config_id)]
        there = there[is_full(there)]
        if len(there):
            lost = own.score - float(there["score"].astype(float).mean())
            return Regret(of, on, "measured", lost, lost / sd if sd else None, f"{len(there)} runs")
    columns = {str(key): value for key, value in taken.row.iloc[0].items() if key in asked}
    apart = next((said for stage in design.stages if (said := outside(design, columns, stage))), "")
    if apart:
        return Regret(of, on, "unknown", None, None, f"outside what was searched: {apart}")
    if predictor is None:
        return Regret(of, on, "unknown", None, None, "too few full runs to predict it")
    mine, other = (float(predictor.predict(one.row)[0]) for one in (own, taken))
    weak = f"held-out R2 of the prediction is only {predictor.r2:.2f}" if predictor.r2 < R2_NEEDED else ""
    return Regret(of, on, "predicted", mine - other, (mine - other) / sd if sd else None, weak)
