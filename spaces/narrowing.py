"""How a person narrows the space in YAML, and how it is written back.

A stage that is not named keeps all its choices and default priors. Under a stage stand its choices
(`kl`, `[kl, mse]` or `{kl: {temperature: [2, 4]}}`), under a choice its parameters; what is not named
keeps its default prior. `{slots: [..., ...]}` gives a stage more than one slot.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from distiller.spaces.choice import Choice, Parameter, Union, id_of, parts, tag_of
from distiller.spaces.config import STAGES, PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.priors import Integers, OneOf, Prior, Uniform, parse_prior, values_of
from distiller.spaces.space import Branch, Group, Node, Space, full_group, full_node


def parse_space(written: Any, path: str = "space") -> Space:
    """The space that a person wrote.

    Raises:
        InputError: an unknown name (with the nearest right one), or a value outside its legal range.
    """
    written = _mapping(written, path, "stages")
    for name in written:
        _known(name, STAGES, path, "stage")
    stages = {}
    for name, stage in STAGES.items():
        where = f"{path}.{name}"
        given = written.get(name)
        slots = [given]
        if isinstance(given, dict) and "slots" in given:
            slots = given["slots"]
            if len(given) > 1 or not isinstance(slots, list) or not 1 <= len(slots) <= stage.slots:
                raise InputError(f"{where}.slots: needs a list of 1 to {stage.slots} slots and no other key")
        stages[name] = tuple(
            _node(stage.part, slot, where if number == 0 else f"{where}.{number + 1}")
            for number, slot in enumerate(slots)
        )
    return Space(types.MappingProxyType(stages))


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` where a known name is near, else the known names."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


def _known(name: Any, known: Iterable[str], path: str, what: str) -> None:
    known = list(known)
    if name not in known:
        raise InputError(f"{path}.{name}: unknown {what}; {nearest(name, known)}")


def _mapping(written: Any, path: str, of: str) -> dict[str, Any]:
    if written is None:
        return {}
    if not isinstance(written, dict):
        raise InputError(f"{path}: {written!r} is no mapping of {of}; write `name: value` lines")
    return written


def _node(part: Union | type[Choice], written: Any, path: str) -> Node:
    if not isinstance(part, Union):
        return _group(part, written, path)
    if written is None:
        return full_node(part)
    chosen: dict[str, Any] = {}
    entries = written if isinstance(written, list) else [written]
    for entry in entries:
        pairs = {entry: None} if isinstance(entry, str) else _mapping(entry, path, "choices")
        for name, inner in pairs.items():
            _known(name, part.choices, path, "choice")
            if name in chosen:
                raise InputError(f"{path}.{name}: named twice; name each choice once")
            chosen[name] = inner
    if not chosen:
        raise InputError(f"{path}: no choice is named; known: {', '.join(part.choices)}")
    groups = {name: _group(part.choices[name], inner, f"{path}.{name}") for name, inner in chosen.items()}
    return Branch(part.tag, types.MappingProxyType(groups))


def _group(model: type[Choice], written: Any, path: str) -> Group:
    given = _mapping(written, path, "parameters")
    known = parts(model)
    for name in given:
        _known(name, known, path, "parameter")
    children = dict(full_group(model).children)
    for name, inner in given.items():
        part = known[name]
        where = f"{path}.{name}"
        if isinstance(part, Parameter):
            children[name] = _prior(model, part, inner, where)
        else:
            branch = _node(part, inner, where)
            assert isinstance(branch, Branch)
            children[name] = branch
    return Group(types.MappingProxyType(children))


def _prior(model: type[Choice], part: Parameter, written: Any, path: str) -> Prior:
    prior = parse_prior(written, path)
    field = model.model_fields[part.name]
    if not isinstance(prior, OneOf):
        _check_range(part, field, prior, path)
    adapter: TypeAdapter[Any] = TypeAdapter(_annotated(field))
    checked = []
    for value in values_of(prior):
        try:
            checked.append(adapter.validate_python(value, strict=part.python_type is not float))
        except ValidationError as error:
            raise InputError(f"{path}: {value!r} {_reason(error)}") from None
        if part.python_type is float and isinstance(value, (str, bool)):
            raise InputError(f"{path}: {value!r} is no number; write a number")
    return OneOf(*checked) if isinstance(prior, OneOf) else prior


def _check_range(part: Parameter, field: FieldInfo, prior: Uniform | Integers, path: str) -> None:
    """Whether a range suits the parameter's type; its ends are checked as values are."""
    if part.python_type not in (int, float):
        raise InputError(f"{path}: takes no range; write a value or a list of values")
    if part.python_type is int and isinstance(prior, Uniform):
        raise InputError(f"{path}: needs integers; write {{integers: [a, b]}}")
    if part.python_type is float and isinstance(prior, Integers):
        raise InputError(f"{path}: takes any number; write {{uniform: [a, b]}}, or a list of the integers")
    step = next((m.multiple_of for m in field.metadata if hasattr(m, "multiple_of")), None)
    if step is not None:
        raise InputError(f"{path}: takes multiples of {step}, a range holds others; write a list")


