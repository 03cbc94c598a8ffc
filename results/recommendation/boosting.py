"""Boosted trees that predict how good a config is on each earlier dataset."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd

from distiller.results.importance.trees import SETTINGS, sizes
from distiller.results.recommendation.table import Floats, Ints

if TYPE_CHECKING:
    from distiller.results.recommendation.training import Training

FOLDS = 3
TREES = (10, 20, 40, 80, 120)
"""Numbers of trees that cross-validation chooses from."""
RATE = 0.2
"""At half as many trees twice the usual learning rate: as exact, in less time."""

Value = Literal["share", "rank", "early"]
"""As in `Training`."""


@dataclass(frozen=True)
class Filled:
    """One of the values of some configs on all earlier datasets.

    Attributes:
        value: [configs, datasets] measured where it is known, else predicted.
        predicted: [configs, datasets] which are.
    """

    value: Floats
    predicted: npt.NDArray[np.bool_]


class Filler:
    """Fills in the cells in which a config did not run; fitted once for each value, when it is asked for."""

    def __init__(self, training: Training):
        self._training = training
        self._models: dict[Value, lightgbm.Booster] = {}
        self._last: dict[Value, tuple[tuple[str, ...], Filled]] = {}

    def fill(self, configs: pd.DataFrame, value: Value) -> Filled:
        """[configs, datasets]"""
        # Several recommenders ask for the same candidates, one after another.
        ids = tuple(configs.index)
        if value in self._last and self._last[value][0] == ids:
            return self._last[value][1]
        training = self._training
        number = training.known(configs)
        found = np.where((number >= 0)[:, None], self._measured(value)[number], np.nan)
        predicted = np.isnan(found)
        row, dataset = np.nonzero(predicted)
        if len(row):
            matrix = self._matrix(training.encoded(configs)[row], dataset)
            found[row, dataset] = self._model(value).predict(matrix, num_threads=1)
        self._last[value] = ids, Filled(found, predicted)
        return self._last[value][1]

    def _measured(self, value: Value) -> Floats:
        training = self._training
        return {"share": training.share, "rank": training.rank, "early": training.early}[value]

    def _model(self, value: Value) -> lightgbm.Booster:
        if value not in self._models:
            training, measured = self._training, self._measured(value)
            row, dataset = np.nonzero(~np.isnan(measured))
            count = np.bincount(dataset, minlength=measured.shape[1])
            weight = training.weight[dataset] / count[dataset] * len(row)
            matrix = self._matrix(training.features[row], dataset)
            self._models[value] = _fitted(matrix, measured[row, dataset], weight, row, training.seed)
        return self._models[value]

    def _matrix(self, features: Floats, dataset: Ints) -> Floats:
        """[rows, features + datasets] the config, then which dataset it is."""
        return np.column_stack([features, np.eye(len(self._training.tried.datasets))[dataset]])


def settings(rows: int, seed: int) -> dict[str, Any]:
    """LightGBM's, for tables of so many rows."""
    return {**SETTINGS, **sizes(rows), "seed": seed, "num_threads": 1}


def staged(model: lightgbm.Booster, matrix: Floats, trees: Sequence[int]) -> Floats:
    """[numbers of trees, rows] what the first so many trees predict; the numbers grow."""
    added = [
        model.predict(matrix, start_iteration=start, num_iteration=end - start, num_threads=1)
        for start, end in itertools.pairwise((0, *trees))
    ]
    return np.asarray(np.cumsum(added, axis=0), dtype=np.float64)


def _fitted(matrix: Floats, target: Floats, weight: Floats, config: Ints, seed: int) -> lightgbm.Booster:
    """As many trees as predict configs best that they have not seen."""
    order = np.random.default_rng(seed).permutation(int(config.max()) + 1)
    fold = order[config] % FOLDS
    lost = np.zeros(len(TREES))
    for k in range(FOLDS):
        if not ((out := fold == k).any() and (~out).any()):
            continue
        model = _train(matrix[~out], target[~out], weight[~out], seed)
        error = target[out] - staged(model, matrix[out], TREES)
        lost += error**2 @ weight[out]
    return _train(matrix, target, weight, seed, TREES[int(lost.argmin())])


def _train(
    matrix: Floats, target: Floats, weight: Floats, seed: int, trees: int = TREES[-1]
) -> lightgbm.Booster:
    settled = settings(len(target), seed) | {"learning_rate": RATE}
    return lightgbm.train(settled, lightgbm.Dataset(matrix, target, weight=weight, params=settled), trees)
