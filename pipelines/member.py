"""A member of a cohort, what it reports, and which configs can be members of one cohort."""

from __future__ import annotations

from dataclasses import dataclass

from distiller.pipelines.material import Material
from distiller.pipelines.student import architecture, layer_kinds, left_behind, width_of
from distiller.spaces.augmentation import Augmentation, Mixup, NoAugmentation
from distiller.spaces.choice import Choice
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.intermediate import NoProjection, Term
from distiller.spaces.student import TeacherLayers


@dataclass(frozen=True)
class Member:
    """One student of a cohort: its config, and the seed of all that it starts from."""

    config: PipelineConfig
    seed: int


@dataclass(frozen=True)
class Progress:
    """One member at one evaluation.

    Attributes:
        score: the task's metric on validation; NaN once the member has diverged.
        losses: means since the last evaluation, by part; their sum is the loss.
        error: why the member cannot go on, None while it can.
    """

    member: int
    step: int
    score: float
    metrics: dict[str, float]
    losses: dict[str, float]
    learning_rate: float
    train_seconds: float
    error: str | None = None


def cohort_key(config: PipelineConfig, material: Material) -> tuple[object, ...]:
    """Equal for configs that can train in one cohort."""
    return (
        architecture(config.student, material.origin(config.student).config),
        layer_kinds(config.student, material.origin(config.student).config),
        config.optimization.batch_size,
        config.optimization.dropout,
        config.teacher_ends,
        config.teacher_names,
    )


def policy_of(config: PipelineConfig, teacher: bool) -> tuple[Augmentation, ...]:
    """The augmentation of a config while it reads its `teacher`, or without: nothing labels mixtures then."""
    idle: tuple[type[Choice], ...] = (NoAugmentation,) if teacher else (NoAugmentation, Mixup)
    return tuple(choice for choice in config.augmentation if not isinstance(choice, idle))


def check_tokenizers(config: PipelineConfig, material: Material) -> None:
    """Raise InputError where a config compares tokens that two of its models cut differently.

    A sweep's plan takes such choices out of the space; a config from elsewhere may still hold one.
    """
    lead, student = material.teacher.origin, material.origin(config.student)
    if not student.shares_tokens(lead):
        name = getattr(config.student, "checkpoint", None)
        whose = f"the student {name!r} has another tokenizer than its teacher"
        if material.dataset.task.tokenwise:  # labels and scores stand at the teacher's tokens, used or not
            kind = material.dataset.task.kind
            raise InputError(
                f"student: {whose}, and {kind} has its outputs at tokens; name another checkpoint"
            )
        for slot, term in enumerate(config.intermediate, 1):
            if isinstance(term, Term) and term.tokenwise:
                raise InputError(f"intermediate {slot}: {term.objective} compares tokens, and {whose}")
            if getattr(term, "representation", None) == "tokens":
                raise InputError(f"intermediate {slot}: {whose}; take representation cls or mean")
    mixes = any(isinstance(choice, Mixup) for choice in config.augmentation)
    readers = [student, *(teacher.origin for teacher in material.teachers)]
    if mixes and config.uses_teacher and not all(reader.shares_tokens(lead) for reader in readers):
        raise InputError("augmentation: mixup mixes tokens, and student and teachers have several tokenizers")


def adaptations(config: PipelineConfig, material: Material) -> list[str]:
    """What of a config was given a meaning that it does not say by itself."""
    teacher = material.teacher.model.config
    width = width_of(config.student, material.origin(config.student).config)
    said = []
    if isinstance(config.student, TeacherLayers):
        first, parts = left_behind(config.student, material.teacher.model)
        if parts:
            said.append(
                f"student: layer 1 is the teacher's {first + 1} without {', '.join(parts)}, "
                "for which a first layer has no place"
            )
    for slot, term in enumerate(config.intermediate, 1):
        if isinstance(getattr(term, "projection", None), NoProjection) and width != teacher.hidden_size:
            said.append(
                f"intermediate {slot}: projected, as widths differ ({width} and {teacher.hidden_size})"
            )
    if config.optimization.label_smoothing and material.dataset.task.kind == "regression":
        said.append("optimization: label_smoothing unused, as scores have no classes")
    if len(set(config.teacher_names)) > 1 and any(isinstance(term, Term) for term in config.intermediate):
        said.append(f"intermediate: from {material.teacher.name}, the first by name of the teachers")
    mixups = [slot for slot, choice in enumerate(config.augmentation, 1) if isinstance(choice, Mixup)]
    if config.uses_teacher:
        said += [f"augmentation {slot}: unused, as slot {mixups[0]} mixes already" for slot in mixups[1:]]
    if config.teacher_ends < 1:
        when = f" from {config.teacher_ends:g} of the budget on" if config.uses_teacher else ""
        nobody = f"unused{when}, as nothing labels mixtures without a teacher"
        said += [f"augmentation {slot}: {nobody}" for slot in (mixups[:1] if config.uses_teacher else mixups)]
    return said
