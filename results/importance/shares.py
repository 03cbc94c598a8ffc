"""What either kind of surrogate makes of the variance, in one form."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from distiller.results.design import Design
from distiller.results.importance.decomposition import Block, Floats, others
from distiller.results.importance.evidence import Evidence, enough, measured_on, swapped
from distiller.results.importance.linear import Basis, Linear
from distiller.results.importance.parameters import ParameterShare, Tree, scaled
from distiller.results.importance.rest import rest
from distiller.results.importance.rows import Rows, encode
from distiller.results.importance.trees import Surrogate, corrected
from distiller.spaces.encoding import Encoding

Stages = frozenset[int]
DRAWS = 400
MODEL_ERROR, MODEL_ERROR_OF_SUMS = 0.05, 0.08
"""Standard deviation of what is wrong with a share, and with a sum of several, as a part of it, for want of
terms. These and the next two were found on the synthetic benchmark (`tests/truth`), on other cases than
those that measure coverage."""
STEERED_ERROR, STEERED_AND_STOPPED_ERROR = 0.02, 0.05
"""The same, not as a part of the share, where a sampler chose trials, and where a scheduler stopped some as
well."""
STOPPED_ERROR, MOSTLY_SHARED = 0.12, 8.0
"""The same where trials were stopped and none was steered, times the root of how many ran in full: how scores
go on after the last stop, only those have shown. Twice as much where a run's evaluations have so many times
more noise in common than of their own: what is wrong with the model of their growth then counts for more."""
LENIENT = 2400
"""What steered or stopped trials show is confirmed by n others where their p value is no more than this / n
times the one asked for: the fewer they are, the less can they show themselves."""
PARTIAL = 100.0
"""Where they are too few, what the rest shows counts with a p value so many times its own."""
ENOUGH_STEPS = 50
"""Held-out full runs from the prior below which trees are not put right, and have no intervals."""


@dataclass(frozen=True)
class Shares:
    """Attributes:
    part: of every non-empty set of stages its share of the explained variance; they add up to 1.
    drawn: [draws] the same under the uncertainty of the fit; None where it is not known.
    doubt: standard deviation of the errors that come of trials that a sampler chose or a scheduler stopped.
    unpredicted: the sum of those parts of shares that `rest` alone found.
    variance: the explained variance, in squared units of the score.
    p_alone, p_value: [stages] of "no effect of the stage alone" and "no effect at all".
    seen: [stages] how many full runs drawn from the prior would differ in the stage's own effect as much as
        those that there are; infinite where no trial was stopped, or the surrogate is no linear one.
    parameters: of each stage in turn.
    """

    part: Mapping[Stages, float]
    drawn: Mapping[Stages, Floats] | None
    doubt: float
    unpredicted: float
    variance: float
    p_alone: Sequence[float]
    p_value: Sequence[float]
    seen: Sequence[float]
    parameters: Sequence[ParameterShare]

    def interval(self, chosen: Sequence[Stages], *, null: bool) -> tuple[float, float] | None:
        """95% for the sum of the shares of `chosen`; from 0 where `null`, an effect being not significant.

        The draws know nothing of terms that the surrogate lacks: their distance from the share is joined, as
        independent errors are, with `MODEL_ERROR` and `doubt`.
        """
        if self.drawn is None:
            return None
        draws = sum((self.drawn[one] for one in chosen), np.zeros(DRAWS))
        low, high = (float(x) for x in np.quantile(draws, (0.025, 0.975)))
        point = sum(self.part[one] for one in chosen)
        lacking = (MODEL_ERROR if len(chosen) == 1 else MODEL_ERROR_OF_SUMS) * point
        wrong = 1.96 * np.hypot(lacking, self.doubt)
        below, above = (float(np.hypot(max(gap, 0.0), wrong)) for gap in (point - low, high - point))
        return 0.0 if null else max(0.0, point - below), min(1.0, point + above)


def subsets(stages: int) -> list[Stages]:
    """Every non-empty set of stages, small ones first."""
    sizes = range(1, stages + 1)
    return [frozenset(some) for size in sizes for some in itertools.combinations(range(stages), size)]


def shares(
    rows: Rows, design: Design, basis: Basis, evidence: Evidence, *, seed: int, intervals: bool, threads: int
) -> Shares | None:
    """Of the surrogate that the evidence chose; None where it finds no difference between configs."""
    if evidence.surrogate == "linear":
        return _linear(rows, design, basis, seed, intervals)
    return _trees(rows, design, evidence, seed, intervals, threads)


def _linear(rows: Rows, design: Design, basis: Basis, seed: int, intervals: bool) -> Shares | None:
    stages = design.searched_stages()
    model = Linear.fit(basis, rows.score, rows.group)
    squares = model.variances()
    every = dict.fromkeys(subsets(len(stages)), 0.0)
    for part, square in zip(model.parts, squares, strict=True):
        if part.stages:
            every[part.stages] += float(square.sum())
    left = rest(model, basis, rows.group, rows.prior, seed=seed)
    for chosen, variance in zip(left.stages, left.variance, strict=True):
        every[chosen] += float(variance)
    total = sum(every.values())
    if total <= 0:
        return None
    drawn = None
    if intervals:
        rng = np.random.default_rng(seed)
        drawn = {chosen: np.zeros(DRAWS) for chosen in every}
        for part, draw in zip(model.parts, model.drawn(DRAWS, rng), strict=True):
            if part.stages:
                drawn[part.stages] = drawn[part.stages] + (draw**2).sum(axis=1)
        for chosen, draw in zip(left.stages, left.drawn(DRAWS, rng).T, strict=True):
            drawn[chosen] = drawn[chosen] + draw
        drawn = _ratios(drawn)
    parameters: list[ParameterShare] = []
    for s, stage in enumerate(stages):
        own = [
            ParameterShare(
                part.block.path,
                part.block.column,
                stage,
                part.block.kind,
                part.block.probability,
                float(square.sum()),
            )
            for part, square in zip(model.parts, squares, strict=True)
            if part.stages == {s} and part.block is not None
        ]
        parameters += scaled(own, every[frozenset({s})] / total)
    chances = [model.p_values(s) for s in range(len(stages))]
    for chosen, chance in zip(left.stages, left.p_value.tolist(), strict=True):
        for s in chosen:
            single, whole = chances[s]
            chances[s] = (min(single, 2 * chance) if len(chosen) == 1 else single, min(whole, 2 * chance))
    # Steered and stopped trials are a choice: what only they show is claimed if others confirm it. So is what
    # learning curves show where most of their noise is a run's: errors of the model of their growth then look
    # significant.
    shared = model.found.ratio if rows.curves else 0.0
    grown = not rows.full.all() and (not rows.curves or shared >= MOSTLY_SHARED / 2)
    impartial = rows.prior & (rows.full if grown else True)
    if not impartial.all():
        if enough(rows, impartial):
            fair = Linear.fit(basis.at(impartial), rows.score[impartial], rows.group[impartial])
            again = [fair.p_values(s, model.found.noise) for s in range(len(stages))]
            lenient = max(1.0, LENIENT / len(np.unique(rows.group[impartial])))
            chances = [
                (max(a[0], b[0]), max(a[1], b[1] / lenient)) for a, b in zip(chances, again, strict=True)
            ]
        else:
            chances = [(min(1.0, PARTIAL * a), min(1.0, PARTIAL * b)) for a, b in chances]
    part_of = {chosen: value / total for chosen, value in every.items()}
    unpredicted = float(left.variance.sum()) / total
    alone, overall = ([chance[i] for chance in chances] for i in (0, 1))
    seen = [math.inf if rows.full.all() else model.seen(s, rows.full) for s in range(len(stages))]
    return Shares(part_of, drawn, _doubt(rows, shared), unpredicted, total, alone, overall, seen, parameters)


def _doubt(rows: Rows, shared: float = 0.0) -> float:
    """Args:
    shared: variance of the noise that evaluations of a run have in common, over that of their own.
    """
    steered, stopped = not rows.prior.all(), not rows.full.all()
    if steered and stopped:
        return STEERED_AND_STOPPED_ERROR
    if stopped:
        wrong = STOPPED_ERROR * (1 + min(shared / MOSTLY_SHARED, 1.0))
        return wrong / math.sqrt(max(rows.full_trials, 1))
    return STEERED_ERROR * steered


def _trees(
    rows: Rows, design: Design, evidence: Evidence, seed: int, intervals: bool, threads: int
) -> Shares | None:
    encoding = Encoding.of(design)
    rng = np.random.default_rng(seed)
    reference = _reference(design, encoding, 2048, rng)
    stages = list(rows.stages.values())
    usable = rows.full & rows.prior
    some = [out[usable[out]] for _, out in evidence.models]
    if sum(map(len, some)) < ENOUGH_STEPS:
        some = [out[:0] for out in some]
    models = [
        (model, rows.matrix[out], rows.score[out])
        for (model, _), out in zip(evidence.models, some, strict=True)
    ]
    found, steps = corrected(models, evidence.trees, stages, reference)
    clipped = {chosen: max(0.0, value) for chosen, value in found.items()}
    total = sum(clipped.values())
    if total <= 0:
        return None
    drawn = None
    count = sum(map(len, some))
    if intervals and count:
        noise = rng.standard_normal((DRAWS, count)) / count
        drawn = _ratios(
            {
                chosen: np.maximum(0.0, found[chosen] + noise @ (step - step.mean()))
                for chosen, step in steps.items()
            }
        )
    part = {chosen: value / total for chosen, value in clipped.items()}
    partial = 1.0 if rows.prior[measured_on(rows)[1]].all() else PARTIAL
    p_value = [min(1.0, partial * p) for p in swapped(rows, evidence, seed=seed).values()]
    parameters = _tree_parameters(rows, design, encoding, evidence, reference, part, seed, threads)
    # Draws that are cut at 0 reach it by themselves: no test of a stage alone need widen them.
    seen = [math.inf] * len(stages)
    return Shares(part, drawn, _doubt(rows), 0.0, total, [0.0] * len(stages), p_value, seen, parameters)


def _tree_parameters(
    rows: Rows,
    design: Design,
    encoding: Encoding,
    evidence: Evidence,
    reference: Floats,
    part: Mapping[Stages, float],
    seed: int,
    threads: int,
) -> list[ParameterShare]:
    model = Surrogate.fit(rows.matrix, rows.score, seed=seed, threads=threads, kind=evidence.surrogate)
    boxes, values = model.at_full_budget(reference.shape[1], evidence.trees)
    blocks = [Block(boxes, reference, features) for features in rows.stages.values()]
    parameters: list[ParameterShare] = []
    for i, (stage, averaged) in enumerate(zip(rows.stages, others(blocks, values), strict=True)):
        tree = Tree(design.stages[stage], encoding, reference)
        parameters += tree.shares(boxes, averaged, part[frozenset({i})])
    return parameters


def _reference(design: Design, encoding: Encoding, rows: int, rng: np.random.Generator) -> Floats:
    return encode(design.draw(rows, rng), encoding)


def _ratios(drawn: Mapping[Stages, Floats]) -> dict[Stages, Floats]:
    total = sum(drawn.values(), np.zeros(DRAWS))
    return {chosen: draw / np.where(total > 0, total, 1.0) for chosen, draw in drawn.items()}
