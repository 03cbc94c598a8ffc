"""Which datasets a finding may rest on, and which it may not and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from distiller.results.comparison.selection import is_full, searched
from distiller.results.comparison.surrogate import Surrogates
from distiller.results.design import Design

THROUGH = 0.8
"""Share of trials that must have run in full: of fewer, those that did were chosen by their scores."""
BASIS_RULE = (
    "It rests on full search runs drawn from the prior, of datasets where at least "
    f"{THROUGH:.0%} of such trials ran in full."
)


@dataclass(frozen=True)
class Basis:
    """Full search runs drawn from the prior, by dataset, and why other datasets are left out."""

    rows: Mapping[str, pd.DataFrame]
    left_out: tuple[str, ...]

    @property
    def trials(self) -> int:
        return sum(map(len, self.rows.values()))


def basis(trials: pd.DataFrame, designs: Mapping[str, Design], stage: str, fewest: int) -> Basis:
    """The datasets in which `stage` is searched and `fewest` runs can be used."""
    kept, said = {}, []
    for name, design in designs.items():
        if stage not in design.stages:
            said.append(f"{name}: no such stage as {stage}")
        elif stage not in design.searched_stages():
            said.append(f"{name}: {stage} was not searched")
        else:
            rows = searched(trials[trials["dataset"] == name])
            drawn = rows[(rows["origin"] == "prior") & (rows["status"] != "failed")]
            full = drawn[is_full(drawn)]
            if len(full) < fewest:
                said.append(f"{name}: {len(full)} full runs drawn from the prior are too few")
            elif len(full) < THROUGH * len(drawn):
                said.append(f"{name}: only {len(full)} of {len(drawn)} trials ran in full")
            else:
                kept[name] = full
    return Basis(kept, tuple(said))


def sharpened(rows: pd.DataFrame, dataset: str, stage: str, surrogates: Surrogates) -> pd.DataFrame:
    """The rows with what other stages explain taken out of their scores, where a model can be fitted."""
    scores = surrogates.adjusted(rows, dataset, stage)
    own = rows["score"].to_numpy(dtype=np.float64) if scores is None else scores
    return rows.assign(score=own)
