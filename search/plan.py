"""What a sweep comes to on each dataset: its space less what task and teacher make impossible."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from distiller.results.store import Store
from distiller.spaces.augmentation import Mixup
from distiller.spaces.choice import Choice, Union
from distiller.spaces.config import MEAN, STAGES, PipelineConfig
from distiller.spaces.datasets import TaskKind
from distiller.spaces.errors import InputError
from distiller.spaces.intermediate import Term
from distiller.spaces.presets import PRESETS
from distiller.spaces.priors import OneOf
from distiller.spaces.removal import values_at, without
from distiller.spaces.space import Branch, Group, Space
from distiller.spaces.sweep import CacheConfig, SweepConfig

NO_CLASSES = "a regression has no class probabilities"
WORD_BY_WORD = ("mixup", "back_translation")
TOKEN_OUTPUTS = ("qa", "token_classification")
"""Tasks whose outputs stand at tokens: who learns or is averaged there needs the same tokens."""


@dataclass(frozen=True)
class Tokenizers:
    """Who does not share a tokenizer in a dataset's block.

    Attributes:
        students: pretrained checkpoints with another tokenizer than some teacher that leads.
        teams: teachers to be averaged whose tokenizers differ, each team in order of names.
    """

    students: tuple[str, ...] = ()
    teams: tuple[tuple[str, ...], ...] = ()

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Tokenizers:
        """What `to_json` wrote."""
        data = json.loads(text)
        return cls(tuple(data["students"]), tuple(tuple(team) for team in data["teams"]))


OneTokenizer = Tokenizers()
"""As wherever no student is pretrained and no teachers are averaged."""


def impossible(kind: TaskKind) -> Mapping[str, tuple[tuple[str, ...], str, str]]:
    """By stage: the choices that mean nothing in a task, why, and what does; own parts are among them."""
    if kind == "regression":
        needy = _named("prediction", lambda choice: getattr(choice, "needs_classes", False))
        return {"prediction": (needy, NO_CLASSES, "mse or l1")}
    if kind == "qa":
        return {"augmentation": (WORD_BY_WORD, "it would lose the words of the answer", "none")}
    if kind == "token_classification":
        return {"augmentation": (WORD_BY_WORD, "its words would have no tags", "none")}
    return {}


def tokenwise_objectives() -> tuple[str, ...]:
    """Intermediate objectives that compare tokens, whatever their parameters."""
    return _named("intermediate", lambda choice: issubclass(choice, Term) and choice.tokenwise)


def _named(stage: str, condition: Callable[[type[Choice]], bool]) -> tuple[str, ...]:
    part = STAGES[stage].part
    assert isinstance(part, Union)
    return tuple(name for name, choice in part.choices.items() if condition(choice))


def teachers_of(space: Space) -> list[tuple[str, ...]]:
    """Every teacher of a space, as the names whose mean it is, in order; the first of them leads."""
    slots = []
    for node in space.stages["teacher"]:
        assert isinstance(node, Group)
        prior = node.children["checkpoint"]
        assert isinstance(prior, OneOf)
        slots.append([str(name) for name in prior.values])
    return sorted({tuple(sorted(team)) for team in itertools.product(*slots)})


def pretrained_of(space: Space) -> list[str]:
    """The checkpoints that a space's students may be."""
    return [str(name) for name in values_at(space, "student.pretrained.checkpoint")]


def planned_space(
    sweep: SweepConfig,
    dataset: str,
    teacher_layers: int | None = None,
    tokenizers: Tokenizers = OneTokenizer,
) -> tuple[Space, list[str]]:
    """The dataset's space as it will be searched, and what was taken out of it, by name.

    Raises:
        InputError: nothing would be left of a stage.
    """
    space, removed = _readable(sweep, dataset, tokenizers)
    kind = sweep.datasets[dataset].kind
    for stage, (choices, reason, instead) in impossible(kind).items():
        for choice in choices:
            if not any(choice in node.choices for node in space.stages[stage] if isinstance(node, Branch)):
                continue
            try:
                space = space.without(stage, choice)
            except InputError:
                raise InputError(
                    f"space.{stage}: nothing is left for {dataset}, a {kind} "
                    f"({choice}: {reason}); add {instead}"
                ) from None
            removed.append(f"{dataset}: {stage} {choice} left out ({reason})")
    if teacher_layers is not None:
        _check_student_layers(space, teacher_layers)
    return space, removed


