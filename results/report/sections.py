"""What the page shows of each dataset and of all of them, with the figures that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distiller.results.comparison import ComparisonResult, DatasetComparison
from distiller.results.entries import is_full
from distiller.results.importance.over import ALL
from distiller.results.leaderboard import DatasetBoard
from distiller.results.report.analysis import Analysis
from distiller.results.report.choices import ablation, against_best, best_of_n, critical_difference
from distiller.results.report.figure import Figure
from distiller.results.report.parallel import parallel
from distiller.results.report.regret import regret_map, stage_differences
from distiller.results.report.shares import over_datasets, pair_map, parameter_bars, stage_bars, top_bars
from distiller.results.report.trials import curves, score_against
from distiller.results.store import Row


class Gallery:
    """The report's figures, by names of which no two are the same, also where files know no case."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}
        self._taken: set[str] = set()

    def add(self, figure: Figure | None) -> str | None:
        """Takes the figure in and returns the name that the page calls it by; None of None."""
        if figure is None:
            return None
        name, number = figure.name, 2
        while name.lower() in self._taken:
            name, number = f"{figure.name}-{number}", number + 1
        self._taken.add(name.lower())
        self.figures[name] = figure
        return name


def dataset_section(
    number: int, board: DatasetBoard, trials: Sequence[Row], epochs: Sequence[Row], analysis: Analysis,
    gallery: Gallery,
) -> dict[str, Any]:  # fmt: skip
    """One dataset: its board, and figures by name or None.

    Args:
        trials, epochs: rows of the dataset.
    """
    name = board.dataset
    found = analysis.importance.get(name) or {}
    design, metric = analysis.designs.get(name), board.metric or "score"
    inner = [one for parameters in (found.get("parameters") or {}).values() for one in parameters]
    inner.sort(key=lambda one: -one["share"])
    columns = [one["column"] for one in inner if one["column"]]
    return {
        "id": f"dataset-{number}",
        "board": board,
        "design": design,
        "best_row": board.best.rows[0] if board.best else None,
        "importance": found,
        "curves": gallery.add(curves(epochs, trials, board)),
        "size": gallery.add(score_against("parameters", "parameters of the student", trials, board)),
        "latency": gallery.add(score_against("latency_ms", "milliseconds of a forward pass", trials, board)),
        "stages": gallery.add(stage_bars(found, name)),
        "pairs": gallery.add(pair_map(found, name)),
        "parameters": gallery.add(parameter_bars(found, name)),
        "top": gallery.add(top_bars(found, name)),
        "comparisons": [
            shown
            for one in analysis.comparisons
            for mine in one.datasets
            if mine.dataset == name and (shown := _comparison(one, mine, gallery))
        ],
        "ablations": [
            {"path": path, "figure": gallery.add(ablation(path))}
            for path in analysis.ablations
            if path.dataset == name
        ],
        "parallel": gallery.add(parallel(trials, design, name, metric, columns) if design else None),
        "full": sum(row["role"] == "search" and is_full(row) for row in trials),
    }  # fmt: skip


def _comparison(
    question: ComparisonResult, one: DatasetComparison, gallery: Gallery
) -> dict[str, Any] | None:
    """A question's figures on a dataset; None where it has none."""
    apart = gallery.add(against_best(one.differences, question.column, one.dataset, one.metric))
    curve = gallery.add(best_of_n(one, question.column))
    if apart is None and curve is None:
        return None
    return {"question": question, "one": one, "apart": apart, "curve": curve}


def overall_section(analysis: Analysis, gallery: Gallery) -> dict[str, Any]:
    """What concerns several datasets: figures by name or None."""
    regret = analysis.findings.regret if analysis.findings else None
    ranks = [
        {"question": one, "figure": gallery.add(critical_difference(one.ranks, one.column))}
        for one in analysis.comparisons
        if one.ranks is not None
    ]
    section = {
        "shares": gallery.add(over_datasets(analysis.importance)),
        "mean": ALL in analysis.importance,
        "ranks": ranks,
        "overall": [
            {"question": one, "figure": name}
            for one in analysis.comparisons
            if (name := gallery.add(against_best(one.overall, one.column, "all-datasets", None)))
        ],
        "regret": regret,
        "regret_map": gallery.add(regret_map(regret)) if regret else None,
        "between": gallery.add(stage_differences(regret)) if regret else None,
    }
    return {
        **section,
        "shown": any(section[name] for name in ("shares", "ranks", "overall", "regret_map", "between")),
    }
