"""Figures of comparisons: best of n, differences with intervals, ranks, ablation paths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from distiller.results.comparison import (
    AblationPath,
    CriticalDifference,
    DatasetComparison,
    Difference,
    Estimate,
)
from distiller.results.report.figure import BLUE, GREY, INK, ORANGE, PURPLE, RED, TEAL, Figure, label, tall

MOST_LINES = 8
MOST_N = 50
"""Of a curve's points, evenly in the logarithm."""
STYLES = tuple(
    zip((ORANGE, BLUE, TEAL, PURPLE, RED, INK, GREY, "#7a6a00"), cycle(("solid", "dash", "dot", "dashdot")))
)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "triangle-down")


def best_of_n(one: DatasetComparison, question: str) -> Figure | None:
    """Expected best of n trials over n, one line a choice; None of fewer than two choices with trials."""
    known = [choice for choice in one.choices if choice.best_of]
    if len(known) < 2:
        return None
    common = min(len(choice.best_of) for choice in known)
    known.sort(key=lambda choice: -choice.best_of[common - 1])
    data, rows = [], []
    for choice, (color, dash), symbol in zip(known, STYLES, SYMBOLS, strict=False):
        places = _spread(len(choice.best_of))
        scores = [choice.best_of[n - 1] for n in places]
        data.append(
            {
                "type": "scatter", "mode": "lines+markers" if len(places) < 12 else "lines",
                "x": places, "y": scores, "name": label(f"{choice.choice} ({choice.used})", 24),
                "line": {"color": color, "dash": dash, "width": 2}, "marker": {"symbol": symbol, "size": 7},
                "hovertemplate": "best of %{x}: %{y:.4f}<extra>" + label(choice.choice) + "</extra>",
            }
        )  # fmt: skip
        rows += [(choice.choice, choice.used, n, score) for n, score in zip(places, scores, strict=True)]
    left_out = len(known) - len(data)
    layout: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "n full runs"},
            "type": "log",
            "tickmode": "array",
            "tickvals": [m * 10**k for k in range(6) for m in (1, 2, 5)],
            "tickformat": ",d",
        },
        "yaxis": {"title": {"text": label(f"expected best {one.metric or 'score'} of n", 30)}},
    }
    return Figure(
        f"{one.dataset}-best-of-n-{question}",
        f"Expected best of n full runs by {question} on {one.dataset}",
        ("choice", "full_runs", "n", "expected_best"),
        rows,
        data,
        layout,
        380,
        note=f"The {left_out} lowest choices are not drawn." if left_out else "",
    )


def _spread(count: int) -> list[int]:
    """Of 1 to count, all or about `MOST_N`, denser at the start."""
    if count <= MOST_N:
        return list(range(1, count + 1))
    return sorted({round(count ** (i / (MOST_N - 1))) for i in range(MOST_N)})


def against_best(
    differences: Sequence[Difference], question: str, where: str, metric: str | None
) -> Figure | None:
    """Every choice's expected best of n minus that of the best one, dots with 95% intervals; None of none."""
    names = list(dict.fromkeys(name for one in differences for name in (one.one, one.other)))
    gain: dict[str, dict[str, tuple[Estimate, Difference]]] = {name: {} for name in names}
    for one in differences:
        gain[one.one][one.other] = (one.best, one)
        gain[one.other][one.one] = (_turned(one.best), one)
    if len(names) < 2:
        return None
    # The best is the one that beats all others, or of a circle the one that beats most.
    best = max(names, key=lambda name: (sum(e.value > 0 for e, _ in gain[name].values()), -names.index(name)))
    others = [(name, *gain[name][best]) for name in names if best in gain[name]]
    others.sort(key=lambda other: -other[1].value)
    if not others:
        return None
    sure = [e.p_holm is not None and e.p_holm < 0.05 for _, e, _ in others]
    ticks = [label(f"{name} (n = {one.n})") for name, _, one in others]
    value = [e.value for _, e, _ in others]
    data = [
        {
            "type": "scatter", "mode": "markers", "x": value, "y": ticks,
            "error_x": {"array": [_reach(e, e.high) for _, e, _ in others],
                        "arrayminus": [_reach(e, e.low) for _, e, _ in others],
                        "symmetric": False, "color": INK, "thickness": 1.4, "width": 4},
            "marker": {"size": 10, "color": [RED if s else GREY for s in sure],
                       "symbol": ["circle" if s else "circle-open" for s in sure], "line": {"width": 2}},
            "customdata": ["" if e.p_holm is None else f", p {e.p_holm:.3g} (Holm)" for _, e, _ in others],
            "hovertemplate": "%{y}: %{x:+.4f}%{customdata}<extra></extra>",
        }
    ]  # fmt: skip
    unit = f" in {metric}" if metric else ""
    layout = {
        "showlegend": False,
        "xaxis": {"title": {"text": label(f"expected best of n, against {best}{unit}", 44)}, "nticks": 6},
        "yaxis": {"type": "category", "autorange": "reversed", "ticksuffix": "  ", "showgrid": False,
                  "ticks": ""},
        "shapes": [{"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1,
                    "line": {"color": INK, "width": 1.5, "dash": "dot"}, "layer": "above"}],
    }  # fmt: skip
    rows = [
        (
            name,
            best,
            one.n,
            *one.trials[:: 1 if name == one.one else -1],
            e.value,
            e.low,
            e.high,
            e.p,
            e.p_holm,
        )
        for name, e, one in others
    ]
    return Figure(
        f"{where}-differences-{question}",
        f"Choices of {question} against {best} on {where}: expected best of n, with 95% intervals",
        ("choice", "against", "n", "trials", "trials_against", "difference", "low", "high", "p", "p_holm"),
        rows,
        data,
        layout,
        96 + tall(ticks, 34),
    )


