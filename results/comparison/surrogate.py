"""Scores predicted from configs, by boosted trees that have not seen the trial: fitted once per dataset, for
all who ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from distiller.results.comparison.best_of_n import Floats
from distiller.results.comparison.selection import drawn_in_full, is_full, searched
from distiller.results.design import Design
from distiller.results.importance.rows import encode
from distiller.results.importance.trees import TREES, Surrogate
from distiller.spaces.encoding import Encoding

FOLDS = 5
FEWEST_ROWS = 20
"""Trials below which nothing is fitted."""
DONORS = 4
"""Draws of a stage that its effect is averaged over."""


@dataclass(frozen=True)
class CrossFit:
    """Five models, each of which has not seen one fifth of the configs.

    Attributes:
        index: [rows] of the trials.
        matrix: [rows, features + 1] the encoded configs, then log fidelity.
        score, fold: [rows] the scores, and the model that has seen neither the trial nor its config on
            another seed.
        trees: of each model, as many as predict held-out trials best.
        r2: held out, on full runs; what a mean of them would score is 0.
    """

    design: Design
    encoding: Encoding
    index: pd.Index
    matrix: Floats
    score: Floats
    fold: npt.NDArray[np.intp]
    models: tuple[Surrogate, ...]
    trees: int
    r2: float

    @classmethod
    def of(cls, rows: pd.DataFrame, design: Design, seed: int) -> CrossFit | None:
        """Fitted to `rows`, all of which have scores; None of too few full runs or configs."""
        full = is_full(rows)
        fold = _folds(rows, seed)
        encoding = Encoding.of(design)
        if full.sum() < FEWEST_ROWS or fold.max() + 1 < FOLDS or not encoding.features:
            return None
        score = rows["score"].to_numpy(dtype=np.float64)
        matrix = _matrix(rows, encoding, rows["fidelity"].to_numpy(dtype=np.float64))
        models = tuple(Surrogate.fit(matrix[fold != k], score[fold != k], seed=seed) for k in range(FOLDS))
        squares = {}
        for trees in TREES:
            error = score - _held_out(models, matrix, fold, trees)
            squares[trees] = float((error[full] ** 2).sum())
        best = min(squares, key=lambda trees: squares[trees])
        spread = float(((score[full] - score[full].mean()) ** 2).sum())
        r2 = 1 - squares[best] / spread if spread > 0 else 0.0
        return cls(design, encoding, rows.index, matrix, score, fold, models, best, r2)

    def predict(self, rows: pd.DataFrame) -> Floats:
        """[rows] scores at full budget of the configs whose columns stand in `rows`, the models' mean."""
        matrix = _matrix(rows, self.encoding, np.ones(len(rows)))
        return np.asarray(np.mean([model.predict(matrix, self.trees) for model in self.models], axis=0))

    def without_the_rest(self, stage: str) -> pd.Series:
        """[rows] the scores less what the other stages explain of them.

        On draws from the prior the stage's choice says nothing about the others, and a model that has not
        seen the trial is as right or wrong about either choice: the difference of two choices stays unbiased
        whatever the model is worth, and what it explains no longer blurs it (regression adjustment in
        experiments, Lin 2013; cross-fitted, Wager et al. 2016). What the others explain is the prediction
        averaged over draws of the stage, the same for all trials.
        """
        own = [j for j, feature in enumerate(self.encoding.features) if feature.stage == stage]
        donors = encode(self.design.draw(DONORS, np.random.default_rng(0)), self.encoding)
        explained = np.zeros(len(self.score))
        for donor in donors:
            matrix = self.matrix.copy()
            matrix[:, own] = donor[own]
            explained += _held_out(self.models, matrix, self.fold, self.trees) / DONORS
        return pd.Series(self.score - explained, index=self.index)


class Surrogates:
    """What the comparisons of one table of trials share.

    Attributes:
        trials: the table, its rows numbered.
    """

    def __init__(self, trials: pd.DataFrame, designs: Mapping[str, Design], *, seed: int = 0):
        self.trials = trials.reset_index(drop=True)
        self._designs, self._seed = designs, seed
        self._fits: dict[str, list[tuple[pd.Index, CrossFit | None]]] = {}
        self._adjusted: dict[tuple[str, str], pd.Series | None] = {}

    def predictor(self, dataset: str) -> CrossFit | None:
        """Fitted to all search trials that have a score, stopped ones with how far they got."""
        rows = searched(self.trials[self.trials["dataset"] == dataset])
        score = rows["score"].to_numpy(dtype=np.float64, na_value=np.nan)
        return self._fit(
            dataset, rows[np.isfinite(score) & (rows["status"] != "failed").to_numpy(dtype=bool)]
        )

    def adjusted(self, rows: pd.DataFrame, dataset: str, stage: str) -> Floats | None:
        """[rows] the scores of full runs drawn from the prior, all or some, less what other stages explain.

        None where they are too few, or nothing else is searched.
        """
        if (dataset, stage) not in self._adjusted:
            others = set(self._designs[dataset].searched_stages()) - {stage}
            fit = self._fit(dataset, drawn_in_full(self.trials, dataset)) if others else None
            self._adjusted[dataset, stage] = fit.without_the_rest(stage) if fit else None
        scores = self._adjusted[dataset, stage]
        return None if scores is None else scores.loc[rows.index].to_numpy(dtype=np.float64)

    def _fit(self, dataset: str, rows: pd.DataFrame) -> CrossFit | None:
        """The fit to these rows; that of the same rows serves both uses."""
        known = self._fits.setdefault(dataset, [])
        for index, fit in known:
            if index.equals(rows.index):
                return fit
        known.append((rows.index, CrossFit.of(rows, self._designs[dataset], self._seed)))
        return known[-1][1]


def _held_out(
    models: tuple[Surrogate, ...], matrix: Floats, fold: npt.NDArray[np.intp], trees: int
) -> Floats:
    found = np.empty(len(matrix))
    for k, model in enumerate(models):
        found[fold == k] = model.predict(matrix[fold == k], trees)
    return found


def _matrix(rows: pd.DataFrame, encoding: Encoding, fidelity: Floats) -> Floats:
    return np.column_stack([encode(rows, encoding), np.log(np.clip(fidelity, 1e-6, 1.0))])


def _folds(rows: pd.DataFrame, seed: int) -> npt.NDArray[np.intp]:
    """[rows] a fold for each, configs kept whole."""
    names = rows["config_id"].astype(str) if "config_id" in rows else pd.Series(range(len(rows)))
    _, number = np.unique(names.to_numpy(), return_inverse=True)
    order = np.random.default_rng(seed).permutation(int(number.max(initial=-1)) + 1)
    return np.asarray(order[number] % FOLDS, dtype=np.intp)
