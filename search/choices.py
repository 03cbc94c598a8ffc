"""Every choice of every stage as a person reads it."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text


def render_catalog(entries: list[dict[str, Any]]) -> RenderableType:
    """Every choice under its stage."""
    parts: list[RenderableType] = []
    stage = ""
    for entry in entries:
        if entry["stage"] != stage:
            stage = entry["stage"]
            parts.append(Text(f"\n{stage}", style="bold"))
        parts += _entry(entry, 2)
    return Group(*parts)


def _entry(entry: dict[str, Any], indent: int) -> list[RenderableType]:
    head = Text.assemble((entry["id"], "cyan"), "  ", entry["summary"])
    lines: list[RenderableType] = [Padding(head, (0, 0, 0, indent))]
    for parameter in entry["parameters"]:
        text = f"{parameter['name']}: {parameter['prior']} (default {parameter['default']})"
        lines.append(Padding(Text(text), (0, 0, 0, indent + 4)))
    if entry["citation"]:
        lines.append(Padding(Text(entry["citation"], style="dim"), (0, 0, 0, indent + 4)))
    for inner in entry["choices"]:
        lines += _entry(inner, indent + 6)
    return lines
