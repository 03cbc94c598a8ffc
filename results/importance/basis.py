"""An orthonormal basis of functions of a config under the prior: one block per question, by its tree.

A question that is asked with probability p has functions b_1, b_2, … of its answer, orthonormal and of mean
0 given that it is asked; its features are b_k / sqrt(p) where it is asked and 0 elsewhere. Questions of one
tree are conditionally independent, those of different stages independent, so all features, and all products
of features of different stages, are orthonormal under the prior: the variance of a sum of them is the sum of
squared coefficients, stage by stage and question by question (polynomial chaos, Sudret 2008, Reliability
Engineering & System Safety 93(7); the tree of conditions is added here).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.polynomial import legendre

from distiller.results.design import Question
from distiller.results.importance.decomposition import Floats
from distiller.spaces.priors import Integers, OneOf, is_constant

Flags = npt.NDArray[np.bool_]
DEGREE, DEGREE_IN_PRODUCTS = 5, 2
MOST_WITHIN = 150
"""Features of interactions inside one stage; past it ranges take part with their first degree alone."""


@dataclass(frozen=True)
class Block:
    """The features of one question, or of all interactions at one place inside a stage.

    Attributes:
        path: of the question; for interactions, where the questions stand.
        column: None for interactions.
        kind: `choice`, `parameter` or `interactions`.
        probability: under the prior, of being asked.
        matrix: [rows, features].
        smoothness: [features] prior standard deviations of the coefficients, beside each other.
        low: how many of the features, the first ones, enter products.
    """

    path: str
    column: str | None
    kind: str
    probability: float
    matrix: Floats
    smoothness: Floats
    low: int


@dataclass(frozen=True)
class _Asked:
    """A question with features; `above` are the answers on the way to it, each with its probability."""

    block: Block
    above: tuple[tuple[str, object, float], ...]


def stage_blocks(questions: Sequence[Question], rows: pd.DataFrame) -> list[Block]:
    """The blocks of a stage's searched questions, then of their interactions inside the stage.

    Args:
        questions: the stage's, as `Design.stages` has them.
        rows: the trials table or draws of the design; an absent column is all inactive.
    """
    asked = list(_walk(questions, np.ones(len(rows), dtype=bool), (), rows))
    pairs = [pair for pair in itertools.combinations(asked, 2) if _side_by_side(*pair)]
    most = DEGREE_IN_PRODUCTS
    if sum(_width(a.block, most) * _width(b.block, most) for a, b in pairs) > MOST_WITHIN:
        most = 1
    within: dict[str, list[Block]] = {}
    for a, b in pairs:
        product = _product(a, b, most)
        within.setdefault(product.path, []).append(product)
    return [one.block for one in asked] + [_joined(blocks) for blocks in within.values()]


def _walk(
    questions: Sequence[Question],
    active: Flags,
    above: tuple[tuple[str, object, float], ...],
    rows: pd.DataFrame,
) -> Iterator[_Asked]:
    probability = above[-1][2] if above else 1.0
    for question in questions:
        place = np.full(len(rows), -1)
        if not is_constant(question.prior) and question.column in rows:
            values = rows[question.column]
            if isinstance(question.prior, OneOf):
                place = levels(question.prior, values)
            yield _Asked(_block(question, place, values, active, probability), above)
        for answer, below in question.below.items():
            if below:
                assert isinstance(question.prior, OneOf)
                count = len(question.prior.values)
                met = active if count == 1 else active & (place == question.prior.values.index(answer))
                yield from _walk(below, met, (*above, (question.path, answer, probability / count)), rows)


def levels(prior: OneOf, values: pd.Series) -> npt.NDArray[np.intp]:
    """[rows] the number of each value among the prior's, -1 where it is none of them or null."""
    known = {_key(value): i for i, value in enumerate(prior.values)}
    code, distinct = pd.factorize(values)  # null is -1: the last of `found`
    found = np.array([*(known.get(_key(value), -1) for value in distinct), -1], dtype=np.intp)
    return np.asarray(found[code], dtype=np.intp)


