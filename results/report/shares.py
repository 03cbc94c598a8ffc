"""Figures of importance, from `Importance.to_dict()`: stages, parameters, pairs, and stages over datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distiller.results.report.figure import (
    FEW,
    GREY,
    INK,
    ORANGE,
    PALE,
    Figure,
    bars,
    heat,
    label,
    rows_layout,
)

MOST_PARAMETERS = 12
LEAST_SHARE = 0.005
"""A parameter below it is in the table alone."""
Found = Mapping[str, Any]


def ranked(found: Found) -> list[tuple[str, Found]]:
    """Stages with what was found of them: influential ones first, then by total effect."""
    stages: Mapping[str, Found] = found.get("stages") or {}
    return sorted(stages.items(), key=lambda one: (not one[1]["influential"], -one[1]["total"]))


def stage_bars(found: Found, dataset: str) -> Figure | None:
    """Shares of stages, alone and with interactions, with their intervals."""
    stages = ranked(found)
    if not stages:
        return None
    names = [_named(name, one["influential"]) for name, one in stages]
    kinds = (("total", "with interactions", 0.45), ("main", "alone", 1.0))
    data = [
        bars(
            names, [one[kind] for _, one in stages], name=said,
            marker=_marker([one["influential"] for _, one in stages], opacity, found["verdict"] == "ok"),
            error_x=_whiskers([(one[kind], one.get(f"{kind}_interval")) for _, one in stages]),
            customdata=[_interval(one.get(f"{kind}_interval")) for _, one in stages],
            hovertemplate="%{y}: %{x:.1%}%{customdata}<extra>" + said + "</extra>",
        )
        for kind, said, opacity in kinds
    ]  # fmt: skip
    most = max(
        max(one[kind], *(one.get(f"{kind}_interval") or [0.0])) for _, one in stages for kind, *_ in kinds
    )
    layout, height = rows_layout(names, most)
    rows = [
        (name, one["main"], *_pair(one.get("main_interval")), one["total"], *_pair(one.get("total_interval")),
         one["shapley"], one["influential"], one["p_value"])
        for name, one in stages
    ]  # fmt: skip
    return Figure(
        f"{dataset}-importance-stages",
        f"Importance of stages on {dataset}: share of the score's explained variance, "
        "alone and with interactions",
        ("stage", "alone", "alone_low", "alone_high", "total", "total_low", "total_high", "shapley",
         "influential", "p_value"),
        rows,
        data,
        {**layout, "barmode": "group", "bargap": 0.3, "bargroupgap": 0.05},
        height + 8 * len(names),
    )  # fmt: skip


def parameter_bars(found: Found, dataset: str) -> Figure | None:
    """The largest shares of parameters."""
    sure = {stage for stage, one in (found.get("stages") or {}).items() if one["influential"]}
    parameters = sorted(
        ((stage, one) for stage, inner in (found.get("parameters") or {}).items() for one in inner),
        key=lambda named: -named[1]["share"],
    )
    shown = [one for one in parameters if one[1]["share"] >= LEAST_SHARE][:MOST_PARAMETERS]
    if not shown:
        return None
    names = [_named(_said(one), stage in sure, 30) for stage, one in shown]
    shares = [one["share"] for _, one in shown]
    marker = _marker([stage in sure for stage, _ in shown], 1.0, found["verdict"] == "ok")
    data = [bars(names, shares, marker=marker, hovertemplate="%{y}: %{x:.1%}<extra></extra>")]
    layout, height = rows_layout(names, max(shares))
    left_out = len(parameters) - len(shown)
    columns = ("path", "column", "kind", "probability", "share")
    return Figure(
        f"{dataset}-importance-parameters",
        f"Importance of parameters on {dataset}: share of the score's explained variance within each stage",
        ("stage", *columns),
        [(stage, *(one[column] for column in columns)) for stage, one in parameters],
        data,
        layout,
        height,
        note=f"{left_out} smaller ones are in the table alone." if left_out else "",
    )  # fmt: skip


def _said(parameter: Found) -> str:
    return str(parameter["path"]) + (" (interactions)" if parameter["kind"] == "interactions" else "")


def pair_map(found: Found, dataset: str) -> Figure | None:
    """Interactions of pairs of stages; None of fewer than three stages, which one number tells."""
    order = [name for name, _ in ranked(found)]
    shares = {frozenset(pair["stages"]): pair["share"] for pair in found.get("interactions") or ()}
    if len(order) < 3 or not shares:
        return None
    cells = [[shares.get(frozenset((a, b))) if a != b else None for b in order] for a in order]
    most = max(0.02, *shares.values())
    written = [["" if v is None else f"{v:.1%}" for v in row] for row in cells]
    names = [label(name, 16) for name in order]
    drawn = heat(names, names, cells, zmin=0, zmax=most * 1.3, written=written)
    rows = [(*pair["stages"], pair["share"]) for pair in found["interactions"]]
    title = f"Interactions of stages on {dataset}: share of the explained variance of each pair together"
    return Figure(f"{dataset}-interactions", title, ("stage", "other_stage", "share"), rows, **drawn)


def top_bars(found: Found, dataset: str) -> Figure | None:
    """What sets the best trials apart: PED-ANOVA's shares."""
    top = found.get("top")
    if not top or not top.get("stages"):
        return None
    stages = sorted(top["stages"].items(), key=lambda one: -one[1])
    names, shares = [label(name) for name, _ in stages], [share for _, share in stages]
    marker = {"color": PALE, "line": {"color": INK, "width": 1}}
    data = [bars(names, shares, marker=marker, hovertemplate="%{y}: %{x:.1%}<extra></extra>")]
    layout, height = rows_layout(names, max(shares))
    title = f"What reaches the top {top['quantile']:.0%} on {dataset} (PED-ANOVA): share by stage"
    return Figure(f"{dataset}-importance-top", title, ("stage", "share"), [*stages], data, layout, height)


