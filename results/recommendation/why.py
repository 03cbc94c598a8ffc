"""Why a config is recommended: on which earlier datasets it did well, and which stages carry it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from distiller.results.recommendation.meta import MetaFeatures
from distiller.results.recommendation.recommender import Target
from distiller.results.recommendation.table import Tried
from distiller.results.recommendation.training import Training

NEAREST = 3
MOST_SWAPS = 200
"""Earlier configs whose stages are put in the place of a recommended one's."""


@dataclass(frozen=True)
class Near:
    """An earlier dataset and how far its meta-features are: root mean square of standardised differences."""

    dataset: str
    distance: float


@dataclass(frozen=True)
class Place:
    """A config's place among all that ran on an earlier dataset, 1 the best, by the mean of its runs."""

    dataset: str
    place: int
    configs: int


def nearest_datasets(training: Training, target: Target) -> tuple[Near, ...]:
    """The `NEAREST` earlier datasets, the nearest first; none where no meta-feature is known of both."""
    meta = MetaFeatures(training)
    at = meta.of(target)
    use = ~np.isnan(at)
    if not use.any():
        return ()
    distance = np.sqrt(((meta.matrix[:, use] - at[use]) ** 2).mean(axis=1))
    order = np.argsort(distance, kind="stable")[:NEAREST]
    return tuple(Near(training.tried.datasets[j], float(distance[j])) for j in order)


def places_of(tried: Tried, config_id: str) -> tuple[Place, ...]:
    """A config's place on every dataset where it ran, in the order of the datasets."""
    row = tried.configs.index.tolist().index(config_id)
    found = []
    for j in np.flatnonzero(tried.tried[row]):
        scores = tried.score[tried.of(int(j)), j]
        place = 1 + int((scores > tried.score[row, j]).sum())
        found.append(Place(tried.datasets[int(j)], place, len(scores)))
    return tuple(found)


def carried(training: Training, config_id: str) -> dict[str, float]:
    """By stage, how much worse the config would be, on average, with that stage of another config.

    Both sides are predicted by one model of the earlier scores (`Filler`), averaged over datasets, as shares
    of the way from a dataset's median config to its best. Stages are independent under the prior, so any
    config's stage goes with any other's. The most important first; stages that never differ are left out.
    """
    tried = training.tried
    some = tried.configs.iloc[:: 1 + len(tried.configs) // MOST_SWAPS]
    own = tried.configs.loc[[config_id]]
    swapped = {"": own}
    for stage, columns in _columns(training).items():
        rows = pd.concat([own] * len(some))
        for column in columns:
            rows[column] = some[column].to_numpy(dtype=object)
        swapped[stage] = rows
    every = pd.concat([rows.astype(object) for rows in swapped.values()])
    # New names: all are predicted, also what ran.
    every.index = pd.Index([f"swapped {number}" for number in range(len(every))])
    share = training.filler.fill(every, "share").value @ training.weight
    kept, *ends = np.split(share, np.cumsum([len(rows) for rows in swapped.values()])[:-1])
    gains = {stage: float(kept[0] - part.mean()) for stage, part in zip(list(swapped)[1:], ends, strict=True)}
    return dict(sorted(gains.items(), key=lambda item: -abs(item[1])))


def _columns(training: Training) -> dict[str, list[str]]:
    """The columns of each stage in which configs differ."""
    differing = {f.column for f in training.encoding.features} & set(training.tried.configs.columns)
    found: dict[str, list[str]] = {}
    for design in training.tried.designs:
        for question in design.questions():
            held = found.setdefault(question.stage, [])
            if question.column in differing and question.column not in held:
                held.append(question.column)
    return {stage: columns for stage, columns in found.items() if columns}
