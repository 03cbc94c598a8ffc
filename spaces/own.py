"""A user's own parts: choices of a stage that come from an installed package or from a module of theirs.

A part is a `Choice` whose tag says the stage (`objective`, `loss` or `method`), with a static method
`function` that computes it:

    from typing import Annotated, ClassVar, Literal

    from distiller.pipelines.objectives.masking import comparable, mean_over_real
    from distiller.spaces.intermediate import AnyRepresentation, LinearProjection, Projection, Term
    from distiller.spaces.mapping import Mapping, Skip
    from distiller.spaces.priors import OneOf
    from pydantic import Field


    class Huber(Term):
        '''Huber loss between hidden states.'''

        citation: ClassVar[str] = "Huber 1964, Ann. Math. Stat. 35(1)"
        same_width: ClassVar[bool] = True
        objective: Literal["huber"] = "huber"
        delta: Annotated[float, Field(gt=0), OneOf(0.5, 1.0)] = 1.0
        representation: AnyRepresentation = "tokens"
        mapping: Mapping = Skip()
        projection: Projection = LinearProjection()

        @staticmethod
        def function(student, teacher, mask, delta):
            student, teacher = comparable(student, teacher, mask)
            apart = (student - teacher).abs()
            near = apart.clamp(max=delta)
            return mean_over_real((near * (apart - 0.5 * near)).mean(-1), mask)

What a function is given and must keep is said by `distiller.pipelines.own.adopt_own_parts`, which checks it.

Class variables say what the built-in choices say in other places. Every part: `citation`, and
`searched_by_default` (False: it enters a space only where it is named). An objective, with the meaning that
`distiller.pipelines.objectives.objective.Objective` gives them: `same_width` (True goes with a field
`projection`, as above), `reads` (instead of a field `representation`), `start`, `at_equal` ("least" where
`start` is not given); and `tokenwise`, True where it compares tokens in any representation. A loss:
`needs_classes`, True where it compares probabilities. The last two leave the spaces in which they would mean
nothing.

An installed package names its parts as entry points of the group `distiller.parts`; a sweep names a module
of its own under `parts:`. From then on they are like any other choice: in `distiller space`, in the sweep's
space, in the table and in importance. A module is known by its content, not by its path: a copy of it is
the same module, and of two files of one name that differ each is its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.abc
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache, reduce
from importlib.metadata import entry_points
from operator import or_
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Annotated, Any

from pydantic import Field
from pydantic.fields import FieldInfo

from distiller.spaces.catalog import columns_under
from distiller.spaces.choice import KIND, Choice, Parameter, Union, id_of, parts, tag_of
from distiller.spaces.config import STAGES, PipelineConfig, Stage, column_prefix
from distiller.spaces.errors import InputError
from distiller.spaces.intermediate import Term

GROUP = "distiller.parts"
STAGE_OF_TAG = {"method": "augmentation", "objective": "intermediate", "loss": "prediction"}


def register(model: type[Choice], place: str) -> None:
    """Make `model` a choice of the stage that its tag belongs to; a second time changes nothing.

    Raises:
        InputError: it is no part: no tag, no function, a name that is taken, a parameter of no type or of
            another type than its namesake's, or without a parameter that all choices of its stage have.
    """
    tag = tag_of(model)
    if tag not in STAGE_OF_TAG:
        raise InputError(
            f"{place}: {model.__name__} names no stage; give it one field of {', '.join(STAGE_OF_TAG)}, "
            'as in `objective: Literal["mine"] = "mine"`'
        )
    if not callable(getattr(model, "function", None)):
        raise InputError(f"{place}: {model.__name__} has no function; give it a static method `function`")
    try:
        parts(model)
    except TypeError as error:
        raise InputError(f"{place}: {model.__name__}.{error}") from None
    if tag == "method" and not {"copies", "redraw"} <= parts(model).keys():
        needed = "copies: Copies = 1 and redraw: Redraw = 0, of distiller.spaces.augmentation"
        raise InputError(f"{place}: {model.__name__} makes no views; give it {needed}")
    if tag == "loss" and not _is_float(parts(model).get("hard_weight")):
        needed = "hard_weight: HardWeight = 0.5, of distiller.spaces.prediction"
        raise InputError(f"{place}: {model.__name__} has no weight beside the labels; give it {needed}")
    if tag == "objective" and not issubclass(model, Term):
        raise InputError(
            f"{place}: {model.__name__} has no weight; derive it from distiller.spaces.intermediate.Term"
        )
    if tag == "objective" and not isinstance(parts(model).get("mapping"), Union):
        needed = "mapping: Mapping = Skip(), of distiller.spaces.mapping"
        raise InputError(f"{place}: {model.__name__} says not which layers it compares; give it {needed}")
    name, stage = id_of(model), STAGES[STAGE_OF_TAG[tag]]
    assert isinstance(stage.part, Union)
    taken = stage.part.choices.get(name)
    if taken is not None:
        if (taken.__module__, taken.__qualname__) == (model.__module__, model.__qualname__):
            return
        raise InputError(f"{place}: {name!r} is a choice of {STAGE_OF_TAG[tag]} already; take another name")
    _check_columns(model, stage.part, column_prefix(STAGE_OF_TAG[tag], 1), place)
    widened = Union(tag, MappingProxyType({**stage.part.choices, name: model}))
    _replace(STAGE_OF_TAG[tag], dataclasses.replace(stage, part=widened))


def _check_columns(model: type[Choice], stage: Union, prefix: str, place: str) -> None:
    """Choices of a stage share the columns of parameters that share a name, and a column has one type."""
    try:
        own = columns_under(Union(stage.tag, {id_of(model): model}), prefix)
    except TypeError as error:
        raise InputError(f"{place}: {model.__name__}: {error}; rename or retype the parameter") from None
    others = columns_under(stage, prefix)
    for column, kind in own.items():
        if others.get(column, kind) is not kind:
            raise InputError(
                f"{place}: {model.__name__}: parameter {column.removeprefix(prefix)} is {kind.__name__}, but "
                f"{others[column].__name__} in another choice of the stage (column {column}); rename it"
            )


def _is_float(part: Parameter | Union | None) -> bool:
    return isinstance(part, Parameter) and part.python_type is float


def registered() -> bool:
    """Whether there is any part beside the built-in ones."""
    unions = [stage.part for stage in STAGES.values() if isinstance(stage.part, Union)]
    return any(hasattr(model, "function") for union in unions for model in union.choices.values())


def _replace(name: str, stage: Stage) -> None:
    STAGES[name] = stage
    assert isinstance(stage.part, Union)
    union: Any = Annotated[reduce(or_, stage.part.choices.values()), Field(discriminator=stage.part.tag)]
    annotation = tuple[union, ...] if stage.slots > 1 else union
    default = PipelineConfig.model_fields[name].default
    PipelineConfig.__pydantic_fields__[name] = FieldInfo.from_annotated_attribute(annotation, default)
    PipelineConfig.model_rebuild(force=True)
    for model in _embedding():
        model.model_rebuild(force=True)


def _embedding() -> list[Any]:
    """Models with a config inside, which hold on to its schema."""
    recipe = sys.modules.get("distiller.spaces.recipe")
    return [] if recipe is None else [recipe.Recipe]


@lru_cache
def load_installed() -> None:
    """Register the parts of installed packages, once."""
    for point in entry_points(group=GROUP):
        place = f"{point.dist.name if point.dist else 'a package'} ({point.value})"
        try:
            model = point.load()
        except Exception as error:
            raise InputError(f"{place}: cannot be loaded ({error}); mend or uninstall it") from error
        register(model, place)


def load_parts(paths: Iterable[str], base: Path, texts: Mapping[str, str] | None = None) -> None:
    """Register the parts of installed packages and of the modules that a sweep names.

    Args:
        paths: as the sweep writes them, relative to `base`.
        texts: by path as written, modules as they were when the sweep was launched; they stand in for the
            files, which may have changed or be on another machine.

    Raises:
        InputError: a file that is not there or does not run, or holds no part.
    """
    load_installed()
    for written in paths:
        text = (texts or {}).get(written)
        _load_module(part_text(written, base) if text is None else text, part_path(written, base))


def part_path(written: str, base: Path) -> Path:
    """Where the module is that a sweep in `base` names."""
    return (base / Path(written).expanduser()).resolve()


def part_text(written: str, base: Path) -> str:
    """The source of the module that a sweep in `base` names; InputError where there is none."""
    path = part_path(written, base)
    try:
        return importlib.util.decode_source(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(
            f"parts: {path}: no such file; put it there, or mend the path in the sweep"
        ) from None
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"parts: {path}: not readable ({error}); mend it") from error


def part_digest(text: str) -> str:
    """16 hexadecimal digits by which a module's content is known: the same on every machine."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Source(importlib.abc.ExecutionLoader):
    """Runs a module from its text: the file may be another machine's."""

    def __init__(self, text: str, path: Path):
        self.text, self.path = text, path

    def get_source(self, fullname: str) -> str:
        return self.text

    def get_filename(self, fullname: str) -> str:
        return str(self.path)  # where the module looks for what lies beside it


def _load_module(text: str, path: Path) -> None:
    place = f"parts: {path}"
    # By content: what one process names in a pickle or a message, another finds, wherever its file is.
    name = f"distiller_parts_{part_digest(text)}"
    module = sys.modules.get(name) or _run_module(name, text, path, place)
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Choice) and value.__module__ == name
        if tag_of(value) not in (None, KIND)  # a choice within a choice comes in with that
    ]
    if not found:
        raise InputError(f"{place}: no choice is defined in it; see `distiller.spaces.own`")
    for model in found:
        register(model, place)


def _run_module(name: str, text: str, path: Path, place: str) -> ModuleType:
    spec = importlib.util.spec_from_loader(name, _Source(text, path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"{place}: does not run ({type(error).__name__}: {error}); mend it") from error
    return module
