"""The checkpoints that a sweep names, loaded as far as a plan needs: configs and tokenizers, no weights."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from distiller.pipelines.augment.checkpoints import check_checkpoints as check_choice
from distiller.pipelines.checkpoint import from_pretrained, load_tokenizer
from distiller.pipelines.places import located
from distiller.pipelines.trust import check_weights
from distiller.search.plan import place_of, pretrained_of
from distiller.search.prepared import augmentation_choices
from distiller.spaces.sweep import SweepConfig


def check_checkpoints(sweep: SweepConfig, base: Path) -> None:
    """Load configs and tokenizers of all teachers, pretrained students and augmentation, by hub name too.

    Raises:
        InputError: one cannot be loaded; names the place in the sweep.
    """
    for name, teacher in sweep.teachers.items():
        teacher_config(sweep, name, base)
        place = f"teachers.{name}.model"
        source = located(teacher.model, base, place)
        load_tokenizer(source, teacher.revision, place, teacher.trust_remote_code)
    for dataset in sweep.datasets:
        place = f"{place_of(sweep, dataset, 'student')}.student.pretrained.checkpoint"
        for checkpoint in pretrained_of(sweep.space_of(dataset)):
            source = located(checkpoint, base, place)
            from_pretrained(AutoConfig, source, None, place)
            load_tokenizer(source, None, place)
        for choice, place in augmentation_choices(sweep, dataset):
            check_choice(choice, base, place)


def teacher_config(sweep: SweepConfig, name: str, base: Path) -> PretrainedConfig:
    """A teacher's config, read without its weights.

    Raises:
        InputError: it cannot be loaded.
    """
    teacher, place = sweep.teachers[name], f"teachers.{name}.model"
    source = located(teacher.model, base, place)
    check_weights(source, place, "AutoModel")
    config: PretrainedConfig = from_pretrained(
        AutoConfig, source, teacher.revision, place, teacher.trust_remote_code
    )
    return config
