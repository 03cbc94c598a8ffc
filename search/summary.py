"""What a launch says at its end: leaderboard, importance with its caution, and where the files are."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from distiller.results.export import export
from distiller.results.frames import to_frame
from distiller.results.frozen import frozen_sweep
from distiller.results.importance import Importance, importance
from distiller.results.leaderboard import leaderboard, render
from distiller.results.store import Store
from distiller.search.plan import searched_space
from distiller.spaces.errors import InputError


def importances(store: Store, sweep: str) -> dict[str, Importance]:
    """Importance on each dataset of a sweep."""
    config = frozen_sweep(store, sweep)
    if config is None:
        raise InputError(f"--sweep {sweep}: its file is not in the store, so its space is unknown")
    trials = to_frame(store.read("trials", sweep))
    return {
        dataset: importance(trials[trials["dataset"] == dataset], searched_space(store, config, dataset))
        for dataset in config.datasets
    }


def render_importance(dataset: str, found: Importance) -> RenderableType:
    """One dataset's stages and their parameters, or why the trials cannot tell."""
    parts: list[RenderableType] = [Text(f"importance on {dataset}: {found.verdict}", style="bold")]
    if found.verdict == "ok":
        table = Table("stage", "alone", "with interactions", "influential", "its parts")
        for stage in found.stages:
            inner = sorted((p for p in found.parameters if p.stage == stage.stage), key=lambda p: -p.share)
            shown = ", ".join(
                f"{p.path.split('.', 1)[-1]} {p.share:.0%}" for p in inner[:3] if p.share >= 0.01
            )
            mark = "yes" if stage.influential else "not shown"
            table.add_row(stage.stage, f"{stage.main:.0%}", f"{stage.total:.0%}", mark, shown)
        parts.append(table)
    parts.append(Text(found.reason, style="yellow" if found.verdict != "ok" else ""))
    if found.verdict == "ok":
        parts += [Padding(Text(sentence, style="dim"), (0, 0, 0, 2)) for sentence in found.caution]
    return Group(*parts)


def print_summary(store: Store, sweep: str, out: Path, report: Path, console: Console) -> None:
    """Leaderboard, importance, exported configs and report of a finished sweep."""
    from distiller.results.report import write_report  # plotly takes its time

    boards = leaderboard(store, sweep)
    console.print(render(boards))
    for dataset, found in importances(store, sweep).items():
        console.print(render_importance(dataset, found))
    with_students = [board.dataset for board in boards if board.best is not None]
    for board in boards:
        if board.best is None:
            console.print(
                f"{board.dataset}: no student to export ({board.failed} trials failed)", style="red"
            )
    if with_students:
        for one in export(store, sweep, out, with_students):
            console.print(f"best config: {one.path.resolve()} ({one.basis})", soft_wrap=True, highlight=False)
    path = write_report(store, sweep, report, lambda config, name: searched_space(store, config, name))
    console.print(f"report: {path.resolve()}", soft_wrap=True, highlight=False)
