"""Published recipes as named points of the space."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass

from distiller.spaces.augmentation import NoAugmentation
from distiller.spaces.config import PipelineConfig
from distiller.spaces.intermediate import NoIntermediate
from distiller.spaces.prediction import Kl, LabelsOnly, LogitMse, Prediction


@dataclass(frozen=True)
class Preset:
    """Stages of a published recipe; the student, the teacher and the optimization are the user's."""

    summary: str
    citation: str
    prediction: Prediction
    regression_prediction: Prediction
    """What stands in where the task has no classes."""

    def applied(self, config: PipelineConfig, task_kind: str) -> PipelineConfig:
        """`config` with this preset's augmentation, intermediate and prediction stages."""
        regression = task_kind == "regression"
        return config.model_copy(
            update={
                "augmentation": (NoAugmentation(),),
                "intermediate": (NoIntermediate(),),
                "prediction": self.regression_prediction if regression else self.prediction,
            }
        )


PRESETS: Mapping[str, Preset] = types.MappingProxyType(
    {
        "no_teacher": Preset(
            "The student on labels alone, with the same steps, start and seeds.",
            "",
            LabelsOnly(),
            LabelsOnly(),
        ),
        "hinton": Preset(
            "Labels and the teacher's softened outputs, half and half.",
            "Hinton et al. 2015, arXiv 1503.02531",
            Kl(hard_weight=0.5, temperature=2.0),
            LogitMse(hard_weight=0.5),
        ),
    }
)