def over_datasets(found: Mapping[str, Found]) -> Figure | None:
    """Shares of stages alone, a row a stage and a column a dataset; None of fewer than two such datasets."""
    told = {dataset: one for dataset, one in found.items() if one.get("stages")}
    if len(told) < 2:
        return None
    stages: dict[str, float] = {}
    for one in told.values():
        for stage, shares in one["stages"].items():
            stages[stage] = stages.get(stage, 0.0) + shares["main"]
    order = sorted(stages, key=lambda stage: -stages[stage])

    def share(stage: str, one: Found) -> float | None:
        known = one["stages"].get(stage)
        return None if known is None else max(known["main"], 0.0)

    many = len(told) > FEW
    apart = "<br>" if many else " "

    def written(stage: str, one: Found) -> str:
        value = share(stage, one)
        sure = one["verdict"] == "ok" and one["stages"].get(stage, {}).get("influential")
        doubt = "" if sure else f"{apart}?"
        return "" if value is None else f"{value:.0%}{doubt}"

    cells = [[share(stage, one) for one in told.values()] for stage in order]
    texts = [[written(stage, one) for one in told.values()] for stage in order]
    names = [label(dataset, 26 if many else 18) for dataset in told]
    drawn = heat([label(s, 12 if many else 18) for s in order], names, cells, zmin=0, zmax=1.2, written=texts)
    rows = [
        (dataset, one["verdict"], stage, shares["main"], *_pair(shares.get("main_interval")), shares["total"],
         shares["influential"])
        for dataset, one in told.items() for stage, shares in one["stages"].items()
    ]  # fmt: skip
    return Figure(
        "importance-over-datasets",
        "Importance of stages over datasets: share of the explained variance by the stage alone",
        ("dataset", "verdict", "stage", "alone", "alone_low", "alone_high", "total", "influential"),
        rows,
        **drawn,
    )


def _named(name: str, confirmed: bool, width: int = 26) -> str:
    """The label, bold where confirmed: not by colour alone."""
    return f"<b>{label(name, width)}</b>" if confirmed else label(name, width)


def _marker(confirmed: Sequence[bool], opacity: float, sure: bool) -> dict[str, Any]:
    """Orange where confirmed, else grey."""
    colors = [ORANGE if yes else GREY for yes in confirmed]
    return {"color": colors, "opacity": opacity if sure else 0.7 * opacity}


def _whiskers(shares: Sequence[tuple[float, Sequence[float] | None]]) -> dict[str, Any]:
    """Error bars from shares and their intervals; none where no share has one."""
    if all(interval is None for _, interval in shares):
        return {"visible": False}
    up = [0.0 if i is None else max(i[1] - max(share, 0.0), 0.0) for share, i in shares]
    down = [0.0 if i is None else max(max(share, 0.0) - max(i[0], 0.0), 0.0) for share, i in shares]
    return {"array": up, "arrayminus": down, "symmetric": False, "color": INK, "thickness": 1.2, "width": 3}


def _pair(interval: Sequence[float] | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval[0], interval[1])


def _interval(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" (95% interval {interval[0]:.0%} to {interval[1]:.0%})"
