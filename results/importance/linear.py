"""The linear surrogate: main effects of all stages on the basis of `basis`, and the interactions that the
scores support, by `regression`.

Interactions of two stages enter one after another, each if it is significant beside what is there (Bonferroni
over all that were asked), in one of three forms: between the stages' choices; between all low-order
functions, weighted by what the main effects made of their questions; or the product of the two main effects.
Of three stages only the product of their main effects is asked for.

A score at a share z of the budget is modelled as z^a f + (1 - z^g) e, f being the score at the full budget
and e a function of its own of what shows early; a and g are those that make the scores most likely. So what a
stopped trial showed bears on the full budget as far as the trials that went on say that it does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distiller.results.design import Design
from distiller.results.importance.basis import Block, stage_blocks
from distiller.results.importance.decomposition import Floats
from distiller.results.importance.draws import draws
from distiller.results.importance.regression import (
    Fit,
    ScoreTest,
    Term,
    Whitened,
    covariance,
    expected_squares,
    fit,
    log_evidence,
    noise_of,
)
from distiller.results.importance.rows import Rows

SIGNIFICANCE = 0.05
"""Chance that any interaction enters where there is none."""
MOST_INTERACTIONS = 8
MOST_SELECTING = 1500
"""Rows that interactions are chosen on; what was chosen is fitted to all."""
MOST_OF_A_STAGE = 25
"""Functions of a stage that enter products with another stage's."""
PERSISTENCES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
ONSETS = (-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0)
FEWEST_AT_RUNG = 40
LEAST_AT_RUNG = 1e-3
"""Noise at a rung, beside that of all: scores of a rung that are all the same have none of their own."""
LIKELY = 0.1
"""Variance that a question is expected to bring where it is asked, over the scores' variance."""
STEERED = 1.6
"""Noise of a trial that a sampler chose, beside that of a draw from the prior."""


