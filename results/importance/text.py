"""Importance for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from distiller.results.fitted import Fitted
from distiller.results.importance.report import Importance, Interval

PARTS, SHOWN = 3, 0.01
"""Parameters of a stage and pairs of stages that are shown, and the share below which none is."""


def render_importance(dataset: str, found: Importance) -> RenderableType:
    """Its stages with their parameters, the second view, or why the trials cannot tell."""
    parts: list[RenderableType] = [Text(f"importance on {dataset}: {found.verdict}", style="bold")]
    if found.verdict == "ok":
        below = "; below each stage its parts" if found.parameters else ""
        known = any(stage.main_interval is not None for stage in found.stages)
        sure = ", with 95% intervals" if known else ""
        parts += [Text(f"shares of the explained variance{sure}{below}", style="dim"), _stages(found)]
    parts.append(Text(found.reason, style="yellow" if found.verdict != "ok" else ""))
    if found.noise_share is not None:
        parts.append(Text(_noise(found)))
    if found.verdict == "ok":
        pairs = [f"{' x '.join(p.stages)} {p.share:.0%}" for p in found.pairs[:PARTS] if p.share >= SHOWN]
        parts.append(Text("interactions: " + (", ".join(pairs) or "none of 1% or more")))
    if found.top is not None:
        ranked = sorted(found.top.stages.items(), key=lambda one: -one[1])
        said = ", ".join(f"{stage} {share:.0%}" for stage, share in ranked if share >= SHOWN)
        best = f"the top {found.top.quantile:.0%} ({found.top.runs} runs; PED-ANOVA, another question)"
        parts.append(Text(f"what reaches {best}: {said or 'nothing beyond chance'}"))
    if found.verdict == "ok":
        parts += [Padding(Text(sentence, style="dim"), (0, 0, 0, 2)) for sentence in found.caution]
    return Group(*parts)


def _stages(found: Importance) -> Fitted:
    """A row for each stage, and below it one for each of its largest parts."""
    rows: list[list[str | Text]] = []
    for stage in found.stages:
        alone, together = (_share(stage.main, stage.main_interval), _share(stage.total, stage.total_interval))
        rows.append([stage.stage, alone, together, "yes" if stage.influential else "not shown"])
        inner = sorted((p for p in found.parameters if p.stage == stage.stage), key=lambda p: -p.share)
        for part in inner[:PARTS]:
            if part.share >= SHOWN:
                name = f"  {part.path.split('.', 1)[-1]}"
                rows.append([Text(name, style="dim"), Text(_share(part.share, None), style="dim"), "", ""])
    return Fitted(["stage", "alone", "with interactions", "influential"], rows, [False] * 4)


def _share(share: float, interval: Interval | None) -> str:
    """As wide as 100%, so that shares stand below each other."""
    return f"{share:>4.0%}" + ("" if interval is None else f" ({interval[0]:.0%} to {interval[1]:.0%})")


def _noise(found: Importance) -> str:
    repeats = f"{found.noise_repeats} repeat{'' if found.noise_repeats == 1 else 's'}"
    return f"seeds of one config make {found.noise_share:.0%} of the variance of full runs ({repeats})"
