"""The checkpoints of the augmentation stage, asked for their configs and tokenizers; their weights wait."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from distiller.pipelines.augment.contextual import masking_tokenizer
from distiller.pipelines.augment.translation import translation_tokenizer
from distiller.pipelines.checkpoint import from_pretrained
from distiller.pipelines.places import located
from distiller.pipelines.trust import SAFETENSORS, check_weights
from distiller.spaces.augmentation import Augmentation, BackTranslation, Contextual
from distiller.spaces.errors import InputError


def check_checkpoints(choice: Augmentation, base: Path, place: str) -> None:
    """Load configs and tokenizers of a choice's checkpoints, by hub name too; look for a folder's weights.

    Raises:
        InputError: one cannot be loaded, or is no model of its kind; the line starts with `place` and the
            parameter.
    """
    if isinstance(choice, Contextual):
        where = f"{place}.contextual.checkpoint"
        source = located(choice.checkpoint, base, where)
        _check_model(source, MODEL_FOR_MASKED_LM_MAPPING_NAMES, "masked language model", where)
        masking_tokenizer(source, where)
    if isinstance(choice, BackTranslation):
        for name in ("there", "back"):
            where = f"{place}.back_translation.{name}"
            source = located(getattr(choice, name), base, where)
            kinds = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
            _check_model(source, kinds, "sequence-to-sequence model", where)
            translation_tokenizer(source, where)


def _check_model(source: str, kinds: Mapping[str, Any], what: str, place: str) -> None:
    """Raise InputError where a checkpoint's type is not among `kinds`, or its folder has no safetensors."""
    kind = from_pretrained(AutoConfig, source, None, place).model_type
    if kind not in kinds:
        raise InputError(f"{place}: {source!r} is no {what}, but of type {kind}; name another checkpoint")
    folder = Path(source)
    check_weights(source, place, "AutoModelForMaskedLM" if "mask" in what else "AutoModelForSeq2SeqLM")
    if folder.is_dir() and not any((folder / file).is_file() for file in SAFETENSORS):
        raise InputError(
            f"{place}: {source!r} holds no weights ({' or '.join(SAFETENSORS)}); copy them there, or name "
            "another checkpoint"
        )
