"""The terms of the linear surrogate: main effects of all stages on the basis of `basis`, what shows early,
and the interactions that may enter.

Of two stages there are three forms: between the stages' choices; between all low-order functions, weighted by
what the main effects made of their questions; or the product of the two main effects. Of three stages only
the product of their main effects is asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distiller.results.design import Design
from distiller.results.importance.basis import Block, stage_blocks
from distiller.results.importance.decomposition import Floats
from distiller.results.importance.noise import Noise
from distiller.results.importance.regression import Fit, Term
from distiller.results.importance.rows import Rows

MOST_OF_A_STAGE = 25
"""Functions of a stage that enter products with another stage's."""
LIKELY = 0.1
"""Variance that a question is expected to bring where it is asked, over the scores' variance."""
STEERED = 1.6
"""Noise of a trial that a sampler chose, beside that of a draw from the prior."""


@dataclass(frozen=True)
class Part:
    """A term with what it is a function of: numbers of stages (none: a deviation at a rung) and, of a
    stage's own effect, the block."""

    stages: frozenset[int]
    term: Term
    block: Block | None = None


@dataclass(frozen=True)
class Basis:
    """The blocks of every searched stage on the rows of a table, and how far along each row is.

    Attributes:
        rung: [rows] numbers of the shares of the budget below the whole one, from 0; -1 for the whole one.
        shares: [rungs + 1] of the budget, the whole one last.
        alike: [rungs + 1] w of `w f + (1 - z^g) e`; 1 at the whole budget.
        onset: g.
        noise: of the rows.
        apart: whether each rung but the first has a function of its own beside e.
    """

    blocks: Sequence[Sequence[Block]]
    rung: npt.NDArray[np.intp]
    shares: Floats
    alike: Floats
    onset: float
    noise: Noise
    apart: bool = False

    @classmethod
    def of(cls, design: Design, rows: Rows) -> Basis:
        """The basis on these rows, scores at rungs as yet supposed to be like those of full runs."""
        blocks = [stage_blocks(design.stages[stage], rows.frame) for stage in design.searched_stages()]
        share = np.exp(rows.matrix[:, -1])
        rungs = int(rows.rung.max(initial=-1)) + 1
        # Where a sampler looks, stages act as they do beside good others, not as they do on average.
        spread = np.where(rows.prior, 1.0, STEERED)
        noise = Noise.of_runs(spread, rows.group, share) if rows.curves else Noise.alone(spread)
        at = np.array([*(share[rows.rung == rung].mean() for rung in range(rungs)), 1.0])
        return cls(blocks, rows.rung, at, np.ones(rungs + 1), 1.0, noise)

    @property
    def rungs(self) -> int:
        """How many there are below the whole budget, met by these rows or not."""
        return len(self.shares) - 1

    @property
    def late(self) -> Floats:
        """[rows, 1] the weight of the function at the full budget."""
        return np.asarray(self.alike[self.rung, None], dtype=np.float64)

    @property
    def early(self) -> Floats:
        """[rows, 1] the weight of the function of what shows early: 1 at the first rung, 0 at the last."""
        weight = 1 - self.shares**self.onset
        return np.asarray((weight / weight[:-1].max())[self.rung, None], dtype=np.float64)

    def mains(self) -> list[Part]:
        """The stages' own effects, then what shows early: a constant for each rung, and a function."""
        own = [
            Part(frozenset({s}), _own(block, self.late), block)
            for s, blocks in enumerate(self.blocks)
            for block in blocks
        ]
        if not self.rungs:
            return own
        at = (self.rung[:, None] == np.arange(self.rungs)).astype(np.float64)
        early = [_own(part.block, self.early) for part in own if part.block]
        later = range(1, self.rungs) if self.apart else ()
        alone = [_own(part.block, at[:, rung, None]) for rung in later for part in own if part.block]
        return [*own, *(Part(frozenset(), term) for term in (Term.of(at), *early, *alone))]

    def candidates(self, parts: Sequence[Part], found: Fit) -> list[Candidate]:
        """Interactions between stages, in the light of the main effects."""
        count = len(self.blocks)
        effects, weights = [], []
        for s in range(count):
            mine = [
                (part.block, variance, beta)
                for part, variance, beta in zip(parts, found.variance, found.coefficients, strict=True)
                if part.stages == {s} and part.block is not None
            ]
            effects.append([beta for _, _, beta in mine])
            weight = np.concatenate([np.full(b.low, v / b.low) for b, v, _ in mine if b.low])
            weights.append(weight + 0.05 * max(weight.mean(), 1e-12))
        asked = []
        for s, t in itertools.combinations(range(count), 2):
            asked.append(Candidate((s, t), _of_choices))
            asked.append(Candidate((s, t), _of_all(weights[s], weights[t])))
        for size in (2, 3):
            for some in itertools.combinations(range(count), size):
                if all(any(beta.any() for beta in effects[s]) for s in some):
                    asked.append(Candidate(some, _of_effects([effects[s] for s in some])))
        return asked

    def at(self, rows: npt.NDArray[np.bool_]) -> Basis:
        """The basis on some of the rows."""
        cut = [[replace(block, matrix=block.matrix[rows]) for block in blocks] for blocks in self.blocks]
        return replace(self, blocks=cut, rung=self.rung[rows], noise=self.noise.at(rows))


