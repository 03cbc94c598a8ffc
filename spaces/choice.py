"""What every choice of every stage is made of, and what one reads off its type.

A choice is a frozen pydantic model. Its fields are its parameters: `Annotated[float, Uniform(0, 1)]`
carries the default prior, pydantic's `Field(ge=…, le=…)` the legal range, the default value the
neutral setting. A field whose type is a union of choices is a choice within the choice; a `Literal`
field with one value is the tag that tells the members of a union apart.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo

from distiller.spaces.priors import Integers, OneOf, Prior, Uniform

KIND = "kind"
"""The tag of a choice within a choice: it adds nothing to a column's name."""


class Choice(BaseModel):
    """One choice of a stage: its parameters are its fields, its citation is where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    citation: ClassVar[str] = ""
    searched_by_default: ClassVar[bool] = True
    """False for a choice that enters a space only where it is named."""

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_name(cls, written: Any) -> Any:
        """`mapping: skip` is short for `mapping: {kind: skip}`."""
        tag = tag_of(cls)
        if tag is not None and isinstance(written, str):
            return {tag: written}
        if not isinstance(written, dict):
            return written
        # The parent spells out its unions' bare names: a discriminated union looks for its tag before it
        # asks any of its members.
        unions = {name: part.tag for name, part in parts(cls).items() if isinstance(part, Union)}
        return {n: {unions[n]: w} if n in unions and isinstance(w, str) else w for n, w in written.items()}

    @classmethod
    def summary(cls) -> str:
        """The first paragraph of the docstring, on one line."""
        return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


@dataclass(frozen=True)
class Parameter:
    """A field that holds a plain value."""

    name: str
    prior: Prior
    python_type: type
    default: Any


@dataclass(frozen=True)
class Union:
    """A set of choices of which a config holds one; `tag` is the field that names it."""

    tag: str
    choices: Mapping[str, type[Choice]]


def tag_of(model: type[Choice]) -> str | None:
    """The field that tells `model` from the other members of its union, None where it is alone."""
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return name
    return None


def id_of(model: type[Choice]) -> str:
    """The choice's one name, the same in code, YAML, Parquet and docs."""
    tag = tag_of(model)
    if tag is None:
        raise TypeError(f"{model.__name__} stands alone: it has no id")
    name: str = get_args(model.model_fields[tag].annotation)[0]
    return name


def union_of(*models: type[Choice]) -> Union:
    """The union of `models`, which must share their tag."""
    tags = {tag_of(m) for m in models}
    if len(tags) != 1 or None in tags:
        raise TypeError(f"members of one union need one tag, not {tags}")
    return Union(typing.cast(str, tags.pop()), {id_of(m): m for m in models})


def members(annotated: Any) -> tuple[type[Choice], ...]:
    """The choices of `Annotated[A | B, Field(discriminator=…)]`."""
    return get_args(get_args(annotated)[0])


@functools.cache
def parts(model: type[Choice]) -> Mapping[str, Parameter | Union]:
    """The parameters and inner unions of a choice, in order, without its tag."""
    hints = typing.get_type_hints(model, include_extras=True)
    tag = tag_of(model)
    return types.MappingProxyType(
        {name: _part(name, hints[name], field) for name, field in model.model_fields.items() if name != tag}
    )


def _part(name: str, hint: Any, field: FieldInfo) -> Parameter | Union:
    inner = get_args(hint)[0] if get_origin(hint) is typing.Annotated else hint
    if get_origin(inner) in (types.UnionType, typing.Union):
        return union_of(*get_args(inner))
    if inspect.isclass(inner) and issubclass(inner, Choice):
        return union_of(inner)
    priors = [m for m in field.metadata if isinstance(m, (Uniform, Integers, OneOf))]
    if get_origin(inner) is Literal:
        values = get_args(inner)
        return Parameter(name, priors[0] if priors else OneOf(*values), str, field.default)
    if inner not in (float, int, str, bool):
        raise TypeError(f"{name}: {inner} is no parameter type; use float, int, str, bool or Literal")
    return Parameter(name, priors[0] if priors else OneOf(field.default), inner, field.default)
