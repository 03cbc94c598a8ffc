"""Scores as functions of stage functions, and their exact variance decomposition over stages.

Stages are independent under the prior: the decomposition over stages needs f(h_1, …, h_S) alone. Of a sum of
products of the h_s, of mean 0 and variance 1, it is in closed form; of any other f it comes from a Gauss
quadrature of each h_s (Golub & Welsch 1969) on either side of 0, where f may jump.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from distiller.results.design import Design, Question
from tests.truth.tree import Floats, Mix, Places, latin_places, read_places

SAMPLE = 2**17
NODES = 4
"""Quadrature nodes on either side of 0."""
Subset = frozenset[str]
Values = Mapping[str, Floats]
"""By stage the values of its function, of shapes that broadcast."""


@dataclass(frozen=True)
class Truth:
    """What an estimator should find; all but `noise_share` are shares of the noise-free variance.

    Attributes:
        subsets: the interaction of every non-empty set of stages that has one; they add up to 1.
        parameters: of each searched question by path, down the tree of its stage's main effect; None where
            they are unknown, but for `null_parameters`.
        interactions: of questions of one choice with each other, by the path where they stand; with
            `parameters`, a stage's add up to its main effect.
        null_parameters: the questions that no score depends on, in stages of which some do.
        noise_share: variance of the noise over that of the scores.
    """

    stages: tuple[str, ...]
    subsets: Mapping[Subset, float]
    parameters: Mapping[str, float] | None
    interactions: Mapping[str, float] | None
    null_parameters: frozenset[str]
    noise_share: float

    def main(self, stage: str) -> float:
        """First-order Sobol index."""
        return self.subsets.get(frozenset({stage}), 0.0)

    def total(self, stage: str) -> float:
        """Total Sobol index (Homma & Saltelli 1996)."""
        return sum(share for chosen, share in self.subsets.items() if stage in chosen)

    def shapley(self, stage: str) -> float:
        """Shapley share (Owen 2014)."""
        return sum(share / len(chosen) for chosen, share in self.subsets.items() if stage in chosen)

    def pair(self, one: str, other: str) -> float:
        """Second-order Sobol index."""
        return self.subsets.get(frozenset({one, other}), 0.0)

    @property
    def null_stages(self) -> tuple[str, ...]:
        return tuple(stage for stage in self.stages if self.total(stage) == 0)


@dataclass(frozen=True)
class Response:
    """A noise-free score of `stages`; `mixes` are the functions of those that it depends on."""

    stages: tuple[str, ...]
    mixes: Mapping[str, Mix]

    def of(self, values: Values) -> Floats:
        """The score of stage values; its variance under the prior is 1."""
        raise NotImplementedError

    def shares(self) -> dict[Subset, float]:
        """The variance of each set of stages, of 1."""
        raise NotImplementedError

    def functions(self, stage: str) -> list[Mix]:
        """All functions of the stage that the score depends on; the first is the main effect's."""
        return [self.mixes[stage]]

    @cached_property
    def questions(self) -> list[Question]:
        """The searched questions of the stages that it depends on."""
        return [question for mix in self.mixes.values() for question in mix.questions()]

    def at(self, places: Places) -> Floats:
        """[rows] the score of places."""
        return self.of({stage: mix.at(places) for stage, mix in self.mixes.items()})

    def score(self, table: pd.DataFrame) -> Floats:
        """[rows] the score of a table's configs."""
        return self.at(read_places(self.questions, table))

    def truth(self, design: Design, noise_share: float) -> Truth:
        """What there is to be found."""
        null = [frozenset.intersection(*map(nulls, self.functions(stage))) for stage in self.mixes]
        return Truth(
            stages=self.stages,
            subsets=self.shares(),
            parameters=None,
            interactions=None,
            null_parameters=frozenset().union(*null),
            noise_share=noise_share,
        )


def nulls(mix: Mix) -> frozenset[str]:
    """The questions that a stage function does not depend on."""
    return frozenset(path for path, kind, part in mix.parts() if kind != "interactions" and part == 0)


@dataclass(frozen=True)
class Products(Response):
    """The sum over sets U of coefficients times products over U: V_U is the coefficient squared.

    Attributes:
        own: by set, the stage functions of its product where they are not those of the main effects.
    """

    coefficients: Mapping[Subset, float] = field(default_factory=dict)
    own: Mapping[Subset, Mapping[str, Mix]] = field(default_factory=dict)

    def functions(self, stage: str) -> list[Mix]:
        return [self.mixes[stage], *(mixes[stage] for mixes in self.own.values() if stage in mixes)]

    def of(self, values: Values) -> Floats:
        if self.own:
            raise ValueError("some products have functions of their own")
        return self._sum(dict.fromkeys(self.coefficients, values))

    def at(self, places: Places) -> Floats:
        values = {stage: mix.at(places) for stage, mix in self.mixes.items()}
        own = {
            chosen: {stage: mix.at(places) for stage, mix in mixes.items()}
            for chosen, mixes in self.own.items()
        }
        return self._sum({chosen: own.get(chosen, values) for chosen in self.coefficients})

    def _sum(self, values: Mapping[Subset, Values]) -> Floats:
        terms = (
            c * math.prod(values[chosen][stage] for stage in sorted(chosen))
            for chosen, c in self.coefficients.items()
        )
        return np.asarray(sum(terms))

    def shares(self) -> dict[Subset, float]:
        return {chosen: c**2 for chosen, c in self.coefficients.items() if c}

    def truth(self, design: Design, noise_share: float) -> Truth:
        found = super().truth(design, noise_share)
        main = {stage: found.main(stage) for stage in self.mixes}
        parts = [
            (path, kind, share)
            for stage, mix in self.mixes.items()
            for path, kind, share in mix.parts(main[stage])
        ]
        parameters = {question.path: 0.0 for question in design.searched()}
        parameters |= {path: share for path, kind, share in parts if kind != "interactions"}
        return Truth(
            found.stages,
            found.subsets,
            parameters,
            {path: share for path, kind, share in parts if kind == "interactions"},
            found.null_parameters,
            noise_share,
        )


