"""The intermediate stage: what a student's hidden layers learn from the teacher's.

All that depends on the objective (mapping, representation, projection, weight and its schedule) lives
here, so that no condition crosses a stage.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from distiller.spaces.choice import Choice
from distiller.spaces.mapping import AttentionMapping, Mapping, Skip, SkipLayers, Top
from distiller.spaces.priors import LogUniform, OneOf, Uniform

Weight = Annotated[float, Field(gt=0, le=10000), LogUniform(0.01, 10)]
Softening = Annotated[float, Field(gt=0, le=100), OneOf(1.0)]
AnyRepresentation = Literal["cls", "mean", "tokens"]
PooledRepresentation = Literal["cls", "mean"]


class Constant(Choice):
    """The same weight throughout."""

    kind: Literal["constant"] = "constant"


class Linear(Choice):
    """The weight falls linearly to 0 at the end of the budget."""

    kind: Literal["linear"] = "linear"


class FirstStage(Choice):
    """This term alone for the first `share` of the budget, then the prediction loss without it."""

    citation: ClassVar[str] = "Jiao et al. 2020, TinyBERT, section 4, arXiv 1909.10351"
    kind: Literal["first_stage"] = "first_stage"
    share: Annotated[float, Field(gt=0, lt=1), OneOf(0.25, 0.5)] = 0.5


Schedule = Annotated[Constant | Linear | FirstStage, Field(discriminator="kind")]


class NoProjection(Choice):
    """States as they are; where widths differ, a linear projection, and the row says so."""

    kind: Literal["none"] = "none"


class LinearProjection(Choice):
    """The student's states times a learned matrix, to the teacher's width."""

    citation: ClassVar[str] = "Romero et al. 2015, FitNets, arXiv 1412.6550"
    kind: Literal["linear"] = "linear"
    shared: Annotated[bool, OneOf(False)] = False
    """One projection for all layer pairs, instead of one for each."""


class MlpProjection(Choice):
    """Two learned layers with GELU between them, to the teacher's width."""

    citation: ClassVar[str] = "Chen et al. 2022, projector ensembles, arXiv 2210.15274"
    kind: Literal["mlp"] = "mlp"
    shared: Annotated[bool, OneOf(False)] = False
    """One projection for all layer pairs, instead of one for each."""


Projection = Annotated[NoProjection | LinearProjection | MlpProjection, Field(discriminator="kind")]


class NoIntermediate(Choice):
    """No intermediate objective: the student sees only the teacher's predictions."""

    objective: Literal["none"] = "none"


class Term(Choice):
    """What every objective has."""

    tokenwise: ClassVar[bool] = False
    """Whether it compares tokens in any representation: teacher and student then need one tokenizer."""

    weight: Weight = 1.0
    schedule: Schedule = Constant()


class Mse(Term):
    """Mean squared error between hidden states."""

    citation: ClassVar[str] = "Romero et al. 2015, FitNets, arXiv 1412.6550"
    objective: Literal["mse"] = "mse"
    representation: AnyRepresentation = "tokens"
    mapping: Mapping = Skip()
    projection: Projection = LinearProjection()


class L1(Term):
    """Mean absolute error between hidden states."""

    citation: ClassVar[str] = "Kim et al. 2018, factor transfer, arXiv 1802.04977"
    objective: Literal["l1"] = "l1"
    representation: AnyRepresentation = "tokens"
    mapping: Mapping = Skip()
    projection: Projection = LinearProjection()


class Cosine(Term):
    """One minus the cosine between hidden states."""

    citation: ClassVar[str] = "Sanh et al. 2019, DistilBERT, arXiv 1910.01108"
    objective: Literal["cosine"] = "cosine"
    representation: AnyRepresentation = "tokens"
    mapping: Mapping = Skip()
    projection: Projection = LinearProjection()


class Pkd(Term):
    """Squared distance between [CLS] states scaled to unit length."""

    citation: ClassVar[str] = "Sun et al. 2019, PKD, eq. 7, arXiv 1908.09355"
    objective: Literal["pkd"] = "pkd"
    mapping: Mapping = Skip()
    projection: Projection = LinearProjection()


class HiddenCrossEntropy(Term):
    """Cross-entropy between hidden states that a softmax over the width has made distributions."""

    citation: ClassVar[str] = "He et al. 2021, Distiller, section 3, arXiv 2109.11105"
    objective: Literal["ce"] = "ce"
    temperature: Softening = 1.0
    representation: AnyRepresentation = "tokens"
    mapping: Mapping = Skip()
    projection: Projection = LinearProjection()


class HiddenKl(Term):
    """KL divergence from teacher to student between hidden states normalised by a softmax over the width."""

    citation: ClassVar[str] = "He et al. 2021, Distiller, section 3, arXiv 2109.11105"
    objective: Literal["kl"] = "kl"
    temperature: Softening = 1.0
    representation: AnyRepresentation = "tokens"
    mapping: Mapping = Skip()
    projection: Projection = LinearProjection()


class Attention(Term):
    """Mean squared error between attention maps or scores, head by head (averages where numbers differ)."""

    citation: ClassVar[str] = "Jiao et al. 2020, TinyBERT, eq. 7, arXiv 1909.10351"
    tokenwise: ClassVar[bool] = True
    objective: Literal["attention"] = "attention"
    target: Literal["maps", "scores"] = "scores"
    mapping: AttentionMapping = SkipLayers()


class MiniLm(Term):
    """KL divergence between attention maps, and between relations of the values."""

    citation: ClassVar[str] = "Wang et al. 2020, MiniLM, eq. 4-6, arXiv 2002.10957"
    tokenwise: ClassVar[bool] = True
    objective: Literal["minilm"] = "minilm"
    mapping: AttentionMapping = Top()


