"""A sweep's answer per dataset: the best student beside its baselines and its teacher, with the noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from distiller.results.entries import Entry, Gain, best_of, finite, is_full, pareto_set
from distiller.results.frozen import frozen_sweep
from distiller.results.store import Row, Store
from distiller.spaces.presets import BASELINES, PRESETS
from distiller.spaces.sweep import SweepConfig


@dataclass(frozen=True)
class DatasetBoard:
    """One dataset's answer.

    Attributes:
        finalists: those with all their seeds completed, best mean on validation first.
        best_search: the best search trial that ran the whole budget.
        baselines: by preset name, the best config with the preset's stages instead, on the same seeds.
        note: what keeps the answer from being final; empty where nothing does.
        completed, stopped, failed: trials of all roles.
        objectives: what the sweep searched for; of several, the answer is `pareto`.
        pareto: finalists that no other beats in score and all costs, best score first; before there are
            finalists, full search trials. Empty where score is the one objective.
    """

    dataset: str
    task_kind: str | None
    metric: str | None
    majority_score: float | None
    teacher_validation: float | None
    teacher_test: float | None
    finalists: tuple[Entry, ...]
    best_search: Entry | None
    baselines: Mapping[str, Entry]
    note: str
    completed: int
    stopped: int
    failed: int
    objectives: tuple[str, ...] = ("score",)
    pareto: tuple[Entry, ...] = ()

    @property
    def winner(self) -> Entry | None:
        """The finalist with the highest mean on validation; only it and its baselines touch test."""
        return self.finalists[0] if self.finalists else None

    @property
    def best(self) -> Entry | None:
        """The winner, or what stands in for it: the best search trial."""
        return self.winner or self.best_search

    @property
    def no_teacher(self) -> Entry | None:
        return self.baselines.get("no_teacher")

    @property
    def hinton(self) -> Entry | None:
        return self.baselines.get("hinton")

    @property
    def gain(self) -> Gain | None:
        """Of the best student over the same one without a teacher."""
        return Gain.between(self.best, self.no_teacher) if self.best and self.no_teacher else None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them."""
        entries = {"winner": self.winner, "best_search": self.best_search}
        return {
            "dataset": self.dataset,
            "task_kind": self.task_kind,
            "metric": self.metric,
            "majority_score": self.majority_score,
            "teacher": {"validation": self.teacher_validation, "test": self.teacher_test},
            **{name: _written(entry) for name, entry in entries.items()},
            "config": self.best.settings if self.best else None,
            **{name: _written(self.baselines.get(name)) for name in BASELINES},
            "gain": self.gain.to_dict() if self.gain else None,
            "objectives": list(self.objectives),
            "pareto": [entry.to_dict() for entry in self.pareto],
            "note": self.note,
            "trials": {"completed": self.completed, "stopped": self.stopped, "failed": self.failed},
        }


def _written(entry: Entry | None) -> dict[str, Any] | None:
    return None if entry is None else entry.to_dict()


def leaderboard(store: Store, sweep: str) -> list[DatasetBoard]:
    """One board per dataset, in the order of the sweep's file; InputError where there is no such sweep."""
    trials, datasets = (store.read(table, sweep).to_pylist() for table in ("trials", "datasets"))
    return boards(trials, datasets, frozen_sweep(store, sweep))


def boards(trials: Sequence[Row], datasets: Sequence[Row], sweep: SweepConfig | None) -> list[DatasetBoard]:
    """Boards of one sweep, from rows of its tables."""
    of: dict[str, list[Row]] = {name: [] for name in sweep.datasets} if sweep else {}
    for row in (*datasets, *trials):
        of.setdefault(row["dataset"], [])
    for row in trials:
        of[row["dataset"]].append(row)
    facts = {row["dataset"]: row for row in datasets}
    return [_board(name, rows, facts.get(name, {}), sweep) for name, rows in of.items()]


def _board(dataset: str, rows: Sequence[Row], facts: Row, sweep: SweepConfig | None) -> DatasetBoard:
    retrained = [row for row in rows if row["role"] == "finalist"]
    finalists = _tested(_finalists(retrained, sweep.search.finalists.seeds if sweep else 1), rows)
    searched = [row for row in rows if row["role"] == "search" and is_full(row)]
    best_search = best_of(searched)
    best = finalists[0] if finalists else best_search
    config = sweep.datasets.get(dataset) if sweep else None
    kind = facts.get("task_kind") or _any(rows, "task_kind") or (config.kind if config else None)
    own = best.rows if best else ()  # where teachers are searched too, the best student's own teacher
    status = Counter(row["status"] for row in rows)
    costs = sweep.search.costs if sweep else ()
    whole = finalists or tuple(Entry((row,)) for row in searched)
    return DatasetBoard(
        dataset=dataset,
        task_kind=kind,
        metric=facts.get("metric") or _any(rows, "metric") or (config.headline if config else None),
        majority_score=_any((facts,), "majority_score"),
        teacher_validation=_any((*own, facts, *rows), "teacher_score"),
        teacher_test=_any((*own, facts, *rows), "teacher_test_score"),
        finalists=finalists,
        best_search=best_search,
        baselines=_baselines(best, rows, kind) if best and kind else {},
        note=_note(retrained, finalists, searched, best_search, sweep),
        completed=status["completed"],
        stopped=status["stopped"],
        failed=status["failed"],
        objectives=("score", *costs),
        pareto=pareto_set(whole, costs) if costs else (),
    )


