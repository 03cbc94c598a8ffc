"""The student stage: the architecture, and where its parameters start."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from distiller.spaces.choice import Choice
from distiller.spaces.priors import OneOf

Layers = Annotated[int, Field(ge=1, le=48), OneOf(2, 3, 4, 6)]
Width = Annotated[int, Field(ge=16, le=4096, multiple_of=16), OneOf(128, 256, 384)]
Family = Annotated[
    Literal[
        "teacher",
        "bert",
        "roberta",
        "distilbert",
        "electra",
        "albert",
        "mobilebert",
        "deberta-v2",
        "modernbert",
    ],
    OneOf("teacher"),
]
"""The model type; `teacher` is the teacher's own, in its proportions. Others have those of their published
checkpoints. The tokenizer is the teacher's in any case."""


class RandomStart(Choice):
    """Every parameter drawn at random, as the architecture's own initialiser does."""

    initialization: Literal["random"] = "random"
    layers: Layers = 2
    width: Width = 128
    family: Family = "teacher"


class SvdEmbeddings(Choice):
    """Word embeddings reduced from the teacher's to the student's width by SVD, the rest at random."""

    citation: ClassVar[str] = "Eckart & Young 1936, Psychometrika 1(3): best approximation of lower rank"
    initialization: Literal["svd"] = "svd"
    layers: Layers = 2
    width: Width = 128
    family: Family = "teacher"


class TeacherLayers(Choice):
    """The teacher's width, embeddings and some of its layers: first, last, or evenly spaced."""

    citation: ClassVar[str] = "Sanh et al. 2019, DistilBERT, arXiv 1910.01108"
    initialization: Literal["teacher_layers"] = "teacher_layers"
    layers: Layers = 2
    selection: Literal["first", "last", "even"] = "even"


class Pretrained(Choice):
    """An encoder as it was pretrained, with its own tokenizer, in its own size; its output layer is new.

    Where its tokenizer differs from a teacher's, what compares tokens leaves the dataset's space.
    """

    citation: ClassVar[str] = "Turc et al. 2019, well-read students, arXiv 1908.08962"
    searched_by_default: ClassVar[bool] = False
    initialization: Literal["pretrained"] = "pretrained"
    checkpoint: Annotated[str, Field(min_length=1)] = "google/bert_uncased_L-2_H-128_A-2"
    """A hub name, a folder or `package:NAME/inside`."""


Student = Annotated[
    RandomStart | SvdEmbeddings | TeacherLayers | Pretrained, Field(discriminator="initialization")
]
