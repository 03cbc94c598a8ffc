"""Figures across datasets: what one dataset's best config loses on another, and how far stages differ."""

from __future__ import annotations

from distiller.results.comparison import Regret, RegretMatrix
from distiller.results.report.figure import BLUE, FEW, GREY, INK, Figure, heat, label, tall

RED_SCALE = [[0.0, "#ffffff"], [0.5, "#f0b58c"], [1.0, "#a8410f"]]


def regret_map(matrix: RegretMatrix) -> Figure | None:
    """Rows: whose best config; columns: where it is used. None of fewer than two datasets."""
    if len(matrix.datasets) < 2:
        return None
    entries = {(one.of, one.on): one for one in matrix.entries}

    def cell(of: str, on: str) -> Regret | None:
        return entries.get((of, on))

    known = [one.regret for one in matrix.entries if one.regret is not None]
    values = [
        [0.0 if of == on else (one.regret if (one := cell(of, on)) else None) for on in matrix.datasets]
        for of in matrix.datasets
    ]
    many = len(matrix.datasets) > FEW
    texts = [[_written(of, on, cell(of, on), many) for on in matrix.datasets] for of in matrix.datasets]
    names = [label(name, 12 if many else 18) for name in matrix.datasets]
    columns = [label(name) for name in matrix.datasets] if many else names
    # A cell without a number has no colour, and Plotly then leaves its text out.
    shown = [[0.0 if value is None else max(value, 0.0) for value in row] for row in values]
    most = max([*known, 1e-9]) * 1.25
    drawn = heat(
        names, columns, shown, zmin=0, zmax=most, written=texts, colorscale=RED_SCALE,
        hovertemplate="best of %{customdata}: %{text}<extra></extra>",
        customdata=[[f"{label(of)} on {label(on)}" for on in matrix.datasets] for of in matrix.datasets],
    )  # fmt: skip
    rows = [(one.of, one.on, one.label, one.regret, one.in_noise, one.note) for one in matrix.entries]
    return Figure(
        "regret",
        "Regret: what the best config of one dataset (row) loses on another (column)",
        ("best_of", "used_on", "label", "regret", "regret_in_noise_sd", "note"),
        rows,
        **drawn,
    )


def _written(of: str, on: str, one: Regret | None, many: bool) -> str:
    """As narrow as it may be read where there are `many` datasets."""
    if of == on:
        return "0"
    if one is None or one.regret is None:
        return "?"
    number = f"{one.regret:z.3f}"
    if many:
        number = number.replace("0.", ".", 1) if number.lstrip("-").startswith("0.") else number
    return f"~{'<br>' if many else ''}{number}" if one.label == "predicted" else number


def stage_differences(matrix: RegretMatrix) -> Figure | None:
    """How much of the scores' variance each stage's interaction with the dataset explains."""
    if not matrix.stages:
        return None
    stages = sorted(matrix.stages, key=lambda one: -one.share)
    names = [label(one.stage) for one in stages]
    sure = [one.p_holm < 0.05 for one in stages]
    data = [
        {
            "type": "scatter", "mode": "markers", "x": [one.share for one in stages], "y": names,
            "error_x": {"array": [max(one.high - one.share, 0.0) for one in stages],
                        "arrayminus": [max(one.share - one.low, 0.0) for one in stages],
                        "symmetric": False, "color": INK, "thickness": 1.4, "width": 4},
            "marker": {"size": 10, "color": [BLUE if s else GREY for s in sure],
                       "symbol": ["circle" if s else "circle-open" for s in sure], "line": {"width": 2}},
            "customdata": [f"p {one.p_holm:.3g} (Holm)" for one in stages],
            "hovertemplate": "%{y}: %{x:.1%}, %{customdata}<extra></extra>",
        }
    ]  # fmt: skip
    layout = {
        "showlegend": False,
        "xaxis": {"tickformat": ".1%", "rangemode": "tozero", "nticks": 6,
                  "title": {"text": "share of the variance that is left with one effect for all"}},
        "yaxis": {"type": "category", "autorange": "reversed", "ticksuffix": "  ", "showgrid": False,
                  "ticks": ""},
    }  # fmt: skip
    rows = [
        (one.stage, one.share, one.low, one.high, one.p, one.p_holm,
         "; ".join(f"{dataset}: {best}" for dataset, best in one.best.items()))
        for one in stages
    ]  # fmt: skip
    return Figure(
        "stages-between-datasets",
        "How far each stage's effect differs between datasets",
        ("stage", "share", "low", "high", "p", "p_holm", "best"),
        rows,
        data,
        layout,
        96 + tall(names, 32),
    )
