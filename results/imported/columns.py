"""The trials of a table as columns of the store's tables."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from distiller.results.imported.cells import ARROW, row, shown, texts
from distiller.results.imported.mapping import TableMapping
from distiller.results.imported.settling import Settled
from distiller.results.imported.tables import Table
from distiller.results.imported.trials import Trials
from distiller.results.manifest import WRITE_COLUMN
from distiller.results.schema import check_extra, core_schema, trial_id
from distiller.spaces.errors import InputError
from distiller.spaces.priors import Value


@dataclass(frozen=True)
class Rows:
    """What goes into the store.

    Attributes:
        datasets: rows of the datasets table.
        digest: of all of it, the same for the same table under the same mapping.
    """

    trials: pa.Table
    epochs: pa.Table
    datasets: list[dict[str, Any]]
    digest: str


def dataset_names(names: Sequence[str], sweep: str, notes: list[str]) -> list[str]:
    """Names as the store takes them; InputError where two become one."""
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in dict.fromkeys(names):
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name or sweep).strip("-").lstrip(".")[:80]
        if not plain:
            raise InputError(f"dataset: {shown(name)} has no letter or digit; rename it in the table")
        if (other := taken.setdefault(plain, name)) != name:
            raise InputError(
                f"dataset: {shown(other)} and {shown(name)} would both be {plain!r}; rename one in the table"
            )
        if name and plain != name:
            notes.append(f"dataset {shown(name)} is stored as {plain!r}")
        found[name] = plain
    return [found[name] for name in names]


def metric_of(mapping: TableMapping) -> str:
    """The metric's name where it is one for all."""
    source = mapping.metric
    name = source.constant if source is not None and source.constant is not None else mapping.score
    return re.sub(r"^(metrics\.|params\.)", "", name)


def metrics_of(table: Table, mapping: TableMapping, trials: Trials) -> dict[str, str]:
    """By dataset the name of what `score` is; InputError where one dataset has two."""
    sign = "" if mapping.higher_is_better else "-"
    datasets = trials.facts["dataset"]
    if mapping.metric is None or mapping.metric.column is None:
        return {dataset: sign + metric_of(mapping) for dataset in dict.fromkeys(datasets)}
    found: dict[str, str] = {}
    cells = texts(table.columns[mapping.metric.column], mapping.missing)
    for number, dataset in zip(trials.last, datasets, strict=True):
        cell = cells[number]
        if cell is None:
            raise InputError(
                f"metric: column {mapping.metric.column!r} is empty in {row(number)}; fill it in"
            )
        if found.setdefault(dataset, sign + cell) != sign + cell:
            raise InputError(
                f"metric: {dataset} has scores of {found[dataset]} and, in {row(number)}, of {sign}{cell}, "
                "which do not compare; import them as two tables"
            )
    return found


def stored_rows(
    table: Table, mapping: TableMapping, sweep: str, trials: Trials, settled: Settled, version: str
) -> Rows:
    """Rows of the trials, epochs and datasets tables.

    Raises:
        InputError: two trials are one.
    """
    facts, count = trials.facts, len(trials.last)
    metrics = metrics_of(table, mapping, trials)
    columns: dict[str, Sequence[Value | None]] = {}
    kinds: dict[str, pa.DataType] = {}
    for (stage, column), values in settled.answers.items():
        name = mapping.stored(stage, column)
        columns[name], kinds[name] = values, ARROW[settled.kinds[stage, column]]
    ids = _config_ids(columns, count)
    configs = _configs(settled, count)
    seeds = _numbered(trials, ids)
    names = [
        trial_id(*identity) for identity in zip(facts["dataset"], ids, seeds, facts["role"], strict=True)
    ]
    identity: dict[str, Sequence[Any]] = {
        "sweep": [sweep] * count,
        "trial_id": names,
        "attempt": [1] * count,
        "dataset": facts["dataset"],
        "config_id": ids,
        "seed": seeds,
        "role": facts["role"],
    }
    known = {
        **facts,
        **identity,
        "metric": [metrics[dataset] for dataset in facts["dataset"]],
        "config": configs,
        "distiller_version": [version] * count,
    }
    core = core_schema("trials")
    schema = pa.schema([*core, *check_extra("trials", kinds)], metadata=core.metadata)
    found = pa.table(
        {
            field.name: pa.array(known.get(field.name, columns.get(field.name, [None] * count)), field.type)
            for field in schema
        },
        schema=schema,
    )
    epochs = _epochs(identity, trials)
    digest = _digest({**known, **columns}, epochs)
    written = pa.array([digest[:32]] * count, pa.string())
    datasets = [_dataset(sweep, name, metric, trials) for name, metric in metrics.items()]
    return Rows(found.append_column(WRITE_COLUMN, written), epochs, datasets, digest)


