"""Findings for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from distiller.results.comparison.matrix import RegretMatrix
from distiller.results.findings.report import BeatsNoTeacher, Finding, Findings
from distiller.results.fitted import Fitted

STYLES = {"supported": "bold green", "not supported": "bold red", "cannot tell": "bold yellow"}


def render_findings(found: Findings) -> RenderableType:
    """How many trials beat the student without a teacher; then each claim, its verdict, numbers and rule."""
    parts: list[RenderableType] = [_beats(found.beats_no_teacher)]
    for one in found.findings:
        parts += [Text(""), *_finding(one)]
    if found.regret is not None and len(found.regret.datasets) > 1:
        parts += [Text(""), render_regret(found.regret)]
    return Group(*parts)


def _beats(found: BeatsNoTeacher) -> Text:
    if found.share is None:
        return Text("no trial knows the score of its student without a teacher", style="yellow")
    apart = ", ".join(f"{name} {share:.0%}" for name, share in found.datasets.items() if share is not None)
    more = "; a sweep where none does says nothing" if not found.beat else ""
    return Text(
        f"{found.beat} of {found.trials} full search trials ({found.share:.0%}; 95% interval {found.low:.0%} "
        f"to {found.high:.0%}) beat the same student without a teacher ({apart}){more}",
        style="" if found.beat else "bold red",
    )


def _finding(one: Finding) -> list[RenderableType]:
    said: list[RenderableType] = [
        Text.assemble((one.claim, "bold"), "  ", (one.verdict, STYLES[one.verdict]))
    ]
    lines = [one.reason]
    if one.effect is not None:
        interval = ""
        if one.effect.low is not None and one.effect.high is not None:
            interval = f" (95% interval {one.amount(one.effect.low)} to {one.amount(one.effect.high)})"
        lines.append(f"effect {one.amount(one.effect.value)}{interval}, {one.unit}")
    if one.datasets:
        lines.append(f"{one.trials} trials on {', '.join(one.datasets)}")
    said += [Padding(Text(line), (0, 0, 0, 2)) for line in lines]
    return [*said, Padding(Text(one.rule, style="dim"), (0, 0, 0, 2))]


def render_regret(found: RegretMatrix) -> RenderableType:
    """What each dataset's best config loses on the others; `~` marks what is predicted."""
    title = Text("what the best config of a row's dataset loses on a column's; ~ is predicted", style="bold")
    entries = {(one.of, one.on): one for one in found.entries}
    rows = []
    for of in found.datasets:
        cells = []
        for on in found.datasets:
            one = entries.get((of, on))
            if one is None or one.regret is None:
                cells.append("" if of == on else "?")
                continue
            mark = "~" if one.label == "predicted" else ""
            noise = "" if one.in_noise is None else f" ({one.in_noise:z.1f} SD)"
            cells.append(f"{mark}{one.regret:z.4f}{noise}")
        rows.append([of, *cells])
    numbers = [False, *(True for _ in found.datasets)]
    below = [Padding(Text(found.below_zero, style="dim"), (0, 0, 0, 2))] if found.below_zero else []
    notes = [Padding(Text(note, style="yellow"), (0, 0, 0, 2)) for note in found.notes]
    return Group(title, Fitted(["best config of", *found.datasets], rows, numbers), *below, *notes)
