"""The plainest estimator that keeps the contract: additive least squares on full runs.

It shows that the contract can be kept, and mistakes are made in it to see that the contract tells them. It
finds no interactions: what it answers of tables that have some is wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from distiller.results.design import Design, Question
from distiller.spaces.priors import OneOf, is_constant
from tests.truth.brute import parameter_shares
from tests.truth.tree import Floats, Places, cell, latin_places, read_places

REFERENCE = 2**11
SIGNIFICANCE = 1e-3
FEWEST = 40


@dataclass(frozen=True)
class Stage:
    stage: str
    main: float
    total: float
    shapley: float
    influential: bool


@dataclass(frozen=True)
class Subset:
    stages: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Part:
    path: str
    stage: str
    kind: str
    share: float


@dataclass(frozen=True)
class Answer:
    """As `Importance`, less what the contract does not ask for."""

    verdict: str
    reason: str
    stages: tuple[Stage, ...] = ()
    pairs: tuple[Subset, ...] = ()
    subsets: tuple[Subset, ...] = ()
    parameters: tuple[Part, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def counted(trials: pd.DataFrame) -> pd.DataFrame:
    """The rows that may count: full search runs with a score, no warm starts, in an order of their own."""
    rows = trials[(trials["role"] == "search") & (trials["origin"] != "warm")]
    rows = rows[(rows["status"] != "failed") & (rows["fidelity"] == 1)]
    return rows[np.isfinite(rows["score"].to_numpy(dtype=np.float64))].sort_values("trial_id")


def plain(
    trials: pd.DataFrame, design: Design, epochs: pd.DataFrame | None, *, of_prior: bool = True
) -> Answer:
    """Shares of an additive function of the answers, under the prior or (a mistake) over the trials."""
    rows = counted(trials)
    score = rows["score"].to_numpy(dtype=np.float64)
    if len(rows) < FEWEST or np.ptp(score) == 0:
        return Answer("cannot tell", "too few trials, or equal scores")
    asked = searched(design)
    questions = [question for question, _ in asked]
    places = read_places(questions, rows)
    blocks = [functions(question, above, places) for question, above in asked]
    widths = [block.shape[1] for block in blocks]
    matrix = np.column_stack([np.ones(len(rows)), *blocks])
    owner = np.repeat(np.array([question.stage for question in questions]), widths)
    chances = {stage: chance(matrix, owner == stage, score) for stage in design.searched_stages()}
    if chance(matrix, owner != "", score) > SIGNIFICANCE:
        return Answer("cannot tell", "no better than the mean")
    solved = np.split(np.linalg.lstsq(matrix, score, rcond=1e-8)[0][1:], np.cumsum(widths)[:-1])

    def effect(stage: str, at: Places) -> Floats:
        mine = zip(asked, solved, strict=True)
        return np.asarray(sum(functions(q, above, at) @ b for (q, above), b in mine if q.stage == stage))

    if of_prior:
        places = latin_places(questions, REFERENCE, np.random.default_rng(0))
    variances = {stage: float(effect(stage, places).var()) for stage in chances}
    mains = {stage: variance / sum(variances.values()) for stage, variance in variances.items()}
    parts: list[Part] = []
    for stage, main in mains.items():
        own, rng = [question for question in questions if question.stage == stage], np.random.default_rng(1)
        found = parameter_shares(partial(effect, stage), design.stages[stage], own, REFERENCE, rng)
        found = {path: max(0.0, share) for path, share in found.items()}
        total = max(sum(found.values()), 1e-300)
        parts += [Part(path, stage, "parameter", share / total * main) for path, share in found.items()]
    return Answer(
        "ok",
        "better than the mean",
        tuple(Stage(s, m, m, m, chances[s] < SIGNIFICANCE / len(mains)) for s, m in mains.items()),
        tuple(Subset(pair, 0.0) for pair in itertools.combinations(mains, 2)),
        tuple(Subset((stage,), main) for stage, main in mains.items()),
        tuple(parts),
    )


Above = Sequence[tuple[Question, int]]


def searched(design: Design) -> list[tuple[Question, Above]]:
    """The searched questions, each with the numbers of the answers under which it is asked."""
    found: list[tuple[Question, Above]] = []

    def walk(question: Question, above: Above) -> None:
        count = len(question.prior.values) if isinstance(question.prior, OneOf) else 0
        if not is_constant(question.prior):
            found.append((question, above))
        for answer, below in question.below.items():
            assert isinstance(question.prior, OneOf)
            number = question.prior.values.index(answer)
            for inner in below:
                walk(inner, [*above, (question, number)] if count > 1 else above)

    for questions in design.stages.values():
        for question in questions:
            walk(question, [])
    return found


def functions(question: Question, above: Above, places: Mapping[str, Floats]) -> Floats:
    """[rows, functions] of one answer: a level each, or powers of its place; 0 where it is not asked."""
    place = places[question.path]
    if isinstance(question.prior, OneOf):
        values = np.eye(len(question.prior.values))[cell(place, len(question.prior.values))]
    else:
        values = np.column_stack([place**power for power in range(5)])
    for choice, number in above:
        assert isinstance(choice.prior, OneOf)
        values = values * (cell(places[choice.path], len(choice.prior.values)) == number)[:, None]
    return np.asarray(values)


def chance(matrix: Floats, some: npt.NDArray[np.bool_], score: Floats) -> float:
    """Of as good a fit by columns that do nothing (F test); the first one of `matrix` is the constant's."""

    def left(columns: Floats) -> tuple[float, int]:
        fitted, _, rank, _ = np.linalg.lstsq(columns, score, rcond=1e-8)
        return float(((score - columns @ fitted) ** 2).sum()), int(rank)

    without = matrix[:, np.concatenate([[True], ~some])]
    (whole, rank), (less, fewer) = left(matrix), left(without)
    freedom = len(score) - rank
    return float(stats.f.sf((less - whole) / (rank - fewer) / (whole / freedom), rank - fewer, freedom))
