"""Rows of the results table as numbers: which trials count, their features, scores, rungs and noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from distiller.results.design import Design
from distiller.results.importance.decomposition import Floats
from distiller.spaces.encoding import Encoding
from distiller.spaces.errors import InputError

NEEDED = ("role", "origin", "status", "score", "fidelity")
MOST_RUNGS = 6
AGREE = 1e-4
"""Repeats whose scores vary by no more than this share of the scores' variance say the same thing again."""
FULL = 1 - 1e-9
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Scores of the search trials of one dataset: the last one of each trial, and where learning curves are
    given, those that it had at the rungs where other trials were stopped. Repeats of a config that agree are
    one.

    The curves matter: among trials that ended at a rung only the poor ones are seen there, but every trial
    has passed the first.

    Attributes:
        frame: [rows] the design's columns.
        matrix: [rows, features + 1] the encoded config, then log fidelity.
        score: [rows] validation score, higher is better.
        full: [rows] whether the score is one at the whole budget.
        prior: [rows] whether the trial was drawn from the prior, not chosen by the sampler.
        rung: [rows] numbers of the shares of the budget below the whole one, from 0; -1 for the whole one.
        config: [rows] a number per distinct config.
        group: [rows] a number per trial where trials have several rows, else per config.
        stages: the feature numbers of each searched stage.
        curves: whether trials have rows at rungs that they passed.
        trials, full_trials, prior_trials: how many there are.
        failed: search trials left out, for want of a finite score.
        noise_share: variance between seeds of one config, as a share of the variance of full runs, from
            `noise_repeats` runs beyond the first of each config; None without repeats.
    """

    frame: pd.DataFrame
    matrix: Floats
    score: Floats
    full: npt.NDArray[np.bool_]
    prior: npt.NDArray[np.bool_]
    rung: npt.NDArray[np.intp]
    config: npt.NDArray[np.intp]
    group: npt.NDArray[np.intp]
    stages: Mapping[str, list[int]]
    curves: bool
    trials: int
    full_trials: int
    prior_trials: int
    failed: int
    noise_share: float | None
    noise_repeats: int


def read_rows(trials: pd.DataFrame, design: Design, epochs: pd.DataFrame | None = None) -> Rows:
    """The rows of `trials` (one dataset) that importance may rest on, with their `epochs` rows if any.

    Raises:
        InputError: a column is missing, or there are several datasets.
    """
    encoding = Encoding.of(design)
    first = {q.column for asked in design.stages.values() for q in asked} & set(design.columns())
    for column in (*NEEDED, *sorted(first)):
        if column not in trials:
            raise InputError(f"trials.{column}: no such column; pass rows of the trials table")
    if "dataset" in trials and trials["dataset"].nunique() > 1:
        raise InputError("trials.dataset: several datasets; importance takes the rows of one")
    # A warm start need not lie in the space whose prior is the reference.
    search = trials[(trials["role"] == "search") & (trials["origin"] != "warm")]
    used = search[_scored(search)].reset_index(drop=True)
    fidelity = np.clip(used["fidelity"].to_numpy(dtype=np.float64), 1e-6, 1.0)
    place, score, share = _points(used, fidelity, epochs)
    features = encode(used, encoding)
    stages: dict[str, list[int]] = {}
    for j, feature in enumerate(encoding.features):
        stages.setdefault(feature.stage, []).append(j)
    config = _numbered(features)
    prior = (used["origin"] == "prior").to_numpy(dtype=bool)
    place, score, share = _once(place, score, share, config, prior)
    noise_share, noise_repeats = _noise(trials, encoding)
    return Rows(
        frame=used[[c for c in design.columns() if c in used]].iloc[place].reset_index(drop=True),
        matrix=np.column_stack([features[place], np.log(share)]),
        score=score,
        full=share >= FULL,
        prior=prior[place],
        rung=_rungs(share),
        config=config[place],
        group=place if len(place) > len(used) else config[place],
        stages=stages,
        curves=len(place) > len(used),
        trials=len(used),
        full_trials=int((fidelity >= FULL).sum()),
        prior_trials=int(prior.sum()),
        failed=len(search) - len(used),
        noise_share=noise_share,
        noise_repeats=noise_repeats,
    )


def _points(
    used: pd.DataFrame, fidelity: Floats, epochs: pd.DataFrame | None
) -> tuple[npt.NDArray[np.intp], Floats, Floats]:
    """For each row the number of its trial, its score and its share of the budget."""
    place, score, share = np.arange(len(used)), used["score"].to_numpy(dtype=np.float64), fidelity
    stops = np.unique(np.round(fidelity[fidelity < FULL], 6))
    if epochs is None or not len(stops) or "trial_id" not in used:
        return place, score, share
    curves = epochs[["trial_id", "attempt", "fidelity", "score"]] if "attempt" in epochs else epochs
    if "attempt" in epochs and "attempt" in used:
        curves = curves.merge(used[["trial_id", "attempt"]], on=["trial_id", "attempt"])
    curves = curves[np.isfinite(curves["score"].to_numpy(dtype=np.float64, na_value=np.nan))]
    own = pd.Series(place, index=used["trial_id"])
    curves = curves[curves["trial_id"].isin(own.index)]
    of = own[~own.index.duplicated()].reindex(curves["trial_id"]).to_numpy(dtype=np.intp)
    at = curves["fidelity"].to_numpy(dtype=np.float64)
    nearest = stops[np.abs(at[:, None] - stops).argmin(axis=1)] if len(at) else at
    # An evaluation lies at a rung up to the rounding of steps, and before the trial's own end.
    passed = (np.abs(at - nearest) <= 0.02 * nearest) & (nearest < np.round(fidelity[of], 6) * (1 - 1e-3))
    points = pd.DataFrame(
        {"of": of[passed], "at": nearest[passed], "score": curves["score"].to_numpy()[passed]}
    )
    points = points.drop_duplicates(["of", "at"], keep="last")
    return (
        np.concatenate([place, points["of"].to_numpy(dtype=np.intp)]),
        np.concatenate([score, points["score"].to_numpy(dtype=np.float64)]),
        np.concatenate([share, points["at"].to_numpy(dtype=np.float64)]),
    )


def _once(
    place: npt.NDArray[np.intp], score: Floats, share: Floats, config: npt.NDArray[np.intp], prior: Flags
) -> tuple[npt.NDArray[np.intp], Floats, Floats]:
    """Repeats of a config that all agree, as those of a deterministic run do, made one row; else all rows.

    Counted as many they would halve the noise with every repeat. A row from the prior goes first.
    """
    if len(place) > len(config):  # a trial's learning curve is no repeat
        return place, score, share
    cell = np.unique(np.column_stack([config[place], np.round(share, 6)]), axis=0, return_inverse=True)[1]
    cell = cell.reshape(-1)
    count = np.bincount(cell)
    mean = np.bincount(cell, score) / count
    again = len(score) - len(count)
    if not again or ((score - mean[cell]) ** 2).sum() > AGREE * again * score.var():
        return place, score, share
    order = np.lexsort([np.arange(len(cell)), ~prior[place]])
    first = np.sort(order[np.unique(cell[order], return_index=True)[1]])
    return place[first], mean[cell[first]], share[first]


def _rungs(share: Floats) -> npt.NDArray[np.intp]:
    """Numbers of the distinct shares below 1, neighbours made one where there are many."""
    rung = np.full(len(share), -1, dtype=np.intp)
    below = share < FULL
    if below.any():
        _, rung[below] = np.unique(np.round(share[below], 6), return_inverse=True)
        if (count := rung.max() + 1) > MOST_RUNGS:
            ends = np.quantile(np.log(share[below]), np.linspace(0, 1, MOST_RUNGS + 1)[1:-1])
            rung[below] = np.unique(np.searchsorted(ends, np.log(share[below])), return_inverse=True)[1]
            assert rung.max() < count
    return rung


def encode(trials: pd.DataFrame, encoding: Encoding) -> Floats:
    """[rows, features]: as `Encoding.encode`, from the table's columns; an absent column is all inactive."""
    matrix = np.empty((len(trials), len(encoding.features)))
    texts: dict[str, pd.Series] = {}
    for j, feature in enumerate(encoding.features):
        if feature.column not in trials:
            matrix[:, j] = 0.0 if feature.value is not None else np.nan
        elif feature.value is not None:
            if feature.column not in texts:
                column = trials[feature.column]
                texts[feature.column] = column.astype(str).where(column.notna(), None)
            matrix[:, j] = (texts[feature.column] == feature.value).to_numpy(dtype=np.float64)
        else:
            numbers = pd.to_numeric(trials[feature.column]).to_numpy(dtype=np.float64, na_value=np.nan)
            matrix[:, j] = np.log(numbers) if feature.log else numbers
    return matrix