class MiniLmV2(Term):
    """KL divergence between relations of queries, of keys and of values, in as many heads as one likes."""

    citation: ClassVar[str] = "Wang et al. 2021, MiniLMv2, eq. 3-5, arXiv 2012.15828"
    tokenwise: ClassVar[bool] = True
    objective: Literal["minilm_v2"] = "minilm_v2"
    heads: Annotated[int, Field(ge=1, le=1024), OneOf(8, 16, 32, 48)] = 16
    """Relation heads; the largest number up to it that divides both widths is taken."""
    mapping: AttentionMapping = Top()


class Cka(Term):
    """One minus the linear centred kernel alignment: blind to rotation and scale, widths may differ."""

    citation: ClassVar[str] = "Kornblith et al. 2019, arXiv 1905.00414"
    objective: Literal["cka"] = "cka"
    representation: AnyRepresentation = "cls"
    mapping: Mapping = Skip()


class Rkd(Term):
    """Distances between pairs of examples and angles between triples, as the teacher has them."""

    citation: ClassVar[str] = "Park et al. 2019, RKD, eq. 5-9, arXiv 1904.05068"
    objective: Literal["rkd"] = "rkd"
    angle_weight: Annotated[float, Field(ge=0, le=100), OneOf(2.0)] = 2.0
    """Weight of the angles beside that of the distances, which is 1."""
    representation: PooledRepresentation = "cls"
    mapping: Mapping = Skip()


class Nst(Term):
    """Maximum mean discrepancy between the neurons' patterns over tokens (kernel of degree 2)."""

    citation: ClassVar[str] = "Huang & Wang 2017, NST, arXiv 1707.01219"
    tokenwise: ClassVar[bool] = True
    objective: Literal["nst"] = "nst"
    mapping: Mapping = Skip()


class Fsp(Term):
    """Mean squared error between Gram matrices of each layer's input and output: the flow through it."""

    citation: ClassVar[str] = "Yim et al. 2017, FSP, eq. 1-2, doi 10.1109/CVPR.2017.754"
    tokenwise: ClassVar[bool] = True
    objective: Literal["fsp"] = "fsp"
    mapping: AttentionMapping = SkipLayers()
    projection: Projection = LinearProjection()


class Crd(Term):
    """Tell the teacher's state of the same example from a memory of others' states."""

    citation: ClassVar[str] = "Tian et al. 2020, CRD, eq. 17-18, arXiv 1910.10699"
    objective: Literal["crd"] = "crd"
    negatives: Annotated[int, Field(ge=1, le=65536), OneOf(256)] = 256
    temperature: Annotated[float, Field(gt=0, le=10), OneOf(0.07)] = 0.07
    representation: PooledRepresentation = "cls"
    mapping: Mapping = Top()


class MutualInformation(Term):
    """What the bounds on mutual information share: one vector per example, a critic for each layer pair."""

    representation: PooledRepresentation = "cls"
    mapping: Mapping = Skip()


class MiAlpha(MutualInformation):
    """Minus the lower bound I_alpha on mutual information, with a critic of its own for each layer pair.

    alpha = 1 is InfoNCE (little variance, bounded by log batch size), alpha = 0 is TUBA with a learned
    baseline (little bias).
    """

    citation: ClassVar[str] = "Poole et al. 2019, arXiv 1905.06922; He et al. 2021, arXiv 2109.11105"
    objective: Literal["mi_alpha"] = "mi_alpha"
    alpha: Annotated[float, Field(ge=0, le=1), Uniform(0, 1)] = 0.5


class InfoNce(MutualInformation):
    """Minus InfoNCE: which student state belongs to this teacher state? At most log batch size."""

    citation: ClassVar[str] = "van den Oord et al. 2018, CPC, arXiv 1807.03748"
    objective: Literal["info_nce"] = "info_nce"


class Tuba(MutualInformation):
    """Minus the bound TUBA with a learned baseline: little bias, much variance."""

    citation: ClassVar[str] = "Poole et al. 2019, section 2.2, arXiv 1905.06922"
    objective: Literal["tuba"] = "tuba"


class Nwj(MutualInformation):
    """Minus the bound of Nguyen, Wainwright and Jordan: the baseline is the constant e."""

    citation: ClassVar[str] = "Nguyen et al. 2010, arXiv 0809.0853; Poole et al. 2019, eq. 6"
    objective: Literal["nwj"] = "nwj"


class BarberAgakov(Term):
    """Minus the log-density of the teacher's state under a Gaussian that the student's state predicts."""

    citation: ClassVar[str] = "Barber & Agakov 2003; Ahn et al. 2019, VID, arXiv 1904.05835"
    objective: Literal["barber_agakov"] = "barber_agakov"
    representation: AnyRepresentation = "cls"
    mapping: Mapping = Skip()


class JensenShannon(MutualInformation):
    """Minus the Jensen-Shannon estimator: grows with mutual information, but bounds another divergence."""

    citation: ClassVar[str] = "Hjelm et al. 2019, Deep InfoMax, eq. 4, arXiv 1808.06670"
    objective: Literal["js"] = "js"


Intermediate = Annotated[
    NoIntermediate
    | Mse
    | L1
    | Cosine
    | Pkd
    | HiddenCrossEntropy
    | HiddenKl
    | Attention
    | MiniLm
    | MiniLmV2
    | Cka
    | Rkd
    | Nst
    | Fsp
    | Crd
    | MiAlpha
    | InfoNce
    | Tuba
    | Nwj
    | BarberAgakov
    | JensenShannon,
    Field(discriminator="objective"),
]
