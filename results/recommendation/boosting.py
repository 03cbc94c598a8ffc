"""Boosted trees that predict how good a config is on each earlier dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd

from distiller.results.importance.trees import SETTINGS, TREES, sizes
from distiller.results.recommendation.table import Floats, Ints

if TYPE_CHECKING:
    from distiller.results.recommendation.training import Training

FOLDS = 5


Value = Literal["share", "rank"]


@dataclass(frozen=True)
class Filled:
    """Shares of the range, or ranks, as in `Training`, of some configs on all earlier datasets.

    Attributes:
        value: [configs, datasets] measured where the config ran, else predicted.
        predicted: [configs, datasets] which are.
    """

    value: Floats
    predicted: npt.NDArray[np.bool_]


class Filler:
    """Fills in the cells in which a config did not run; fitted once for each value, when it is asked for."""

    def __init__(self, training: Training):
        self._training = training
        self._models: dict[Value, lightgbm.Booster] = {}

    def fill(self, configs: pd.DataFrame, value: Value) -> Filled:
        """[configs, datasets]"""
        training = self._training
        shape = (len(configs), len(training.tried.datasets))
        row, dataset = (axis.ravel() for axis in np.indices(shape))
        matrix = self._matrix(training.encoded(configs)[row], dataset)
        predicted = np.asarray(self._model(value).predict(matrix, num_threads=1)).reshape(shape)
        number = training.known(configs)
        measured = (number >= 0)[:, None] & training.tried.tried[number]
        return Filled(np.where(measured, self._measured(value)[number], predicted), ~measured)

    def _measured(self, value: Value) -> Floats:
        return self._training.share if value == "share" else self._training.rank

    def _model(self, value: Value) -> lightgbm.Booster:
        if value not in self._models:
            training, tried = self._training, self._training.tried
            row, dataset = np.nonzero(tried.tried)
            weight = (training.weight / tried.tried.sum(axis=0))[dataset] * len(row)
            matrix = self._matrix(training.features[row], dataset)
            target = self._measured(value)[row, dataset]
            self._models[value] = _fitted(matrix, target, weight, row, training.seed)
        return self._models[value]

    def _matrix(self, features: Floats, dataset: Ints) -> Floats:
        """[rows, features + datasets] the config, then which dataset it is."""
        return np.column_stack([features, np.eye(len(self._training.tried.datasets))[dataset]])


def settings(rows: int, seed: int) -> dict[str, Any]:
    """LightGBM's, for tables of so many rows."""
    return {**SETTINGS, **sizes(rows), "seed": seed, "num_threads": 1}


def _fitted(matrix: Floats, target: Floats, weight: Floats, config: Ints, seed: int) -> lightgbm.Booster:
    """As many trees as predict configs best that they have not seen."""
    order = np.random.default_rng(seed).permutation(int(config.max()) + 1)
    fold = order[config] % FOLDS
    lost = np.zeros(len(TREES))
    for k in range(FOLDS):
        if not ((out := fold == k).any() and (~out).any()):
            continue
        model = _train(matrix[~out], target[~out], weight[~out], seed)
        for i, trees in enumerate(TREES):
            error = target[out] - model.predict(matrix[out], num_iteration=trees, num_threads=1)
            lost[i] += float((weight[out] * error**2).sum())
    return _train(matrix, target, weight, seed, TREES[int(lost.argmin())])


def _train(
    matrix: Floats, target: Floats, weight: Floats, seed: int, trees: int = TREES[-1]
) -> lightgbm.Booster:
    settled = settings(len(target), seed)
    return lightgbm.train(settled, lightgbm.Dataset(matrix, target, weight=weight, params=settled), trees)
