"""A sweep's standing for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from distiller.results.failures import Failure
from distiller.results.leaderboard import render as render_boards
from distiller.results.standing import Attempt, Pace, Standing

MOST_FAILURES, MOST_ATTEMPTS = 5, 5


def render(found: Standing) -> RenderableType:
    """Leaderboard, searches that ended early, failures by cause, attempts that look dead, pace, time left and
    what is waited for."""
    parts: list[RenderableType] = [render_boards(found.boards)]
    parts += [
        Text(f"{dataset}: the search ended {end.fewer} trials early: {end.why}")
        for dataset, end in found.ended_early.items()
    ]
    parts += _failures(found.failures)
    parts += _attempts(found)
    parts.append(Text(_pace(found.pace)))
    parts.append(Text("time left: " + ("unknown yet" if found.seconds_left is None else _left(found))))
    label = "waits for "
    parts += [Text((label if n == 0 else " " * len(label)) + line) for n, line in enumerate(found.waits_for)]
    return Group(*parts)


def _failures(found: Sequence[Failure]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for one in found[:MOST_FAILURES]:
        datasets = ", ".join(f"{name} {count}" for name, count in one.datasets.items())
        parts.append(Text(f"failed {one.count} times ({datasets}): {one.error}", style="red"))
        parts.append(Text(f"  for example: {one.where}", style="dim", no_wrap=True, overflow="ignore"))
    if more := found[MOST_FAILURES:]:
        count = sum(one.count for one in more)
        parts.append(Text(f"failed {count} times more, of {len(more)} other causes (--json lists all)"))
    return [*parts, Text("")] if parts else []


def _attempts(found: Standing) -> list[RenderableType]:
    dead = [one for one in found.running if one.looks_dead]
    text = f"{len(found.running)} trials started and not ended (running, or lost with their worker)"
    parts: list[RenderableType] = [Text(text + (f"; {len(dead)} look dead:" if dead else ""))]
    parts += [Text(f"  {_attempt(one)}", style="yellow") for one in dead[:MOST_ATTEMPTS]]
    if len(dead) > MOST_ATTEMPTS:
        parts.append(Text(f"  and {len(dead) - MOST_ATTEMPTS} more (--json lists all)", style="yellow"))
    return parts


def _attempt(one: Attempt) -> str:
    return f"{one.trial}, attempt {one.attempt} on {one.host or 'an unknown host'}: {clock(one.seconds)}"


def _pace(pace: Pace) -> str:
    if pace.overall is None:
        return "trials an hour: unknown yet"
    recent = "none ended in the last hour" if pace.recent is None else f"{pace.recent:.1f} in the last hour"
    busy = "" if pace.at_a_time is None else f", {pace.at_a_time:.1f} at a time"
    return f"trials an hour: {recent}{busy}; {pace.overall:.1f} overall"


def _left(found: Standing) -> str:
    assert found.seconds_left is not None
    return "none" if found.over else f"about {clock(found.seconds_left)} at this pace, while workers run"


def clock(seconds: float) -> str:
    """A duration in the two units that matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02d} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
