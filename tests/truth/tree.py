"""Random functions of one stage whose variance under the prior is known part by part, in closed form.

Everything is of mean 0 and independent of its neighbours by construction, so that variances add up: a
question has an effect of its own, and under each answer a `Mix` of the questions that exist only then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from distiller.results.design import Design, Question
from distiller.spaces.priors import Integers, OneOf, Prior, is_constant

Floats = npt.NDArray[np.float64]
Places = Mapping[str, Floats]
"""By question path the place of each row's answer in its prior, 0 to 1; any number where it is not asked."""

GRID = 4096
PRODUCT = 0.15
"""Share of a mix's variance that a product of two of its questions has."""


@dataclass(frozen=True)
class Node:
    """One question: `own` effect, and under each answer what is asked there.

    Attributes:
        levels: the own effect at the answers, or at `GRID` midpoints of a range's places.
        below: by number of the answer.
    """

    question: Question
    levels: Floats
    below: Mapping[int, Mix] = field(default_factory=dict)

    def at(self, places: Places) -> Floats:
        """[rows] the value."""
        number = cell(places[self.question.path], len(self.levels))
        value = self.levels[number]
        for answer, mix in self.below.items():
            value = value + np.where(number == answer, mix.at(places), 0.0)
        return value

    def parts(self, factor: float = 1.0) -> Iterator[tuple[str, str, float]]:
        """(path, kind, variance) of the question and of all below it, times `factor`."""
        kind = "choice" if self.question.below else "parameter"
        yield self.question.path, kind, float(factor * self.levels.var())
        for mix in self.below.values():
            yield from mix.parts(factor / len(self.levels))


@dataclass(frozen=True)
class Mix:
    """The sum of independent questions and of products of two of them.

    Attributes:
        weights: of each node; 0 makes it null, with all that is below it.
        products: the weight of a pair's product.
    """

    nodes: tuple[Node, ...]
    weights: Floats
    products: Mapping[tuple[int, int], float] = field(default_factory=dict)

    def at(self, places: Places) -> Floats:
        """[rows] the value; mean 0 under the prior."""
        values = [node.at(places) for node in self.nodes]
        value = sum(weight * v for weight, v in zip(self.weights, values, strict=True))
        for (i, j), weight in self.products.items():
            value = value + weight * values[i] * values[j]
        return np.asarray(value)

    def parts(self, factor: float = 1.0) -> Iterator[tuple[str, str, float]]:
        """(path, kind, variance) of everything in it, times `factor`; nodes have variance 1."""
        for node, weight in zip(self.nodes, self.weights, strict=True):
            yield from node.parts(factor * weight**2)
        if len(self.nodes) > 1:
            left = sum(weight**2 for weight in self.products.values())
            yield where(self.nodes), "interactions", float(factor * left)

    def questions(self) -> Iterator[Question]:
        """The searched questions in it, in order."""
        for node in self.nodes:
            yield node.question
            for mix in node.below.values():
                yield from mix.questions()


def where(nodes: Sequence[Node]) -> str:
    """The path that the nodes have in common (`intermediate.mse`)."""
    paths = [node.question.path.split(".") for node in nodes]
    same = 0
    while len({path[same] for path in paths}) == 1:
        same += 1
    return ".".join(paths[0][:same])


def stage_mix(design: Design, stage: str, rng: np.random.Generator) -> Mix:
    """A random function of a stage of mean 0 and variance 1.

    Under every choice with several questions one of them is null, and one of a stage's own from three on.
    """
    return _mix(_asked(design.stages[stage]), rng, nulls_from=3)


def _asked(questions: Sequence[Question]) -> list[Question]:
    """The questions less constants, in whose place those below them stand."""
    found: list[Question] = []
    for question in questions:
        if is_constant(question.prior):
            for inner in question.below.values():
                found += _asked(inner)
        else:
            found.append(question)
    return found


def _mix(questions: Sequence[Question], rng: np.random.Generator, nulls_from: int = 2) -> Mix:
    nodes = tuple(_node(question, rng) for question in questions)
    squares = 0.2 + rng.exponential(size=len(nodes))
    if len(nodes) >= nulls_from:
        squares[rng.integers(len(nodes))] = 0.0
    active = np.flatnonzero(squares)
    products: dict[tuple[int, int], float] = {}
    share = 1.0
    if len(active) > 1:
        i, j = sorted(rng.choice(active, size=2, replace=False).tolist())
        products[i, j] = float(rng.choice([-1, 1]) * np.sqrt(PRODUCT))
        share -= PRODUCT
    return Mix(nodes, np.sqrt(share * squares / squares.sum()), products)


