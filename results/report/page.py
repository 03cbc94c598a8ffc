"""Gathers a sweep's rows and renders the page."""

from __future__ import annotations

import base64
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import plotly.offline
import yaml

from distiller.results.entries import is_full
from distiller.results.export import write_file
from distiller.results.failures import failures
from distiller.results.frames import to_frame
from distiller.results.frozen import about_launch, frozen_sweep
from distiller.results.importance import importance
from distiller.results.leaderboard import DatasetBoard, boards
from distiller.results.report import words
from distiller.results.report.figures import curves, parameter_bars, score_against, stage_bars
from distiller.results.report.parallel import parallel
from distiller.results.store import Row, Store
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import write_space
from distiller.spaces.space import Space
from distiller.spaces.sweep import SweepConfig

SpaceOf = Callable[[SweepConfig, str], Space]
MOST_FAILURES = 20


def write_report(store: Store, sweep: str, out: Path, space_of: SpaceOf = SweepConfig.space_of) -> Path:
    """Writes the report of a sweep to the file `out` and returns it.

    Args:
        space_of: the space that a dataset was searched in; the sweep's own by default.

    Raises:
        InputError: there is no such sweep, or `out` cannot be written.
    """
    store.check_sweep(sweep)
    tables = {table: store.read_with_report(table, sweep) for table in ("trials", "datasets", "epochs")}
    trials, datasets, epochs = (rows.to_pylist() for rows, _ in tables.values())
    frozen = frozen_sweep(store, sweep)
    launched = about_launch(store, sweep)
    figures: list[dict[str, Any]] = []
    sections = []
    frame = to_frame(tables["trials"][0])
    for number, board in enumerate(boards(trials, datasets, frozen)):
        space = space_of(frozen, board.dataset) if frozen and board.dataset in frozen.datasets else None
        mine = [row for row in trials if row["dataset"] == board.dataset]
        steps = [row for row in epochs if row["dataset"] == board.dataset]
        shares = _importance(frame[frame["dataset"] == board.dataset], space, mine)
        drawn = _drawn(board, mine, steps, space, shares, figures)
        facts = {"id": f"dataset-{number}", "board": board, "importance": shares, "space": space}
        sections.append(facts | drawn)
    context = {
        "sweep": sweep,
        "store": store.url,
        "sections": sections,
        "facts": _facts(trials, frozen, launched),
        "running": len(store.unfinished_attempts(sweep)),
        "skipped": [bad for _, skipped in tables.values() for bad in skipped],
        "failures": (groups := failures(trials))[:MOST_FAILURES],
        "failures_left_out": groups[MOST_FAILURES:],
        "spaces": _spaces(sections),
        "file": store.read_text(sweep, "sweep.yaml"),
    }
    write_file(out, render(context, figures))
    return out


def _importance(frame: Any, space: Space | None, trials: Sequence[Row]) -> dict[str, Any]:
    """`Importance.to_dict()`, or its `reason` alone where it has no rows to rest on."""
    if space is None:
        return {"reason": "the sweep was stored without its file, so what was searched is not known"}
    if not any(row["role"] == "search" and row["status"] != "failed" for row in trials):
        return {"reason": "no search trial has a score"}
    try:
        return importance(frame, space).to_dict()
    except InputError as error:  # a table from elsewhere, without this space's columns
        return {"reason": str(error)}


def _drawn(
    board: DatasetBoard,
    trials: Sequence[Row],
    epochs: Sequence[Row],
    space: Space | None,
    shares: dict[str, Any],
    figures: list[dict[str, Any]],
) -> dict[str, Any]:
    """The section's figures by name: numbers in `figures`, which they join, or None."""

    def add(figure: dict[str, Any] | None) -> int | None:
        if figure is not None:
            figures.append(figure)
        return None if figure is None else len(figures) - 1

    lines, not_drawn = curves(epochs, trials, board) or (None, "")
    ranked = sorted(shares.get("parameters", ()), key=lambda p: -p["share"])
    columns = [p["column"] for p in ranked if p["column"]]
    return {
        "curves": add(lines),
        "curves_note": not_drawn,
        "size": add(score_against("parameters", "parameters of the student", trials, board)),
        "latency": add(score_against("latency_ms", "milliseconds of one forward pass", trials, board)),
        "stages": add(stage_bars(shares)) if "stages" in shares else None,
        "parameters": add(parameter_bars(shares)) if "parameters" in shares else None,
        "parallel": parallel(trials, space, board.metric or "score", columns) if space else None,
        "full": sum(row["role"] == "search" and is_full(row) for row in trials),
    }


def _facts(trials: Sequence[Row], sweep: SweepConfig | None, launched: dict[str, Any]) -> dict[str, Any]:
    starts = [row["started_at"] for row in trials if row["started_at"]]
    ends = [row["ended_at"] for row in trials if row["ended_at"]]
    return {
        "written_at": datetime.now(UTC),
        "launched_at": launched.get("launched_at"),
        "version": launched.get("distiller_version"),
        "commit": launched.get("git_commit"),
        "wall_seconds": (max(ends) - min(starts)).total_seconds() if starts and ends else None,
        "trial_seconds": sum(row["wall_seconds"] or 0.0 for row in trials) if trials else None,
        "devices": Counter(row["device"] for row in trials if row["device"]),
        "status": Counter(row["status"] for row in trials),
        "roles": Counter(row["role"] for row in trials),
        "steps": sweep.budget.steps if sweep else None,
        "search": sweep.search if sweep else None,
    }


def _spaces(sections: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Each different space as YAML, with the names of its datasets."""
    found: dict[str, list[str]] = {}
    for section in sections:
        if section["space"] is not None:
            space = write_space(section["space"])
            text = yaml.safe_dump(space, sort_keys=False, default_flow_style=None, width=100)
            found.setdefault(text, []).append(section["board"].dataset)
    return [(", ".join(names), text) for text, names in found.items()]


def render(context: dict[str, Any], figures: Sequence[dict[str, Any]]) -> str:
    """The page. Text is escaped by the template, and scripts without the page's nonce do not run."""
    templates = resources.files("distiller.results") / "templates"
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: (templates / name).read_text("utf-8")),
    )
    environment.filters.update(words.FILTERS)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template("report.html").render(
        **context,
        figures=figures,
        nonce=base64.b64encode(secrets.token_bytes(16)).decode(),
        plotly=plotly.offline.get_plotlyjs(),
    )
