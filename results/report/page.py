"""Gathers a sweep's rows and renders the page."""

from __future__ import annotations

import base64
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import plotly.offline
import pyarrow as pa
import pyarrow.compute as pc

from distiller.results.export import write_file
from distiller.results.failures import failures
from distiller.results.frozen import about_launch, frozen_sweep
from distiller.results.leaderboard import boards
from distiller.results.report import words
from distiller.results.report.analysis import Analysis
from distiller.results.report.figure import Figure
from distiller.results.report.searched import searched
from distiller.results.report.sections import Gallery, dataset_section, overall_section
from distiller.results.report.summary import VERDICTS, summary
from distiller.results.report.trials import with_curves
from distiller.results.store import Row, Store
from distiller.spaces.sweep import SweepConfig

MOST_FAILURES = 20
UNREAD = ("metrics", "versions", "adaptations")
"""Columns of trials that the report has no use for."""


@dataclass(frozen=True)
class Report:
    """A report that was written: its file, and its figures by the names of their files."""

    path: Path
    figures: Mapping[str, Figure]


def write_report(store: Store, sweep: str, out: Path, analysis: Analysis | None = None) -> Report:
    """Writes the report of a sweep to the file `out`.

    Args:
        analysis: what is known beyond the rows; without it the report has rows alone.

    Raises:
        InputError: there is no such sweep, or `out` cannot be written.
    """
    store.check_sweep(sweep)
    analysis = analysis or Analysis()
    tables = {table: store.read_with_report(table, sweep) for table in ("trials", "datasets", "epochs")}
    trials, datasets = _rows(tables["trials"][0]), _rows(tables["datasets"][0])
    frozen = frozen_sweep(store, sweep)
    launched = about_launch(store, sweep)
    gallery = Gallery()
    found = boards(trials, datasets, frozen)
    overall = overall_section(analysis, gallery)
    sections = []
    for number, board in enumerate(found):
        mine = [row for row in trials if row["dataset"] == board.dataset]
        steps = _epochs(tables["epochs"][0], with_curves(mine))
        sections.append(dataset_section(number, board, mine, steps, analysis, gallery))
    context = {
        "sweep": sweep,
        "store": store.url,
        "sections": sections,
        "overall": overall,
        "points": summary(found, analysis),
        "analysis": analysis,
        "verdicts": VERDICTS,
        "facts": _facts(trials, frozen, launched),
        "distilled": frozen is not None or any(map(words.is_distilled, found)),
        "running": len(store.unfinished_attempts(sweep)),
        "skipped": [bad for _, skipped in tables.values() for bad in skipped],
        "failures": (groups := failures(trials))[:MOST_FAILURES],
        "failures_left_out": groups[MOST_FAILURES:],
        "searched": searched(analysis.designs),
        "file": store.read_text(sweep, "sweep.yaml"),
    }
    figures = {name: replace(figure, name=name) for name, figure in gallery.figures.items()}
    write_file(out, render(context, figures))
    return Report(out, figures)


def _rows(table: pa.Table) -> list[Row]:
    """Plain rows, without what is not read: text of 10,000 trials takes its time."""
    kept = [
        name
        for name in table.column_names
        if name not in UNREAD and table.column(name).null_count < len(table)
    ]
    rows: list[dict[str, Any]] = table.select(kept).to_pylist()
    left_out = dict.fromkeys(set(table.column_names) - set(kept))
    return [{**left_out, **row} for row in rows]


def _epochs(table: pa.Table, trials: Sequence[Row]) -> list[Row]:
    """Rows of the learning curves of those trials."""
    names = pa.array([row["trial_id"] for row in trials], pa.string())
    chosen = table.filter(pc.is_in(table["trial_id"], value_set=names))
    rows: list[Row] = chosen.select(["trial_id", "attempt", "step", "score"]).to_pylist()
    return rows


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


def render(context: dict[str, Any], figures: Mapping[str, Figure]) -> str:
    """The page. Text is escaped by the template, and scripts without the page's nonce do not run."""
    return _template().render(
        **context,
        figures=figures,
        drawn={name: figure.to_dict() for name, figure in figures.items()},
        nonce=base64.b64encode(secrets.token_bytes(16)).decode(),
        plotly=plotly.offline.get_plotlyjs(),
    )


@cache
def _template() -> jinja2.Template:
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
    return environment.get_template("report.html")
