"""The parameters inside a stage, by total variance down its tree.

Let g be the stage's main-effect function, E[f | stage], and c its choice, with probability p_c. Then

    Var g = Var_c E[g | c] + sum_c p_c Var(g | c)                                (law of total variance)

The first term is the choice's own. Given c, the choice's parameters are independent under the prior, so
Var(g | c) splits exactly, by `decomposition`, into Var E[g | c, parameter] for each parameter and what is
left for their interactions. A parameter that is itself a union (a layer mapping) splits in the same way.
Thus every conditional parameter has a share, where fANOVA on a table with gaps has to drop it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distiller.results.importance.decomposition import (
    Block,
    Box,
    Floats,
    membership,
    merged,
    others,
    variance,
)
from distiller.spaces.config import column_prefix
from distiller.spaces.encoding import Encoding
from distiller.spaces.priors import Prior, is_constant
from distiller.spaces.space import Branch, Group, Node, Space, slot_paths, tag_decision


@dataclass(frozen=True)
class ParameterShare:
    """A part of a stage's main effect; the parts add up to it.

    Attributes:
        path: as in `Space.questions()` (`intermediate.mse.weight`); for interactions, where the parameters
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


@dataclass(frozen=True)
class _Question:
    """A parameter or an inner union, with its place."""

    node: Prior | Node
    path: str
    prefix: str
    """Its column if it is a parameter, else what its columns begin with."""


class Tree:
    """One stage's tree of choices with its reference rows.

    Args:
        reference: [rows, features] encoded draws from the prior.
    """

    def __init__(self, space: Space, stage: str, encoding: Encoding, reference: Floats):
        self._stage, self._reference = stage, reference
        self._features: dict[str, list[int]] = {}
        for j, feature in enumerate(encoding.features):
            self._features.setdefault(feature.column, []).append(j)
        self._value: Mapping[tuple[str, str | None], int] = {
            (feature.column, feature.value): j for j, feature in enumerate(encoding.features)
        }
        slots = space.stages[stage]
        self._slots = [
            _Question(node, path, column_prefix(stage, number))
            for number, (path, node) in enumerate(zip(slot_paths(stage, slots), slots, strict=True), 1)
        ]

    def shares(self, boxes: Sequence[Box], values: Floats, main: float) -> list[ParameterShare]:
        """`main`, the stage's share, split among the questions of its tree, in their order.

        Args:
            values: [boxes] box values averaged over all other stages.
        """
        parts = list(
            self._group(self._slots, self._stage, np.arange(len(self._reference)), boxes, values, 1.0)
        )
        return scaled(parts, main)

    def _group(
        self,
        children: Sequence[_Question],
        path: str,
        rows: npt.NDArray[np.intp],
        boxes: Sequence[Box],
        values: Floats,
        probability: float,
    ) -> Iterator[ParameterShare]:
        """The variance of the boxes' sum over independent `children`."""
        searched = [(child, set(self._below(child))) for child in children]
        searched = [(child, features) for child, features in searched if features]
        if not searched:
            return
        boxes, values = merged(boxes, values, set().union(*(features for _, features in searched)))
        blocks = [Block(boxes, self._reference[rows], features) for _, features in searched]
        alone = 0.0
        for (child, _), block, averaged in zip(searched, blocks, others(blocks, values), strict=True):
            own = float(block.function(averaged).var())
            alone += own
            if isinstance(child.node, Branch):
                inner = self._branch(child.node, child, rows, boxes, averaged, probability)
            elif isinstance(child.node, Group):
                inner = self._group(
                    _children(child.node, child), child.path, rows, boxes, averaged, probability
                )
            else:
                inner = iter([self._part(child.path, child.prefix, "parameter", probability, own)])
            yield from scaled(list(inner), own)
        if len(blocks) > 1:
            left = max(0.0, variance(values, blocks) - alone)
            yield self._part(path, None, "interactions", probability, left)

    def _branch(
        self,
        branch: Branch,
        at: _Question,
        rows: npt.NDArray[np.intp],
        boxes: Sequence[Box],
        values: Floats,
        probability: float,
    ) -> Iterator[ParameterShare]:
        """Variance of the conditional means, then inside each choice, weighted by its probability."""
        below = set(self._below(at))
        boxes, values = merged(boxes, values, below)
        g = membership(boxes, self._reference[rows], below) @ values
        tag = tag_decision(branch, at.path, at.prefix, self._stage)
        between, inside = 0.0, list[ParameterShare]()
        for name, group in branch.choices.items():
            feature = self._value.get((tag.column, name))
            here = np.ones(len(rows), dtype=bool) if feature is None else self._reference[rows, feature] == 1
            if not here.any():
                continue
            share = float(here.mean())
            between += share * float(g[here].mean() - g.mean()) ** 2
            children = _children(group, replace(at, path=f"{at.path}.{name}"))
            settled = below.difference(*(self._below(child) for child in children))
            first = self._reference[rows[here][:1]]
            given = values * membership(boxes, first, settled)[0]
            parts = self._group(children, f"{at.path}.{name}", rows[here], boxes, given, probability * share)
            inside.extend(replace(part, share=part.share * share) for part in parts)
        if (tag.column, next(iter(branch.choices))) in self._value and len(branch.choices) > 1:
            yield self._part(tag.path, tag.column, "choice", probability, between)
        yield from inside

    def _below(self, question: _Question) -> Iterator[int]:
        """The features that encode a question and all that depends on it."""
        node = question.node
        if isinstance(node, Branch):
            tag = tag_decision(node, question.path, question.prefix, self._stage)
            yield from self._features.get(tag.column, [])
            for group in node.choices.values():
                for child in _children(group, question):
                    yield from self._below(child)
        elif isinstance(node, Group):
            for child in _children(node, question):
                yield from self._below(child)
        elif not is_constant(node):
            yield from self._features.get(question.prefix, [])

    def _part(
        self, path: str, column: str | None, kind: str, probability: float, share: float
    ) -> ParameterShare:
        return ParameterShare(path, column, self._stage, kind, probability, share)


def scaled(parts: list[ParameterShare], total: float) -> list[ParameterShare]:
    """The parts in proportion, adding up to `total`: sampled rows of a choice are only nearly a product."""
    now = sum(part.share for part in parts)
    return [replace(part, share=part.share / now * total if now > 0 else 0.0) for part in parts]


def _children(group: Group, at: _Question) -> list[_Question]:
    return [
        _Question(
            child,
            f"{at.path}.{name}",
            f"{at.prefix}{name}_" if isinstance(child, Branch) else at.prefix + name,
        )
        for name, child in group.children.items()
    ]
