"""A figure of the report: what Plotly draws, and the numbers behind it as a table."""

from __future__ import annotations

import csv
import io
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape, unescape
from typing import Any

import numpy as np

BLUE, ORANGE, TEAL, PURPLE, RED = "#2f6db3", "#c96a00", "#0f7f7d", "#7d4fb5", "#c23b3b"
GREY, PALE, INK = "#8c95a1", "#c4cad2", "#333a45"
SHARES = [[0.0, "#ffffff"], [0.5, "#9dbfe3"], [1.0, "#1f5591"]]
"""A colour scale that also rises in lightness alone."""
DIGITS = 6
LETTER = 7
"""Pixels of a letter of a label."""
EMS = {".": 0.32, "-": 0.36, "~": 0.84, "%": 0.95, " ": 0.32, "?": 0.53}
"""Widths in cells of heat maps of what is no digit, of DejaVu Sans, a wide font; a digit has 0.64."""
FEW = 3
"""Columns of a heat map; where there are more, its cells are as narrow as may be."""

Trace = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: of its files, unique in a report.
        title: what it shows, also for those who do not see it.
        columns, rows: the numbers that are drawn, one row a mark.
        data, layout: Plotly's. Texts in them are HTML-escaped, since it takes some tags for markup.
        height: pixels.
        least: pixels of width below which it is scrolled, not squeezed.
        narrow: a heat map's columns are turned `below` so many pixels of width, and it has another `height`.
        parallel: axes and lines, of parallel coordinates instead (`parallel.py`).
        note: what is not drawn.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    data: list[Trace] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = 360
    least: int = 0
    narrow: dict[str, int] | None = None
    parallel: dict[str, Any] | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For the page: plain JSON, numbers rounded to six digits, as a reader of a figure needs them."""
        drawn = {"parallel": self.parallel} if self.parallel else {"data": self.data, "layout": self.layout}
        table = {"columns": list(self.columns), "rows": [list(row) for row in self.rows]}
        facts: dict[str, Any] = {"name": self.name, "title": self.title, "height": self.height}
        if self.narrow:
            facts["narrow"] = self.narrow
        plain: dict[str, Any] = rounded({**facts, **drawn, "table": table})
        return plain

    def csv(self) -> str:
        """The numbers with a header; an empty cell where there is none."""
        text = io.StringIO()
        writer = csv.writer(text)  # "\r\n": with "\n" alone it leaves a "\r" in a text unquoted
        writer.writerow(self.columns)
        writer.writerows([rounded(value) for value in row] for row in self.rows)
        return text.getvalue()


def rounded(value: Any) -> Any:
    """The value as JSON takes it: floats at six digits, and none that are not finite."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def number(value: float | None) -> float | None:
    """The score, if JSON has it."""
    return float(value) if value is not None and np.isfinite(value) else None


def label(text: str, width: int = 26) -> str:
    """The text escaped for Plotly, on at most three lines of about that many characters.

    Names break between their parts, inside of them only where three lines would not do.
    """
    lines = _between_parts(text, width)
    if len(lines) > 3 or max(map(len, lines)) > width:
        lines = textwrap.wrap(text, width, break_on_hyphens=True) or [""]
    if len(lines) > 3:
        lines = [*lines[:2], lines[2][: width - 1] + "…"]
    return "<br>".join(escape(line) for line in lines)


def _between_parts(text: str, width: int) -> list[str]:
    lines = [""]
    for part in re.findall(r"[^\s._/-]*[\s._/-]+|[^\s._/-]+", " ".join(text.split())):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def lines_of(texts: Sequence[str]) -> int:
    """Lines of the tallest of some labels."""
    return max((text.count("<br>") + 1 for text in texts), default=1)


def thinned(rows: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the rows, which come best first: the best third, and of the rest an even choice."""
    if len(rows) <= most:
        return list(rows)
    best, rest = rows[: most // 3], rows[most // 3 :]
    even = np.linspace(0, len(rest) - 1, most - len(best)).astype(int)
    return [*best, *(rest[i] for i in even)]


def tall(names: Sequence[str], least: int) -> int:
    """Pixels of one row a name, each as tall as the tallest."""
    return len(names) * max(least, 16 * lines_of(names) + 8)


def bars(names: Sequence[str], values: Sequence[float], **more: Any) -> Trace:
    """Horizontal bars, the first one on top; negative values are drawn as nothing."""
    return {
        "type": "bar",
        "orientation": "h",
        "x": [max(value, 0.0) for value in values],
        "y": list(names),
        **more,
    }


def rows_layout(names: Sequence[str], most: float, **xaxis: Any) -> tuple[dict[str, Any], int]:
    """Layout and height of one row a name, the first on top, with shares from 0 to `most` across."""
    layout = {
        "showlegend": False,
        "xaxis": {"tickformat": ".0%", "range": [0, max(most * 1.05, 0.05)], "nticks": 6, **xaxis},
        "yaxis": {"ticksuffix": "  ", "showgrid": False, "autorange": "reversed", "tickmode": "array",
                  "tickvals": list(names), "ticks": "", "type": "category"},
        "bargap": 0.35,
    }  # fmt: skip
    return layout, 46 + tall(names, 26)


def heat(
    rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float | None]], **more: Any
) -> dict[str, Any]:
    """What a figure is drawn by: a heat map whose cells say their values; None is an empty cell."""
    written = more.pop("written", None) or [
        ["" if value is None else f"{value:.0%}" for value in row] for row in values
    ]
    tight = len(columns) > FEW
    size = 10 if tight else 11
    trace = {
        "type": "heatmap", "x": list(range(len(columns))), "y": list(range(len(rows))),
        "z": [list(row) for row in values], "colorscale": SHARES, "xgap": 2, "ygap": 2, "showscale": False,
        "text": written, "texttemplate": "%{text}", "textfont": {"size": size},
        "customdata": [[f"{r}, {c}" for c in columns] for r in rows],
        "hovertemplate": "%{customdata}: %{text}<extra></extra>", **more,
    }  # fmt: skip
    some = [line for row in written for text in row for line in text.split("<br>")]
    width = max((sum(EMS.get(letter, 0.64) for letter in line) for line in some), default=0.0) * size
    cell = math.ceil(width) + (2 if tight else 10)
    left = 28 + LETTER * _longest(rows)
    flat = left + len(columns) * max(cell, LETTER * _longest(columns) + 4)
    turned = _longest(columns) > 9 and tight
    axis = {"showgrid": False, "ticks": "", "tickmode": "array"}
    layout = {
        "xaxis": {**axis, "tickvals": list(range(len(columns))), "ticktext": list(columns), "side": "top",
                  "tickangle": -90 if turned else 0},
        "yaxis": {**axis, "tickvals": list(range(len(rows))), "ticktext": list(rows), "ticksuffix": " ",
                  "autorange": "reversed"},
    }  # fmt: skip
    below = 20 + len(rows) * max(30, 15 * lines_of(rows) + 6)
    tops = 16 + 16 * lines_of(columns), min(40 + LETTER * _longest(columns), 222)
    least = left + len(columns) * max(cell, 16 * lines_of(columns) + 6)
    return {
        "data": [trace],
        "layout": layout,
        "height": tops[turned] + below,
        "least": min(least, flat),
        "narrow": None if turned or flat <= least else {"below": flat, "height": tops[True] + below},
    }


def _longest(labels: Iterable[str]) -> int:
    """Letters of the longest line."""
    return max((len(unescape(line)) for text in labels for line in text.split("<br>")), default=0)