def _scored(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    finite = np.isfinite(rows["score"].to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(finite & (rows["status"] != "failed").to_numpy(dtype=bool))


def _numbered(features: Floats) -> npt.NDArray[np.intp]:
    _, number = np.unique(np.nan_to_num(features, nan=-1e300), axis=0, return_inverse=True)
    return number.reshape(-1).astype(np.intp)


def _noise(trials: pd.DataFrame, encoding: Encoding) -> tuple[float | None, int]:
    """Pooled variance within (role, config) of full runs over the variance of full search runs, and the
    degrees of freedom of the former.

    Roles are kept apart: a finalist's search score is high partly by luck (it was chosen by it).
    """
    rows = trials[trials["role"].isin(["search", "finalist"])]
    rows = rows[_scored(rows)]
    rows = rows[rows["fidelity"].to_numpy(dtype=np.float64) >= FULL]
    if len(rows) < 2:
        return None, 0
    groups = pd.DataFrame(
        {
            "role": rows["role"].to_numpy(),
            "config": _numbered(encode(rows, encoding)),
            "score": rows["score"].to_numpy(),
        }
    ).groupby(["role", "config"])["score"]
    within = ((rows["score"].to_numpy() - groups.transform("mean").to_numpy()) ** 2).sum()
    freedom = len(rows) - groups.ngroups
    spread = rows.loc[rows["role"] == "search", "score"].var()
    if freedom < 1 or not spread > 0:
        return None, 0
    return float(min(1.0, within / freedom / spread)), freedom
