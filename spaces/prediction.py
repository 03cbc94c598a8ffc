"""The prediction stage: what the student's outputs learn from the teacher's and from the labels.

The loss is hard_weight * (loss against the label) + (1 - hard_weight) * (loss against the teacher).
The first sees labelled rows only. A loss that `needs_classes` compares probabilities: a regression has none.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from distiller.spaces.choice import Choice
from distiller.spaces.priors import LogUniform, OneOf, Uniform

HardWeight = Annotated[float, Field(ge=0, le=1), Uniform(0, 0.9)]
Temperature = Annotated[float, Field(gt=0, le=100), LogUniform(1, 8)]


class LabelsOnly(Choice):
    """Labels only: with no intermediate objective, the student without a teacher (the baseline)."""

    searched_by_default: ClassVar[bool] = False
    loss: Literal["labels"] = "labels"


class SoftCrossEntropy(Choice):
    """Cross-entropy against the teacher's softened distribution, times temperature squared."""

    citation: ClassVar[str] = "Hinton et al. 2015, arXiv 1503.02531"
    needs_classes: ClassVar[bool] = True
    loss: Literal["ce"] = "ce"
    hard_weight: HardWeight = 0.5
    temperature: Temperature = 2.0


class Kl(Choice):
    """KL divergence from the teacher's softened distribution to the student's, times temperature squared."""

    citation: ClassVar[str] = "Hinton et al. 2015, arXiv 1503.02531"
    needs_classes: ClassVar[bool] = True
    loss: Literal["kl"] = "kl"
    hard_weight: HardWeight = 0.5
    temperature: Temperature = 2.0


class ReverseKl(Choice):
    """KL divergence from the student's softened distribution to the teacher's, times temperature squared."""

    citation: ClassVar[str] = "Gu et al. 2024, MiniLLM, arXiv 2306.08543"
    needs_classes: ClassVar[bool] = True
    loss: Literal["reverse_kl"] = "reverse_kl"
    hard_weight: HardWeight = 0.5
    temperature: Temperature = 2.0


class JensenShannon(Choice):
    """Jensen-Shannon divergence of the softened distributions, times temperature squared."""

    citation: ClassVar[str] = "Lin 1991, IEEE Trans. Inf. Theory 37(1); Wen et al. 2023, arXiv 2307.15190"
    needs_classes: ClassVar[bool] = True
    loss: Literal["js"] = "js"
    hard_weight: HardWeight = 0.5
    temperature: Temperature = 2.0


class DecoupledKd(Choice):
    """KL divergence taken apart: the label's class against the rest, and the rest among themselves.

    Rows without a label take the teacher's most probable class for it.
    """

    citation: ClassVar[str] = "Zhao et al. 2022, DKD, eq. 7, arXiv 2203.08679"
    needs_classes: ClassVar[bool] = True
    loss: Literal["dkd"] = "dkd"
    hard_weight: HardWeight = 0.5
    temperature: Temperature = 2.0
    target_weight: Annotated[float, Field(ge=0, le=100), OneOf(1.0)] = 1.0
    rest_weight: Annotated[float, Field(ge=0, le=100), OneOf(1.0, 2.0, 4.0, 8.0)] = 2.0


class Dist(Choice):
    """One minus Pearson's correlation of softened probabilities, over classes and over the batch."""

    citation: ClassVar[str] = "Huang et al. 2022, DIST, eq. 8-11, arXiv 2205.10536"
    needs_classes: ClassVar[bool] = True
    loss: Literal["dist"] = "dist"
    hard_weight: HardWeight = 0.5
    temperature: Temperature = 1.0
    batch_weight: Annotated[float, Field(ge=0, le=100), OneOf(1.0)] = 1.0
    """Weight of the correlation over the batch beside that over classes, which is 1."""


class LogitMse(Choice):
    """Mean squared error between logits (for regression: between scores, those of the labels too)."""

    citation: ClassVar[str] = "Ba & Caruana 2014, arXiv 1312.6184"
    loss: Literal["mse"] = "mse"
    hard_weight: HardWeight = 0.5


class LogitL1(Choice):
    """Mean absolute error between logits (for regression: between scores, those of the labels too)."""

    citation: ClassVar[str] = "Saputra et al. 2019, arXiv 1908.00858"
    loss: Literal["l1"] = "l1"
    hard_weight: HardWeight = 0.5


Prediction = Annotated[
    LabelsOnly | SoftCrossEntropy | Kl | ReverseKl | JensenShannon | DecoupledKd | Dist | LogitMse | LogitL1,
    Field(discriminator="loss"),
]
