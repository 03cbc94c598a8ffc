"""Reading and writing the YAML files that people write: strict, safe, and clear about what is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import nearest

Model = TypeVar("Model", bound=BaseModel)

MOST_NODES = 100_000
"""Of a document, each counted wherever it is referred to: a few lines of aliases can stand for billions."""


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice and reads `1e-3` as the number that it is."""

    def get_single_node(self) -> yaml.Node | None:
        """The document, its size checked as it is once all aliases are written out."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _size(node, {}) > MOST_NODES:
            problem = f"its aliases stand for more than {MOST_NODES} values"
            raise yaml.MarkedYAMLError(None, None, problem, node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Checks keys here, as they are written: merges (`<<: *base`) may be overridden later."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "a key must be plain text", key.start_mark)
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(None, None, f"key {key.value!r} is written twice", key.start_mark)
            seen.add((key.tag, key.value))
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The object; where PyYAML fails on a scalar (`2024-99-99`, `!!int x`), with its place."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:
            if not isinstance(node, yaml.ScalarNode):
                raise
            kind = node.tag.rpartition(":")[2]
            problem = f"{node.value!r} is no {kind}; quote it if it is text"
            raise yaml.MarkedYAMLError(None, None, problem, node.start_mark) from error


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many nodes there are in a node, itself among them, each alias written out."""
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1  # met again in itself, it has no end
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inside = node.value
        elif isinstance(node, yaml.MappingNode):
            inside = [side for pair in node.value for side in pair]
        known[id(node)] = 1 + sum(_size(one, known) for one in inside)
    return known[id(node)]


class _PlainDumper(yaml.SafeDumper):
    """Safe YAML without anchors that quotes the texts which `_StrictLoader` would read as numbers."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# YAML 1.1, which PyYAML speaks, takes `1e-3` for text.
for _side in (_StrictLoader, _PlainDumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+0123456789."),
    )


def parse_yaml(text: str, place: str) -> Any:
    """The document in `text`; raises InputError with line and column where it is no YAML."""
    try:
        return yaml.load(text, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{place}:{where}: {error.problem}; mend the YAML there") from None
    except yaml.YAMLError as error:
        raise InputError(f"{place}: {' '.join(str(error).split())}; the file must be YAML text") from None
    except RecursionError:
        raise InputError(f"{place}: is nested too deeply; write fewer levels") from None


def read_text(path: Path) -> str:
    """The text of a file that a person named."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); check the file") from None


def write_yaml(data: Any) -> str:
    """YAML with keys in their order, one line a value."""
    text: str = yaml.dump(data, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def write_yaml_line(data: Any) -> str:
    """YAML on one line."""
    text: str = yaml.dump(
        data,
        Dumper=_PlainDumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=True,
        width=math.inf,
    )
    return text.removesuffix("...\n").strip()


def validated(model: type[Model], data: Any, place: str) -> Model:
    """`data` as a `model`; raises InputError with the path, the reason and, for a key, the nearest one."""
    if not isinstance(data, dict):
        raise InputError(f"{place}: holds no mapping; write `key: value` lines")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # A key that is misspelt is also missing: what was written helps more than what was not.
        errors = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise InputError(f"{place}: {_said(model, errors[0])}{more}") from None


def _said(model: type[BaseModel], error: Any) -> str:
    location = [str(part) for part in error["loc"]]
    path = ".".join(location) + ": " if location else ""
    if error["type"] == "extra_forbidden":
        return f"{path}unknown key; {nearest(location[-1], _keys_at(model, location[:-1]))}"
    if error["type"] == "missing":
        return f"{path}missing; write it"
    message = " ".join(str(error["msg"]).removeprefix("Value error, ").split())
    given = error.get("input")
    shown = "" if isinstance(given, (dict, list, tuple, BaseModel)) else f"{given!r}: "
    return f"{path}{shown}{message}"


def _keys_at(model: type[BaseModel], location: Iterable[str]) -> list[str]:
    """The fields of the model that stands at `location`; a union's tag picks its member."""
    here: list[type[BaseModel]] = [model]
    in_dict = False
    for part in location:
        if in_dict:  # a name that the person gave, whatever field it is called like
            in_dict = False
        elif len(here) > 1:
            here = [m for m in here if _has_tag(m, part)] or here
        elif part in here[0].model_fields:
            annotation = here[0].model_fields[part].annotation
            in_dict = get_origin(annotation) is dict
            here = _models(annotation) or here
    return list(dict.fromkeys(name for m in here for name in m.model_fields))


def _has_tag(model: type[BaseModel], name: str) -> bool:
    return any(get_args(field.annotation) == (name,) for field in model.model_fields.values())


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for arg in get_args(annotation) for found in _models(arg)]
