"""How far a stage's effect differs between datasets: stage-by-dataset interaction, by permutation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from distiller.results.comparison.best_of_n import Floats
from distiller.results.comparison.differences import holm
from distiller.results.comparison.matrix import StageByDataset
from distiller.results.comparison.question import Asked, always_asked, asked
from distiller.results.comparison.resampling import PORTION
from distiller.results.comparison.selection import drawn_in_full, is_full, searched
from distiller.results.comparison.surrogate import FEWEST_ROWS, Surrogates
from distiller.results.design import Design

PERMUTATIONS = 1999
LARGE = 5000
"""Trials from which on permutations would only draw the F distribution."""


def interactions(
    trials: pd.DataFrame,
    designs: Mapping[str, Design],
    *,
    seed: int = 0,
    surrogates: Surrogates | None = None,
) -> tuple[tuple[StageByDataset, ...], int]:
    """Each stage with the dataset, p values corrected over stages; and the trials that this rests on.

    Scores are standardised in each dataset, less what other stages explain where that is sound. A model with
    effects of the stage's answers in each dataset is compared with one of the same effects in all. The null
    distribution permutes the latter's residuals inside each dataset (Freedman & Lane 1983); of 5,000 trials
    and more it is F's own, to which that comes. The share is a partial omega squared, its interval that of
    the noncentral F distribution (Steiger 2004).
    """
    surrogates = surrogates or Surrogates(trials, designs, seed=seed)
    trials = surrogates.trials
    kept = {name: rows for name in designs if len(rows := _rows(trials, name)) >= FEWEST_ROWS}
    if len(kept) < 2:
        return (), sum(map(len, kept.values()))
    shared = [
        stage
        for stage in next(iter(designs.values())).stages
        if all(stage in designs[name].searched_stages() for name in kept)
    ]
    stages = []
    for stage in shared:
        own = {name: designs[name] for name in kept}
        questions = _questions(own, stage, trials)
        if questions and (found := _interaction(kept, stage, questions, surrogates, seed)) is not None:
            stages.append(found)
    corrected = holm([one.p for one in stages])
    tested = tuple(replace(one, p_holm=p) for one, p in zip(stages, corrected, strict=True))
    return tested, sum(map(len, kept.values()))


def _rows(trials: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Full search runs, those drawn from the prior where there are enough."""
    prior = drawn_in_full(trials, dataset)
    if len(prior) >= FEWEST_ROWS:
        return prior
    rows = searched(trials[trials["dataset"] == dataset])
    return rows[is_full(rows)]


def _questions(designs: Mapping[str, Design], stage: str, trials: pd.DataFrame) -> list[Asked]:
    """What every config of every dataset answers in a stage."""
    columns = [[q.path for q in always_asked(design, stage)] for design in designs.values()]
    return [asked(path, designs, trials) for path in columns[0] if all(path in other for other in columns)]


def _interaction(
    rows: Mapping[str, pd.DataFrame],
    stage: str,
    questions: Sequence[Asked],
    surrogates: Surrogates,
    seed: int,
) -> StageByDataset | None:
    score, answers = [], []
    for name, frame in rows.items():
        adjusted = None
        if (frame["origin"] == "prior").all():
            adjusted = surrogates.adjusted(frame, name, stage)
        own = frame["score"].to_numpy(dtype=np.float64) if adjusted is None else adjusted
        if not np.ptp(own) > 0:
            return None
        score.append((own - own.mean()) / own.std(ddof=1))
        answers.append(_dummies(frame, questions))
    number = [len(own) for own in score]
    block = np.repeat(np.arange(len(number)), number)
    y = np.concatenate(score)
    common = np.vstack(answers)
    of_dataset = np.eye(len(number))[block]
    apart = np.hstack([common * of_dataset[:, [d]] for d in range(len(number))])
    reduced, full = _basis(np.hstack([of_dataset, common])), _basis(np.hstack([of_dataset, apart]))
    between, within = full.shape[1] - reduced.shape[1], len(y) - full.shape[1]
    if between < 1 or within < 10:
        return None
    fitted = reduced @ (reduced.T @ y)
    observed = float(_f(y[None, :] @ reduced, y[None, :] @ full, y, between, within)[0])
    if len(y) >= LARGE:
        p = float(stats.f.sf(observed, between, within))
    else:
        # What is fitted lies in both models: F of fitted and permuted residuals is that of the residuals.
        chance = _permuted(y - fitted, block, np.hstack([reduced, full]), np.random.default_rng(seed))
        count = reduced.shape[1]
        drawn = _f(chance[:, :count], chance[:, count:], y - fitted, between, within)
        p = float((1 + (drawn >= observed * (1 - 1e-9)).sum()) / (1 + PERMUTATIONS))
    extra = max(0.0, (observed - 1) * between)
    low, high = (_share(observed, between, within, tail) for tail in (0.975, 0.025))
    best = {
        name: _best(frame, own, questions[0]) for (name, frame), own in zip(rows.items(), score, strict=True)
    }
    categorical = questions[0].middle is None
    return StageByDataset(stage, extra / (extra + len(y)), low, high, p, p, best if categorical else {})


def _dummies(rows: pd.DataFrame, questions: Sequence[Asked]) -> Floats:
    """[rows, answers] whether a trial gave each answer but the first of each question."""
    columns = []
    for question in questions:
        given = question.answers(rows)
        columns += [given == choice for choice in question.choices[1:]]
    return np.array(columns, dtype=np.float64).T.reshape(len(rows), -1)


def _basis(matrix: Floats) -> Floats:
    """[rows, rank] an orthonormal basis of the columns."""
    left, size, _ = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray(left[:, size > size[0] * 1e-9])


def _permuted(
    residual: Floats, block: npt.NDArray[np.intp], basis: Floats, rng: np.random.Generator
) -> Floats:
    """[PERMUTATIONS, columns] the residuals' coefficients on `basis` when they are permuted in each block."""
    found = np.zeros((PERMUTATIONS, basis.shape[1]))
    for d in range(int(block.max()) + 1):
        own, columns = residual[block == d], basis[block == d]
        size = max(1, PORTION // len(own))
        for begun in range(0, PERMUTATIONS, size):
            some = min(size, PERMUTATIONS - begun)
            permuted = rng.permuted(np.broadcast_to(own, (some, len(own))), axis=1)
            found[begun : begun + some] += permuted @ columns
    return found


def _f(reduced: Floats, full: Floats, y: Floats, between: int, within: int) -> Floats:
    """[draws] F of the full model over the reduced one, from the coefficients [draws, columns] on their bases
    of something as long as `y`."""
    total = float(y @ y)
    rest, some = (total - (coefficients**2).sum(axis=1) for coefficients in (full, reduced))
    return np.asarray((some - rest) / between / np.maximum(rest / within, 1e-12))


def _share(f: float, between: int, within: int, tail: float) -> float:
    """The share for which an F below the observed one has probability `tail`."""

    def beyond(strength: float) -> float:
        return float(stats.ncf.cdf(f, between, within, strength)) - tail

    if float(stats.f.cdf(f, between, within)) <= tail:
        return 0.0
    most = 1.0
    while beyond(most) > 0 and most < 1e7:
        most *= 2
    strength = float(optimize.brentq(beyond, 1e-9, most)) if beyond(most) < 0 else most
    return strength / (strength + between + within)


def _best(rows: pd.DataFrame, score: Floats, question: Asked) -> str:
    means = pd.Series(score).groupby(pd.Series(question.answers(rows))).mean()
    return str(means.idxmax())
