"""Every choice of every stage, and every preset, as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from distiller.spaces.presets import Preset


def render_catalog(entries: list[dict[str, Any]], presets: Mapping[str, Preset]) -> RenderableType:
    """Every choice under its stage; choices within choices once per stage, then the presets."""
    lines: list[RenderableType] = []
    for stage, group in groupby(entries, key=lambda entry: entry["stage"]):
        lines.append(Text(f"\n{stage}", style="bold"))
        inner: dict[str, dict[str, Any]] = {}
        for entry in group:
            lines += _entry(entry)
            for choice in entry["choices"]:
                inner.setdefault(_field(choice), {}).setdefault(choice["id"], choice)
        for field, choices in inner.items():
            lines.append(Padding(Text(f"{field}", style="bold"), (1, 0, 0, 2)))
            for choice in choices.values():
                lines += _entry(choice)
    lines.append(Text("\npresets", style="bold"))
    for name, preset in presets.items():
        lines += _described(name, preset.summary, preset.citation, [])
    return Group(*lines)


def _field(entry: dict[str, Any]) -> str:
    """The parameter that an inner choice is a value of."""
    return str(entry["at"]).rpartition(".")[2]


def _entry(entry: dict[str, Any]) -> list[RenderableType]:
    details = [f"{p['name']}: {p['prior']} (default {p['default']})" for p in entry["parameters"]]
    for field, choices in groupby(entry["choices"], key=_field):
        details.append(f"{field}: {', '.join(choice['id'] for choice in choices)}")
    return _described(entry["id"], entry["summary"], entry["citation"], details)


def _described(name: str, summary: str, citation: str, details: list[str]) -> list[RenderableType]:
    head = Text.assemble((name, "cyan"), "  ", summary)
    lines: list[RenderableType] = [Padding(head, (0, 0, 0, 2))]
    lines += [Padding(Text(detail), (0, 0, 0, 6)) for detail in details]
    if citation:
        lines.append(Padding(Text(citation, style="dim"), (0, 0, 0, 6)))
    return lines
