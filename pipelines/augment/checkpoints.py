"""The checkpoints of the augmentation stage, asked for their configs and tokenizers; their weights wait."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig

from distiller.pipelines.augment.contextual import masking_tokenizer
from distiller.pipelines.augment.translation import translation_tokenizer
from distiller.pipelines.checkpoint import from_pretrained
from distiller.pipelines.places import located
from distiller.spaces.augmentation import Augmentation, BackTranslation, Contextual


def check_checkpoints(choice: Augmentation, base: Path, place: str) -> None:
    """Load configs and tokenizers of a choice's checkpoints, by hub name too.

    Raises:
        InputError: one cannot be loaded; the line starts with `place` and the parameter.
    """
    if isinstance(choice, Contextual):
        where = f"{place}.contextual.checkpoint"
        source = located(choice.checkpoint, base, where)
        from_pretrained(AutoConfig, source, None, where)
        masking_tokenizer(source, where)
    if isinstance(choice, BackTranslation):
        for name in ("there", "back"):
            where = f"{place}.back_translation.{name}"
            source = located(getattr(choice, name), base, where)
            from_pretrained(AutoConfig, source, None, where)
            translation_tokenizer(source, where)