@dataclass(frozen=True)
class Part:
    """A term with what it is a function of: numbers of stages (none: it shows early alone), of a stage's own
    effect the block; `early` are those of what shows early."""

    stages: frozenset[int]
    term: Term
    block: Block | None = None
    early: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Basis:
    """The blocks of every searched stage on the rows of a table, and how far along each row is.

    Attributes:
        share: [rows] of the budget.
        rung: [rows] numbers of the shares below the whole one, from 0; -1 for the whole one.
        rungs: how many there are, met by these rows or not.
        first: the smallest share.
        persistence, onset: a and g of `z^a f + (1 - z^g) e`.
        spread: [rows] noise standard deviations beside each other.
    """

    blocks: Sequence[Sequence[Block]]
    share: Floats
    rung: npt.NDArray[np.intp]
    rungs: int
    first: float
    persistence: float
    onset: float
    spread: Floats

    @classmethod
    def of(cls, design: Design, rows: Rows) -> Basis:
        """The basis on these rows, with a, g and the noise at each rung that make their scores likely."""
        blocks = [stage_blocks(design.stages[stage], rows.frame) for stage in design.searched_stages()]
        share = np.exp(rows.matrix[:, -1])
        rungs, first = int(rows.rung.max(initial=-1)) + 1, float(share.min())
        # Where a sampler looks, stages act as they do beside good others, not as they do on average.
        spread = np.where(rows.prior, 1.0, STEERED)
        basis = cls(blocks, share, rows.rung, rungs, first, 0.3, 1.0, spread)
        return basis._settled(rows) if basis.rungs else basis

    def _settled(self, rows: Rows) -> Basis:
        some = np.zeros(len(rows.score), dtype=bool)
        rng = np.random.default_rng(0)
        some[rng.permutation(len(some))[:MOST_SELECTING]] = True
        some |= rows.full & (rows.full.sum() <= MOST_SELECTING)
        small, score, group = self.at(some), rows.score[some], _numbered(rows.group[some])
        small, found = small._with_spread(score, group)
        usual = float(found.variance.mean())
        start = replace(found, variance=np.maximum(found.variance, 0.01 * usual))

        def likely(basis: Basis) -> float:
            terms = [part.term for part in basis.mains()]
            return log_evidence(*fit(terms, score, group, start, basis.spread))

        for _ in range(2):
            small = max((replace(small, persistence=value) for value in PERSISTENCES), key=likely)
            small = max((replace(small, onset=value) for value in ONSETS), key=likely)
        small, _ = small._with_spread(score, group)
        more = small.spread / self.spread[some]
        factor = np.array([more[small.rung == rung].mean() for rung in range(-1, self.rungs)])
        spread = self.spread * factor[self.rung + 1]
        return replace(self, persistence=small.persistence, onset=small.onset, spread=spread)

    def _with_spread(self, score: Floats, group: npt.NDArray[np.intp]) -> tuple[Basis, Fit]:
        """Each rung's noise from its residuals; the one of few rows is that of all."""
        found, white = fit([part.term for part in self.mains()], score, group, spread=self.spread)
        spread = self.spread.copy()
        for rung in range(-1, self.rungs):
            here = self.rung == rung
            if here.sum() >= FEWEST_AT_RUNG:
                spread[here] *= np.sqrt(max(noise_of(found, white, here) / found.noise, LEAST_AT_RUNG))
        return replace(self, spread=spread), found

    @property
    def late(self) -> Floats:
        """[rows, 1] the weight of the function at the full budget."""
        return np.asarray(self.share[:, None] ** self.persistence, dtype=np.float64)

    @property
    def early(self) -> Floats:
        """[rows, 1] the weight of the function of what shows early: 1 at the first rung, 0 at the last."""
        weight = 1 - self.share[:, None] ** self.onset
        return np.asarray(weight / (1 - self.first**self.onset), dtype=np.float64)

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
        early = [Part(frozenset(), _own(p.block, self.early), early=p.stages) for p in own if p.block]
        return [*own, Part(frozenset(), Term.of(at)), *early]

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
        share, rung, spread = self.share[rows], self.rung[rows], self.spread[rows]
        return replace(self, blocks=cut, share=share, rung=rung, spread=spread)


def _own(block: Block, factor: Floats) -> Term:
    return Term.of(block.matrix * factor, block.smoothness**2, LIKELY * block.probability)


Form = Callable[[Sequence[Sequence[Block]]], Term]


@dataclass(frozen=True)
class Candidate:
    """An interaction of stages that may enter, in a form that makes its term on any rows."""

    stages: tuple[int, ...]
    form: Form

    def on(self, basis: Basis) -> list[Part]:
        """Its part in the score at the full budget, then the one in what shows early."""
        term, stages = self.form([basis.blocks[s] for s in self.stages]), frozenset(self.stages)
        if not basis.rungs:
            return [Part(stages, term)]
        late = Part(stages, replace(term, matrix=term.matrix * basis.late))
        return [late, Part(frozenset(), replace(term, matrix=term.matrix * basis.early), early=stages)]


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


