"""Rows of a table as trials: which rows are one trial, how it ended, how far it came, what it scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from distiller.results.imported.cells import moments, numbers, row, shown, texts
from distiller.results.imported.mapping import COSTS, MOMENTS, SCORES, Source, TableMapping
from distiller.results.imported.tables import Table
from distiller.results.schema import ORIGINS, ROLES
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import nearest

WORDS = {
    "completed": {"complete", "completed", "finished", "done", "success", "succeeded", "ok", "terminated"},
    "stopped": {"stopped", "pruned", "early_stopped"},
    "failed": {"failed", "fail", "failure", "error", "errored", "crashed", "killed"},
    "unfinished": {"running", "waiting", "pending", "scheduled", "queued"},
}
"""What a status without a word on it in the mapping is taken for."""

PARTS = 10_000
"""Steps of a whole budget that is written in shares."""
WHOLE = 1 - 1e-9


@dataclass
class Trials:
    """One entry a trial, in order of first appearance.

    Attributes:
        last: the row of the table that a trial's answer stands in.
        curves: all its rows by fidelity, where the mapping names trials; else of no rows.
        facts: core columns of the store by name, [trials] each.
        step: [rows of the table] optimizer steps, epochs or parts of `PARTS`.
        share: [rows of the table] fidelity.
        scores: [rows of the table] higher is better.
    """

    last: list[int]
    curves: list[list[int]]
    facts: dict[str, list[Any]]
    step: list[int | None]
    share: list[float | None]
    scores: list[float | None]
    notes: list[str] = field(default_factory=list)


def read_trials(table: Table, mapping: TableMapping, metric: str) -> Trials:
    """Everything of the rows but the columns of stages.

    Raises:
        InputError: a cell is not what the mapping says it is; names its row.
    """
    return _Reader(table, mapping).read(metric)


@dataclass
class _Reader:
    table: Table
    mapping: TableMapping
    notes: list[str] = field(default_factory=list)

    def read(self, metric: str) -> Trials:
        rows = self.table.rows
        scores = self._numbers("score", self.mapping.score)
        sign = 1.0 if self.mapping.higher_is_better else -1.0
        if sign < 0:
            self.notes.append(f"lower {metric} is better: scores are kept as -{metric}, higher is better")
        signed = [None if score is None else sign * score for score in scores]
        datasets = self._texts("dataset", self.mapping.dataset)
        roles = self._texts("role", self.mapping.role, ROLES, "search")
        origins = self._texts("origin", self.mapping.origin, ORIGINS, "prior")
        if self.mapping.origin is None:
            self.notes.append(
                "every search row is taken as drawn from the prior; write `origin: {constant: model}` if a "
                "sampler such as TPE chose them"
            )
        seeds = self._seeds()
        status = self._status()
        kept = [number for number in range(rows) if status is None or status[number] != "unfinished"]
        if len(kept) < rows:
            self.notes.append(f"{rows - len(kept)} rows of trials that have not ended are left out")
        if not kept:
            raise InputError(f"{self.table.source}: no trial has ended; import it once some have")
        share, step, budget = self._fidelity(status)
        curves = self._curves(kept, datasets, roles, origins, seeds, share)
        last = [curve[-1] for curve in curves]
        ended = [self._ended(number, status, share, scores) for number in last]
        self._say_ends(last, status, scores, share, ended)
        facts: dict[str, list[Any]] = {
            "dataset": [datasets[n] for n in last],
            "role": [roles[n] for n in last],
            "origin": [origins[n] for n in last],
            "seed": [seeds[n] if seeds else None for n in last],
            "status": ended,
            "score": [signed[n] for n in last],
            "fidelity": [
                share[n] if share[n] is not None else (0.0 if end == "failed" else 1.0)
                for n, end in zip(last, ended, strict=True)
            ],
            "steps": [step[n] for n in last],
            "budget_steps": [budget] * len(last),
            "error": self._errors(last, scores, ended),
        }
        for name in SCORES:
            if (column := getattr(self.mapping, name)) is not None:
                read = self._numbers(name, column)
                facts[name] = [None if (v := read[n]) is None else sign * v for n in last]
        for name, column in self.mapping.costs.items():
            read = self._numbers(f"costs.{name}", column)
            whole = name in COSTS[:1] or name == "peak_memory_bytes"
            facts[name] = [None if (v := read[n]) is None else round(v) if whole else v for n in last]
        for name in MOMENTS:
            if (column := getattr(self.mapping, name)) is not None:
                facts[name] = self._moments(name, column, last)
        if self.mapping.trial is None:
            curves = [[] for _ in curves]
        else:
            facts |= _bests(curves, signed, step)
        return Trials(last, curves, facts, step, share, signed, self.notes)

    def _cells(self, column: str) -> Sequence[Any]:
        return self.table.columns[column]

    def _numbers(self, path: str, column: str) -> list[float | None]:
        return numbers(self._cells(column), f"{path}: column {column!r}", self.mapping.missing)

    def _moments(self, path: str, column: str, last: Sequence[int]) -> list[datetime | None]:
        read = moments(self._cells(column), f"{path}: column {column!r}", self.mapping.missing)
        return [read[n] for n in last]

    def _texts(
        self, path: str, source: Source | None, known: Sequence[str] = (), default: str = ""
    ) -> list[str]:
        """[rows] what a column or a constant says; `default` where the mapping does not name one."""
        rows = self.table.rows
        if source is None:
            return [default] * rows
        if source.constant is not None:
            return [source.constant] * rows
        assert source.column is not None
        found = []
        for number, text in enumerate(texts(self._cells(source.column), self.mapping.missing)):
            if text is None:
                raise InputError(f"{path}: column {source.column!r} is empty in {row(number)}; fill it in")
            if known and text not in known:
                raise InputError(
                    f"{path}: column {source.column!r}: {shown(text)} in {row(number)} is none; "
                    f"{nearest(text, known)}"
                )
            found.append(text)
        return found

    def _seeds(self) -> list[int] | None:
        if self.mapping.seed is None:
            return None
        found = []
        for number, seed in enumerate(self._numbers("seed", self.mapping.seed)):
            if seed is None or seed != int(seed) or not 0 <= seed < 2**63:
                raise InputError(
                    f"seed: column {self.mapping.seed!r}: {shown(self._cells(self.mapping.seed)[number])} in "
                    f"{row(number)} is no whole number from 0 on; mend it, or leave `seed` out: equal "
                    "configs are then numbered"
                )
            found.append(int(seed))
        return found

    def _status(self) -> list[str] | None:
        """[rows] completed, stopped, failed or unfinished."""
        told = self.mapping.status
        if told is None:
            return None
        means = {value: kind for kind in WORDS for value in getattr(told, kind)}
        for kind, words in WORDS.items():
            for word in words:
                means.setdefault(word, kind)
        cells = texts(self._cells(told.column), self.mapping.missing)
        found, unknown = [], []
        for number, cell in enumerate(cells):
            if cell is None:
                raise InputError(f"status: column {told.column!r} is empty in {row(number)}; fill it in")
            plain = cell.rsplit(".", 1)[-1].lower()  # `TrialState.COMPLETE`
            meant = means.get(cell, means.get(plain))
            if meant is None and cell not in unknown:
                unknown.append(cell)
            found.append(meant or "")
        if unknown:
            said = ", ".join(map(shown, unknown[:10]))
            raise InputError(
                f"status: column {told.column!r} also holds {said}; write under completed, stopped, failed "
                "or unfinished which of these each means"
            )
        return found

    def _fidelity(
        self, status: Sequence[str] | None
    ) -> tuple[list[float | None], list[int | None], int | None]:
        """[rows] share of the budget and steps, and the steps of a whole one."""
        rows = self.table.rows
        told = self.mapping.fidelity
        if told is None:
            if status is not None and "stopped" in status:
                raise InputError(
                    f"status: {status.count('stopped')} rows were stopped, {row(status.index('stopped'))} "
                    "the first, and nothing says how far they ran; map `fidelity`, or name these under failed"
                )
            return [None] * rows, [None] * rows, None
        read = self._numbers("fidelity", told.column)
        known = [value for value in read if value is not None]
        if not known:
            raise InputError(f"fidelity: column {told.column!r} is empty; leave `fidelity` out")
        most = max(known)
        full = told.full
        if full is None:
            full = 1.0 if most <= 1 else most
            what = "all are shares" if most <= 1 else "the greatest value"
            self.notes.append(
                f"fidelity: {full:g} {told.column} is a whole run ({what}); `full:` says otherwise"
            )
        for number, value in enumerate(read):
            if value is not None and not 0 <= value <= full * (1 + 1e-9):
                raise InputError(
                    f"fidelity: column {told.column!r}: {value:g} in {row(number)} is not within 0 and "
                    f"{full:g}, which is a whole run; mend it or `fidelity: {{full: …}}`"
                )
        whole = all(value == int(value) for value in [*known, full]) and full > 1
        budget = int(full) if whole else PARTS
        if not whole:
            self.notes.append(f"fidelity: steps are counted in {PARTS:,} parts of a whole run")
        share = [None if value is None else min(1.0, value / full) for value in read]
        step = [None if part is None else round(part * budget) for part in share]
        return share, step, budget

    def _curves(
        self,
        kept: Sequence[int],
        datasets: Sequence[str],
        roles: Sequence[str],
        origins: Sequence[str],
        seeds: Sequence[int] | None,
        share: Sequence[float | None],
    ) -> list[list[int]]:
        """Rows of each trial by fidelity; one each where the mapping names no trials."""
        column = self.mapping.trial
        if column is None:
            return [[number] for number in kept]
        names = texts(self._cells(column), self.mapping.missing)
        groups: dict[Any, list[int]] = {}
        for number in kept:
            if names[number] is None:
                raise InputError(f"trial: column {column!r} is empty in {row(number)}; fill it in")
            key = (names[number], datasets[number], roles[number], seeds[number] if seeds else None)
            groups.setdefault(key, []).append(number)
        for (name, *_), numbers_ in groups.items():
            if len(numbers_) > 1:
                self._check_curve(str(name), numbers_, origins, share)
                numbers_.sort(key=lambda n: share[n] or 0.0)
        return list(groups.values())

    def _check_curve(
        self, name: str, rows: Sequence[int], origins: Sequence[str], share: Sequence[float | None]
    ) -> None:
        first = rows[0]
        if self.mapping.fidelity is None:
            raise InputError(
                f"trial: {name!r} has {len(rows)} rows, {row(first)} and {row(rows[1])} among them; map "
                "`fidelity`, by which they are its learning curve"
            )
        seen: dict[float, int] = {}
        for number in rows:
            at = share[number]
            if at is None:
                raise InputError(
                    f"fidelity: is empty in {row(number)} of trial {name!r}, which has others; fill it in"
                )
            if seen.setdefault(at, number) != number:
                raise InputError(
                    f"fidelity: trial {name!r} has two rows at the same one, {row(seen[at])} and "
                    f"{row(number)}; remove one, or map `seed` or `dataset`, in which they differ"
                )
        same = [c for columns in self.mapping.stages.values() for c in columns]
        for column in same:
            cells = self._cells(column)
            for number in rows:
                if cells[number] != cells[first] and not (_nan(cells[number]) and _nan(cells[first])):
                    raise InputError(
                        f"trial: {name!r} has {shown(cells[first])} in column {column!r} in {row(first)} and "
                        f"{shown(cells[number])} in {row(number)}; settings do not change within a trial"
                    )
        for number in rows:
            if origins[number] != origins[first]:
                raise InputError(
                    f"trial: {name!r} has two origins, in {row(first)} and {row(number)}; mend one"
                )

    def _ended(
        self,
        number: int,
        status: Sequence[str] | None,
        share: Sequence[float | None],
        scores: Sequence[float | None],
    ) -> str:
        if scores[number] is None:
            return "failed"
        if status is not None:
            return status[number]
        far = share[number]
        return "completed" if far is None or far >= WHOLE else "stopped"

    def _say_ends(
        self,
        last: Sequence[int],
        status: Sequence[str] | None,
        scores: Sequence[float | None],
        share: Sequence[float | None],
        ended: Sequence[str],
    ) -> None:
        without = [n for n in last if scores[n] is None and (status is None or status[n] != "failed")]
        if without:
            self.notes.append(
                f"{len(without)} trials without a finite score, {row(without[0])} the first, are failed ones"
            )
        unused = [n for n, end in zip(last, ended, strict=True) if end == "failed" and scores[n] is not None]
        if unused:
            self.notes.append(
                f"{len(unused)} trials that failed by their status, {row(unused[0])} the first, have a score "
                "that counts nowhere; `status: {stopped: ...}` if they were only stopped early"
            )
        for n, end in zip(last, ended, strict=True):
            if end == "stopped" and share[n] is None:
                raise InputError(f"fidelity: is empty in {row(n)}, which was stopped; fill in how far it ran")
        early = [
            n for n, end in zip(last, ended, strict=True) if end == "completed" and (share[n] or 1.0) < WHOLE
        ]
        if early:
            self.notes.append(
                f"{len(early)} completed trials, {row(early[0])} the first, ran less than the whole budget: "
                "they inform, and are not compared with full runs"
            )

    def _errors(
        self, last: Sequence[int], scores: Sequence[float | None], ended: Sequence[str]
    ) -> list[str | None]:
        told: Mapping[int, str | None] = {}
        if self.mapping.error is not None:
            told = dict(enumerate(texts(self._cells(self.mapping.error), self.mapping.missing)))
        default = "the imported table has no finite score"
        return [
            None if end != "failed" else told.get(n) or (default if scores[n] is None else None)
            for n, end in zip(last, ended, strict=True)
        ]


def _nan(cell: Any) -> bool:
    return isinstance(cell, float) and cell != cell


def _bests(
    curves: Sequence[Sequence[int]], scores: Sequence[float | None], step: Sequence[int | None]
) -> dict[str, list[Any]]:
    """best_score and best_step of each curve."""
    best, at = [], []
    for curve in curves:
        scored = [(score, -n) for n, number in enumerate(curve) if (score := scores[number]) is not None]
        score, place = max(scored, default=(None, 0))
        best.append(score)
        at.append(None if score is None else step[curve[-place]])
    return {"best_score": best, "best_step": at}
