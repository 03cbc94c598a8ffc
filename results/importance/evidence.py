"""What the trials can carry: which surrogate predicts held-out trials best, and how well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from distiller.results.importance.decomposition import Floats
from distiller.results.importance.linear import Basis, Linear
from distiller.results.importance.rows import Rows
from distiller.results.importance.trees import TREES, Surrogate

FOLDS, MANY, MANY_CONFIGS = 5, 3000, 100
"""Past so many rows of so many configs to measure losses on, one fifth of the configs is held out once."""
DONORS = 4
ENOUGH_FULL, ENOUGH_CONFIGS = 20, 10
"""Trials to measure losses on, and how many different configs they must be."""
SURROGATES = ("linear", "boosting", "forest")


@dataclass(frozen=True)
class Evidence:
    """Cross-validation over configs kept whole.

    Attributes:
        surrogate: the one of the least squared error; `linear` where none beats it by more than a standard
            error, since its intervals are the better ones, and where trials were stopped early, since it
            alone has a model of how scores grow.
        trees: how many boosted trees predict best, of `TREES`; None for another surrogate.
        r2: 1 - squared error / squared distance from the mean of the same fidelity: what the config
            explains beyond how long it ran.
        r2_low: one-sided 95% lower bound of `r2`, from the spread of the losses over configs.
        r2_of: of every surrogate.
        measured_on: the trials that all this is measured on, see the function of that name.
        models: where trees were chosen, each fold's with the rows that it never saw.
    """

    surrogate: str
    trees: int | None
    r2: float
    r2_low: float
    r2_of: Mapping[str, float]
    measured_on: str
    models: tuple[tuple[Surrogate, npt.NDArray[np.intp]], ...]


def cross_validate(rows: Rows, basis: Basis, *, seed: int, threads: int = 1) -> Evidence:
    """Held-out losses of every surrogate on trials whose config it never saw."""
    n = len(rows.score)
    where, some = measured_on(rows)
    once = some.sum() > MANY and configs(rows, some) >= MANY_CONFIGS
    held_out = folds(rows.config, np.random.default_rng(seed), once=once)
    seen = np.zeros(n, dtype=bool)
    base = np.zeros(n)
    errors = {"linear": np.zeros(n), "forest": np.zeros(n), **{str(t): np.zeros(n) for t in TREES}}
    fitted: dict[str, list[tuple[Surrogate, npt.NDArray[np.intp]]]] = {"boosting": [], "forest": []}
    for out in held_out:
        train = np.ones(n, dtype=bool)
        train[out] = False
        seen[out] = True
        base[out] = (rows.score[out] - _means(rows, train)[out]) ** 2
        linear = Linear.fit(basis, rows.score, rows.group, train)
        missed = rows.score - linear.predict()
        errors["linear"][out] = (missed - _by_rung(missed, rows, train))[out] ** 2
        for kind, mine in fitted.items():
            model = Surrogate.fit(
                rows.matrix[train], rows.score[train], seed=seed, threads=threads, kind=kind
            )
            mine.append((model, out))
            for trees in TREES if kind == "boosting" else (None,):
                loss = (rows.score[out] - model.predict(rows.matrix[out], trees)) ** 2
                errors[kind if trees is None else str(trees)][out] = loss
    some = some & seen
    boosted = min((str(t) for t in TREES), key=lambda name: float(errors[name][some].mean()))
    losses = {"linear": errors["linear"], "boosting": errors[boosted], "forest": errors["forest"]}
    best = min(SURROGATES, key=lambda name: float(losses[name][some].mean()))
    if basis.rungs:  # to trees the fidelity is one more feature: what they make of it at its end is no answer
        best = "linear"
    ahead = (losses["linear"] - losses[best])[some]
    if ahead.mean() <= ahead.std() / np.sqrt(len(ahead)):
        best = "linear"
    total = max(float(base[some].mean()), np.finfo(float).tiny)
    error = losses[best]
    r2 = 1 - float(error[some].mean()) / total
    spread, freedom = standard_error(base[some] - error[some] - r2 * base[some], rows.config[some])
    return Evidence(
        surrogate=best,
        trees=int(boosted) if best == "boosting" else None,
        r2=r2,
        r2_low=r2 - float(stats.t.ppf(0.95, freedom)) * spread / total,
        r2_of={name: 1 - float(loss[some].mean()) / total for name, loss in losses.items()},
        measured_on=where,
        models=tuple(fitted.get(best, ())),
    )


def folds(
    config: npt.NDArray[np.intp], rng: np.random.Generator, *, once: bool
) -> list[npt.NDArray[np.intp]]:
    """Rows of each fold, all of one config in the same; `once` of the first alone."""
    fold = rng.permutation(np.arange(config.max() + 1) % FOLDS)[config]
    return [np.flatnonzero(fold == k) for k in range(1 if once else FOLDS)]


def measured_on(rows: Rows) -> tuple[str, npt.NDArray[np.bool_]]:
    """The strictest kind of trials of which there are enough to measure losses on, and its members.

    A sampler's choices of different stages move together in time, so that on its trials one stage can
    answer for another; on draws from the prior stages are independent.
    """
    kinds = {
        "full runs drawn from the prior": rows.full & rows.prior,
        "full runs": rows.full,
        "all runs": np.ones(len(rows.score), dtype=bool),
    }
    if rows.prior.all():
        del kinds["full runs drawn from the prior"]
    return next((kind, some) for kind, some in kinds.items() if enough(rows, some) or kind == "all runs")


def enough(rows: Rows, some: npt.NDArray[np.bool_]) -> bool:
    """Whether these rows can tell stages apart: repeats of a few configs cannot, however many they are."""
    return bool(some.sum() >= ENOUGH_FULL and configs(rows, some) >= ENOUGH_CONFIGS)


def configs(rows: Rows, some: npt.NDArray[np.bool_]) -> int:
    """How many different ones these rows are of."""
    return len(np.unique(rows.config[some]))


def swapped(rows: Rows, evidence: Evidence, *, seed: int) -> dict[str, float]:
    """For each stage the p value of "held-out losses of the trees are the same with the stage's columns
    swapped with other trials'" (permutation importance on unseen data, Breiman 2001; t test over configs).

    A stage without effect loses nothing on average, however much the trees made of it in training. Values
    come from trials of the same fidelity and origin: a full run is never asked about values that none has
    tried.
    """
    rng = np.random.default_rng(seed)
    _, some = measured_on(rows)
    lost: dict[str, list[Floats]] = {stage: [] for stage in rows.stages}
    of: list[npt.NDArray[np.intp]] = []
    for model, out in evidence.models:
        out = out[some[out]]
        if not len(out):
            continue
        base = (rows.score[out] - model.predict(rows.matrix[out], evidence.trees)) ** 2
        losses = {stage: np.zeros(len(out)) for stage in rows.stages}
        for _ in range(DONORS):
            donors = _donors(rows, out, rng)
            for stage, features in rows.stages.items():
                matrix = rows.matrix[out]
                matrix[:, features] = rows.matrix[donors][:, features]
                losses[stage] += (rows.score[out] - model.predict(matrix, evidence.trees)) ** 2 / DONORS
        of.append(rows.config[out])
        for stage, loss in losses.items():
            lost[stage].append(loss - base)
    return {stage: _p_value(np.concatenate(parts), np.concatenate(of)) for stage, parts in lost.items()}


def _donors(rows: Rows, out: npt.NDArray[np.intp], rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """For each of the trials `out` one of the same fidelity and origin, at random."""
    donors = np.empty_like(out)
    stratum = rows.rung * 2 + rows.prior
    for kind in np.unique(stratum[out]):
        at = stratum[out] == kind
        donors[at] = rng.choice(np.flatnonzero(stratum == kind), size=int(at.sum()))
    return donors


def standard_error(losses: Floats, config: npt.NDArray[np.intp]) -> tuple[float, int]:
    """Of the mean of losses, and its degrees of freedom, trials of one config being one observation: what a
    surrogate gets wrong about a config, it gets wrong about all its repeats."""
    _, number = np.unique(config, return_inverse=True)
    together = np.bincount(number.reshape(-1), losses - losses.mean())
    count = len(together)
    if count < 2:
        return 0.0, 0
    return float(np.sqrt((together**2).sum() * count / (count - 1))) / len(losses), count - 1


def _p_value(losses: Floats, config: npt.NDArray[np.intp]) -> float:
    spread, freedom = standard_error(losses, config)
    return float(stats.t.sf(losses.mean() / spread, freedom)) if spread > 0 else 1.0


def _means(rows: Rows, train: npt.NDArray[np.bool_]) -> Floats:
    """[rows] the training mean at the row's rung, the overall one where the rung is new."""
    return _by_rung(rows.score, rows, train, float(rows.score[train].mean()))


def _by_rung(values: Floats, rows: Rows, train: npt.NDArray[np.bool_], otherwise: float = 0.0) -> Floats:
    """[rows] the mean of training rows' values at the row's rung.

    Trials that went on did so by luck too: at its rung each is better than its config's expectation.
    """
    mean = np.full(len(values), otherwise)
    for rung in np.unique(rows.rung):
        at = rows.rung == rung
        if (at & train).any():
            mean[at] = values[at & train].mean()
    return mean
