"""How choices rank over datasets, and how probable it is that one is better there."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from distiller.results.comparison.best_of_n import expected_best, headline_n
from distiller.results.comparison.differences import DATASETS, FEWEST
from distiller.results.comparison.ranks import critical_difference
from distiller.results.comparison.report import CriticalDifference, SignedRank
from distiller.results.comparison.selection import Selected
from distiller.results.comparison.signed_rank import signed_rank


def ranks_of(
    selected: Mapping[str, Selected], choices: Sequence[str]
) -> tuple[CriticalDifference | None, list[str]]:
    """Ranks by best of n at equal n, of the choices that most datasets can rank, where all of them can be."""
    rankable = {
        dataset: {c for c, scores in data.scores.items() if len(scores) >= FEWEST}
        for dataset, data in selected.items()
    }
    ranked = [c for c in choices if sum(c in r for r in rankable.values()) * 2 > len(selected)]
    datasets = [dataset for dataset in selected if rankable[dataset].issuperset(ranked)]
    if len(selected) < DATASETS:
        return None, []
    if len(ranked) < 2 or len(datasets) < DATASETS:
        return None, [
            f"no ranks: {DATASETS} datasets with {FEWEST} full runs of each of two choices are needed"
        ]
    notes = []
    if left := [c for c in choices if c not in ranked]:
        notes.append(f"not ranked, for want of full runs: {', '.join(left)}")
    if left := [dataset for dataset in selected if dataset not in datasets]:
        notes.append(f"not in the ranks, for want of full runs of some choice: {', '.join(left)}")
    table = {}
    for dataset in datasets:
        scores = selected[dataset].scores
        n = headline_n(min(len(scores[choice]) for choice in ranked))
        table[dataset] = [float(expected_best(scores[choice], n)) for choice in ranked]
    frame = pd.DataFrame.from_dict(table, orient="index", columns=ranked)
    return critical_difference(frame, "expected best of n, n equal in each dataset"), notes


def signed_ranks(
    selected: Mapping[str, Selected], choices: Sequence[str], rope: float, seed: int
) -> list[SignedRank]:
    """Of each pair, on the differences of their best of n, where 3 datasets have both."""
    tests = []
    for one, other in itertools.combinations(choices, 2):
        gaps = []
        for data in selected.values():
            a, b = (data.scores[choice] for choice in (one, other))
            if min(len(a), len(b)) >= FEWEST:
                n = headline_n(min(len(a), len(b)))
                gaps.append(float(expected_best(a, n) - expected_best(b, n)))
        if len(gaps) >= DATASETS:
            above, within, below = signed_rank(np.array(gaps), rope, np.random.default_rng(seed))
            tests.append(SignedRank(one, other, len(gaps), above, within, below, rope))
    return tests


def unit_notes(selected: Mapping[str, Selected]) -> list[str]:
    """What a mean over datasets of different metrics is."""
    units = list(dict.fromkeys(d.metric or "an unnamed metric" for d in selected.values()))
    if len(units) < 2:
        return []
    return [f"the datasets' metrics differ ({', '.join(units)}): means over datasets mix their units"]
