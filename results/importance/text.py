"""Importance for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from distiller.results.importance.report import Importance, Interval

PARTS = 3
"""Parameters of a stage and pairs of stages that are shown."""


def render_importance(dataset: str, found: Importance) -> RenderableType:
    """Its stages with their parameters, the second view, or why the trials cannot tell."""
    parts: list[RenderableType] = [Text(f"importance on {dataset}: {found.verdict}", style="bold")]
    if found.verdict == "ok":
        parts.append(_stages(found))
    parts.append(Text(found.reason, style="yellow" if found.verdict != "ok" else ""))
    if found.noise_share is not None:
        parts.append(Text(f"seeds of one config make {found.noise_share:.0%} of the variance of full runs"))
    if found.verdict == "ok":
        pairs = [f"{' x '.join(p.stages)} {p.share:.0%}" for p in found.pairs[:PARTS] if p.share >= 0.01]
        parts.append(Text("interactions: " + (", ".join(pairs) or "none of 1% or more")))
    if found.top is not None:
        ranked = sorted(found.top.stages.items(), key=lambda one: -one[1])
        said = ", ".join(f"{stage} {share:.0%}" for stage, share in ranked if share >= 0.01)
        best = f"the top {found.top.quantile:.0%} ({found.top.runs} runs; PED-ANOVA, another question)"
        parts.append(Text(f"what reaches {best}: {said or 'nothing beyond chance'}"))
    if found.verdict == "ok":
        parts += [Padding(Text(sentence, style="dim"), (0, 0, 0, 2)) for sentence in found.caution]
    return Group(*parts)


def _stages(found: Importance) -> Table:
    table = Table()
    table.add_column("stage", no_wrap=True)
    for name in ("alone", "95%", "with interactions", "95%"):
        table.add_column(name, justify="right", no_wrap=name == "95%")
    table.add_column("influential")
    if found.parameters:
        table.add_column("its parts")
    for stage in found.stages:
        inner = sorted((p for p in found.parameters if p.stage == stage.stage), key=lambda p: -p.share)
        said = [f"{p.path.split('.', 1)[-1]} {p.share:.0%}" for p in inner[:PARTS] if p.share >= 0.01]
        table.add_row(
            stage.stage,
            f"{stage.main:.0%}",
            _interval(stage.main_interval),
            f"{stage.total:.0%}",
            _interval(stage.total_interval),
            "yes" if stage.influential else "not shown",
            *([", ".join(said)] if found.parameters else []),
        )
    return table


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval[0]:.0%} to {interval[1]:.0%}"