def _own(block: Block, factor: Floats) -> Term:
    return Term.of(block.matrix * factor, block.smoothness**2, LIKELY * block.probability)


Form = Callable[[Sequence[Sequence[Block]]], Term]


@dataclass(frozen=True)
class Candidate:
    """An interaction of stages that may enter, in a form that makes its term on any rows."""

    stages: tuple[int, ...]
    form: Form

    def on(self, basis: Basis) -> Part:
        term = self.form([basis.blocks[s] for s in self.stages])
        late = term.matrix * basis.late if basis.rungs else term.matrix
        return Part(frozenset(self.stages), replace(term, matrix=late))


def _of_choices(blocks: Sequence[Sequence[Block]]) -> Term:
    return Term.of(products(*(first(some)[:, :MOST_OF_A_STAGE] for some in blocks)))


def _of_all(one: Floats, other: Floats) -> Form:
    """Of the functions with the greatest weights."""
    kept = [np.sort(np.argsort(-weight, kind="stable")[:MOST_OF_A_STAGE]) for weight in (one, other)]
    spread = np.outer(one[kept[0]], other[kept[1]]).ravel()

    def make(blocks: Sequence[Sequence[Block]]) -> Term:
        pair = (low(some)[:, columns] for some, columns in zip(blocks, kept, strict=True))
        return Term.of(products(*pair), spread)

    return make


def _of_effects(effects: Sequence[Sequence[Floats]]) -> Form:
    """The product of main effects, each brought to variance 1 under the prior."""

    def make(blocks: Sequence[Sequence[Block]]) -> Term:
        product = np.ones(len(blocks[0][0].matrix))
        for mine, betas in zip(blocks, effects, strict=True):
            effect = sum((b.matrix @ beta for b, beta in zip(mine, betas, strict=True)), 0.0 * product)
            product *= effect / np.sqrt(sum(float(beta @ beta) for beta in betas))
        return Term.of(product[:, None])

    return make


def low(blocks: Sequence[Block]) -> Floats:
    """[rows, features] those functions of a stage that enter products."""
    return np.concatenate([block.matrix[:, : block.low] for block in blocks if block.low], axis=1)


def first(blocks: Sequence[Block]) -> Floats:
    """[rows, features] the functions of those questions that are always asked."""
    always = [block.matrix[:, : block.low] for block in blocks if block.probability == 1 and block.low]
    return np.concatenate(always, axis=1) if always else low(blocks)


def products(one: Floats, other: Floats) -> Floats:
    """[rows, a * b] every function of one stage times every one of another."""
    return np.asarray((one[:, :, None] * other[:, None, :]).reshape(len(one), -1), dtype=np.float64)
