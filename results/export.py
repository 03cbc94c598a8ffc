"""The best config of each dataset as a recipe file, which `distiller train` trains again."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from distiller.results.entries import Entry, Scores, best_of, is_full
from distiller.results.frozen import about_launch, frozen_sweep
from distiller.results.imported.kept import is_imported
from distiller.results.leaderboard import DatasetBoard, boards
from distiller.results.store import Row, Store
from distiller.spaces.errors import InputError
from distiller.spaces.files import write_yaml
from distiller.spaces.narrowing import nearest
from distiller.spaces.recipe import IMPORTED, Recipe, check_recipe
from distiller.spaces.sweep import SweepConfig

_log = logging.getLogger("distiller.results")


@dataclass(frozen=True)
class Exported:
    """One recipe file that was written.

    Attributes:
        recipe: what `distiller train` trains; None of an imported table, whose settings are its own.
        basis: what the choice rests on, in words.
    """

    dataset: str
    path: Path
    recipe: Recipe | None
    basis: str


def chosen_sweep(store: Store, sweep: str | None) -> str:
    """The sweep named, or the store's only one; InputError where that does not say which."""
    if sweep is not None:
        return store.check_sweep(sweep)
    known = store.sweeps()
    if not known:
        raise InputError(
            f"--store {store.url}: it holds no sweep; run `distiller launch` or `distiller import` first"
        )
    if len(known) > 1:
        raise InputError(f"--sweep: the store holds {', '.join(known)}; name one of them")
    return known[0]


def export(
    store: Store,
    sweep: str | None = None,
    out: Path = Path("best"),
    datasets: Sequence[str] | None = None,
    max_parameters: int | None = None,
    max_latency: float | None = None,
) -> list[Exported]:
    """Writes `<out>/<dataset>.yaml` for each dataset: its winner or, under a limit, the best within it.

    Of a sweep with several objectives, `<dataset>.pareto-2.yaml` and so on are the rest of the Pareto set,
    unless a limit says which one is wanted.

    Finalists come first, by their mean on validation; where none fits, the best full search trial. Nothing
    is written unless every dataset asked for has such a config; without `datasets`, one that has no full run
    yet is left out with a warning.

    Args:
        max_parameters: of the student.
        max_latency: milliseconds of one forward pass.

    Raises:
        InputError: which sweep is meant is not clear, a dataset is unknown or has nothing within the limits,
            or `out` cannot be written.
    """
    name = chosen_sweep(store, sweep)
    frozen, imported = frozen_sweep(store, name), is_imported(store, name)
    if frozen is None and not imported:
        raise InputError(f"--sweep {name}: stored without its file; only launched sweeps can be exported")
    trials, facts = (store.read(table, name).to_pylist() for table in ("trials", "datasets"))
    found = {board.dataset: board for board in boards(trials, facts, frozen)}
    for dataset in datasets or ():
        if dataset not in found:
            raise InputError(f"--dataset {dataset}: not in sweep {name}; {nearest(dataset, found)}")
    picked = []
    for dataset in datasets or found:
        full = [row for row in trials if row["dataset"] == dataset and is_full(row)]
        if not full and datasets is None:
            _log.warning("%s: not exported: no trial has completed the whole budget", dataset)
            continue
        board = found[dataset]
        best, basis = _pick(board, full, max_parameters, max_latency)
        picked.append((board, best, basis, f"{dataset}.yaml"))
        if max_parameters is None and max_latency is None:
            others = [entry for entry in board.pareto if entry.config_id != best.config_id]
            said = f"of the Pareto set of {', '.join(board.objectives)} on validation"
            for number, entry in enumerate(others, 2):
                picked.append((board, entry, said, f"{dataset}.pareto-{number}.yaml"))
    if not picked:
        more = "" if imported else "; launch it to go on"
        raise InputError(f"--sweep {name}: no trial has completed the whole budget{more}")
    launched = about_launch(store, name)
    origin = {"sweep": name, "store": store.url}
    return [
        _write_settings(board, entry, basis, origin, out / name)
        if frozen is None
        else _write(board, entry, basis, frozen, launched, origin, out / name)
        for board, entry, basis, name in picked
    ]


def _pick(
    board: DatasetBoard, full: Sequence[Row], max_parameters: int | None, max_latency: float | None
) -> tuple[Entry, str]:
    limits = {"parameters": max_parameters, "latency_ms": max_latency}
    limits = {column: limit for column, limit in limits.items() if limit is not None}

    def fits(row: Row) -> bool:
        return all(row[column] is not None and row[column] <= limit for column, limit in limits.items())

    within = " within " + " and ".join(f"{c} <= {limit:,}" for c, limit in limits.items()) if limits else ""
    for entry in board.finalists:
        if all(map(fits, entry.rows)):
            return entry, f"best finalist{within}: mean of {len(entry.rows)} new seed(s) on validation"
    rows = [row for row in full if row["role"] == "search" and fits(row)]
    if (best := best_of(rows)) is not None:
        return best, f"best search trial{within} ({best.optimism})"
    raise InputError(_none_fits(board.dataset, full, limits))


