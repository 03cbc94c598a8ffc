"""What a launch says at its end: leaderboard, importance with its caution, and where the files are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from distiller.results.export import export
from distiller.results.frames import to_frame
from distiller.results.importance import ALL, Importance, importance, over_datasets
from distiller.results.importance.text import render_importance
from distiller.results.leaderboard import leaderboard, render
from distiller.results.store import Store
from distiller.search.designs import designs
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import nearest


def importances(
    store: Store, sweep: str, *, intervals: bool = True, only: Sequence[str] = ()
) -> dict[str, Importance]:
    """Importance on each dataset of a sweep, and their mean as `ALL` where there are two or more.

    Args:
        only: these datasets; none for all.

    Raises:
        InputError: the sweep has no such dataset.
    """
    searched = designs(store, sweep)
    for name in only:
        if name not in searched:
            raise InputError(f"--dataset {name}: not in sweep {sweep}; {nearest(name, list(searched))}")
    trials, epochs = (to_frame(store.read(table, sweep)) for table in ("trials", "epochs"))
    found = {
        dataset: importance(
            trials[trials["dataset"] == dataset],
            design,
            epochs=epochs[epochs["dataset"] == dataset],
            intervals=intervals,
        )
        for dataset, design in searched.items()
        if not only or dataset in only
    }
    overall = over_datasets(found)
    return found if overall is None else {**found, ALL: overall}


def print_summary(store: Store, sweep: str, out: Path, report: Path, console: Console) -> None:
    """Leaderboard, importance, exported configs and report of a finished sweep."""
    from distiller.search.reporting import report as write_report  # plotly takes its time

    boards = leaderboard(store, sweep)
    console.print(render(boards))
    found = importances(store, sweep)
    for dataset, one in found.items():
        console.print(render_importance(dataset, one))
    with_students = [board.dataset for board in boards if board.best is not None]
    for board in boards:
        if board.best is None:
            console.print(
                f"{board.dataset}: no student to export ({board.failed} trials failed)", style="red"
            )
    if with_students:
        for written in export(store, sweep, out, with_students):
            best = f"best config: {written.path.resolve()} ({written.basis})"
            console.print(best, soft_wrap=True, highlight=False)
    write_report(store, sweep, report, found)
    console.print(f"report: {report.resolve()}", soft_wrap=True, highlight=False)
