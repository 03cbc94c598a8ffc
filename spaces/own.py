"""A user's own parts: choices of a stage that come from an installed package or from a module of theirs.

A part is a `Choice` whose tag says the stage (`objective`, `loss` or `method`), with a static method
`function` that computes it:

    class Huber(Term):
        '''Huber loss between hidden states.'''

        objective: Literal["huber"] = "huber"
        delta: Annotated[float, Field(gt=0), OneOf(0.5, 1.0)] = 1.0
        representation: AnyRepresentation = "tokens"
        mapping: Mapping = Skip()

        @staticmethod
        def function(student, teacher, mask, delta): ...

It may say as class variables what the built-in ones say: an objective `tokenwise: ClassVar[bool] = True`
where it compares tokens in any representation, a loss `needs_classes: ClassVar[bool] = True` where it
compares probabilities. Then it leaves the spaces in which it would mean nothing.

An installed package names its parts as entry points of the group `distiller.parts`; a sweep names a module
of its own under `parts:`. From then on they are like any other choice: in `distiller space`, in the sweep's
space, in the table and in importance.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from functools import lru_cache, reduce
from importlib.metadata import entry_points
from operator import or_
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field
from pydantic.fields import FieldInfo

from distiller.spaces.choice import Choice, Parameter, Union, id_of, parts, tag_of
from distiller.spaces.config import STAGES, PipelineConfig, Stage
from distiller.spaces.errors import InputError
from distiller.spaces.intermediate import Term

GROUP = "distiller.parts"
STAGE_OF_TAG = {"method": "augmentation", "objective": "intermediate", "loss": "prediction"}


def register(model: type[Choice], place: str) -> None:
    """Make `model` a choice of the stage that its tag belongs to; a second time changes nothing.

    Raises:
        InputError: it is no part: no tag, no function, a name that is taken, a parameter of no type, or
            without a parameter that all choices of its stage have.
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
    widened = Union(tag, MappingProxyType({**stage.part.choices, name: model}))
    _replace(STAGE_OF_TAG[tag], dataclasses.replace(stage, part=widened))


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


def load_parts(paths: Iterable[str], base: Path) -> None:
    """Register the parts of installed packages and of the modules that a sweep names.

    Raises:
        InputError: a file that is not there or does not run, or holds no part.
    """
    load_installed()
    for written in paths:
        _load_module(str((base / Path(written).expanduser()).resolve()))


@lru_cache
def _load_module(path: str) -> None:
    place = f"parts: {path}"
    if not Path(path).is_file():
        raise InputError(f"{place}: no such file; put it there, or mend the path in the sweep")
    # Two modules of one file name are two modules: the second must not pass for the first.
    name = f"distiller_parts_{Path(path).stem}_{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"{place}: does not run ({type(error).__name__}: {error}); mend it") from error
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Choice) and value.__module__ == name and tag_of(value)
    ]
    if not found:
        raise InputError(f"{place}: no choice is defined in it; see `distiller.spaces.own`")
    for model in found:
        register(model, place)
