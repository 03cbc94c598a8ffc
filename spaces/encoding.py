"""Configs as numbers for surrogate models, derived from the space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from distiller.spaces.config import PipelineConfig
from distiller.spaces.priors import OneOf, Prior, Uniform


class Asked(Protocol):
    """A question, as far as its encoding goes."""

    @property
    def column(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def prior(self) -> Prior: ...


class Asking(Protocol):
    """A space, or anything else that asks questions."""

    def questions(self) -> Sequence[Asked]: ...


@dataclass(frozen=True)
class Feature:
    """One column of the encoded matrix.

    Attributes:
        name: `column` for numbers, `column=value` for a value of an unordered choice.
        column: the results column that it encodes.
        stage: the stage that the column belongs to.
        value: None for a number, else the value that the feature is 1 for.
        log: whether the number's logarithm is taken.
    """

    name: str
    column: str
    stage: str
    value: str | None = None
    log: bool = False


@dataclass(frozen=True)
class Encoding:
    """The features of the searched columns of one space or several, in the order of the questions."""

    features: tuple[Feature, ...]

    @classmethod
    def of(cls, *spaces: Asking) -> Encoding:
        """Numbers for numeric columns (in the logarithm where their prior is), one feature per value for
        the others, constants left out."""
        by_column: dict[str, list[Asked]] = {}
        for space in spaces:
            for decision in space.questions():
                by_column.setdefault(decision.column, []).append(decision)
        features: list[Feature] = []
        for column, decisions in by_column.items():
            features.extend(_features(column, decisions))
        return cls(tuple(features))

    def encode(self, configs: Sequence[PipelineConfig]) -> npt.NDArray[np.float64]:
        """[configs, features]; an inactive number is NaN, an inactive value 0."""
        rows = [config.columns() for config in configs]
        matrix = np.empty((len(rows), len(self.features)))
        for j, feature in enumerate(self.features):
            for i, row in enumerate(rows):
                matrix[i, j] = _encoded(feature, row.get(feature.column))
        return matrix


def _features(column: str, decisions: Sequence[Asked]) -> list[Feature]:
    values: list[Any] = []
    for decision in decisions:
        prior = decision.prior
        ends = prior.values if isinstance(prior, OneOf) else (prior.low, prior.high)
        values.extend(v for v in ends if v not in values)
    if len(values) == 1:
        return []
    stage = decisions[0].stage
    if all(isinstance(v, (int, float)) for v in values):
        logarithmic = any(isinstance(d.prior, Uniform) and d.prior.log for d in decisions)
        log = logarithmic and all(v > 0 for v in values)
        return [Feature(column, column, stage, log=log)]
    return [Feature(f"{column}={v}", column, stage, value=str(v)) for v in values]


def _encoded(feature: Feature, value: Any) -> float:
    if feature.value is not None:
        return float(value is not None and str(value) == feature.value)
    if value is None:
        return float("nan")
    return float(np.log(value)) if feature.log else float(value)