def _turned(estimate: Estimate) -> Estimate:
    low = None if estimate.high is None else -estimate.high
    high = None if estimate.low is None else -estimate.low
    return Estimate(-estimate.value, low, high, estimate.p, estimate.p_holm)


def _reach(estimate: Estimate, end: float | None) -> float | None:
    return None if end is None else abs(end - estimate.value)


def critical_difference(ranks: CriticalDifference, question: str) -> Figure:
    """Average ranks on an axis; bars join choices that do not differ (Demsar 2006)."""
    count = len(ranks.choices)
    names = [label(choice) for choice in ranks.choices]
    rows_down = list(range(count))
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "markers+text", "x": list(ranks.ranks), "y": rows_down,
            "text": [f"{rank:.2f}" for rank in ranks.ranks], "textposition": "top center",
            "cliponaxis": False, "marker": {"size": 11, "color": BLUE}, "textfont": {"size": 11},
            "hovertemplate": "average rank %{x:.2f}<extra></extra>",
        }
    ]  # fmt: skip
    for i, group in enumerate(ranks.groups):
        places = [ranks.choices.index(choice) for choice in group]
        at = count + 0.2 + 0.55 * i
        x = [ranks.ranks[places[0]], ranks.ranks[places[-1]]]
        data.append(
            {"type": "scatter", "mode": "lines", "x": x, "y": [at, at], "line": {"color": INK, "width": 5},
             "hovertemplate": "these do not differ: " + ", ".join(map(label, group)) + "<extra></extra>"}
        )  # fmt: skip
    shown = min(ranks.difference, count - 1)
    said = f"CD {ranks.difference:.2f}" + (" (more than the axis)" if shown < ranks.difference else "")
    data.append(
        {"type": "scatter", "mode": "lines+text", "x": [1, 1 + shown], "y": [-1.1, -1.1], "hoverinfo": "skip",
         "line": {"color": RED, "width": 2}, "text": [said, ""], "textposition": "top right",
         "cliponaxis": False}
    )  # fmt: skip
    foot = count + 0.2 + 0.55 * len(ranks.groups)
    layout = {
        "showlegend": False,
        "xaxis": {"title": {"text": "average rank (1 is best)"}, "range": [0.8, count + 0.2], "dtick": 1},
        "yaxis": {"range": [foot, -2.0], "tickmode": "array", "tickvals": rows_down, "ticktext": names,
                  "ticksuffix": "  ", "ticks": ""},
    }  # fmt: skip
    member: dict[str, list[str]] = {choice: [] for choice in ranks.choices}
    for i, group in enumerate(ranks.groups, 1):
        for choice in group:
            member[choice].append(str(i))
    return Figure(
        f"ranks-{question}",
        f"Average ranks of the choices of {question} over {len(ranks.datasets)} datasets, "
        "with the critical difference",
        ("choice", "average_rank", "critical_difference", "groups"),
        [
            (choice, rank, ranks.difference, " ".join(member[choice]))
            for choice, rank in zip(ranks.choices, ranks.ranks, strict=True)
        ],
        data,
        layout,
        130 + 30 * (count + 1) + 14 * len(ranks.groups),
    )  # fmt: skip


def ablation(path: AblationPath) -> Figure | None:
    """Scores along the way from a preset to the best config; measured dots are full, predicted ones open.

    None of fewer than two known scores.
    """
    steps = [(step, step.measured or step.predicted) for step in path.steps]
    if sum(score.value is not None for _, score in steps) < 2:
        return None
    names = [
        label(path.preset if step.stage is None else f"{step.stage}: {step.became}", 30) for step, _ in steps
    ]
    names = [f"{i + 1}. {name}" for i, name in enumerate(names)]
    measured = [step.measured is not None for step, _ in steps]
    spread = [score.sd for _, score in steps]
    data = [
        {
            "type": "scatter", "mode": "lines+markers", "x": [score.value for _, score in steps], "y": names,
            "line": {"color": GREY, "width": 1.5}, "connectgaps": False,
            "error_x": {"array": spread, "color": INK, "thickness": 1.2, "visible": any(spread)},
            "marker": {"size": 10, "color": ORANGE, "line": {"width": 2, "color": ORANGE},
                       "symbol": ["circle" if m else "circle-open" for m in measured]},
            "customdata": [score.label for _, score in steps],
            "hovertemplate": "%{y}: %{x:.4f}, %{customdata}<extra></extra>",
        }
    ]  # fmt: skip
    layout = {
        "showlegend": False,
        "xaxis": {"title": {"text": label(f"{path.metric or 'score'}", 40)}, "nticks": 6},
        "yaxis": {"type": "category", "autorange": "reversed", "ticksuffix": "  ", "ticks": ""},
    }
    rows = [
        (i, step.stage, step.was, step.became, step.config_id, score.label, score.value, score.sd,
         score.seeds, gain.value if gain else None, gain.low if gain else None, gain.high if gain else None)
        for i, (step, score) in enumerate(steps) for gain in [step.gain]
    ]  # fmt: skip
    return Figure(
        f"{path.dataset}-ablation-{path.preset}",
        f"From {path.preset} to the best config of {path.dataset}, stage by stage ({path.label})",
        (
            "step",
            "stage",
            "was",
            "became",
            "config_id",
            "label",
            "score",
            "sd",
            "seeds",
            "gain",
            "low",
            "high",
        ),
        rows,
        data,
        layout,
        90 + tall(names, 36),
    )