@dataclass(frozen=True)
class Linear:
    """A fitted surrogate.

    Attributes:
        parts: with the terms on all rows of the table, training or not.
        asked: how many interactions might have entered.
    """

    parts: Sequence[Part]
    asked: int
    found: Fit
    white: Whitened

    @classmethod
    def fit(
        cls,
        basis: Basis,
        score: Floats,
        group: npt.NDArray[np.intp],
        train: npt.NDArray[np.bool_] | None = None,
    ) -> Linear:
        """The surrogate of the rows `train` (all by default); `group` tells which belong together."""
        train = np.ones(len(score), dtype=bool) if train is None else train
        some = np.flatnonzero(train)
        if len(some) > MOST_SELECTING:
            some = np.sort(np.random.default_rng(0).choice(some, MOST_SELECTING, replace=False))
        rows = np.zeros(len(train), dtype=bool)
        rows[some] = True
        small, number = basis.at(rows), _numbered(group[rows])
        parts, chosen, most = small.mains(), list[Candidate](), 1
        found, white = fit([part.term for part in parts], score[rows], number, spread=small.spread)
        for _ in range(MOST_INTERACTIONS):
            width = {part.stages: len(part.term.weight) for part in parts}
            asked = [(candidate, candidate.on(small)) for candidate in small.candidates(parts, found)]
            # Of one interaction there is one form at a time; a wider one takes the place of a narrower.
            asked = [one for one in asked if len(one[1][0].term.weight) > width.get(one[1][0].stages, 0)]
            most = max(most, len(asked))
            test = ScoreTest(found, white)
            chances = [min(len(pair) * test.p_value(part.term) for part in pair) for _, pair in asked]
            if not chances or min(chances) > SIGNIFICANCE / len(chances):
                break
            candidate, entering = asked[int(np.argmin(chances))]
            stages = frozenset(candidate.stages)
            kept = [j for j, one in enumerate(parts) if stages not in (one.stages, one.early)]
            parts = [*(parts[j] for j in kept), *entering]
            chosen = [one for one in chosen if frozenset(one.stages) != stages] + [candidate]
            start = replace(found, variance=found.variance[kept])
            found, white = fit([one.term for one in parts], score[rows], number, start, small.spread)
        parts = [*basis.mains(), *(part for candidate in chosen for part in candidate.on(basis))]
        if rows.sum() < train.sum():
            cut = [replace(part.term, matrix=part.term.matrix[train]) for part in parts]
            found, white = fit(cut, score[train], _numbered(group[train]), spread=basis.spread[train])
        return cls(parts, most, found, white)

    def predict(self) -> Floats:
        """[rows] of all rows of the table."""
        return self.found.predict([part.term for part in self.parts])

    def variances(self) -> list[Floats]:
        """[k] of each part the posterior expectation of every squared coefficient."""
        return expected_squares(self.found, self.white)

    def covariance(self, rows: npt.NDArray[np.intp]) -> Floats:
        """[rows, rows] of the whitened scores of some training rows, as far as the terms go."""
        return covariance(self.found, self.white, rows)

    def drawn(self, count: int, rng: np.random.Generator) -> list[Floats]:
        """[count, k] coefficients of each part from the posterior."""
        return draws(self.found, self.white, count, rng)

    def p_values(self, stage: int, noise: float = 0.0) -> tuple[float, float]:
        """Of "the stage alone has no effect" and "neither alone nor with others": the smallest over its
        terms, each tested beside all other stages' terms and what the stage shows early (Bonferroni over the
        stage's own terms, and for interactions over all that might have entered)."""
        mine = [j for j, part in enumerate(self.parts) if stage in part.stages]
        early = [j for j, part in enumerate(self.parts) if stage in part.early]
        test = ScoreTest(self.found, self.white, mine, noise, early)
        chances = {j: test.p_value_of(j) for j in mine}
        own = [chance for j, chance in chances.items() if len(self.parts[j].stages) == 1]
        alone = min(1.0, len(own) * min(own, default=1.0))
        together = [self.asked * chance for j, chance in chances.items() if len(self.parts[j].stages) > 1]
        return alone, min(1.0, 2 * min([alone, *together])) if together else alone

    def seen(self, stage: int, rows: npt.NDArray[np.bool_]) -> float:
        """How many draws from the prior would differ in the stage's own effect as much as `rows` do."""
        at, variance = np.zeros(int(rows.sum())), 0.0
        for part, beta in zip(self.parts, self.found.coefficients, strict=True):
            if part.stages == {stage} and part.block is not None:
                at += part.block.matrix[rows] @ beta
                variance += float(beta @ beta)
        return float(((at - at.mean()) ** 2).sum() / variance) if variance > 0 else math.inf


def _numbered(group: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return np.unique(group, return_inverse=True)[1].reshape(-1)
