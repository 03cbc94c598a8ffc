"""Every choice with its docs, parameters and citation; the columns and the schema that follow."""

from __future__ import annotations

from typing import Any

from distiller.spaces.choice import KIND, Choice, Parameter, Union, parts
from distiller.spaces.config import MAX_SLOTS, SLOTTED, STAGES, PipelineConfig, column_prefix
from distiller.spaces.presets import PRESETS
from distiller.spaces.space import Node, Space, full_node


def catalog() -> list[dict[str, Any]]:
    """One entry per choice, inner choices under theirs: stage, id, summary, citation, parameters.

    `searched_by_default` says whether a stage that a sweep does not name tries the choice.
    """
    return [
        entry for stage, definition in STAGES.items() for entry in _choices(stage, stage, definition.part)
    ]


def preset_entries() -> list[dict[str, Any]]:
    """One entry per preset: id, summary, citation and the stages that it sets."""
    return [
        {
            "stage": "preset",
            "at": "preset",
            "id": name,
            "summary": preset.summary,
            "citation": preset.citation,
            "sets": {
                "augmentation": [slot.model_dump() for slot in preset.augmentation],
                "intermediate": [slot.model_dump() for slot in preset.intermediate],
                "prediction": preset.prediction.model_dump(),
            },
        }
        for name, preset in PRESETS.items()
    ]


def _choices(stage: str, path: str, part: Union | type[Choice]) -> list[dict[str, Any]]:
    models = list(part.choices.items()) if isinstance(part, Union) else [(path, part)]
    return [
        {
            "stage": stage,
            "at": path,
            "id": name,
            "summary": model.summary(),
            "citation": model.citation,
            "searched_by_default": model.searched_by_default,
            "parameters": [_parameter(p) for p in parts(model).values() if isinstance(p, Parameter)],
            "choices": [
                entry
                for inner, p in parts(model).items()
                if isinstance(p, Union)
                for entry in _choices(stage, f"{path}.{name}.{inner}", p)
            ],
        }
        for name, model in models
    ]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "type": parameter.python_type.__name__,
        "prior": parameter.prior.written(),
        "default": parameter.default,
    }


def column_types() -> dict[str, type]:
    """Every space column's Python type: all stages, all choices, all slots."""
    types: dict[str, type] = {}
    for stage, definition in STAGES.items():
        for number in range(1, definition.slots + 1):
            types |= columns_under(definition.part, column_prefix(stage, number))
    return types


def columns_under(part: Union | type[Choice], prefix: str) -> dict[str, type]:
    """Every column of one slot, with its Python type; TypeError where two parameters differ in it."""
    types: dict[str, type] = {}
    _collect(part, prefix, types)
    return types


def _collect(part: Union | type[Choice], prefix: str, types: dict[str, type]) -> None:
    if isinstance(part, Union):
        _add(prefix.removesuffix("_") if part.tag == KIND else prefix + part.tag, str, types)
    for model in part.choices.values() if isinstance(part, Union) else [part]:
        for name, inner in parts(model).items():
            if isinstance(inner, Union):
                _collect(inner, f"{prefix}{name}_", types)
            else:
                _add(prefix + name, inner.python_type, types)


def _add(column: str, kind: type, types: dict[str, type]) -> None:
    if types.setdefault(column, kind) is not kind:
        raise TypeError(f"column {column} has two types, {types[column].__name__} and {kind.__name__}")


def config_schema() -> dict[str, Any]:
    """JSON Schema of one config as people write it, for editors: bare ids, and one slot without a list."""
    schema = PipelineConfig.model_json_schema()
    for stage in SLOTTED:
        slots = schema["properties"][stage]
        slots["items"] = item = _with_bare_ids(slots["items"])
        slots.update(minItems=1, maxItems=MAX_SLOTS)
        schema["properties"][stage] = {"anyOf": [item, slots]}
    for model in (schema, *schema["$defs"].values()):
        model["properties"] = {name: _with_bare_ids(p) for name, p in model["properties"].items()}
    return schema


def _with_bare_ids(written: dict[str, Any]) -> dict[str, Any]:
    union = written.get("discriminator")
    return {"anyOf": [written, {"enum": list(union["mapping"])}]} if union else written


def full_space() -> Space:
    """Every choice that is searched by default, in one slot a stage, with its default priors."""
    stages: dict[str, tuple[Node, ...]] = {name: (full_node(s.part),) for name, s in STAGES.items()}
    return Space(stages)