@dataclass(frozen=True)
class Composed(Response):
    """Any function of all stages' values but one, brought to mean 0 and variance 1, and that one beside it.

    Attributes:
        function: of the other stages' values; it may jump where one of them passes 0.
        beside: the stage that stands alone, and its share.
    """

    function: Callable[[Values], Floats] = field(kw_only=True)
    beside: tuple[str, float] = field(kw_only=True)

    def of(self, values: Values) -> Floats:
        alone, share = self.beside
        mean, spread = self._moments
        return (1 - share) ** 0.5 * (self.function(values) - mean) / spread + share**0.5 * values[alone]

    def shares(self) -> dict[Subset, float]:
        alone, share = self.beside
        table, weights = self._tabled
        found = {chosen: (1 - share) * part for chosen, part in sobol(table, weights, self._inside)}
        return {**found, frozenset({alone}): share}

    @property
    def _inside(self) -> list[str]:
        return [stage for stage in self.mixes if stage != self.beside[0]]

    @cached_property
    def _moments(self) -> tuple[float, float]:
        """Mean and standard deviation of the function."""
        table, weights = self._tabled
        mass = math.prod(along(weight, axis, table.ndim) for axis, weight in enumerate(weights))
        mean = float((table * mass).sum())
        return mean, float(((table - mean) ** 2 * mass).sum()) ** 0.5

    @cached_property
    def _tabled(self) -> tuple[Floats, list[Floats]]:
        """The function at all combinations of quadrature nodes, and their weights by stage."""
        rng = np.random.default_rng(0)
        axes, weights = {}, []
        for axis, stage in enumerate(self._inside):
            mix = self.mixes[stage]
            nodes, weight = quadrature(mix.at(latin_places(list(mix.questions()), SAMPLE, rng)))
            axes[stage] = along(nodes, axis, len(self._inside))
            weights.append(weight)
        shape = tuple(len(weight) for weight in weights)
        return np.array(np.broadcast_to(self.function(axes), shape)), weights


def along(vector: Floats, axis: int, axes: int) -> Floats:
    """The vector as an array of so many axes that has it along one of them."""
    return vector.reshape([-1 if other == axis else 1 for other in range(axes)])


def sobol(table: Floats, weights: Sequence[Floats], stages: Sequence[str]) -> Iterator[tuple[Subset, float]]:
    """The variance share of each set of axes of a full table under a product of weights, where it has one:
    of E[f | set] less the effects of all smaller sets (Sobol 1993)."""
    axes = range(table.ndim)
    mass = [along(weight, axis, table.ndim) for axis, weight in enumerate(weights)]
    effects: dict[tuple[int, ...], Floats] = {}
    for size in range(table.ndim + 1):
        for chosen in itertools.combinations(axes, size):
            effect = table
            for axis in set(axes) - set(chosen):
                effect = (effect * mass[axis]).sum(axis=axis, keepdims=True)
            effects[chosen] = effect - sum(
                (effects[smaller] for k in range(size) for smaller in itertools.combinations(chosen, k)),
                start=np.zeros(()),
            )
    shares = {
        chosen: float((effect**2 * math.prod(mass[axis] for axis in chosen)).sum())
        for chosen, effect in effects.items()
        if chosen
    }
    total = sum(shares.values())
    for chosen, share in shares.items():
        if share > 1e-12 * total:
            yield frozenset(stages[axis] for axis in chosen), share / total


def quadrature(sample: Floats) -> tuple[Floats, Floats]:
    """Nodes and weights of the sample's distribution, `NODES` at most on either side of 0."""
    nodes, weights = [], []
    for side in (sample[sample <= 0], sample[sample > 0]):
        if len(side):
            found, weight = _gauss(side)
            nodes.append(found)
            weights.append(weight * len(side) / len(sample))
    return np.concatenate(nodes), np.concatenate(weights)


def _gauss(sample: Floats) -> tuple[Floats, Floats]:
    """Gauss's rule of equally likely points: eigenvalues of the matrix of their orthogonal polynomials."""
    last, now = np.zeros_like(sample), np.full_like(sample, 1 / np.sqrt(len(sample)))
    diagonal, beside = [], []
    for _ in range(NODES):
        diagonal.append(float(now @ (sample * now)))
        following = sample * now - diagonal[-1] * now - (beside[-1] if beside else 0.0) * last
        norm = float(np.linalg.norm(following))
        if norm < 1e-9:  # fewer distinct points than nodes
            break
        beside.append(norm)
        last, now = now, following / norm
    off = beside[: len(diagonal) - 1]
    matrix = np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
    nodes, vectors = np.linalg.eigh(matrix)
    return nodes, vectors[0] ** 2