def _readable(sweep: SweepConfig, dataset: str, tokenizers: Tokenizers) -> tuple[Space, list[str]]:
    """The dataset's space less what compares tokens that its models cut differently."""
    space = sweep.space_of(dataset)
    tokenwise = sweep.datasets[dataset].kind in TOKEN_OUTPUTS
    teams = [MEAN.join(team) for team in tokenizers.teams]
    students = list(tokenizers.students)
    if tokenwise and teams:
        raise InputError(
            f"space.teacher.slots: the tokenizers of {teams[0]} differ, and {dataset} has its outputs at "
            "tokens; name teachers of one tokenizer"
        )
    removed = []
    if tokenwise:
        for checkpoint in students:
            space, gone = without(space, "student.pretrained.checkpoint", checkpoint)
            removed.append(
                f"{dataset}: {', '.join(gone)} left out (it has another tokenizer than a teacher, and "
                "outputs stand at tokens)"
            )
        students = []
    paths: list[tuple[str, str | None]] = [("augmentation.mixup", None)] if students or teams else []
    if students:
        paths += [("intermediate.*.representation", "tokens")]
        paths += [(f"intermediate.{name}", None) for name in tokenwise_objectives()]
    taken: list[str] = []
    for path, value in paths:
        try:
            space, gone = without(space, path, value)
        except InputError as error:
            raise InputError(f"{error} ({_why(students, teams)})") from None
        taken += gone
    if taken:
        removed.append(f"{dataset}: {', '.join(taken)} left out ({_why(students, teams)})")
    return space, removed


def _why(students: Sequence[str], teams: Sequence[str]) -> str:
    said = [f"student {name} has another tokenizer than a teacher" for name in students]
    return "; ".join(said + [f"the tokenizers of {team} differ" for team in teams])


def cuts_alike(config: PipelineConfig, tokenizers: Tokenizers) -> bool:
    """Whether nothing in a config compares tokens that its models cut differently."""
    apart = getattr(config.student, "checkpoint", None) in tokenizers.students
    mixes = any(isinstance(choice, Mixup) for choice in config.augmentation)
    if mixes and config.uses_teacher and (apart or config.teacher_names in tokenizers.teams):
        return False
    return not apart or not any(
        isinstance(term, Term) and (term.tokenwise or getattr(term, "representation", None) == "tokens")
        for term in config.intermediate
    )


def check_preset(name: str, config: PipelineConfig, dataset: str, tokenizers: Tokenizers) -> None:
    """Raise InputError where a preset, as `config`, compares tokens that its models cut differently."""
    if cuts_alike(config, tokenizers):
        return
    checkpoint = getattr(config.student, "checkpoint", None)
    students = [checkpoint] if checkpoint in tokenizers.students else []
    teams = [MEAN.join(config.teacher_names)] if config.teacher_names in tokenizers.teams else []
    raise InputError(
        f"search.warm_start: the preset {name} compares tokens on {dataset}, and {_why(students, teams)}; "
        "leave it out"
    )


def recorded_tokenizers(store: Store, sweep: str, dataset: str) -> Tokenizers:
    """Who does not share a tokenizer, as a launch found."""
    recorded = store.read_text(sweep, tokenizers_file(dataset))
    return OneTokenizer if recorded is None else Tokenizers.from_json(recorded)


def searched_space(store: Store, sweep: SweepConfig, dataset: str) -> Space:
    """The dataset's space as a launch searched it, by what the launch recorded in the store."""
    return planned_space(sweep, dataset, tokenizers=recorded_tokenizers(store, sweep.name, dataset))[0]


def record_tokenizers(store: Store, sweep: str, dataset: str, tokenizers: Tokenizers) -> None:
    """Keep beside the sweep's file what `searched_space` needs to know."""
    if tokenizers != OneTokenizer:
        store.write_text(sweep, tokenizers_file(dataset), tokenizers.to_json())


def place_of(sweep: SweepConfig, dataset: str, stage: str) -> str:
    """Where a sweep's file narrows a stage for a dataset: `space`, or `space_for` and its name."""
    return f"space_for.{dataset}" if stage in sweep.space_for.get(dataset, {}) else "space"


def tokenizers_file(dataset: str) -> str:
    """Where a launch records who does not share a tokenizer."""
    return f"{dataset}-tokenizers.json"


def _check_student_layers(space: Space, teacher_layers: int) -> None:
    student = space.stages["student"][0]
    assert isinstance(student, Branch)
    group = student.choices.get("teacher_layers")
    if group is None:
        return
    layers = group.children["layers"]
    assert not isinstance(layers, (Branch, Group))
    most = max(layers.values) if isinstance(layers, OneOf) else layers.high
    if int(most) > teacher_layers:
        raise InputError(
            f"space.student.teacher_layers.layers: {most} is more than the teacher's {teacher_layers}; "
            "ask for at most that many"
        )


def cache_from(cache: CacheConfig, base: Path) -> CacheConfig:
    """The cache with its path absolute: like every path in the file, it starts from the file's folder.

    A path that starts with `~` or `$VARIABLE` stays as it is: it means another folder on each node.
    """
    if cache.path.startswith(("~", "$")):
        return cache
    return cache.model_copy(update={"path": str(base / cache.path)})


def preset_departures(sweep: SweepConfig, dataset: str) -> list[str]:
    """What of the presets that a sweep starts with a dataset has no place for."""
    kind = sweep.datasets[dataset].kind
    return [
        f"{dataset}: preset {name}: {said}"
        for name in sweep.search.warm_presets
        for said in PRESETS[name].departures(kind)
    ]
