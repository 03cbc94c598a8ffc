"""The prediction stage: what the student's outputs learn from the teacher's and from the labels.

The loss is hard_weight * (loss against the label) + (1 - hard_weight) * (loss against the teacher).
The first sees labelled rows only.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from distiller.spaces.choice import Choice
from distiller.spaces.priors import LogUniform, Uniform

HardWeight = Annotated[float, Field(ge=0, le=1), Uniform(0, 0.9)]
Temperature = Annotated[float, Field(gt=0, le=100), LogUniform(1, 8)]


class LabelsOnly(Choice):
    """Labels only: with no intermediate objective, the student without a teacher (the baseline)."""

    searched_by_default: ClassVar[bool] = False
    loss: Literal["labels"] = "labels"


class SoftCrossEntropy(Choice):
    """Cross-entropy against the teacher's softened distribution, times temperature squared."""

    citation: ClassVar[str] = "Hinton et al. 2015, arXiv 1503.02531"
    loss: Literal["ce"] = "ce"
    hard_weight: HardWeight = 0.5
    temperature: Temperature = 2.0


class Kl(Choice):
    """KL divergence from the teacher's softened distribution to the student's, times temperature squared."""

    citation: ClassVar[str] = "Hinton et al. 2015, arXiv 1503.02531"
    loss: Literal["kl"] = "kl"
    hard_weight: HardWeight = 0.5
    temperature: Temperature = 2.0


class LogitMse(Choice):
    """Mean squared error between logits (for regression: between predicted scores)."""

    citation: ClassVar[str] = "Ba & Caruana 2014, arXiv 1312.6184"
    loss: Literal["mse"] = "mse"
    hard_weight: HardWeight = 0.5


Prediction = Annotated[LabelsOnly | SoftCrossEntropy | Kl | LogitMse, Field(discriminator="loss")]
