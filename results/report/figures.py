"""The report's figures as plain dicts for Plotly: `data`, `layout` and `height` in pixels.

Texts that Plotly shows are HTML-escaped here, since it takes some tags for markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from distiller.results.entries import Entry, is_full
from distiller.results.leaderboard import DatasetBoard
from distiller.results.store import Row

Figure = dict[str, Any]
BLUE, ORANGE, TEAL, PURPLE, GREY, INK = "#2f6db3", "#e07b00", "#12908e", "#8b5fbf", "#b9c0c9", "#333a45"
MOST_CURVES = 300
"""Search curves drawn; past that the best and an even choice of the rest."""
MOST_PARAMETERS = 12


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Numbers of the points that no other one matches at less cost and no worse score (or the same cost and
    a better score), by rising cost."""
    front: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i])):
        last = front[-1] if front else None
        if last is None or scores[i] > scores[last] or (costs[i], scores[i]) == (costs[last], scores[last]):
            front.append(i)
    return front


def curves(epochs: Sequence[Row], trials: Sequence[Row], board: DatasetBoard) -> tuple[Figure, str] | None:
    """Validation score over steps, one line per trial, and what is not shown; None without any."""
    lines: dict[tuple[str, int], list[Row]] = {}
    for row in epochs:
        lines.setdefault((row["trial_id"], row["attempt"]), []).append(row)
    drawn = [row for row in trials if (row["trial_id"], row["attempt"]) in lines]
    if not drawn:
        return None
    best = board.best
    winning = best.config_id if best else None
    search = [row for row in drawn if row["role"] == "search"]
    search.sort(key=lambda row: (not is_full(row), -(_number(row["score"]) or 0.0)))
    shown = thinned(search, MOST_CURVES)
    baseline_ids = {name: entry.config_id for name, entry in board.baselines.items()}

    def baseline(name: str) -> list[Row]:
        mine = baseline_ids.get(name)
        return [row for row in drawn if (row["role"], row["config_id"]) == ("baseline", mine)]

    finalists = [row for row in drawn if row["role"] == "finalist"]
    groups = [
        ("stopped early", [r for r in shown if r["status"] == "stopped"], GREY, 1.0, 0.55),
        ("failed", [r for r in shown if r["status"] == "failed"], "#c94f4f", 1.0, 0.6),
        ("search, full run", [r for r in shown if r["status"] == "completed"], BLUE, 1.2, 0.55),
        ("no teacher", baseline("no_teacher"), PURPLE, 1.8, 0.9),
        ("plain Hinton KD", baseline("hinton"), TEAL, 1.8, 0.9),
        ("other finalists", [r for r in finalists if r["config_id"] != winning], "#f2b872", 1.5, 0.9),
        ("winner", [r for r in finalists if r["config_id"] == winning], ORANGE, 2.6, 1.0),
    ]
    data = []
    for name, rows, color, width, opacity in groups:
        x: list[Any] = []
        y: list[Any] = []
        said: list[Any] = []
        for row in rows:
            line = lines[row["trial_id"], row["attempt"]]
            x += [*(point["step"] for point in line), None]
            y += [*(_number(point["score"]) for point in line), None]
            said += [*([f"{escape(row['config_id'])}, seed {row['seed']}"] * len(line)), None]
        if rows:
            trace: Figure = {"type": "scatter", "mode": "lines", "x": x, "y": y}
            trace |= {"name": f"{name} ({len(rows)})"}
            trace |= {"line": {"color": color, "width": width}, "opacity": opacity, "text": said}
            hover = "%{text}<br>step %{x}: %{y:.3f}<extra>" + name + "</extra>"
            data.append(trace | {"hovertemplate": hover, "connectgaps": False})
    left_out = len(search) - len(shown)
    note = f"{left_out} more search trials are not drawn." if left_out else ""
    return _figure(data, board, "optimizer step", height=400), note


