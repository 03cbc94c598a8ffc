"""Figures of single trials: learning curves, and score against cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from distiller.results.entries import Entry, is_full
from distiller.results.leaderboard import DatasetBoard
from distiller.results.report.figure import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    TEAL,
    Figure,
    Trace,
    number,
    thinned,
)
from distiller.results.store import Row

MOST_CURVES = 300
"""Search curves drawn; past that the best and an even choice of the rest."""
MOST_POINTS = 600
CONTENDER = "#f2b872"


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Numbers of the points that no other one matches at less cost and no worse score (or the same cost and
    a better score), by rising cost."""
    front: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i])):
        last = front[-1] if front else None
        if last is None or scores[i] > scores[last] or (costs[i], scores[i]) == (costs[last], scores[last]):
            front.append(i)
    return front


def with_curves(trials: Sequence[Row]) -> list[Row]:
    """The trials of one dataset whose learning curves are drawn, the search's best ones first."""
    search = [row for row in trials if row["role"] == "search"]
    search.sort(key=lambda row: (not is_full(row), -(number(row["score"]) or 0.0)))
    return [*thinned(search, MOST_CURVES), *(row for row in trials if row["role"] != "search")]


def curves(epochs: Sequence[Row], trials: Sequence[Row], board: DatasetBoard) -> Figure | None:
    """Validation score over steps, one line per trial; None without any.

    Args:
        epochs: rows of the trials that `with_curves` names.
    """
    lines: dict[tuple[str, int], list[Row]] = {}
    for row in epochs:
        lines.setdefault((row["trial_id"], row["attempt"]), []).append(row)
    drawn = [row for row in with_curves(trials) if (row["trial_id"], row["attempt"]) in lines]
    if not drawn:
        return None
    best = board.best
    winning = best.config_id if best else None
    shown = [row for row in drawn if row["role"] == "search"]
    baseline_ids = {name: entry.config_id for name, entry in board.baselines.items()}

    def baseline(name: str) -> list[Row]:
        mine = baseline_ids.get(name)
        return [row for row in drawn if (row["role"], row["config_id"]) == ("baseline", mine)]

    def finalists(won: bool) -> list[Row]:
        return [r for r in drawn if r["role"] == "finalist" and (r["config_id"] == winning) == won]

    groups: list[tuple[str, list[Row], str, float, float, str]] = [
        ("stopped early", [r for r in shown if r["status"] == "stopped"], GREY, 1.0, 0.55, "solid"),
        ("failed", [r for r in shown if r["status"] == "failed"], RED, 1.2, 0.7, "dot"),
        ("search, full run", [r for r in shown if r["status"] == "completed"], BLUE, 1.2, 0.5, "solid"),
        ("no teacher", baseline("no_teacher"), PURPLE, 1.8, 0.9, "dash"),
        ("plain Hinton KD", baseline("hinton"), TEAL, 1.8, 0.9, "dashdot"),
        ("other finalists", finalists(won=False), CONTENDER, 1.5, 0.9, "solid"),
        ("winner", finalists(won=True), ORANGE, 2.8, 1.0, "solid"),
    ]  # fmt: skip
    data, numbers = [], []
    for name, rows, color, width, opacity, dash in groups:
        x: list[Any] = []
        y: list[Any] = []
        said: list[Any] = []
        for row in rows:
            line = lines[row["trial_id"], row["attempt"]]
            x += [*(point["step"] for point in line), None]
            y += [*(number(point["score"]) for point in line), None]
            said += [*([f"{escape(row['config_id'])}, seed {row['seed']}"] * len(line)), None]
            numbers += [(name, row["config_id"], row["seed"], p["step"], number(p["score"])) for p in line]
        if rows:
            trace: Trace = {"type": "scatter", "mode": "lines", "x": x, "y": y}
            trace |= {"name": f"{name} ({len(rows)})", "text": said, "opacity": opacity}
            trace |= {"line": {"color": color, "width": width, "dash": dash}}
            hover = "%{text}<br>step %{x}: %{y:.3f}<extra>" + name + "</extra>"
            data.append(trace | {"hovertemplate": hover, "connectgaps": False})
    searched = sum(row["role"] == "search" for row in trials)
    left_out, silent = max(searched - MOST_CURVES, 0), min(searched, MOST_CURVES) - len(shown)
    notes = [f"{left_out:,} more search trials are not drawn."] if left_out else []
    notes += [f"{silent:,} search trials ended before their first evaluation."] if silent else []
    return _figure(
        f"{board.dataset}-learning-curves",
        f"Learning curves on {board.dataset}: validation score over optimizer steps",
        ("group", "config_id", "seed", "step", "score"),
        numbers,
        data,
        board,
        "optimizer step",
        height=430,
        note=" ".join(notes),
    )