def _none_fits(dataset: str, full: Sequence[Row], limits: dict[str, Any]) -> str:
    students = [row for row in full if row["role"] in ("search", "finalist")]
    if not students:
        return f"{dataset}: no trial has completed the whole budget; launch the sweep again to go on"
    said = []
    for column, limit in limits.items():
        option = {"parameters": "--max-parameters", "latency_ms": "--max-latency"}[column]
        least = min((row[column] for row in students if row[column] is not None), default=None)
        smallest = f"the smallest is {least:,}" if least is not None else "none was measured"
        said.append(f"{option} {limit:,} ({smallest})")
    return f"{dataset}: no student that ran the whole budget is within {' and '.join(said)}; raise the limit"


def _write(
    board: DatasetBoard,
    entry: Entry,
    basis: str,
    sweep: SweepConfig,
    launched: dict[str, Any],
    origin: dict[str, str],
    path: Path,
) -> Exported:
    row = entry.rows[0]
    used = {teacher.checkpoint for teacher in entry.config.teacher}
    written = {name: getattr(sweep, name) for name in ("cache", "parts") if name in sweep.model_fields_set}
    recipe = Recipe(
        name=board.dataset,
        dataset=sweep.datasets[board.dataset],
        base=launched.get("base", "."),
        teachers={name: teacher for name, teacher in sweep.teachers.items() if name in used},
        budget=sweep.budget,
        config=entry.config,
        **written,
        scores=_scores(board, entry, basis),
        provenance={
            **origin,
            "config_id": entry.config_id,
            "distiller_version": row["distiller_version"] or launched.get("distiller_version"),
            "git_commit": row["git_commit"] or launched.get("git_commit"),
            "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "device": row["device"],
            "torch_version": json.loads(row["versions"] or "{}").get("torch"),
        },
    )
    text = f"# Train it again: distiller train {path.as_posix()} --out student/\n{recipe.to_yaml()}"
    check_recipe(text, str(path))  # what is written reads back, or nothing is written
    write_file(path, text)
    return Exported(board.dataset, path, recipe, basis)


def _write_settings(
    board: DatasetBoard, entry: Entry, basis: str, origin: dict[str, str], path: Path
) -> Exported:
    """The best config of an imported table, by its own stages and columns."""
    written = {
        IMPORTED: origin["sweep"],
        "dataset": board.dataset,
        "config": entry.settings,
        "scores": {
            "metric": board.metric,
            "basis": basis,
            "validation": _short(entry.validation),
            "test": _short(entry.test),
            "teacher": {
                "validation": _rounded(board.teacher_validation),
                "test": _rounded(board.teacher_test),
            },
        },
        "provenance": {
            **origin,
            "config_id": entry.config_id,
            "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
    said = "# The best config of an imported table, for whoever trains it: `distiller train` cannot.\n"
    write_file(path, said + write_yaml(written))
    return Exported(board.dataset, path, None, basis)


def _scores(board: DatasetBoard, entry: Entry, basis: str) -> dict[str, Any]:
    sides = [("validation", entry.validation), ("test", entry.test)]
    baselines = {
        name: {"validation": _short(other.validation), "test": _short(other.test)}
        for name, other in board.baselines.items()
        if board.best is not None and entry.config_id == board.best.config_id  # its own student's
    }
    teacher = {
        "validation": _rounded(entry.rows[0]["teacher_score"]),
        "test": _rounded(entry.rows[0]["teacher_test_score"]),
    }
    return {
        "metric": board.metric,
        "basis": basis,
        **{split: _short(scores) for split, scores in sides},
        "teacher": teacher,
        "majority": _rounded(board.majority_score),
        **baselines,
        "student": {
            "architecture": entry.student,
            "parameters": entry.parameters,
            "latency_ms": entry.latency_ms,
        },
    }


def _short(scores: Scores | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    return {
        "mean": _rounded(scores.mean),
        "sd": _rounded(scores.sd),
        "seeds": list(scores.seeds),
        "scores": [_rounded(value) for value in scores.values],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def write_file(path: Path, text: str, option: str = "--out") -> None:
    """Writes the file whole or not at all, its folder made where missing; InputError where it cannot."""
    write_bytes(path, text.encode(), option)


def write_bytes(path: Path, data: bytes, option: str = "--out") -> None:
    """The same of bytes; `option` is what named the place."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(f"{option} {path}: {reason}; name a place that you may write") from error
