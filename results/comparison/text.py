"""Comparisons, ranks and ablation paths for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.path import AblationPath
from distiller.results.comparison.report import (
    ComparisonResult,
    CriticalDifference,
    DatasetComparison,
    Difference,
    SignedRank,
)

NOTHING = "-"
SURE = 0.05


def render_comparison(found: ComparisonResult) -> RenderableType:
    """Choices per dataset, differences, ranks and what to know of them."""
    parts: list[RenderableType] = [Text(f"{found.what}: {', '.join(found.choices)}", style="bold")]
    for dataset in found.datasets:
        parts += [_choices(dataset), *_said(dataset.notes, "yellow")]
    shown = [d for dataset in found.datasets for d in dataset.differences]
    parts.append(_differences([*found.overall, *shown], several=len(found.datasets) > 1))
    if found.ranks is not None:
        parts.append(render_ranks(found.ranks))
    if found.signed_rank:
        parts.append(_signed_ranks(found.signed_rank))
    parts += [*_said(found.notes, "yellow"), *_said(found.rules, "dim")]
    return Group(*parts)


def _choices(found: DatasetComparison) -> Table:
    noise = "" if found.noise_sd is None else (
        f", SD between seeds {found.noise_sd:.4f} ({found.noise_repeats} repeats)"
    )  # fmt: skip
    title = Text.assemble((found.dataset, "bold"), f"  {found.metric or 'score'}, {found.basis}{noise}")
    table = _table(
        title, ["choice", "got through", "compared", "mean", "SD", "best of n", "of the teacher's"]
    )
    used = [one.used for one in found.choices if one.used]
    n = min(found.differences, key=lambda d: d.n).n if found.differences else min(used, default=1)
    for one in sorted(found.choices, key=lambda c: -(c.best_of[n - 1] if len(c.best_of) >= n else -1e9)):
        begun = one.completed + one.stopped
        best = f"{one.best_of[n - 1]:.4f} (n {n})" if len(one.best_of) >= n else NOTHING
        table.add_row(
            one.choice,
            f"{one.completed} of {begun}" + (f", {one.failed} failed" if one.failed else ""),
            str(one.used),
            _number(one.mean),
            _number(one.sd),
            best,
            NOTHING if one.of_teacher is None else f"{one.of_teacher:.0%}",
        )
    return table


def _differences(differences: Sequence[Difference], several: bool) -> Table:
    measures: list[tuple[str, list[Estimate | None]]] = [
        ("best of n", [d.best for d in differences]),
        ("mean", [d.mean for d in differences]),
        ("adjusted mean", [d.adjusted for d in differences]),
        ("pairs", [d.paired.difference if d.paired else None for d in differences]),
        ("got through", [d.through for d in differences]),
    ]
    measures = [(name, column) for name, column in measures if any(one is not None for one in column)]
    title = Text("differences with 95% intervals; p corrected for all that are shown", style="bold")
    table = _table(title, ["", *(["on"] if several else []), "n", *(name for name, _ in measures)])
    for i, one in enumerate(differences):
        where = one.dataset or "all datasets"
        cells = [_estimate(column[i]) for _, column in measures]
        style = "bold" if one.dataset is None else ""
        pairs = one.paired.pairs if one.paired else 0
        cells = [
            Text.assemble(cell, f" ({pairs})") if name == "pairs" and pairs else cell
            for (name, _), cell in zip(measures, cells, strict=True)
        ]
        table.add_row(
            f"{one.one} - {one.other}",
            where if several else one.dataset or "",
            str(one.n),
            *cells,
            style=style,
        )
    return table


def _estimate(one: Estimate | None) -> Text:
    if one is None:
        return Text(NOTHING)
    said = f"{one.value:+.4f}"
    if one.low is not None and one.high is not None:
        said += f" [{one.low:+.4f}, {one.high:+.4f}]"
    p = one.p if one.p_holm is None else one.p_holm
    sure = p is not None and p < SURE
    if p is not None:
        said += f" p {p:.3f}" if p >= 0.001 else " p < 0.001"
    return Text(said, style=("green" if one.value > 0 else "red") if sure else "")


def render_ranks(found: CriticalDifference) -> RenderableType:
    """A critical-difference diagram: choices that one bar joins do not differ."""
    by_f = "" if found.f is None or found.f_p is None else f", Iman-Davenport p {found.f_p:.3f}"
    lines = [
        Text("average ranks, 1 is best; choices along one bar do not differ", style="bold"),
        Text(
            f"{len(found.datasets)} datasets, Friedman p {found.p:.3f}{by_f}, critical difference "
            f"{found.difference:.2f}",
            style="dim",
        ),
    ]
    width = max(map(len, found.choices))
    for name, rank in zip(found.choices, found.ranks, strict=True):
        bars = " ".join("┃" if name in group else " " for group in found.groups)
        lines.append(Text(f"  {rank:5.2f}  {name:<{width}}  {bars}".rstrip()))
    return Group(*lines)


def _signed_ranks(found: Sequence[SignedRank]) -> Table:
    title = Text(
        f"Bayesian signed-rank test over {found[0].datasets} datasets: probability that", style="bold"
    )
    table = _table(
        title,
        ["", "the first is better", f"they differ by {found[0].rope:g} at most", "the second is better"],
    )
    for one in found:
        table.add_row(
            f"{one.one}, {one.other}", f"{one.p_one:.2f}", f"{one.p_rope:.2f}", f"{one.p_other:.2f}"
        )
    return table


def render_path(path: AblationPath) -> RenderableType:
    """An ablation path, a stage a row."""
    r2 = "" if path.r2 is None else f", held-out R2 {path.r2:.2f}"
    title = Text.assemble(
        (path.dataset, "bold"),
        f"  {path.metric or 'score'}, from {path.preset} to the best config: {path.label}{r2}",
    )
    table = _table(title, ["stage", "was", "becomes", "predicted", "measured", "gain"], wrap=True)
    for step in path.steps:
        measured = NOTHING
        if step.measured is not None and step.measured.value is not None:
            sd = "" if step.measured.sd is None else f" ± {step.measured.sd:.4f}"
            measured = f"{step.measured.value:.4f}{sd} ({step.measured.seeds} seeds)"
        predicted = (
            _number(step.predicted.value) if step.predicted.value is not None else step.predicted.label
        )
        gain = _estimate(step.gain) if step.gain else NOTHING
        table.add_row(step.stage or path.preset, step.was, step.became, predicted, measured, gain)
    notes = [step.note and f"{step.stage}: {step.note}" for step in path.steps]
    return Group(table, *_said([*filter(None, notes), *path.notes], "yellow"))


def _table(title: Text, columns: Iterable[str], wrap: bool = False) -> Table:
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 or wrap else "right")
    return table


def _said(sentences: Iterable[str], style: str) -> list[RenderableType]:
    return [Padding(Text(sentence, style=style), (0, 0, 0, 2)) for sentence in sentences]


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"
