"""Rows of the results table as numbers: which trials count, their features, scores and fidelity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from distiller.results.importance.decomposition import Floats
from distiller.spaces.encoding import Encoding, Feature
from distiller.spaces.errors import InputError
from distiller.spaces.space import Space

NEEDED = ("role", "origin", "status", "score", "fidelity")


@dataclass(frozen=True)
class Rows:
    """The search trials of one dataset that have a score.

    Attributes:
        matrix: [trials, features + 1] the encoded config, then log fidelity.
        score: [trials] validation score, higher is better.
        full: [trials] whether the trial ran the whole budget.
        prior: [trials] whether it was drawn from the prior, not chosen by the sampler.
        config: [trials] a number per distinct config.
        stages: the feature numbers of each searched stage.
        failed: search trials left out, for want of a finite score.
        noise_share: variance between seeds of one config, as a share of the variance of full runs; None
            without repeats.
    """

    matrix: Floats
    score: Floats
    full: npt.NDArray[np.bool_]
    prior: npt.NDArray[np.bool_]
    config: npt.NDArray[np.int64]
    stages: Mapping[str, list[int]]
    failed: int
    noise_share: float | None

    @property
    def rung(self) -> Floats:
        """[trials] fidelity, rounded so that trials stopped at one rung compare equal."""
        return np.asarray(np.round(np.exp(self.matrix[:, -1]), 6), dtype=np.float64)


def read_rows(trials: pd.DataFrame, space: Space) -> Rows:
    """The rows of `trials` (one dataset) that importance may rest on.

    Raises:
        InputError: a column is missing, or there are several datasets.
    """
    encoding = Encoding.of(space)
    tags = {f.column for f in encoding.features if _always_active(f, space)}
    for column in (*NEEDED, *sorted(tags)):
        if column not in trials:
            raise InputError(f"trials.{column}: no such column; pass rows of the trials table")
    if "dataset" in trials and trials["dataset"].nunique() > 1:
        raise InputError("trials.dataset: several datasets; importance takes the rows of one")
    # A warm start need not lie in the space whose prior is the reference.
    search = trials[(trials["role"] == "search") & (trials["origin"] != "warm")]
    used = search[_scored(search)]
    fidelity = np.clip(used["fidelity"].to_numpy(dtype=np.float64), 1e-6, 1.0)
    features = encode(used, encoding)
    stages: dict[str, list[int]] = {}
    for j, feature in enumerate(encoding.features):
        stages.setdefault(feature.stage, []).append(j)
    return Rows(
        matrix=np.column_stack([features, np.log(fidelity)]),
        score=used["score"].to_numpy(dtype=np.float64),
        full=fidelity >= 1 - 1e-9,
        prior=(used["origin"] == "prior").to_numpy(dtype=bool),
        config=_numbered(features),
        stages=stages,
        failed=len(search) - len(used),
        noise_share=_noise_share(trials, encoding),
    )


def encode(trials: pd.DataFrame, encoding: Encoding) -> Floats:
    """[rows, features]: as `Encoding.encode`, from the table's columns; an absent column is all inactive."""
    matrix = np.empty((len(trials), len(encoding.features)))
    for j, feature in enumerate(encoding.features):
        if feature.column not in trials:
            matrix[:, j] = 0.0 if feature.value is not None else np.nan
            continue
        column = trials[feature.column]
        if feature.value is not None:
            matrix[:, j] = (column.notna() & (column.astype(str) == feature.value)).to_numpy(dtype=np.float64)
        else:
            numbers = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
            matrix[:, j] = np.log(numbers) if feature.log else numbers
    return matrix


def _always_active(feature: Feature, space: Space) -> bool:
    """Whether the column belongs to the question with which its stage begins."""
    return any(q.column == feature.column and q.path.count(".") == 1 for q in space.questions())


def _scored(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    finite = np.isfinite(rows["score"].to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(finite & (rows["status"] != "failed").to_numpy(dtype=bool))


def _numbered(features: Floats) -> npt.NDArray[np.int64]:
    _, number = np.unique(np.nan_to_num(features, nan=-1e300), axis=0, return_inverse=True)
    return number.reshape(-1).astype(np.int64)


def _noise_share(trials: pd.DataFrame, encoding: Encoding) -> float | None:
    """Pooled variance within (role, config) of full runs over the variance of full search runs.

    Roles are kept apart: a finalist's search score is high partly by luck (it was chosen by it).
    """
    rows = trials[trials["role"].isin(["search", "finalist"])]
    rows = rows[_scored(rows)]
    rows = rows[rows["fidelity"].to_numpy(dtype=np.float64) >= 1 - 1e-9]
    if len(rows) < 2:
        return None
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
        return None
    return float(min(1.0, within / freedom / spread))
