"""The store at 10,000 and 1,000,000 trials: seconds of a query on fragments and on compacted files.

Rows have every column of the table and of the space; configs are drawn from the default space.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from distiller.results.compaction import FILE_ROWS, compact, write_data
from distiller.results.fragments import decode, encode, fragment_path
from distiller.results.manifest import Manifest, folder, footer_checksum
from distiller.results.schema import Identity
from distiller.results.sql import query
from distiller.results.store import Store
from distiller.results.unify import unify
from distiller.spaces.catalog import column_types
from distiller.spaces.config import PipelineConfig
from distiller.spaces.sweep import parse_sweep

ARROW = {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}
SQL = (
    "SELECT dataset, student_layers, prediction_loss, count(*) AS trials, max(score) AS best "
    "FROM trials WHERE status = 'completed' GROUP BY ALL ORDER BY best DESC"
)
SWEEP = """
name: bench
datasets: {trec: {builtin: trec}, tweets: {builtin: tweets}}
teachers: {minilm: {model: models/minilm, fine_tune: true}}
"""
TARGETS = {"raw": 2.0, "compacted": 0.1, "million": 1.0}
"""Seconds that a query may take."""
CONFIGS = 1000


def rows(configs: list[PipelineConfig], count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Terminal rows of that many trials."""
    found = []
    for number in range(count):
        config = configs[number % len(configs)]
        identity = Identity("bench", ("trec", "tweets")[number % 2], f"{number:012x}", 0, "search")
        ended = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
        found.append(
            {
                **identity._asdict(), "trial_id": identity.trial_id, "attempt": 1, "origin": "prior",
                "status": "completed", "task_kind": "classification", "teacher": "minilm",
                "student": "bert-L2-H128", "metric": "matthews", "score": float(rng.uniform()),
                "best_score": float(rng.uniform()), "best_step": 900, "teacher_score": 0.9,
                "metrics": json.dumps({"validation": {"matthews": float(rng.uniform())}}), "steps": 1000,
                "budget_steps": 1000, "fidelity": 1.0, "parameters": 4_400_000, "flops": 1e9,
                "peak_memory_bytes": 10**9, "latency_ms": 2.5, "train_seconds": 30.0, "wall_seconds": 33.0,
                "examples": 32_000, "device": "cpu", "host": "node", "config": config.model_dump_json(),
                "versions": '{"torch": "2.13.0"}', "started_at": ended, "ended_at": ended, **config.columns(),
            }
        )  # fmt: skip
    return found


class Took(NamedTuple):
    """Seconds of one call: on the clock, and of the processor, threads and processes that it started too."""

    wall: float
    cpu: float


def once(work: Callable[[], object], calls: int = 1) -> Took:
    """One call, or the share of each of `calls` in it."""
    began, used = time.perf_counter(), _cpu()
    work()
    return Took((time.perf_counter() - began) / calls, (_cpu() - used) / calls)


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def seconds(work: Callable[[], object], repeats: int = 5) -> list[Took]:
    """Each call, after one that does not count."""
    work()
    return [once(work) for _ in range(repeats)]


def command_seconds(store: Store) -> list[Took]:
    """The same as a command, interpreter and all."""
    arguments = [sys.executable, "-m", "distiller.search.cli", "query", SQL, "--store", store.url]
    return seconds(lambda: subprocess.run(arguments, check=True, capture_output=True), 3)


def million(store: Store, sample: pa.Table, count: int, rng: np.random.Generator) -> None:
    """Data files of `count` trials as compactions leave them, drawn from the sample with ids of their own."""
    counts: dict[str, int] = {}
    footers: dict[str, int] = {}
    for start in range(0, count, FILE_ROWS):
        size = min(FILE_ROWS, count - start)
        part = sample.take(pa.array(rng.integers(0, sample.num_rows, size)))
        ids = [f"{number:012x}" for number in range(start, start + size)]
        datasets = part.column("dataset").to_pylist()
        changed = {
            "config_id": pa.array(ids),
            "trial_id": pa.array([f"{d}-{i}-0-search" for d, i in zip(datasets, ids, strict=True)]),
            "score": pa.array(rng.uniform(size=size)),
        }
        for name, column in changed.items():
            part = part.set_column(part.schema.get_field_index(name), part.schema.field(name), column)
        name = f"{1:08d}-{start:032x}.parquet"
        data = write_data("trials", part)
        store.files.put(f"{folder('trials', 'bench')}/{name}", data)
        counts[name], footers[name] = size, footer_checksum(pa.BufferReader(data))
    manifest = Manifest("trials", "bench", 1, datetime.now(UTC), counts, footers)
    assert store.files.put_new(manifest.path, manifest.to_json())


def report(scratch: Path, console: Console, trials: int = 10_000, large: int = 1_000_000) -> dict[str, Any]:
    """Measure and print everything."""
    rng = np.random.default_rng(0)
    sweep = parse_sweep(SWEEP, "bench", Path())
    configs = [sweep.space_of("trec").sample(rng) for _ in range(CONFIGS)]
    types = {name: ARROW[kind] for name, kind in column_types().items()}
    store = Store.create(str(scratch / "raw"))
    written = rows(configs, trials, rng)
    gc.freeze()  # a query's process does not hold them

    def write() -> None:
        for row in written:
            assert store.write_trial(row, types)

    found = {"write": [once(write, trials)]}
    found["raw"] = seconds(lambda: query(store, SQL))
    found["raw command"] = command_seconds(store)
    found["compaction"] = [once(lambda: compact(store, settle=0))]
    found["compacted"] = seconds(lambda: query(store, SQL))
    found["compacted command"] = command_seconds(store)
    found["row after compaction"] = seconds(lambda: store.write_trial({**written[0], "attempt": 2}, types))
    sample = [decode("trials", path, encode("trials", [row], types)) for row in written[:CONFIGS]
              for path in [fragment_path("trials", row)]]  # fmt: skip
    huge = Store.create(str(scratch / "huge"))
    million(huge, unify("trials", sample)[0], large, rng)
    found["million"] = seconds(lambda: query(huge, SQL))
    found["million command"] = command_seconds(huge)
    found["row beside a million"] = seconds(lambda: huge.write_trial({**written[1], "attempt": 2}, types))
    size = sum(path.stat().st_size for path in (scratch / "huge").rglob("*.parquet"))
    table = Table("store", "seconds (median)", "spread", "of CPU", "target")
    medians = {name: Took(*map(statistics.median, zip(*times, strict=True))) for name, times in found.items()}
    for name, times in found.items():
        wall, cpu = medians[name]
        target = (
            f"{TARGETS[name]:g}, {'met' if wall <= TARGETS[name] else 'MISSED'}" if name in TARGETS else ""
        )
        spread = f"{min(times).wall:.3f}-{max(times).wall:.3f}"
        table.add_row(name, f"{wall:.4f}", spread, f"{cpu:.4f}", target)
    console.print(table)
    console.print(
        f"{trials:,} trials in fragments, compacted; {large:,} trials compacted, "
        f"{size / 2**20:,.0f} MiB; {len(types)} columns of the space"
    )
    gc.unfreeze()
    return {name: took._asdict() for name, took in medians.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(report(Path(scratch), Console(width=110), options.trials, options.large)))


if __name__ == "__main__":
    main()
