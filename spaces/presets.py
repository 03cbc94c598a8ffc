"""Published recipes as named points of the space.

Where a paper distils in pretraining, its recipe stands here on a task's own text. Losses are means over
layers, tokens and rows, where some papers sum: weights are of that scale.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass

from distiller.spaces.augmentation import (
    Augmentation,
    BackTranslation,
    EmbeddingNeighbours,
    Mixup,
    NoAugmentation,
    RandomWords,
)
from distiller.spaces.config import PipelineConfig
from distiller.spaces.intermediate import (
    Attention,
    Cosine,
    Crd,
    FirstStage,
    Intermediate,
    LinearProjection,
    MiAlpha,
    MiniLm,
    MiniLmV2,
    Mse,
    NoIntermediate,
    NoProjection,
    Pkd,
)
from distiller.spaces.mapping import AttentionWeighted, Emd, Skip, Top
from distiller.spaces.prediction import Kl, LabelsOnly, LogitL1, LogitMse, Prediction, SoftCrossEntropy


@dataclass(frozen=True)
class Preset:
    """Stages of a published recipe; the student, the teacher and the optimization are the user's."""

    summary: str
    citation: str
    prediction: Prediction
    intermediate: tuple[Intermediate, ...] = (NoIntermediate(),)
    augmentation: tuple[Augmentation, ...] = (NoAugmentation(),)

    def applied(self, config: PipelineConfig, task_kind: str) -> PipelineConfig:
        """`config` with this preset's augmentation, intermediate and prediction stages.

        A regression has no classes: where the recipe compares probabilities, scores stand in. Spans and
        tags belong to single words: a mixture of texts has none, and is left out.
        """
        return config.model_copy(
            update={
                "augmentation": augmentation_on(self.augmentation, task_kind),
                "intermediate": self.intermediate,
                "prediction": prediction_on(self.prediction, task_kind),
            }
        )

    def departures(self, task_kind: str) -> list[str]:
        """What of the recipe such a task has no place for, and what stands in."""
        said = []
        if prediction_on(self.prediction, task_kind) != self.prediction:
            said.append(f"prediction: scores have no classes, so mse stands in for {self.prediction.loss}")
        left = augmentation_on(self.augmentation, task_kind)
        said += [
            f"augmentation: without {slot.method}, as labels belong to single words"
            for slot in self.augmentation
            if slot not in left
        ]
        return said


def prediction_on(prediction: Prediction, task_kind: str) -> Prediction:
    """The loss, or what stands in for it where the task has no classes."""
    if task_kind == "regression" and not isinstance(prediction, (LabelsOnly, LogitMse, LogitL1)):
        return LogitMse(hard_weight=prediction.hard_weight)
    return prediction


def augmentation_on(slots: tuple[Augmentation, ...], task_kind: str) -> tuple[Augmentation, ...]:
    """The slots less those that lose what belongs to single words."""
    if task_kind not in ("qa", "token_classification"):
        return slots
    kept = tuple(slot for slot in slots if not isinstance(slot, (Mixup, BackTranslation)))
    return kept or (NoAugmentation(),)


BASELINES = ("no_teacher", "hinton")
"""What every winner is compared with."""

PRESETS: Mapping[str, Preset] = types.MappingProxyType(
    {
        "no_teacher": Preset(
            "The student on labels alone, with the same steps, start and seeds.",
            "",
            LabelsOnly(),
        ),
        "hinton": Preset(
            "Labels and the teacher's softened outputs, half and half.",
            "Hinton et al. 2015, section 2, arXiv 1503.02531",
            Kl(hard_weight=0.5, temperature=2.0),
        ),
        "distilbert": Preset(
            "Softened outputs, labels (for masked words), cosine of the last states; 5:2:1 as released.",
            "Sanh et al. 2019, section 2, arXiv 1910.01108",
            Kl(hard_weight=0.285714, temperature=2.0),
            (Cosine(weight=0.142857, mapping=Top(), projection=NoProjection()),),
        ),
        "pkd": Preset(
            "Labels, softened outputs, and normalised [CLS] states of evenly spaced layers, the last too.",
            "Sun et al. 2019, eq. 7 and 8, arXiv 1908.09355",
            Kl(hard_weight=0.5, temperature=5.0),
            (Pkd(weight=10.0),),
        ),
        "tinybert": Preset(
            "First hidden states, embeddings, attention scores, then outputs; 4 copies (20 there).",
            "Jiao et al. 2020, eq. 7 to 11; after algorithm 1, arXiv 1909.10351",
            SoftCrossEntropy(hard_weight=0.0, temperature=1.0),
            (
                Mse(
                    mapping=Skip(embeddings=True),
                    projection=LinearProjection(shared=True),
                    schedule=FirstStage(share=0.5),
                ),
                Attention(target="scores", schedule=FirstStage(share=0.5)),
            ),
            (EmbeddingNeighbours(strength=0.4, copies=4),),
        ),
        "minilm": Preset(
            "First attention maps and value relations of the last layer, then labels.",
            "Wang et al. 2020, eq. 4 to 7, arXiv 2002.10957",
            LabelsOnly(),
            (MiniLm(schedule=FirstStage(share=0.5)),),
        ),
        "minilm_v2": Preset(
            "First relations of queries, keys and values of the last layer, then labels.",
            "Wang et al. 2021, eq. 3 to 5, arXiv 2012.15828",
            LabelsOnly(),
            (MiniLmV2(heads=48, schedule=FirstStage(share=0.5)),),
        ),
        "bert_emd": Preset(
            "Outputs, and hidden states and attention maps of all layer pairs, by a transport plan each.",
            "After Li et al. 2020, eq. 3 to 12, arXiv 2010.06133",
            SoftCrossEntropy(hard_weight=0.0, temperature=1.0),
            (
                Mse(weight=0.1, mapping=Emd()),
                Attention(weight=0.1, target="maps", mapping=Emd()),
            ),
        ),
        "mixkd": Preset(
            "Labels, and the teacher's outputs, half of them on mixtures (whose labels are not mixed too).",
            "After Liang et al. 2021, section 3, arXiv 2011.00593",
            LogitMse(hard_weight=0.5),
            augmentation=(Mixup(concentration=0.4),),
        ),
        "codir": Preset(
            "Labels, softened outputs, and each mean-pooled layer told from a memory, with the loss of CRD.",
            "After Sun et al. 2020, section 3, arXiv 2009.14167",
            Kl(hard_weight=0.5, temperature=2.0),
            (Crd(weight=0.1, representation="mean", mapping=Skip()),),
        ),
        "alp_kd": Preset(
            "Labels, softened outputs, and [CLS] states against a learned mixture of all teacher layers.",
            "Passban et al. 2021, eq. 3 to 6, arXiv 2012.14022",
            Kl(hard_weight=0.5, temperature=2.0),
            (Mse(representation="cls", mapping=AttentionWeighted()),),
        ),
        "distiller_best": Preset(
            "MI-alpha between evenly spaced layers, outputs, changed words (random ones) and mixtures.",
            "After He et al. 2021, section 5, arXiv 2109.11105",
            Kl(hard_weight=0.5, temperature=2.0),
            (MiAlpha(alpha=0.9, weight=0.1),),
            (RandomWords(strength=0.1, copies=1), Mixup(concentration=0.4)),
        ),
    }
)


def preset_of(config: PipelineConfig, task_kind: str) -> str | None:
    """The preset that a config is, whatever its student, teacher and optimization; None where it is none."""
    for name, preset in PRESETS.items():
        if preset.applied(config, task_kind) == config:
            return name
    return None