def _config_ids(columns: Mapping[str, Sequence[Value | None]], count: int) -> list[str]:
    """12 hexadecimal digits of the SHA-256 of each config's columns, those not asked left out."""
    names = sorted(columns)
    found = []
    for values in zip(*(columns[name] for name in names), strict=True):
        known = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        text = json.dumps(known, separators=(",", ":"), allow_nan=False)
        found.append(hashlib.sha256(text.encode()).hexdigest()[:12])
    assert len(found) == count
    return found


def _configs(settled: Settled, count: int) -> list[str]:
    """JSON of each config: by stage and column as the table calls them."""
    found: list[dict[str, dict[str, Value]]] = [{} for _ in range(count)]
    for (stage, column), values in settled.answers.items():
        for config, value in zip(found, values, strict=True):
            if value is not None:
                config.setdefault(stage, {})[column] = value
    return [json.dumps(config, ensure_ascii=False, allow_nan=False) for config in found]


def _numbered(trials: Trials, ids: Sequence[str]) -> list[int]:
    """Seeds as the table has them, or numbers of the repeats of each config."""
    facts = trials.facts
    keys = list(zip(facts["dataset"], ids, facts["role"], strict=True))
    given = facts.pop("seed")
    if given and given[0] is not None:
        seen: dict[Any, int] = {}
        for number, key in zip(trials.last, zip(keys, given, strict=True), strict=True):
            if (first := seen.setdefault(key, number)) != number:
                (dataset, _, role), seed = key
                raise InputError(
                    f"seed: {row(first)} and {row(number)} are the same config on {dataset} with seed {seed} "
                    f"and role {role}; remove one, map `trial` and `fidelity` where rows are one trial at "
                    "several fidelities, or leave `seed` out where they are repeats"
                )
        return list(given)
    counts: Counter[Any] = Counter()
    seeds = []
    for config in keys:
        seeds.append(counts[config])
        counts[config] += 1
    again = sum(seed > 0 for seed in seeds)
    if again:
        trials.notes.append(f"{again} rows repeat the config of another one: their seeds are numbered from 0")
        if not any(trials.curves):
            shares: dict[Any, set[Any]] = {}
            for config, share in zip(keys, facts["fidelity"], strict=True):
                shares.setdefault(config, set()).add(share)
            if several := sum(len(one) > 1 for one in shares.values()):
                trials.notes.append(
                    f"{several} configs are there at several fidelities, as trials of their own; map `trial` "
                    "where these are one trial's learning curve"
                )
        rows = Counter(zip(keys, facts["score"], facts["status"], strict=True))
        if copies := sum(count - 1 for count in rows.values() if count > 1):
            trials.notes.append(
                f"{copies} of them also have the very same score: repeats as any other, unless the table "
                "holds rows twice"
            )
    return seeds


def _epochs(identity: Mapping[str, Sequence[Any]], trials: Trials) -> pa.Table:
    core = core_schema("epochs")
    where = [number for number, curve in enumerate(trials.curves) for _ in curve]
    rows = [n for curve in trials.curves for n in curve]
    known: dict[str, Sequence[Any]] = {
        name: [values[number] for number in where] for name, values in identity.items()
    }
    known |= {
        "step": [trials.step[n] for n in rows],
        "fidelity": [trials.share[n] for n in rows],
        "score": [trials.scores[n] for n in rows],
    }
    return pa.table(
        {field.name: pa.array(known.get(field.name, [None] * len(rows)), field.type) for field in core},
        schema=core,
    )


def _dataset(sweep: str, name: str, metric: str, trials: Trials) -> dict[str, Any]:
    """Its row; the teacher's scores where all of its trials have the same."""
    found: dict[str, Any] = {"sweep": sweep, "dataset": name, "metric": metric}
    mine = [n for n, dataset in enumerate(trials.facts["dataset"]) if dataset == name]
    for column in ("teacher_score", "teacher_test_score"):
        values = {trials.facts[column][n] for n in mine} if column in trials.facts else set()
        if len(values) == 1:
            found[column] = values.pop()
    return found


def _digest(columns: Mapping[str, Sequence[Any]], epochs: pa.Table) -> str:
    told = {name: columns[name] for name in sorted(columns) if name != "distiller_version"}
    text = json.dumps(
        [told, epochs.select(["trial_id", "step", "fidelity", "score"]).to_pydict()], default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()