def _annotated(field: FieldInfo) -> Any:
    annotation: Any = field.annotation
    for constraint in field.metadata:
        annotation = typing.Annotated[annotation, constraint]
    return annotation


def _reason(error: ValidationError) -> str:
    """pydantic's reason as the end of a sentence that starts with the value."""
    first = error.errors()[0]
    context = first.get("ctx", {})
    said = {
        "greater_than": "is not above {gt:g}",
        "greater_than_equal": "is below {ge:g}",
        "less_than": "is not below {lt:g}",
        "less_than_equal": "is above {le:g}",
        "multiple_of": "is no multiple of {multiple_of}",
        "literal_error": "is none of {expected}",
    }.get(first["type"])
    return said.format(**context) if said else f"is not right: {first['msg'].lower()}"


def write_space(space: Space) -> dict[str, Any]:
    """The narrowing that `parse_space` reads back as `space`."""
    written: dict[str, Any] = {}
    for stage, slots in space.stages.items():
        nodes = [_written(node) for node in slots]
        written[stage] = nodes[0] if len(nodes) == 1 else {"slots": nodes}
    return written


def _written(node: Node) -> dict[str, Any]:
    if isinstance(node, Branch):
        return {name: _written(group) for name, group in node.choices.items()}
    return {
        name: _written(child) if isinstance(child, Branch) else child.written()
        for name, child in node.children.items()
    }


def narrowed_to(config: PipelineConfig) -> dict[str, Any]:
    """The narrowing whose space holds `config` alone."""
    written: dict[str, Any] = {}
    for name, stage in STAGES.items():
        slots = [_pinned(stage.part, choice) for choice in config.slots(name)]
        written[name] = slots[0] if len(slots) == 1 else {"slots": slots}
    return written


def _pinned(part: Union | type[Choice], choice: Choice) -> dict[str, Any]:
    values = {
        name: getattr(choice, name) if isinstance(inner, Parameter) else _pinned(inner, getattr(choice, name))
        for name, inner in parts(type(choice)).items()
    }
    return {id_of(type(choice)): values} if isinstance(part, Union) else values


def concise(config: PipelineConfig) -> dict[str, Any]:
    """What `PipelineConfig` reads as `config`, without parameters at their defaults."""
    written: dict[str, Any] = {}
    for name in STAGES:
        slots = [_short(choice) for choice in config.slots(name)]
        written[name] = slots[0] if len(slots) == 1 else slots
    return written


def _short(choice: Choice) -> dict[str, Any]:
    model = type(choice)
    tag = tag_of(model)
    written: dict[str, Any] = {} if tag is None else {tag: id_of(model)}
    for name, inner in parts(model).items():
        value = getattr(choice, name)
        if value != model.model_fields[name].get_default(call_default_factory=True):
            written[name] = value if isinstance(inner, Parameter) else _short(value)
    return written
