"""The parameters inside a stage, by total variance down its tree.

Let g be the stage's main-effect function, E[f | stage], and c its choice, with probability p_c. Then

    Var g = Var_c E[g | c] + sum_c p_c Var(g | c)                                (law of total variance)

The first term is the choice's own. Given c, the choice's parameters are independent under the prior, so
Var(g | c) splits exactly, by `decomposition`, into Var E[g | c, parameter] for each parameter and what is
left for their interactions. A parameter that is itself a union (a layer mapping) splits in the same way.
Thus every conditional parameter has a share, where fANOVA on a table with gaps has to drop it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distiller.results.design import Question
from distiller.results.importance.decomposition import (
    Block,
    Box,
    Floats,
    membership,
    merged,
    others,
    variance,
)
from distiller.spaces.encoding import Encoding
from distiller.spaces.priors import OneOf, is_constant


@dataclass(frozen=True)
class ParameterShare:
    """A part of a stage's main effect; the parts add up to it.

    Attributes:
        path: as in `Design.questions()` (`intermediate.mse.weight`); for interactions, where the parameters
            stand.
        column: its results column; None for interactions.
        kind: `choice` (which choice), `parameter` (a value), `interactions` (of parameters of one choice).
        probability: under the prior, of being active.
        share: of the variance that the surrogate explains under the prior.
    """

    path: str
    column: str | None
    stage: str
    kind: str
    probability: float
    share: float


class Tree:
    """One stage's tree of questions with its reference rows.

    Args:
        questions: the stage's.
        reference: [rows, features] encoded draws from the prior.
    """

    def __init__(self, questions: Sequence[Question], encoding: Encoding, reference: Floats):
        self._questions, self._reference = questions, reference
        self._features: dict[str, list[int]] = {}
        for j, feature in enumerate(encoding.features):
            self._features.setdefault(feature.column, []).append(j)
        self._encoding = encoding

    def shares(self, boxes: Sequence[Box], values: Floats, main: float) -> list[ParameterShare]:
        """`main`, the stage's share, split among the questions of its tree, in their order.

        Args:
            values: [boxes] box values averaged over all other stages.
        """
        stage = self._questions[0].stage
        rows = np.arange(len(self._reference))
        return scaled(list(self._group(self._questions, stage, stage, rows, boxes, values, 1.0)), main)

    def _group(
        self,
        questions: Sequence[Question],
        stage: str,
        path: str,
        rows: npt.NDArray[np.intp],
        boxes: Sequence[Box],
        values: Floats,
        probability: float,
    ) -> Iterator[ParameterShare]:
        """The variance of the boxes' sum over independent `questions`."""
        searched = [(question, self._below(question)) for question in questions]
        searched = [(question, features) for question, features in searched if features]
        if not searched:
            return
        boxes, values = merged(boxes, values, set().union(*(features for _, features in searched)))
        blocks = [Block(boxes, self._reference[rows], features) for _, features in searched]
        alone = 0.0
        for (question, _), block, averaged in zip(searched, blocks, others(blocks, values), strict=True):
            own = float(block.function(averaged).var())
            alone += own
            if question.below:
                inner = list(self._choice(question, rows, boxes, averaged, probability))
            else:
                inner = [ParameterShare(question.path, question.column, stage, "parameter", probability, own)]
            yield from scaled(inner, own)
        if len(blocks) > 1:
            left = max(0.0, variance(values, blocks) - alone)
            yield ParameterShare(path, None, stage, "interactions", probability, left)

    def _choice(
        self,
        question: Question,
        rows: npt.NDArray[np.intp],
        boxes: Sequence[Box],
        values: Floats,
        probability: float,
    ) -> Iterator[ParameterShare]:
        """Variance of the conditional means, then inside each answer, weighted by its probability."""
        assert isinstance(question.prior, OneOf)
        below = self._below(question)
        boxes, values = merged(boxes, values, below)
        g = membership(boxes, self._reference[rows], below) @ values
        between, inside = 0.0, list[ParameterShare]()
        for answer in question.prior.values:
            here = self._given(question, answer, rows)
            if not here.any():
                continue
            share = float(here.mean())
            between += share * float(g[here].mean() - g.mean()) ** 2
            inner = question.below.get(answer, ())
            settled = below.difference(*(self._below(one) for one in inner))
            given = values * membership(boxes, self._reference[rows[here][:1]], settled)[0]
            # The path of what stands below is the one of its first question, less the question's own name.
            place = inner[0].path.rpartition(".")[0] if inner else question.path
            parts = self._group(inner, question.stage, place, rows[here], boxes, given, probability * share)
            inside.extend(replace(part, share=part.share * share) for part in parts)
        if not is_constant(question.prior):
            yield ParameterShare(
                question.path, question.column, question.stage, "choice", probability, between
            )
        yield from inside

    def _given(self, question: Question, answer: object, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        if is_constant(question.prior):
            return np.ones(len(rows), dtype=bool)
        for j in self._features[question.column]:
            feature = self._encoding.features[j]
            if feature.value is None:
                assert isinstance(answer, (int, float))
                wanted = np.log(answer) if feature.log else float(answer)
                return np.asarray(np.isclose(self._reference[rows, j], wanted), dtype=bool)
            if feature.value == str(answer):
                return np.asarray(self._reference[rows, j] == 1, dtype=bool)
        raise ValueError(f"{question.path}: {answer!r} is not encoded")

    def _below(self, question: Question) -> set[int]:
        """The features that encode a question and all that depends on it."""
        asked = [q for q in question.walk() if not is_constant(q.prior)]
        return {j for q in asked for j in self._features.get(q.column, ())}


def scaled(parts: list[ParameterShare], total: float) -> list[ParameterShare]:
    """The parts in proportion, adding up to `total`: sampled rows of a choice are only nearly a product."""
    now = sum(part.share for part in parts)
    return [replace(part, share=part.share / now * total if now > 0 else 0.0) for part in parts]