def thinned(rows: Sequence[Row], most: int) -> list[Row]:
    """At most `most` of the rows, which come best first: the best third, and of the rest an even choice."""
    if len(rows) <= most:
        return list(rows)
    best, rest = rows[: most // 3], rows[most // 3 :]
    even = np.linspace(0, len(rest) - 1, most - len(best)).astype(int)
    return [*best, *(rest[i] for i in even)]


def score_against(column: str, label: str, trials: Sequence[Row], board: DatasetBoard) -> Figure | None:
    """Score over a cost, with the Pareto front; None where fewer than two costs are known.

    A config that was trained again counts by its finalists' mean, any other by its one search run.
    """
    again = {entry.config_id for entry in board.finalists}
    single = [
        Entry((row,))
        for row in trials
        if row["role"] == "search" and is_full(row) and row["config_id"] not in again
    ]
    points = [e for e in (*single, *board.finalists) if getattr(e, column) is not None]
    if len({getattr(entry, column) for entry in points}) < 2:
        return None
    costs = [getattr(entry, column) for entry in points]
    scores = [entry.validation.mean for entry in points]
    front = pareto_front(costs, scores)
    baselines = [e for e in board.baselines.values() if getattr(e, column) is not None]
    last = max(costs)
    data = [
        {
            "type": "scatter", "mode": "lines", "name": "Pareto front", "hoverinfo": "skip",
            "x": [*(costs[i] for i in front), last], "y": [*(scores[i] for i in front), scores[front[-1]]],
            "line": {"color": INK, "width": 1.2, "dash": "dot", "shape": "hv"},
        },
        _points("search, 1 seed", single, column, BLUE, 7, 0.6),
        _points("baselines", baselines, column, PURPLE, 9, 0.9),
        _points("finalists, mean ± SD", board.finalists, column, ORANGE, 10, 1.0),
    ]  # fmt: skip
    figure = _figure([trace for trace in data if trace["x"]], board, label, height=360)
    if last > 10 * min(costs) > 0:
        figure["layout"]["xaxis"]["type"] = "log"
    return figure


def _points(
    name: str, entries: Iterable[Entry], column: str, color: str, size: int, opacity: float
) -> Figure:
    entries = [entry for entry in entries if getattr(entry, column) is not None]
    said = [f"{escape(entry.student or '')} {escape(entry.config_id)}" for entry in entries]
    error = [entry.validation.sd or 0.0 for entry in entries]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [getattr(entry, column) for entry in entries],
        "y": [entry.validation.mean for entry in entries],
        "error_y": {"array": error, "visible": any(error), "thickness": 1.2, "width": 3},
        "marker": {"color": color, "size": size, "opacity": opacity, "line": {"color": "#fff", "width": 1}},
        "text": said,
        "hovertemplate": "%{text}<br>%{x}: %{y:.3f}<extra>" + name + "</extra>",
    }


def stage_bars(found: dict[str, Any]) -> Figure | None:
    """Shares of stages, alone and with interactions, from `Importance.to_dict()`."""
    stages = found["stages"][::-1]
    if not stages:
        return None
    sure = found["verdict"] == "ok"
    colors = [ORANGE if stage["influential"] else GREY for stage in stages]
    names = [stage["stage"] for stage in stages]
    data = [
        _bars("with interactions", names, [s["total"] for s in stages], colors, 0.4 if sure else 0.25),
        _bars("alone", names, [s["main"] for s in stages], colors, 1.0 if sure else 0.5),
    ]
    return _bar_figure(data, len(stages))


def parameter_bars(found: dict[str, Any]) -> Figure | None:
    """The largest shares of parameters, from `Importance.to_dict()`."""
    largest = sorted(found["parameters"], key=lambda p: -p["share"])[:MOST_PARAMETERS][::-1]
    if not largest:
        return None
    sure = {stage["stage"] for stage in found["stages"] if stage["influential"]}
    colors = [ORANGE if p["stage"] in sure else GREY for p in largest]
    names = [p["path"] + (" (interactions)" if p["kind"] == "interactions" else "") for p in largest]
    opacity = 1.0 if found["verdict"] == "ok" else 0.5
    data = [_bars("share", names, [p["share"] for p in largest], colors, opacity)]
    return _bar_figure(data, len(largest))


def _bars(name: str, labels: list[str], shares: list[float], colors: list[str], opacity: float) -> Figure:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": [max(share, 0.0) for share in shares],
        "y": [escape(label) for label in labels],
        "marker": {"color": colors, "opacity": opacity},
        "hovertemplate": "%{y}: %{x:.1%}<extra>" + name + "</extra>",
    }


def _bar_figure(data: list[Figure], bars: int) -> Figure:
    most = max(max(trace["x"]) for trace in data)
    layout = {
        "barmode": "overlay",
        "showlegend": False,
        "xaxis": {"tickformat": ".0%", "range": [0, max(most * 1.05, 0.05)]},
        "yaxis": {"automargin": True, "ticksuffix": "  ", "showgrid": False},
        "bargap": 0.35,
    }
    return {"data": data, "layout": layout, "height": 70 + 27 * bars}


def _figure(data: list[Figure], board: DatasetBoard, x: str, height: int) -> Figure:
    """With the teacher's score as a line across."""
    metric = escape(board.metric or "score")
    layout: Figure = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": f"validation {metric}"}}}
    if (teacher := _number(board.teacher_validation)) is not None:
        line = {"color": INK, "width": 1.2, "dash": "dash"}
        across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": teacher, "y1": teacher}
        said = {"xref": "paper", "x": 1, "y": teacher, "text": f"teacher {teacher:.3f}", "showarrow": False}
        layout["shapes"] = [{**across, "line": line, "layer": "below"}]
        layout["annotations"] = [{**said, "xanchor": "right", "yanchor": "bottom", "font": {"size": 11}}]
        # Lines are no data to Plotly's autorange.
        edge = {"type": "scatter", "mode": "markers", "x": [None], "y": [teacher], "showlegend": False}
        data = [*data, {**edge, "marker": {"opacity": 0}, "hoverinfo": "skip"}]
    return {"data": data, "layout": layout, "height": height}


def _number(value: float | None) -> float | None:
    """The score, if JSON has it."""
    return float(value) if value is not None and np.isfinite(value) else None
