"""A recommendation for a terminal: each config as YAML that is a config, what it will reach, and why."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from distiller.results.recommendation.predict import Predicted
from distiller.search.recommending import Recommendation, Recommended
from distiller.spaces.config import PipelineConfig
from distiller.spaces.files import write_yaml_line
from distiller.spaces.narrowing import concise


def render_recommendation(found: Recommendation, paths: Sequence[Path] = ()) -> RenderableType:
    """The configs, the best first, with the file of each if there are any; then what they rest on."""
    parts: list[RenderableType] = [Text(found.dataset, style="bold")]
    for number, (one, path) in enumerate(zip_longest(found.configs, paths), 1):
        parts.append(_headed(number, one, path))
        parts += [Padding(Text(line, style="dim"), (0, 0, 0, 3)) for line in one.why]
        parts.append(Padding(Text(as_yaml(one.config)), (0, 0, 0, 3)))
    advice = found.advice
    if advice is not None:
        if advice.best is not None and len(advice.suggestions) > 1:
            of = f"the best of these {len(advice.suggestions)}"
            parts.append(Text.assemble(("\n" + of, "bold"), f" reaches {said_of(advice.best)}"))
        if advice.nearest:
            near = ", ".join(f"{one.dataset} ({one.distance:.2f})" for one in advice.nearest)
            parts.append(Text(f"most alike: {near}, 1 is a typical distance", style="dim"))
        parts.append(Text(f"by {advice.chosen.reason}"))
        rests = (
            f"rests on {advice.trials} trials of {advice.configs} configs, on "
            f"{_counted(advice.datasets, 'dataset')} in {_counted(advice.groups, 'group')}"
        )
        parts.append(Text(rests))
    parts += [Padding(Text(note, style="yellow"), (0, 0, 0, 2)) for note in found.notes]
    return Group(*parts)


def as_yaml(config: PipelineConfig) -> str:
    """A stage a line, without defaults; what `PipelineConfig` reads."""
    stages = concise(config).items()
    return "\n".join(f"{stage}: {write_yaml_line(value)}" for stage, value in stages if value)


def said_of(ratio: Predicted) -> str:
    """The share of the teacher's score in words."""
    interval = "" if ratio.low is None else f", 95% interval {ratio.low:.3f} to {ratio.high:.3f}"
    basis = f" (by {ratio.by})" if ratio.by else ""
    of = f"on {_counted(ratio.groups, 'group')} of datasets left out"
    return f"{ratio.value:.3f} of the teacher's score{interval}, {of}{basis}"


def _headed(number: int, one: Recommended, path: Path | None) -> Text:
    head = f"\n{number}  {path or one.config.config_id}"
    if one.preset:
        return Text.assemble((head, "bold cyan"), f"  preset {one.preset}")
    return Text.assemble((head, "bold cyan"), f"  {said_of(one.ratio)}" if one.ratio else "")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
