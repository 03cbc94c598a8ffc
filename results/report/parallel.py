"""Parallel coordinates: one vertical axis per searched parameter, one line per full search run.

Drawn as SVG by the page's own script: Plotly's kind needs WebGL, and a gap where a parameter is inactive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from distiller.results.design import Design
from distiller.results.entries import is_full
from distiller.results.report.figure import Figure, thinned
from distiller.results.store import Row
from distiller.spaces.config import is_null
from distiller.spaces.priors import OneOf, Uniform

MOST_AXES, MOST_LINES = 12, 400
_SCALES = ("choice", "linear", "log")


def parallel(
    trials: Sequence[Row], design: Design, dataset: str, metric: str, important: Sequence[str] = ()
) -> Figure | None:
    """Axes with their ticks and lines with their places, each in 0 to 1; None of fewer than three runs.

    Args:
        important: columns that come first where not all have room.
    """
    rows = [row for row in trials if row["role"] == "search" and is_full(row)]
    rows.sort(key=lambda row: -float(row["score"]))
    scales = _scales(design)
    if len(rows) < 3:
        return None
    names = [name for name in scales if any(_value(row, name) != _value(rows[0], name) for row in rows)]
    if not names:
        return None
    ranked = sorted(names, key=lambda name: important.index(name) if name in important else len(important))
    shown = [name for name in names if name in ranked[:MOST_AXES]]
    kept = thinned(rows, MOST_LINES)
    stage_of = {question.column: question.stage for question in design.questions()}
    axes, places = [], []
    for name in shown:
        ticks, place = _axis([_value(row, name) for row in kept], scales[name])
        stage = stage_of[name]
        axes.append({"stage": stage, "name": name.removeprefix(f"{stage}_"), "ticks": ticks})
        places.append(place)
    scores = [float(row["score"]) for row in kept]
    low, high = min(scores), max(scores)
    wide = (high - low) or 1.0
    marks = [[(value - low) / wide, f"{value:.3f}"] for value in dict.fromkeys((low, (low + high) / 2, high))]
    axes.append({"stage": "score", "name": metric, "ticks": marks})
    places.append([(score - low) / wide for score in scores])
    lines = [
        {"at": list(at), "score": (score - low) / wide, "text": f"{row['config_id']}: {score:.3f}"}
        for row, score, at in zip(kept, scores, zip(*places, strict=True), strict=True)
    ]
    axes_left_out, lines_left_out = len(names) - len(shown), len(rows) - len(kept)
    note = f"{axes_left_out} more searched parameters are not shown. " if axes_left_out else ""
    note += f"{lines_left_out:,} more runs are not drawn." if lines_left_out else ""
    return Figure(
        f"{dataset}-runs",
        f"Full search runs on {dataset}, from their parameters to their score",
        ("config_id", "seed", *shown, "score"),
        [
            (row["config_id"], row["seed"], *(_value(row, name) for name in shown), score)
            for row, score in zip(kept, scores, strict=True)
        ],
        height=380,
        parallel={"axes": axes, "lines": lines},
        note=note.strip(),
    )


def _scales(design: Design) -> dict[str, str]:
    """Searched columns in order, each `choice`, `linear` or `log`; a range under some answer decides."""
    found: dict[str, str] = {}
    for question in design.searched():
        prior = question.prior
        scale = "choice" if isinstance(prior, OneOf) else "linear"
        scale = "log" if isinstance(prior, Uniform) and prior.log else scale
        column = question.column
        found[column] = max(found.get(column, scale), scale, key=_SCALES.index)
    return found


def _value(row: Row, name: str) -> Any:
    value = row.get(name)
    return None if is_null(value) else value


def _axis(values: Sequence[Any], scale: str) -> tuple[list[list[Any]], list[float | None]]:
    """The axis's ticks and each value's place on it; None where the parameter is not active."""
    known = [value for value in values if value is not None]
    distinct = sorted(set(known), key=lambda v: (isinstance(v, str), v))
    if scale == "choice" or len(distinct) < 2:
        where = {value: (i + 0.5) / len(distinct) for i, value in enumerate(distinct)}
        ticks = [[where[value], _shown(value)] for value in distinct]
    else:
        scaled = [math.log(value) if scale == "log" else float(value) for value in distinct]
        low, high = scaled[0], scaled[-1]
        where = {value: (at - low) / (high - low) for value, at in zip(distinct, scaled, strict=True)}
        ticks = [[0.0, _shown(distinct[0])], [1.0, _shown(distinct[-1])]]
    return ticks, [None if value is None else where[value] for value in values]


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
