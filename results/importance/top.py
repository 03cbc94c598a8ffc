"""The second view: what tells the best tenth of the runs from the prior (PED-ANOVA).

For a question with answers a, p0(a) their probabilities under the prior and p1(a) those among the best runs,

    D = sum_a p0(a) (p1(a) / p0(a) - 1)^2                 the Pearson divergence of p1 from p0

(Watanabe, Bansal & Hutter 2023, IJCAI), a range being cut into five parts of the same probability. D of n
runs that differ in nothing is (answers - 1) / n on average, which is taken off. Here a question is looked at
among the runs that are asked it, so that conditional parameters count too, and weighted by how many of the
best runs are. It says what reaches the top, not what makes scores vary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from distiller.results.design import Design, Question
from distiller.results.importance.basis import levels
from distiller.spaces.priors import Integers, OneOf, is_constant

QUANTILE = 0.1
BINS = 5
FEWEST = 10
"""Best runs below which nothing is said."""


@dataclass(frozen=True)
class TopParameter:
    """One question's part, and the answer that is met most often in the top beside the prior."""

    path: str
    column: str
    stage: str
    share: float
    favourite: str | None


@dataclass(frozen=True)
class TopShare:
    """PED-ANOVA over the best `quantile` of full runs that were drawn from the prior.

    Attributes:
        runs: how many are the best ones.
        stages: share of each stage, the sum over its questions; adds up to 1, or all 0.
    """

    quantile: float
    runs: int
    stages: dict[str, float]
    parameters: tuple[TopParameter, ...]


def top_share(frame: pd.DataFrame, score: np.ndarray, design: Design) -> TopShare | None:
    """From full runs drawn from the prior; None where they are too few.

    Args:
        frame: [runs] the design's columns.
        score: [runs] higher is better.
    """
    count = round(QUANTILE * len(score))
    if count < FEWEST:
        return None
    best = frame.iloc[np.argsort(-score, kind="stable")[:count]]
    found: list[tuple[Question, float, str | None]] = []

    def look(questions: tuple[Question, ...], rows: pd.DataFrame) -> None:
        for question in questions:
            place = _places(question, rows)
            if not is_constant(question.prior):
                found.append((question, *_divergence(question, place, len(best))))
            for answer, below in question.below.items():
                assert isinstance(question.prior, OneOf)
                met = place == question.prior.values.index(answer)
                look(below, rows[met] if len(question.prior.values) > 1 else rows)

    for questions in design.stages.values():
        look(questions, best)
    total = sum(value for _, value, _ in found) or 1.0
    shares = dict.fromkeys(design.searched_stages(), 0.0)
    for question, value, _ in found:
        shares[question.stage] += value / total
    parameters = tuple(
        TopParameter(question.path, question.column, question.stage, value / total, favourite)
        for question, value, favourite in found
    )
    return TopShare(QUANTILE, count, shares, parameters)


def _places(question: Question, rows: pd.DataFrame) -> np.ndarray:
    """[rows] the number of each answer, or of the part of the range that it lies in; -1 for none."""
    prior = question.prior
    if is_constant(prior) or question.column not in rows:
        return np.full(len(rows), -1)
    if isinstance(prior, OneOf):
        return levels(prior, rows[question.column])
    values = pd.to_numeric(rows[question.column]).to_numpy(dtype=np.float64, na_value=np.nan)
    if isinstance(prior, Integers):
        place = (values - prior.low) / (prior.high - prior.low + 1)
    elif prior.log:
        place = np.log(values / prior.low) / np.log(prior.high / prior.low)
    else:
        place = (values - prior.low) / (prior.high - prior.low)
    bins = _bins(question)
    known = np.nan_to_num(place, nan=-1.0)
    return np.where(known < 0, -1, np.minimum(np.floor(known * bins), bins - 1)).astype(int)


def _bins(question: Question) -> int:
    prior = question.prior
    if isinstance(prior, OneOf):
        return len(prior.values)
    return min(BINS, prior.high - prior.low + 1) if isinstance(prior, Integers) else BINS


def _probabilities(question: Question) -> np.ndarray:
    """[answers] under the prior; integers do not always cut into even parts."""
    bins = _bins(question)
    if not isinstance(question.prior, Integers):
        return np.full(bins, 1 / bins)
    count = question.prior.high - question.prior.low + 1
    place = np.floor(np.arange(count) / count * bins).astype(int)
    return np.bincount(place, minlength=bins) / count


def _divergence(question: Question, place: np.ndarray, best: int) -> tuple[float, str | None]:
    asked = place[place >= 0]
    if len(asked) < 2:
        return 0.0, None
    prior = _probabilities(question)
    share = np.bincount(asked, minlength=len(prior)) / len(asked)
    value = float((prior * (share / prior - 1) ** 2).sum()) - (len(prior) - 1) / len(asked)
    favourite = int(np.argmax(share / prior))
    said = str(question.prior.values[favourite]) if isinstance(question.prior, OneOf) else None
    if said is None:
        said = ("lowest fifth", "second fifth", "middle fifth", "fourth fifth", "highest fifth")[
            min(favourite * BINS // len(prior), BINS - 1)
        ]
    return max(0.0, value) * len(asked) / best, said if value > 0 else None
