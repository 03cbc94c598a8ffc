"""What a store's launched sweeps tried, for recommenders: scores by config, and what each config is."""

from __future__ import annotations

import hashlib
import json
import logging
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from distiller.results.frames import to_frame
from distiller.results.imported.kept import is_imported
from distiller.results.recommendation import (
    METHODS,
    Evaluation,
    Searched,
    TooLittleError,
    Tried,
    evaluate,
    read_tried,
)
from distiller.results.store import Store
from distiller.search.designs import designs
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import nearest

KEPT = "recommenders.json"
"""Beside the first sweep's file: the last evaluation, and what it was of."""

REVISION = 2
"""To be raised when recommenders or what is kept of them change."""

_log = logging.getLogger("distiller.search")


@dataclass(frozen=True)
class Earlier:
    """What launched sweeps tried.

    Attributes:
        sweeps: their names.
        tried: the scores.
        configs: by id, what ran.
        costs: [configs] `parameters` and `latency_ms` of the students, medians over runs, by config id.
        steps: the budgets of the sweeps.
        notes: what was left out, one sentence each.
    """

    sweeps: tuple[str, ...]
    tried: Tried
    configs: Mapping[str, PipelineConfig]
    costs: pd.DataFrame
    steps: tuple[int, ...]
    notes: tuple[str, ...]


def named_sweeps(store: Store, sweeps: Sequence[str]) -> list[str]:
    """The sweeps that are named, or all."""
    return [store.check_sweep(name) for name in dict.fromkeys(sweeps)] or list(store.sweeps())


def searched(store: Store, sweep: str) -> Searched:
    """A sweep's tables and designs."""
    trials, datasets, epochs = (
        to_frame(store.read(table, sweep)) for table in ("trials", "datasets", "epochs")
    )
    return Searched(sweep, trials, designs(store, sweep), datasets, epochs)


def read_earlier(
    store: Store,
    own: str,
    sweeps: Sequence[str] = (),
    related: Mapping[str, Sequence[str]] = types.MappingProxyType({}),
    without: Sequence[str] = (),
) -> Earlier | None:
    """What the sweeps tried; None where no dataset has enough full runs.

    Args:
        own: the sweep that asks.
        sweeps: without any, all but `own`.
        related: groups of datasets.
        without: datasets that are left out, with all that are in a group with them.

    Raises:
        InputError: `without` names a dataset that there is not, or a group is wrong.
    """
    names = named_sweeps(store, sweeps) if sweeps else [name for name in store.sweeps() if name != own]
    notes = []
    launched = []
    for name in names:
        if is_imported(store, name):
            notes.append(f"{name} is an imported table: its configs are no pipelines, and are left out")
        else:
            launched.append(searched(store, name))
    tables = [one for one in launched if len(one.trials)]
    known = dict.fromkeys(dataset for one in tables for dataset in one.designs)
    for name in without:
        if name not in known:
            raise InputError(f"--without {name}: no such dataset; {nearest(name, known)}")
    try:
        tried = read_tried(tables, related)
    except TooLittleError:
        return None
    gone = {g for g, d in zip(tried.groups, tried.datasets, strict=True) if d.split("/")[-1] in without}
    if gone:
        tried = tried.without(*gone)
        if not tried.datasets:
            return None
    rows = pd.concat([one.trials for one in tables], ignore_index=True)
    rows = rows[rows["config_id"].isin(tried.configs.index)]
    configs, unknown = {}, 0
    for row in rows.drop_duplicates("config_id").itertuples():
        try:
            configs[str(row.config_id)] = PipelineConfig.model_validate_json(str(row.config))
        except ValidationError:
            unknown += 1
    if unknown:
        notes.append(f"{unknown} configs have parts that are unknown here, and are left out")
    costs = rows.groupby("config_id")[["parameters", "latency_ms"]].median()
    steps = tuple(sorted({int(value) for value in rows["budget_steps"].dropna()}))
    return Earlier(tuple(one.name for one in tables), tried, configs, costs, steps, tuple(notes))


def evaluated_once(
    store: Store, sweep: str, tried: Tried, said: Callable[[str], None] = lambda _: None
) -> Evaluation:
    """The evaluation of all recommenders on `tried`, kept beside a sweep's file until there are other trials.

    Raises:
        InputError: there are less than two groups of datasets.
    """
    key = _digest(tried)
    adapter = TypeAdapter(Evaluation)
    kept = json.loads(store.read_text(sweep, KEPT) or "{}")
    if kept.get("key") == key:
        return adapter.validate_python(kept["evaluation"])
    found = evaluate(tried, said=said)
    text = json.dumps({"key": key, "evaluation": adapter.dump_python(found, mode="json")}, allow_nan=False)
    try:
        store.write_text(sweep, KEPT, text)
    except OSError as error:  # a store of others, say: the next command finds it out again
        _log.info("the evaluation of recommenders is not kept in %s: %s", store.url, error)
    return found


def _digest(tried: Tried) -> str:
    """Of all that recommenders read, and of which there are."""
    digest = hashlib.sha256(json.dumps([REVISION, [[one.name, one.says] for one in METHODS]]).encode())
    for table in (tried.configs, tried.meta):
        digest.update(table.astype(str).to_csv().encode())
    for array in (
        tried.score,
        tried.repeats,
        tried.noise,
        tried.teacher,
        tried.steered,
        tried.early,
        tried.fidelity,
    ):
        digest.update(array.tobytes())
    digest.update(json.dumps([tried.datasets, tried.groups, tried.left_out]).encode())
    return digest.hexdigest()
