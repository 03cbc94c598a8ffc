"""The augmentation stage: which texts, beside the originals, the teacher labels for the student."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from distiller.spaces.choice import Choice
from distiller.spaces.priors import OneOf


class NoAugmentation(Choice):
    """The original texts only."""

    method: Literal["none"] = "none"


class RandomWords(Choice):
    """Swap, delete and insert random words of a text: `copies` changed views beside the original.

    Strengths and copies are discrete, and views do not depend on the trial, so that trials share the
    teacher's outputs on them.
    """

    citation: ClassVar[str] = "Wei & Zou 2019, EDA, arXiv 1901.11196"
    method: Literal["random"] = "random"
    strength: Annotated[float, Field(gt=0, le=0.5), OneOf(0.1, 0.2, 0.3)] = 0.1
    copies: Annotated[int, Field(ge=1, le=16), OneOf(1, 2, 4)] = 1


class Mixup(Choice):
    """Half of each batch becomes convex mixtures of word embeddings, labelled by the teacher itself.

    Weights are Beta(concentration, concentration); teacher and student see the same pairs and weights.
    """

    citation: ClassVar[str] = "Liang et al. 2021, MixKD, arXiv 2011.00593"
    method: Literal["mixup"] = "mixup"
    concentration: Annotated[float, Field(gt=0, le=10), OneOf(0.2, 0.4, 1.0)] = 0.4


Augmentation = Annotated[NoAugmentation | RandomWords | Mixup, Field(discriminator="method")]
