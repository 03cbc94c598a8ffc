"""Comparisons, ranks and ablation paths for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.path import AblationPath, AblationStep, Score
from distiller.results.comparison.report import (
    ComparisonResult,
    CriticalDifference,
    DatasetComparison,
    Difference,
    SignedRank,
)
from distiller.results.fitted import Fitted

NOTHING = "-"
SURE = 0.05
Count = tuple[str, Callable[[Difference], str]]
MEASURES: tuple[tuple[str, Callable[[Difference], Estimate | None], Count | None], ...] = (
    ("the best of n", lambda one: one.best, ("n", lambda one: str(one.n))),
    ("means", lambda one: one.mean, None),
    ("adjusted means", lambda one: one.adjusted, None),
    (
        "pairs",
        lambda one: one.paired.difference if one.paired else None,
        ("pairs", lambda one: str(one.paired.pairs if one.paired else 0)),
    ),
    ("shares that got through", lambda one: one.through, None),
)
"""Their names in `difference of ...`, the estimate, and a column that says what it rests on."""


def render_comparison(found: ComparisonResult) -> RenderableType:
    """Choices per dataset, differences, ranks and what to know of them."""
    parts: list[RenderableType] = [Text(f"{found.what}: {', '.join(found.choices)}", style="bold")]
    for dataset in found.datasets:
        parts += [*_choices(dataset), *_said(dataset.notes, "yellow")]
    shown = [d for dataset in found.datasets for d in dataset.differences]
    parts += _differences([*found.overall, *shown], several=len(found.datasets) > 1)
    if found.ranks is not None:
        parts.append(render_ranks(found.ranks))
    if found.signed_rank:
        parts += _signed_ranks(found.signed_rank)
    parts += [*_said(found.notes, "yellow"), *_said(found.rules, "dim")]
    return Group(*parts)


def _choices(found: DatasetComparison) -> list[RenderableType]:
    """The best choice first; columns in which nothing would stand are left out."""
    noise = "" if found.noise_sd is None else (
        f", SD between seeds {found.noise_sd:.4f} ({found.noise_repeats} repeats)"
    )  # fmt: skip
    title = Text.assemble((found.dataset, "bold"), f"  {found.metric or 'score'}, {found.basis}{noise}")
    used = [one.used for one in found.choices if one.used]
    n = min(found.differences, key=lambda d: d.n).n if found.differences else min(used, default=1)
    ranked = sorted(found.choices, key=lambda c: -(c.best_of[n - 1] if len(c.best_of) >= n else -1e9))
    columns = {
        "choice": [one.choice for one in ranked],
        "got\nthrough": [f"{one.completed} of {one.completed + one.stopped}" for one in ranked],
        "failed": [str(one.failed or "") for one in ranked],
        "compared": [str(one.used) for one in ranked],
        "mean": [_number(one.mean) for one in ranked],
        "SD": [_number(one.sd) for one in ranked],
        f"best\nof {n}": [
            f"{one.best_of[n - 1]:.4f}" if len(one.best_of) >= n else NOTHING for one in ranked
        ],
        "of the\nteacher's": [
            NOTHING if one.of_teacher is None else f"{one.of_teacher:.0%}" for one in ranked
        ],
    }
    if not any(one.failed for one in ranked):
        del columns["failed"]
    if all(one.used == one.completed for one in ranked):
        del columns["compared"]
    if all(one.of_teacher is None for one in ranked):
        del columns["of the\nteacher's"]
    return [title, _fitted(columns)]


def _differences(differences: Sequence[Difference], several: bool) -> list[RenderableType]:
    """A table for each measure, all datasets together first."""
    parts: list[RenderableType] = []
    for name, estimate, count in MEASURES:
        rows = [(one, found) for one in differences if (found := estimate(one)) is not None]
        if not rows:
            continue
        columns: dict[str, list[str | Text]] = {"": [f"{one.one} - {one.other}" for one, _ in rows]}
        if several:
            columns["on"] = [one.dataset or "all datasets" for one, _ in rows]
        if count is not None:
            columns[count[0]] = [count[1](one) for one, _ in rows]
        columns["difference"] = [_coloured(found, f"{found.value:+.4f}") for _, found in rows]
        columns["95% interval"] = [_interval(found) for _, found in rows]
        columns["p"] = [_p(found) for _, found in rows]
        tested = any(_sure(found) is not None for _, found in rows)
        said = ", p corrected for all that are shown" if tested else ""
        styles = ["bold" if several and one.dataset is None else "" for one, _ in rows]
        title = Text.assemble("difference of ", (name, "bold"), said)
        parts += [title, _fitted(columns, styles, texts=1 + several)]
    return parts


def _sure(one: Estimate) -> float | None:
    return one.p if one.p_holm is None else one.p_holm


def _coloured(one: Estimate, said: str) -> Text:
    p = _sure(one)
    differs = p is not None and p < SURE
    return Text(said, style=("green" if one.value > 0 else "red") if differs else "")


def _interval(one: Estimate) -> str:
    return NOTHING if one.low is None or one.high is None else f"{one.low:+.4f} to {one.high:+.4f}"


def _p(one: Estimate) -> str:
    p = _sure(one)
    return NOTHING if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001"


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


def _signed_ranks(found: Sequence[SignedRank]) -> list[RenderableType]:
    title = Text.assemble(
        ("Bayesian signed-rank test", "bold"),
        f" over {found[0].datasets} datasets: probability that the first is better, that the two differ by "
        f"{found[0].rope:g} at most, that the second is better",
    )
    columns = {
        "": [f"{one.one}, {one.other}" for one in found],
        "the first": [f"{one.p_one:.2f}" for one in found],
        "neither": [f"{one.p_rope:.2f}" for one in found],
        "the second": [f"{one.p_other:.2f}" for one in found],
    }
    return [title, _fitted(columns)]


def render_path(path: AblationPath) -> RenderableType:
    """An ablation path, a stage a row."""
    r2 = "" if path.r2 is None else f", held-out R2 {path.r2:.2f}"
    title = Text.assemble(
        (path.dataset, "bold"),
        f"  {path.metric or 'score'}, from {path.preset} to the best config: {path.label}{r2}",
    )
    runs = [step.measured for step in path.steps if step.measured and step.measured.value is not None]
    columns: dict[str, list[str | Text]] = {
        "stage": [step.stage or path.preset for step in path.steps],
        "was": [step.was for step in path.steps],
        "becomes": [step.became for step in path.steps],
    }
    if any(step.predicted.value is not None for step in path.steps):
        columns["predicted"] = [_number(step.predicted.value) for step in path.steps]
    if runs:
        columns["measured"] = [_measured(step.measured) for step in path.steps]
    columns |= _gains(path.steps)
    notes = [step.note and f"{step.stage}: {step.note}" for step in path.steps]
    seeds = sorted({one.seeds for one in runs})
    if runs:
        rests = " or ".join(map(str, seeds)) + (" seed" if seeds == [1] else " seeds")
        notes.append(f"measured: mean ± SD over {rests}")
    if any(step.gain for step in path.steps):
        predicted = "; ~ is predicted" if any(s.gain_label == "predicted" for s in path.steps) else ""
        notes.append(f"gain: over the step before{predicted}")
    said = _said([*filter(None, notes), *path.notes], "yellow")
    rows = list(zip(*columns.values(), strict=True))
    return Group(title, Fitted(list(columns), rows, [i > 2 for i in range(len(columns))], lines=8), *said)


def _measured(one: Score | None) -> str:
    if one is None or one.value is None:
        return NOTHING
    return f"{one.value:.4f}" + ("" if one.sd is None else f" ± {one.sd:.4f}")


def _gains(steps: Sequence[AblationStep]) -> dict[str, list[str | Text]]:
    """Columns of gains over the step before, `~` where predicted; what is empty is left out."""
    gains = [step.gain for step in steps]
    if all(one is None for one in gains):
        return {}
    found: dict[str, list[str | Text]] = {"gain": []}
    for step in steps:
        mark = "~" if step.gain_label == "predicted" else ""
        found["gain"].append(_coloured(step.gain, f"{mark}{step.gain.value:+.4f}") if step.gain else NOTHING)
    if any(one and one.low is not None for one in gains):
        found["95% interval"] = [_interval(one) if one else NOTHING for one in gains]
    return found


def _fitted(
    columns: Mapping[str, Sequence[str | Text]], styles: Sequence[str] = (), texts: int = 1
) -> Fitted:
    """Of columns by their names; all but the first `texts` hold numbers."""
    rows = list(zip(*columns.values(), strict=True))
    return Fitted(list(columns), rows, [i >= texts for i in range(len(columns))], styles)


def _said(sentences: Iterable[str], style: str) -> list[RenderableType]:
    return [Padding(Text(sentence, style=style), (0, 0, 0, 2)) for sentence in sentences]


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"
