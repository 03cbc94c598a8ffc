"""The augmentation stage: which texts, beside the originals, the teacher labels for the student.

Text methods share `strength` (a share of words), `copies` (changed views beside the original) and `redraw`
(passes over the data after which copies are drawn anew, 0 for never). Strengths, copies and redraws are
discrete, and views do not depend on the trial, so that trials share the teacher's outputs on them.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from distiller.spaces.choice import Choice
from distiller.spaces.priors import OneOf

Strength = Annotated[float, Field(gt=0, le=0.5), OneOf(0.1, 0.2, 0.3)]
Copies = Annotated[int, Field(ge=1, le=32), OneOf(1, 2, 4)]
Redraw = Annotated[int, Field(ge=0, le=1000), OneOf(0)]
Checkpoint = Annotated[str, Field(min_length=1)]


class NoAugmentation(Choice):
    """The original texts only."""

    method: Literal["none"] = "none"


class RandomWords(Choice):
    """Swap, delete and insert random words of a text: `copies` changed views beside the original."""

    citation: ClassVar[str] = "Wei & Zou 2019, EDA, arXiv 1901.11196"
    method: Literal["random"] = "random"
    strength: Strength = 0.1
    copies: Copies = 1
    redraw: Redraw = 0


class Synonyms(Choice):
    """Words replaced by synonyms of WordNet, in the form in which they stand."""

    citation: ClassVar[str] = "Zhang et al. 2015, arXiv 1509.01626; Wei & Zou 2019, arXiv 1901.11196"
    method: Literal["synonym"] = "synonym"
    strength: Strength = 0.1
    copies: Copies = 1
    redraw: Redraw = 0


class EmbeddingNeighbours(Choice):
    """Words replaced by near neighbours in the teacher's own input embedding table."""

    citation: ClassVar[str] = "Jiao et al. 2020, TinyBERT, algorithm 1, arXiv 1909.10351"
    method: Literal["embedding"] = "embedding"
    strength: Strength = 0.1
    copies: Copies = 1
    redraw: Redraw = 0
    neighbours: Annotated[int, Field(ge=1, le=1000), OneOf(15)] = 15
    """How many nearest words a replacement is drawn from."""


class Contextual(Choice):
    """Words masked and drawn again by a masked language model, from the most probable mass `top_p`."""

    citation: ClassVar[str] = "Kobayashi 2018, arXiv 1805.06201; Holtzman et al. 2020, arXiv 1904.09751"
    searched_by_default: ClassVar[bool] = False
    method: Literal["contextual"] = "contextual"
    checkpoint: Checkpoint = "bert-base-uncased"
    """A masked language model: a hub name, a folder or `package:NAME/inside`."""
    strength: Strength = 0.1
    copies: Copies = 1
    redraw: Redraw = 0
    top_p: Annotated[float, Field(gt=0, le=1), OneOf(0.9)] = 0.9


class BackTranslation(Choice):
    """The text translated into another language and back, drawn from the most probable mass `top_p`."""

    citation: ClassVar[str] = "Sennrich et al. 2016, arXiv 1511.06709; Xie et al. 2020, arXiv 1904.12848"
    searched_by_default: ClassVar[bool] = False
    method: Literal["back_translation"] = "back_translation"
    there: Checkpoint = "Helsinki-NLP/opus-mt-en-de"
    """A sequence-to-sequence model from the text's language: a hub name or a folder."""
    back: Checkpoint = "Helsinki-NLP/opus-mt-de-en"
    """One that comes back."""
    copies: Copies = 1
    redraw: Redraw = 0
    top_p: Annotated[float, Field(gt=0, le=1), OneOf(0.9)] = 0.9


class Mixup(Choice):
    """Half of each batch becomes convex mixtures of word embeddings, labelled by the teacher itself.

    Weights are Beta(concentration, concentration); teacher and student see the same pairs and weights.
    """

    citation: ClassVar[str] = "Liang et al. 2021, MixKD, arXiv 2011.00593"
    method: Literal["mixup"] = "mixup"
    concentration: Annotated[float, Field(gt=0, le=10), OneOf(0.2, 0.4, 1.0)] = 0.4


Augmentation = Annotated[
    NoAugmentation | RandomWords | Synonyms | EmbeddingNeighbours | Contextual | BackTranslation | Mixup,
    Field(discriminator="method"),
]
