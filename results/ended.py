"""Trials that have ended, each with its learning curve: those that a reader has not seen yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from distiller.results.entries import finite
from distiller.results.fragments import BadFragmentError, Heads, fragment_path, open_fragment
from distiller.results.schema import Identity
from distiller.results.store import Row, Store
from distiller.results.unify import unify
from distiller.spaces.config import PipelineConfig

FEW = 256
"""Up to so many trials are read one by one; more, by reading the tables once."""


@dataclass(frozen=True)
class EndedTrial:
    """A terminal row of the trials table, and the evaluations of its attempt in order of their steps."""

    row: Row
    curve: tuple[Row, ...]

    @property
    def name(self) -> str:
        """The trial_id."""
        return str(self.row["trial_id"])

    @cached_property
    def config(self) -> PipelineConfig:
        return PipelineConfig.model_validate_json(self.row["config"])

    @property
    def score(self) -> float | None:
        """The score at the end of what was run; None where there is none."""
        return self.row["score"] if finite(self.row["score"]) else None


def ended_trials(store: Store, sweep: str, known: Collection[str] = ()) -> list[EndedTrial]:
    """The sweep's ended trials whose trial_id is not among `known`, in the order in which they ended."""
    fresh = [identity for identity in store.finished(sweep) if identity.trial_id not in known]
    rows = _rows_of(store, "trials", [_fragment("trials", one) for one in fresh], sweep)
    wanted = {identity.trial_id for identity in fresh}
    rows = [row for row in rows if row["trial_id"] in wanted]
    curves: dict[tuple[str, int], list[Row]] = {}
    for row in _rows_of(store, "epochs", [fragment_path("epochs", row) for row in rows], sweep):
        curves.setdefault((row["trial_id"], row["attempt"]), []).append(row)
    found = []
    for row in sorted(rows, key=lambda row: (row["ended_at"] is None, row["ended_at"], row["trial_id"])):
        curve = curves.get((row["trial_id"], row["attempt"]), [])
        found.append(EndedTrial(row, tuple(sorted(curve, key=lambda point: int(point["step"])))))
    return found


def _fragment(table: str, identity: Identity) -> str:
    return fragment_path(table, identity._asdict())


def _rows_of(store: Store, table: str, paths: Sequence[str], sweep: str) -> list[Row]:
    """The rows of a few fragments; of the whole table where they are many, or one is not to be had alone."""
    if not paths:
        return []
    if len(paths) <= FEW:
        fragments, heads = [], Heads()
        for path, data in zip(paths, store.files.read_many(paths), strict=True):
            if isinstance(data, Exception):  # compacted, or a trial that never was evaluated
                break
            try:
                fragments.append(open_fragment(table, path, data, None, heads))
            except BadFragmentError:  # torn: the store's own reader says so
                break
        else:
            rows: list[Row] = unify(table, fragments)[0].to_pylist()
            return rows
    whole: list[Row] = store.read(table, sweep).to_pylist()
    return whole
