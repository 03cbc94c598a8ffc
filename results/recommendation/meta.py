"""Meta-features of datasets as numbers on one scale."""

from __future__ import annotations

import numpy as np

from distiller.results.recommendation.recommender import Target
from distiller.results.recommendation.table import Floats
from distiller.results.recommendation.training import Training

COUNTS = ("_rows", "labels")
"""Endings of columns that count something, of which the logarithm is taken."""


class MetaFeatures:
    """Those that earlier datasets have and differ in, by their mean 0 and their standard deviation 1.

    Attributes:
        names: [meta-features].
        matrix: [datasets, meta-features]; a value that is unknown is the mean.
    """

    def __init__(self, training: Training):
        meta = training.tried.meta
        raw = np.array([_scaled(str(name), meta[name].to_numpy(dtype=np.float64)) for name in meta])
        raw = raw.reshape(meta.shape[1], len(meta)).T
        use = [j for j in range(raw.shape[1]) if len(np.unique(raw[~np.isnan(raw[:, j]), j])) > 1]
        self.names = [str(meta.columns[j]) for j in use]
        self._mean = np.nanmean(raw[:, use], axis=0) if use else np.zeros(0)
        self._spread = np.nanstd(raw[:, use], axis=0) if use else np.ones(0)
        self.matrix: Floats = np.nan_to_num((raw[:, use] - self._mean) / self._spread)

    def of(self, target: Target) -> Floats:
        """[meta-features] of a dataset, NaN where unknown."""
        known = target or {}
        raw = np.array([float(_scaled(name, np.array(known.get(name, np.nan)))) for name in self.names])
        return np.asarray((raw.reshape(-1) - self._mean) / self._spread)


def _scaled(name: str, values: Floats) -> Floats:
    return np.log1p(values) if name.endswith(COUNTS) else values