def _key(value: object) -> object:
    """Equal for a value and what a table makes of it: 2 and 2.0, but not True and 1."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        return str(value)
    return float(value)


def _block(
    question: Question, place: npt.NDArray[np.intp], values: pd.Series, active: Flags, probability: float
) -> Block:
    prior = question.prior
    if isinstance(prior, OneOf):
        count = len(prior.values)
        functions = np.zeros((len(values), count - 1))
        functions[place >= 0] = contrasts(count)[place[place >= 0]]
        smoothness, low = np.ones(count - 1), count - 1
    else:
        numbers = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
        if isinstance(prior, Integers):
            count = min(DEGREE, prior.high - prior.low)
            functions = discrete(prior.low, prior.high, numbers, count)
        else:
            count = DEGREE
            ends = np.array([prior.low, prior.high])
            ends, numbers = (np.log(ends), np.log(numbers)) if prior.log else (ends, numbers)
            functions = polynomials(2 * np.clip((numbers - ends[0]) / np.ptp(ends), 0, 1) - 1, count)
        functions = np.nan_to_num(functions)
        smoothness, low = 1 / np.arange(1, count + 1), min(count, DEGREE_IN_PRODUCTS)
    functions = np.where(active[:, None], functions, 0.0) / np.sqrt(probability)
    kind = "choice" if question.below else "parameter"
    return Block(question.path, question.column, kind, probability, functions, smoothness, low)


def contrasts(levels: int) -> Floats:
    """[levels, levels - 1] functions of an answer, orthonormal and of mean 0 where all are as likely."""
    centred = np.eye(levels) - 1 / levels
    axes = np.linalg.svd(centred)[0][:, : levels - 1]
    return np.asarray(axes * np.sqrt(levels), dtype=np.float64)


def polynomials(x: Floats, degree: int) -> Floats:
    """[rows, degree] Legendre polynomials of `x` in -1 to 1, orthonormal for a uniform x."""
    scale = np.sqrt(2 * np.arange(1, degree + 1) + 1)
    return np.asarray(legendre.legvander(x, degree)[:, 1:] * scale, dtype=np.float64)


def discrete(low: int, high: int, x: Floats, degree: int) -> Floats:
    """[rows, degree] polynomials orthonormal for an integer that is uniform on low … high."""
    grid = np.linspace(-1, 1, high - low + 1)
    _, upper = np.linalg.qr(legendre.legvander(grid, degree) / np.sqrt(len(grid)))
    at = legendre.legvander(np.clip(2 * (x - low) / (high - low) - 1, -1, 1), degree)
    return np.asarray((at @ np.linalg.inv(upper))[:, 1:], dtype=np.float64)


def _side_by_side(a: _Asked, b: _Asked) -> bool:
    """Whether both can be asked together, and neither decides about the other."""
    if a.block.path in {path for path, _, _ in b.above} or b.block.path in {path for path, _, _ in a.above}:
        return False
    answers = {path: answer for path, answer, _ in a.above}
    return all(answers.get(path, answer) == answer for path, answer, _ in b.above)


def _width(block: Block, most: int) -> int:
    return block.low if len(set(block.smoothness)) == 1 else min(block.low, most)


def _product(a: _Asked, b: _Asked, most: int) -> Block:
    one = a.block.matrix[:, : _width(a.block, most)]
    other = b.block.matrix[:, : _width(b.block, most)]
    common = [step for step in a.above if step in b.above]
    shared = common[-1][2] if common else 1.0
    matrix = (one[:, :, None] * other[:, None, :]).reshape(len(one), -1) * np.sqrt(shared)
    parts = zip(a.block.path.split("."), b.block.path.split("."), strict=False)
    path = ".".join(first for first, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], parts))
    probability = a.block.probability * b.block.probability / shared
    return Block(path, None, "interactions", probability, matrix, np.ones(matrix.shape[1]), 0)


def _joined(blocks: Sequence[Block]) -> Block:
    matrix = np.concatenate([block.matrix for block in blocks], axis=1)
    probability = max(block.probability for block in blocks)
    return Block(blocks[0].path, None, "interactions", probability, matrix, np.ones(matrix.shape[1]), 0)
