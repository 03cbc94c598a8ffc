"""Which trials of a dataset compare: full search runs, drawn from the prior where there are enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from distiller.results.comparison.best_of_n import Floats
from distiller.results.comparison.differences import FEWEST
from distiller.results.comparison.question import Asked
from distiller.spaces.errors import InputError

NEEDED = ("dataset", "role", "origin", "status", "score", "fidelity")
FROM_PRIOR = "full runs drawn from the prior"
ALL_RUNS = "all full runs"
MOSTLY = 0.5
"""Share of trials stopped from which on a choice was mostly stopped."""


@dataclass(frozen=True)
class Ended:
    """How a choice's search trials ended."""

    completed: int
    stopped: int
    failed: int

    @property
    def through(self) -> float | None:
        """Share of those that did not fail which ran in full."""
        begun = self.completed + self.stopped
        return self.completed / begun if begun else None


@dataclass(frozen=True)
class Selected:
    """The trials of one dataset that are compared.

    Attributes:
        rows: full runs on `basis`, with `choice` [str]; one row per trial.
        scores: by choice, one score per config: the mean over its seeds.
        ended: by choice.
        repeated: whether configs ran on several seeds.
    """

    dataset: str
    metric: str | None
    basis: str
    rows: pd.DataFrame
    scores: Mapping[str, Floats]
    ended: Mapping[str, Ended]
    repeated: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of these trials."""
        said = []
        if self.basis == ALL_RUNS:
            steered = int((self.rows["origin"] != "prior").sum())
            said.append(
                f"{steered} of {len(self.rows)} runs were chosen by a sampler, which gives good choices "
                "better companions: too few were drawn from the prior to compare those alone"
            )
        stopped = sum(ended.stopped for ended in self.ended.values())
        if stopped:
            begun = stopped + sum(ended.completed for ended in self.ended.values())
            mostly = [choice for choice, ended in self.ended.items() if (ended.through or 0.0) <= 1 - MOSTLY]
            more = f"; most of {', '.join(mostly)} were" if mostly else ""
            said.append(
                f"{stopped} of {begun} trials were stopped early{more}: scores are of those that got "
                "through, which were chosen by their early scores; the share that got through is compared too"
            )
        if self.repeated:
            said.append("configs that ran on several seeds count once, with their mean")
        return tuple(said)


def check_columns(trials: pd.DataFrame) -> None:
    """Raise InputError where a column is missing that tells which trials compare."""
    for column in NEEDED:
        if column not in trials:
            raise InputError(f"trials.{column}: no such column; pass rows of the trials table")


def is_full(trials: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """[rows] whether a trial completed the whole budget with a score: only such scores compare."""
    score = trials["score"].to_numpy(dtype=np.float64, na_value=np.nan)
    fidelity = trials["fidelity"].to_numpy(dtype=np.float64, na_value=np.nan)
    done = (trials["status"] == "completed").to_numpy(dtype=bool)
    return np.asarray(done & (fidelity >= 1 - 1e-9) & np.isfinite(score))


def searched(trials: pd.DataFrame) -> pd.DataFrame:
    """The search's own trials: a warm start need not lie in the space whose choices are compared."""
    return trials[(trials["role"] == "search") & (trials["origin"] != "warm")]


def drawn_in_full(trials: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The full search runs of `dataset` that were drawn from the prior."""
    rows = searched(trials[trials["dataset"] == dataset])
    return rows[is_full(rows) & (rows["origin"] == "prior").to_numpy(dtype=bool)]


def select(trials: pd.DataFrame, dataset: str, asked: Asked) -> Selected:
    """The trials of `dataset` that compare the choices of `asked`."""
    here = searched(trials[trials["dataset"] == dataset])
    here = here.assign(choice=asked.answers(here))
    here = here.loc[here["choice"].notna()]
    rows = here.loc[is_full(here)]
    prior = rows.loc[rows["origin"] == "prior"]
    enough = [_with_enough(frame, asked.choices) for frame in (prior, rows)]
    basis, used = (FROM_PRIOR, prior) if enough[0] == enough[1] and enough[0] else (ALL_RUNS, rows)
    if len(prior) == len(rows):
        basis, used = FROM_PRIOR, rows
    repeated = "config_id" in used and bool(used.duplicated(["choice", "config_id"]).any())
    ended = {choice: _ended(here[here["choice"] == choice]) for choice in asked.choices}
    return Selected(
        dataset,
        metric_of(trials, dataset),
        basis,
        used,
        by_choice(used, asked.choices, repeated),
        {choice: how for choice, how in ended.items() if how.completed + how.stopped + how.failed},
        repeated,
    )


def by_choice(rows: pd.DataFrame, choices: Sequence[str], repeated: bool) -> dict[str, Floats]:
    """The scores of each choice; where configs are repeated, one per config, the mean over its seeds."""
    found: dict[str, Floats] = {}
    for choice in choices:
        own = rows.loc[rows["choice"] == choice]
        scores = own["score"].astype(float)
        if repeated:
            scores = scores.groupby(own["config_id"]).mean()
        found[choice] = np.asarray(scores, dtype=np.float64)
    return found


def metric_of(trials: pd.DataFrame, dataset: str) -> str | None:
    """The metric's name, where the table has it."""
    if "metric" not in trials:
        return None
    named = trials.loc[trials["dataset"] == dataset, "metric"].dropna()
    return str(named.iloc[0]) if len(named) else None


def noise(trials: pd.DataFrame, dataset: str) -> tuple[float | None, int]:
    """SD between the seeds of one config's full runs, pooled, and the runs beyond the first of each.

    Of searched configs and finalists, as `importance` has it: steps of an ablation path may be far worse
    configs, whose seeds differ more. Both are kept apart: a finalist's search score is high partly by luck.
    """
    if "config_id" not in trials:
        return None, 0
    here = trials[(trials["dataset"] == dataset) & is_full(trials)]
    here = here[here["role"].isin(["search", "finalist"])]
    scores = here["score"].astype(float)
    groups = scores.groupby([here["role"], here["config_id"]])
    freedom = len(here) - groups.ngroups
    if freedom < 1:
        return None, 0
    within = float(((scores - groups.transform("mean")) ** 2).sum())
    return float(np.sqrt(within / freedom)), freedom


def _with_enough(rows: pd.DataFrame, choices: Sequence[str]) -> set[str]:
    counts = rows["choice"].value_counts()
    return {choice for choice in choices if counts.get(choice, 0) >= FEWEST}


def _ended(rows: pd.DataFrame) -> Ended:
    status = rows["status"].value_counts()
    full = int(is_full(rows).sum())
    stopped = int(status.get("stopped", 0))
    return Ended(full, stopped, len(rows) - full - stopped)