def score_against(column: str, title: str, trials: Sequence[Row], board: DatasetBoard) -> Figure | None:
    """Score over a cost, with the Pareto front; None where fewer than two costs are known.

    A config that was trained again counts by its finalists' mean, any other by its one search run.
    """
    again = {entry.config_id for entry in board.finalists}
    rows = [
        row
        for row in trials
        if row["role"] == "search"
        and is_full(row)
        and row["config_id"] not in again
        and row[column] is not None
    ]
    rows.sort(key=lambda row: -float(row["score"]))
    finalists = [entry for entry in board.finalists if getattr(entry, column) is not None]
    costs = [*(float(row[column]) for row in rows), *(getattr(entry, column) for entry in finalists)]
    if len(set(costs)) < 2:
        return None
    scores = [*(float(row["score"]) for row in rows), *(entry.validation.mean for entry in finalists)]
    front = pareto_front(costs, scores)
    edge = {i for i in front if i < len(rows)}
    kept = sorted(edge | set(thinned(range(len(rows)), MOST_POINTS)))
    groups = [
        ("search, 1 seed", [Entry((rows[i],)) for i in kept], BLUE, 7, 0.6, "circle"),
        ("baselines", [e for e in board.baselines.values() if getattr(e, column) is not None],
         PURPLE, 10, 0.95, "square"),
        ("finalists, mean ± SD", finalists, ORANGE, 11, 1.0, "diamond"),
    ]  # fmt: skip
    last = max(costs)
    data: list[Trace] = [
        {
            "type": "scatter", "mode": "lines", "name": "Pareto front", "hoverinfo": "skip",
            "x": [*(costs[i] for i in front), last], "y": [*(scores[i] for i in front), scores[front[-1]]],
            "line": {"color": INK, "width": 1.2, "dash": "dot", "shape": "hv"},
        },
        *(_points(column, *group) for group in groups if group[1]),
    ]  # fmt: skip
    on_front = {(costs[i], scores[i]) for i in front}
    numbers = [
        (name, e.config_id, e.student, cost, e.validation.mean, e.validation.sd, len(e.rows),
         name != "baselines" and (cost, e.validation.mean) in on_front)
        for name, entries, *_ in groups for e in entries for cost in [float(getattr(e, column))]
    ]  # fmt: skip
    left_out = len(rows) - len(kept)
    figure = _figure(
        f"{board.dataset}-score-against-{column.removesuffix('_ms')}",
        f"Score of students on {board.dataset} against {title}, with the Pareto front",
        ("group", "config_id", "student", column, "score", "sd", "seeds", "pareto_front"),
        numbers,
        data,
        board,
        title,
        height=380,
        note=f"{left_out:,} more search runs are not drawn, none of them on the front." if left_out else "",
    )
    if last > 10 * min(costs) > 0:
        figure.layout["xaxis"]["type"] = "log"
    return figure


def _points(
    column: str, name: str, entries: Iterable[Entry], color: str, size: int, opacity: float, symbol: str
) -> Trace:
    entries = list(entries)
    error = [entry.validation.sd or 0.0 for entry in entries]
    trace: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [getattr(entry, column) for entry in entries],
        "y": [entry.validation.mean for entry in entries],
        "marker": {"color": color, "size": size, "opacity": opacity, "symbol": symbol}
        | {"line": {"color": "#fff", "width": 1}},
        "text": [f"{escape(entry.student or '')} {escape(entry.config_id)}" for entry in entries],
        "hovertemplate": "%{text}<br>%{x}: %{y:.3f}<extra>" + name + "</extra>",
    }
    return trace | ({"error_y": {"array": error, "thickness": 1.2, "width": 3}} if any(error) else {})


def _figure(
    name: str,
    title: str,
    columns: tuple[str, ...],
    rows: list[tuple[Any, ...]],
    data: list[Trace],
    board: DatasetBoard,
    x: str,
    height: int,
    note: str,
) -> Figure:
    """With the teacher's score as a line across."""
    metric = escape(board.metric or "score")
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": f"validation {metric}"}},
    }
    if (teacher := number(board.teacher_validation)) is not None:
        line = {"color": INK, "width": 1.2, "dash": "dash"}
        across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": teacher, "y1": teacher}
        said = {"xref": "paper", "x": 1, "y": teacher, "text": f"teacher {teacher:.3f}", "showarrow": False}
        layout["shapes"] = [{**across, "line": line, "layer": "below"}]
        layout["annotations"] = [{**said, "xanchor": "right", "yanchor": "bottom", "font": {"size": 11}}]
        # Lines are no data to Plotly's autorange.
        edge = {"type": "scatter", "mode": "markers", "x": [None], "y": [teacher], "showlegend": False}
        data = [*data, {**edge, "marker": {"opacity": 0}, "hoverinfo": "skip"}]
        rows = [*rows, ("teacher", *(None for _ in columns[1:]))]
        at = columns.index("score")
        rows[-1] = tuple(teacher if i == at else value for i, value in enumerate(rows[-1]))
    return Figure(name, title, columns, rows, data, layout, height, note=note)
