"""Which configs of a search are trained again on new seeds."""

from __future__ import annotations

from collections.abc import Sequence

from distiller.results.entries import finite, is_full
from distiller.results.pareto import COST_COLUMNS, pareto, spread
from distiller.results.store import Row
from distiller.spaces.config import PipelineConfig
from distiller.spaces.search import Pasha, Search


def finalists_of(rows: Sequence[Row], search: Search) -> tuple[list[Row], str]:
    """At most `search.finalists.top` of a dataset's search rows, and what a person should know about them.

    The best scores of whole runs; with several objectives, members of the Pareto set that stand for it; with
    PASHA, which may let no trial run in full, the best at the highest fidelity first.
    """
    top = search.finalists.top
    if search.costs:
        return _front(rows, search.costs, top)
    if isinstance(search.scheduler, Pasha):
        scored = [
            row for row in rows if row["status"] != "failed" and finite(row["score"]) and _predicts(row)
        ]
        return sorted(scored, key=lambda row: (-row["steps"], -row["score"]))[:top], ""
    return sorted(filter(is_full, rows), key=lambda row: -row["score"])[:top], ""


def _front(rows: Sequence[Row], costs: Sequence[str], top: int) -> tuple[list[Row], str]:
    columns = [COST_COLUMNS[cost] for cost in costs]
    full = [row for row in rows if is_full(row)]
    measured = [row for row in full if all(finite(row[column]) for column in columns)]
    points = [(row["score"], *(-row[column] for column in columns)) for row in measured]
    front = pareto(points)
    chosen = spread([points[i] for i in front], top)
    said = f"{len(chosen)} of the {len(front)} configs of the Pareto set are finalists"
    if len(measured) < len(full):
        said += f"; {len(full) - len(measured)} trials without a measured {' and '.join(costs)} are left out"
    return [measured[front[i]] for i in chosen], said


def _predicts(row: Row) -> bool:
    config = PipelineConfig.model_validate_json(row["config"])
    return config.predicts(row["steps"], row["budget_steps"])