def _node(question: Question, rng: np.random.Generator) -> Node:
    """A random node of variance 1."""
    prior = question.prior
    levels = _levels(prior, rng)
    if not isinstance(prior, OneOf):
        return Node(question, levels)
    below = {prior.values.index(answer): _asked(inner) for answer, inner in question.below.items()}
    below = {number: inner for number, inner in below.items() if inner}
    if not below:
        return Node(question, levels)
    own = rng.uniform(0.35, 0.65)
    squares = {number: 0.2 + rng.exponential() for number in below}
    scale = (1 - own) * len(levels) / sum(squares.values())
    mixes = {number: _mix(inner, rng) for number, inner in below.items()}
    return Node(
        question,
        levels * np.sqrt(own),
        {number: scaled(mix, np.sqrt(scale * squares[number])) for number, mix in mixes.items()},
    )


def scaled(mix: Mix, factor: float) -> Mix:
    """The mix times `factor`."""
    return Mix(mix.nodes, mix.weights * factor, {pair: w * factor for pair, w in mix.products.items()})


def _levels(prior: Prior, rng: np.random.Generator) -> Floats:
    """Mean 0 and variance 1 over the answers: numbers of a list, else a smooth curve, a step or a peak."""
    if isinstance(prior, OneOf):
        levels = rng.normal(size=len(prior.values))
    else:
        places = _places(prior)
        kind = rng.integers(4)
        bend = rng.integers(20, 45) / 64  # on the grid, so that a step's mean is exact
        curves = (places, 1 / (1 + np.exp(-10 * (places - bend))), places > bend, -((places - bend) ** 2))
        levels = rng.choice([-1.0, 1.0]) * np.asarray(curves[kind], dtype=np.float64)
    levels = levels - levels.mean()
    return np.asarray(levels / levels.std())


def _places(prior: Prior) -> Floats:
    if isinstance(prior, Integers):
        return np.linspace(0, 1, prior.high - prior.low + 1)
    return (np.arange(GRID) + 0.5) / GRID


def cell(places: Floats, count: int) -> npt.NDArray[np.intp]:
    """[rows] which of `count` equal parts of 0 to 1 the place is in."""
    return np.clip((places * count).astype(np.intp), 0, count - 1)


def draw_places(questions: Sequence[Question], rows: int, rng: np.random.Generator) -> dict[str, Floats]:
    """[rows] places from the prior, every question answered."""
    return {question.path: rng.random(rows) for question in questions}


def latin_places(questions: Sequence[Question], rows: int, rng: np.random.Generator) -> dict[str, Floats]:
    """The same, spread evenly over each prior (Latin hypercube, McKay et al. 1979): means vary less."""
    drawn = draw_places(questions, rows, rng)
    return {path: (rng.permutation(rows) + places) / rows for path, places in drawn.items()}


def read_places(questions: Sequence[Question], table: pd.DataFrame) -> dict[str, Floats]:
    """[rows] places of a table's answers."""
    return {question.path: place(question.prior, table[question.column]) for question in questions}


def place(prior: Prior, answers: Iterable[object]) -> Floats:
    """[answers] where they stand in the prior; 0 where there is none, or one from elsewhere."""
    if isinstance(prior, OneOf):
        numbers = {value: i for i, value in enumerate(prior.values)}
        known = [numbers.get(answer, 0) for answer in answers]
        return (np.array(known, dtype=np.float64) + 0.5) / len(prior.values)
    values = np.array([float(a) if isinstance(a, (int, float, np.number)) else np.nan for a in answers])
    if isinstance(prior, Integers):
        found = (values - prior.low + 0.5) / (prior.high - prior.low + 1)
    elif prior.log:
        found = np.log(values / prior.low) / np.log(prior.high / prior.low)
    else:
        found = (values - prior.low) / (prior.high - prior.low)
    return np.asarray(np.nan_to_num(found))