def _finalists(rows: Sequence[Row], seeds: int) -> tuple[Entry, ...]:
    """Configs whose every run completed, `seeds` of them at least; best mean first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["config_id"], []).append(row)
    whole = [Entry.of(group) for group in groups.values() if len(group) >= seeds and all(map(is_full, group))]
    return tuple(sorted(whole, key=lambda entry: (-entry.validation.mean, entry.config_id)))


def _tested(finalists: tuple[Entry, ...], rows: Sequence[Row]) -> tuple[Entry, ...]:
    """The winner with test scores: among several finalists it alone runs again, as a baseline, on test."""
    if not finalists:
        return finalists
    winner, *others = finalists
    again = [
        row
        for row in rows
        if (row["role"], row["config_id"]) == ("baseline", winner.config_id)
        and row["seed"] in winner.validation.seeds
        and is_full(row)
        and finite(row["test_score"])
    ]
    return (replace(winner, tested=Entry.of(again).rows), *others)


def _baselines(best: Entry, rows: Sequence[Row], kind: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    if not any(row["role"] == "baseline" for row in rows):
        return found
    for name in BASELINES:
        config_id = PRESETS[name].applied(best.config, kind).config_id
        same = [row for row in rows if (row["role"], row["config_id"]) == ("baseline", config_id)]
        seeds = set(best.validation.seeds) & {row["seed"] for row in same} or {row["seed"] for row in same}
        if done := [row for row in same if row["seed"] in seeds and is_full(row)]:
            found[name] = Entry.of(done)
    return found


def _note(
    retrained: Sequence[Row],
    finalists: Sequence[Entry],
    searched: Sequence[Row],
    best_search: Entry | None,
    sweep: SweepConfig | None,
) -> str:
    planned = sweep.search.finalists if sweep else None
    costs = sweep.search.costs if sweep else ()
    configs = {row["config_id"] for row in searched}
    if costs:  # which may be fewer than there are places
        configs = {entry.config_id for entry in pareto_set([Entry((row,)) for row in searched], costs)}
    wanted = planned.seeds * min(planned.top, len(configs)) if planned else 0
    notes = []
    if not searched and not finalists:
        return "no trial has completed the whole budget"
    if not finalists and retrained:
        why = "no finalist has all its seeds completed"
        assert best_search is not None
        notes.append(f"{why}, so this is the best search trial ({best_search.optimism})")
    elif not finalists:
        why = "no finalists yet" if planned and planned.top else "the sweep retrains no finalists"
        why = why if planned else "no finalists are there"
        assert best_search is not None
        notes.append(f"{why}, so this is the best search trial ({best_search.optimism})")
    elif len(left_out := {row["config_id"] for row in retrained} - {e.config_id for e in finalists}):
        notes.append(f"{len(left_out)} finalist(s) left out, for want of a completed run on every seed")
    if retrained and len(retrained) < wanted:
        notes.append(f"{len(retrained)} of {wanted} finalist runs have ended: the winner may change")
    if costs:
        against = " and ".join(costs)
        notes.append(f"the answer is the Pareto set of score against {against}; test is of the best score")
    return "; ".join(notes)


def _any(rows: Sequence[Row], column: str) -> Any:
    """The column's first value that is one; a score that is not finite is none."""
    values = (row.get(column) for row in rows)
    return next((v for v in values if v is not None and (isinstance(v, str) or finite(v))), None)


def render(found: Sequence[DatasetBoard]) -> Group:
    """The boards for a terminal."""
    parts: list[Any] = []
    for board in found:
        counts = f"{board.completed} completed, {board.stopped} stopped, {board.failed} failed"
        title = Text.assemble((board.dataset, "bold"), f"  {board.metric or ''}  ", (counts, "dim"))
        table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
        for name in ("", "validation", "test", "seeds", "parameters", "ms"):
            table.add_column(name, justify="right" if name else "left", no_wrap=True)
        if board.task_kind is not None or board.teacher_validation is not None:  # a table may know of none
            table.add_row("teacher", _number(board.teacher_validation), _number(board.teacher_test))
        best = "best student" if board.winner else "best search trial"
        table.add_row(*_cells(best, board.best), style="bold")
        for other in board.pareto:
            if board.best is None or other.config_id != board.best.config_id:
                table.add_row(*_cells(pareto_label(board, other), other), style="bold")
        if board.task_kind is not None:  # of an imported table nobody knows it, nor these
            for label, entry in (("plain Hinton KD", board.hinton), ("no teacher", board.no_teacher)):
                table.add_row(*_cells(label, entry))
            table.add_row("majority or mean", _number(board.majority_score))
        parts += [table, *_said(board), Text("")]
    return Group(*parts)


def pareto_label(board: DatasetBoard, entry: Entry) -> str:
    """What a member of the Pareto set is called, with the cost that tables have no column for."""
    flops = entry.cost("flops") if "flops" in board.objectives else None
    return "Pareto set" if flops is None else f"Pareto set, {flops / 1e6:.3g} MFLOP"


def _cells(label: str, entry: Entry | None) -> list[str]:
    if entry is None:
        return [label, "-", "-"]
    parameters = f"{entry.parameters / 1e6:.1f} M" if entry.parameters is not None else "-"
    latency = f"{entry.latency_ms:.2f}" if entry.latency_ms is not None else "-"
    seeds = str(len(entry.rows))
    return [label, str(entry.validation), str(entry.test or "-"), seeds, parameters, latency]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _said(board: DatasetBoard) -> list[Text]:
    said = []
    if (gain := board.gain) is not None:
        style = "green" if gain.beats_by_more_than_noise else "yellow"
        words = f"gain over no teacher on {gain.split}: {gain} ({gain.verdict})"
        said.append(Text(words, style=style))
    if board.note:
        said.append(Text(board.note, style="yellow"))
    return said
