"""Layer mappings: which student layer learns from which teacher layer.

Two unions: objectives on hidden states may take the embedding layer along, those on attention cannot.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from distiller.spaces.choice import Choice
from distiller.spaces.priors import OneOf

Embeddings = Annotated[bool, OneOf(False)]
"""Whether the embedding layers are a pair too."""


class SkipLayers(Choice):
    """Evenly spaced teacher layers, the last one included: student layer i learns from i * L_t / L_s."""

    citation: ClassVar[str] = "Jiao et al. 2020, arXiv 1909.10351; Sun et al. 2019, PKD, arXiv 1908.09355"
    kind: Literal["skip"] = "skip"


class LastLayers(Choice):
    """The last teacher layers, one per student layer."""

    citation: ClassVar[str] = "Sun et al. 2019, PKD, arXiv 1908.09355"
    kind: Literal["last"] = "last"


class FirstLayers(Choice):
    """The first teacher layers, one per student layer."""

    citation: ClassVar[str] = "Sajjad et al. 2023, arXiv 2004.03844"
    kind: Literal["first"] = "first"


class Skip(SkipLayers):
    __doc__ = SkipLayers.__doc__
    embeddings: Embeddings = False


class Last(LastLayers):
    __doc__ = LastLayers.__doc__
    embeddings: Embeddings = False


class First(FirstLayers):
    __doc__ = FirstLayers.__doc__
    embeddings: Embeddings = False


class Top(Choice):
    """The student's last layer alone, from the teacher's last or from `below` layers under it."""

    citation: ClassVar[str] = "Wang et al. 2020, MiniLM, arXiv 2002.10957"
    kind: Literal["top"] = "top"
    below: Annotated[int, Field(ge=0, le=47), OneOf(0)] = 0


class Emd(Choice):
    """All layer pairs, weighted by an optimal transport whose layer weights follow the costs in training."""

    citation: ClassVar[str] = "Li et al. 2020, BERT-EMD, arXiv 2010.06133"
    kind: Literal["emd"] = "emd"
    temperature: Annotated[float, Field(gt=0, le=100), OneOf(1.0)] = 1.0


class AttentionWeighted(Choice):
    """Each student layer learns from a mixture of all teacher layers, weighted by a learned attention."""

    citation: ClassVar[str] = "Passban et al. 2021, ALP-KD, eq. 3-5, arXiv 2012.14022"
    kind: Literal["attention_weighted"] = "attention_weighted"


class AllPairs(Choice):
    """Every student layer learns from every teacher layer, all alike."""

    kind: Literal["all_pairs"] = "all_pairs"


Mapping = Annotated[
    Skip | Last | First | Top | Emd | AttentionWeighted | AllPairs, Field(discriminator="kind")
]
AttentionMapping = Annotated[
    SkipLayers | LastLayers | FirstLayers | Top | Emd | AllPairs, Field(discriminator="kind")
]
