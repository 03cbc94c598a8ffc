"""What the trials can carry: held-out R2 of the surrogate, and what it loses without each stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from distiller.results.importance.decomposition import Floats
from distiller.results.importance.rows import Rows
from distiller.results.importance.surrogate import TREES, Surrogate

FOLDS = 5
DONORS = 4
MANY = 3000
ENOUGH_FULL = 20


@dataclass(frozen=True)
class Evidence:
    """Repeated K-fold cross-validation, configs kept whole.

    Attributes:
        trees: how many trees predict best, of `TREES`.
        r2: 1 - squared error / squared distance from the mean of the same fidelity: what the config
            explains beyond how long it ran.
        r2_low: one-sided 95% lower bound of `r2`, from the spread of the losses over trials.
        measured_on: the trials that all this is measured on, see the function of that name.
        lost: for each stage the R2 lost when its columns are swapped with other trials'.
        p_value: for each stage, of "nothing is lost" (one-sided t test over trials).
    """

    trees: int
    r2: float
    r2_low: float
    measured_on: str
    lost: dict[str, float]
    p_value: dict[str, float]


def cross_validate(rows: Rows, *, seed: int, threads: int = 1) -> Evidence:
    """Held-out losses of surrogates that never saw the config, averaged over repeats.

    Swapping a stage's columns on held-out rows (Breiman 2001, on unseen data) needs no refit, and a stage
    without effect loses nothing on average, however much the trees made of it in training. Values come from
    trials of the same fidelity and origin: a full run is never asked about values that none has tried.
    """
    rng = np.random.default_rng(seed)
    n = len(rows.score)
    repeats, draws = (3, DONORS) if n <= 1000 else (1, DONORS) if n <= MANY else (1, 1)
    held_out: list[tuple[Surrogate, npt.NDArray[np.intp]]] = []
    base, errors = np.zeros(n), np.zeros((len(TREES), n))
    for _ in range(repeats):
        fold = rng.permutation(np.arange(rows.config.max() + 1) % FOLDS)[rows.config]
        for k in range(FOLDS):
            out, train = np.flatnonzero(fold == k), fold != k
            model = Surrogate.fit(rows.matrix[train], rows.score[train], seed=seed, threads=threads)
            held_out.append((model, out))
            base[out] += (rows.score[out] - _means(rows, train)[out]) ** 2
            for i, trees in enumerate(TREES):
                errors[i, out] += (rows.score[out] - model.predict(rows.matrix[out], trees)) ** 2
    kind, some = measured_on(rows)
    best = int(errors.mean(axis=1).argmin())
    error, trees = errors[best], TREES[best]
    swapped = {stage: np.zeros(n) for stage in rows.stages}
    for model, out in held_out:
        for _ in range(draws):
            donors = _donors(rows, out, rng)
            for stage, features in rows.stages.items():
                matrix = rows.matrix[out]
                matrix[:, features] = rows.matrix[donors][:, features]
                swapped[stage][out] += (rows.score[out] - model.predict(matrix, trees)) ** 2 / draws
    total = max(float(base[some].mean()), np.finfo(float).tiny)
    r2 = 1 - float(error[some].mean()) / total
    sd = float((base[some] - error[some] - r2 * base[some]).std(ddof=1)) / total
    lost = {stage: (loss - error)[some] for stage, loss in swapped.items()}
    return Evidence(
        trees=trees,
        r2=r2,
        r2_low=r2 - float(stats.t.ppf(0.95, some.sum() - 1)) * sd / float(np.sqrt(some.sum())),
        measured_on=kind,
        lost={stage: float(loss.mean()) / total for stage, loss in lost.items()},
        p_value={stage: _p_value(loss) for stage, loss in lost.items()},
    )


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
    return next(
        (kind, some) for kind, some in kinds.items() if some.sum() >= ENOUGH_FULL or kind == "all runs"
    )


def _donors(rows: Rows, out: npt.NDArray[np.intp], rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """For each of the trials `out` one of the same fidelity and origin, at random."""
    donors = np.empty_like(out)
    stratum = rows.rung + 2.0 * rows.prior  # fidelity is at most 1
    for kind in np.unique(stratum[out]):
        at = stratum[out] == kind
        donors[at] = rng.choice(np.flatnonzero(stratum == kind), size=int(at.sum()))
    return donors


def _p_value(losses: Floats) -> float:
    spread = float(losses.std(ddof=1))
    if spread == 0:
        return 1.0
    return float(stats.t.sf(losses.mean() / spread * np.sqrt(len(losses)), len(losses) - 1))


def _means(rows: Rows, train: npt.NDArray[np.bool_]) -> Floats:
    """[trials] the training mean at the trial's rung, the overall one where the rung is new."""
    mean = np.full(len(rows.score), rows.score[train].mean())
    for rung in np.unique(rows.rung):
        at = rows.rung == rung
        if (at & train).any():
            mean[at] = rows.score[at & train].mean()
    return mean
