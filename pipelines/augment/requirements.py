"""What a choice of the augmentation stage needs beside the texts, looked for without loading anything."""

from __future__ import annotations

from pathlib import Path

from distiller.pipelines.augment.wordnet import check_wordnet
from distiller.pipelines.places import located
from distiller.spaces.augmentation import Augmentation, BackTranslation, Contextual, Synonyms


def check_choice(choice: Augmentation, base: Path, place: str) -> None:
    """Look for a choice's checkpoints and data; hub names are only known where they are loaded.

    Raises:
        InputError: something is not there; the line starts with `place` and the parameter.
    """
    if isinstance(choice, Synonyms):
        check_wordnet(f"{place}.synonym")
    if isinstance(choice, Contextual):
        located(choice.checkpoint, base, f"{place}.contextual.checkpoint")
    if isinstance(choice, BackTranslation):
        located(choice.there, base, f"{place}.back_translation.there")
        located(choice.back, base, f"{place}.back_translation.back")
