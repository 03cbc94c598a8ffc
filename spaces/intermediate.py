"""The intermediate stage: what a student's hidden layers learn from the teacher's, and which layers.

All that depends on the objective (mapping, representation, projection, weight) lives here, so that no
condition crosses a stage.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from distiller.spaces.choice import Choice
from distiller.spaces.priors import LogUniform, OneOf, Uniform


class Skip(Choice):
    """Evenly spaced teacher layers, the last one included: student layer i learns from i * L_t / L_s."""

    citation: ClassVar[str] = "Sun et al. 2019, PKD-Skip, arXiv 1908.09355"
    kind: Literal["skip"] = "skip"


class Last(Choice):
    """The last teacher layers, one per student layer."""

    citation: ClassVar[str] = "Sun et al. 2019, PKD-Last, arXiv 1908.09355"
    kind: Literal["last"] = "last"


class Emd(Choice):
    """All layer pairs, weighted by an optimal transport whose layer weights follow the costs in training."""

    citation: ClassVar[str] = "Li et al. 2020, BERT-EMD, arXiv 2010.06133"
    kind: Literal["emd"] = "emd"
    temperature: Annotated[float, Field(gt=0, le=100), OneOf(1.0)] = 1.0


Mapping = Annotated[Skip | Last | Emd, Field(discriminator="kind")]
Weight = Annotated[float, Field(gt=0, le=1000), LogUniform(0.01, 10)]
Projection = Literal["none", "linear"]
"""`none` is given a meaning where widths differ: a linear projection, and the row says so."""
AnyRepresentation = Literal["cls", "mean", "tokens"]
PooledRepresentation = Literal["cls", "mean"]


class NoIntermediate(Choice):
    """No intermediate objective: the student sees only the teacher's predictions."""

    objective: Literal["none"] = "none"


class Mse(Choice):
    """Mean squared error between hidden states."""

    citation: ClassVar[str] = "Romero et al. 2015, FitNets, arXiv 1412.6550"
    objective: Literal["mse"] = "mse"
    weight: Weight = 1.0
    representation: AnyRepresentation = "tokens"
    mapping: Mapping = Skip()
    projection: Projection = "linear"


class Cosine(Choice):
    """One minus the cosine between hidden states."""

    citation: ClassVar[str] = "Sanh et al. 2019, DistilBERT, arXiv 1910.01108"
    objective: Literal["cosine"] = "cosine"
    weight: Weight = 1.0
    representation: AnyRepresentation = "tokens"
    mapping: Mapping = Skip()
    projection: Projection = "linear"


class Pkd(Choice):
    """Mean squared error between [CLS] states scaled to unit length."""

    citation: ClassVar[str] = "Sun et al. 2019, PKD, eq. 7, arXiv 1908.09355"
    objective: Literal["pkd"] = "pkd"
    weight: Weight = 1.0
    mapping: Mapping = Skip()
    projection: Projection = "linear"


class MiAlpha(Choice):
    """Minus the lower bound I_alpha on mutual information, with a critic of its own for each layer pair.

    alpha = 1 is InfoNCE (little variance, bounded by log batch size), alpha = 0 is TUBA with a learned
    baseline (little bias).
    """

    citation: ClassVar[str] = "Poole et al. 2019, arXiv 1905.06922; He et al. 2021, arXiv 2109.11105"
    objective: Literal["mi_alpha"] = "mi_alpha"
    alpha: Annotated[float, Field(ge=0, le=1), Uniform(0, 1)] = 0.5
    weight: Weight = 1.0
    representation: PooledRepresentation = "cls"
    mapping: Mapping = Skip()


Intermediate = Annotated[NoIntermediate | Mse | Cosine | Pkd | MiAlpha, Field(discriminator="objective")]
