"""The report of a large sweep: seconds to write it, its size, and seconds until a browser has drawn it.

10,000 trials on each of three datasets, with learning curves, as compactions leave them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from distiller.results.compaction import FILE_ROWS, write_data
from distiller.results.manifest import Manifest, folder, footer_checksum
from distiller.results.report import write_report
from distiller.results.report.browser import Page, browser_page, find_browser
from distiller.results.schema import Identity, core_schema
from distiller.results.store import Store
from distiller.search.reporting import analyse
from distiller.spaces.catalog import column_types
from distiller.spaces.config import PipelineConfig
from distiller.spaces.presets import PRESETS
from distiller.spaces.sweep import parse_sweep

ARROW = {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}
SWEEP = """
name: large
datasets:
  trec: {builtin: trec, train_rows: 1000, rest_as_unlabeled: true}
  tweets: {builtin: tweets, train_rows: 1000, rest_as_unlabeled: true}
  sms: {builtin: sms, train_rows: 1000, rest_as_unlabeled: true}
teachers: {minilm: {model: models/minilm, fine_tune: true}}
space:
  student: {svd: {layers: [2, 3, 4], width: [128, 256]}}
  teacher: {checkpoint: minilm}
budget: {steps: 1000}
search: {trials: 10000, finalists: {top: 3, seeds: 3}}
"""
EVALUATIONS = 10
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def made_score(config: PipelineConfig, rng: np.random.Generator) -> float:
    """A score to which objective, loss, student and learning rate contribute, and noise."""
    columns = config.columns()
    gains = {"mi_alpha": 0.04, "mse": 0.025, "cosine": 0.015, "ce": 0.0, "none": 0.0}
    found = 0.7 + gains.get(str(columns["intermediate_objective"]), 0.01)
    found += 0.02 * (float(columns["student_layers"]) - 2) + 0.03 * (columns["student_width"] == 256)
    found += 0.02 * (columns["prediction_loss"] != "none")
    found -= 0.03 * abs(np.log10(float(columns["optimization_learning_rate"])) + 3.5)
    return float(found + rng.normal(0, 0.01))


def large_store(path: Path, trials: int) -> Store:
    """A store with that many search trials a dataset, half of them stopped early, and three finalists."""
    rng = np.random.default_rng(0)
    sweep = parse_sweep(SWEEP, "large", Path())
    store = Store.create(str(path))
    store.write_text("large", "sweep.yaml", SWEEP)
    store.write_text("large", "sweep.json", json.dumps({"base": "/data", "launched_at": WHEN.isoformat()}))
    rows: list[dict[str, Any]] = []
    epochs: list[dict[str, Any]] = []
    types = {name: ARROW[kind] for name, kind in column_types().items()}
    extra: dict[str, pa.DataType] = {}
    for dataset, settings in sweep.datasets.items():
        facts = {
            "sweep": "large",
            "dataset": dataset,
            "task_kind": settings.kind,
            "metric": settings.headline,
        }
        teacher = {"teacher_score": 0.92, "teacher_test_score": 0.91, "majority_score": 0.2}
        store.write_dataset({**facts, **teacher})
        space = sweep.space_of(dataset)

        def add(
            config: PipelineConfig, role: str, seed: int, score: float, status: str,
            dataset: str = dataset, facts: dict[str, Any] = facts,
        ) -> None:  # fmt: skip
            identity = Identity("large", dataset, config.config_id, seed, role)
            common = {**identity._asdict(), "trial_id": identity.trial_id, "attempt": 1}
            share = {"completed": 1.0, "stopped": 1 / 3, "failed": 0.0}[status]
            started = WHEN + timedelta(seconds=len(rows))
            layers, width = config.student.layers, config.student.width
            columns = config.columns()
            extra.update({name: types[name] for name in columns})
            rows.append(
                {
                    **common, **facts, **columns, "origin": "prior", "status": status,
                    "steps": round(1000 * share),
                    "score": None if status == "failed" else score - 0.05 * (1 - share), "budget_steps": 1000,
                    "test_score": score - 0.01 if role != "search" else None,
                    "fidelity": share, "teacher": "minilm", "teacher_score": 0.92, "teacher_test_score": 0.91,
                    "student": f"bert-L{layers}-H{width}",
                    "latency_ms": layers * width / 256 * rng.uniform(0.9, 1.1),
                    "parameters": 3_900_000 * width // 128 + 12 * layers * width**2, "wall_seconds": 30.0,
                    "config": config.model_dump_json(), "device": "cpu", "versions": "{}",
                    "started_at": started,
                    "ended_at": started + timedelta(seconds=30),
                    "error": f"OutOfMemoryError: tried {len(rows)} bytes" if status == "failed" else None,
                }
            )  # fmt: skip
            for number in range(1, round(EVALUATIONS * share) + 1):
                at = number / EVALUATIONS
                epochs.append({**common, "step": round(1000 * at), "fidelity": at, "loss": 1.0 - at / 2,
                               "score": score - 0.2 * (1 - at) ** 2 + rng.normal(0, 0.003)})  # fmt: skip

        configs = {config.config_id: config for config in (space.sample(rng) for _ in range(trials))}
        best: list[tuple[float, PipelineConfig]] = []
        for config in configs.values():
            status = str(rng.choice(["completed", "stopped", "failed"], p=[0.48, 0.5, 0.02]))
            score = made_score(config, rng)
            add(config, "search", 0, score, status)
            if status == "completed":
                best.append((score, config))
        best.sort(key=lambda one: -one[0])
        for score, config in best[:3]:
            for seed in (101, 102, 103):
                add(config, "finalist", seed, score + rng.normal(0, 0.005), "completed")
        for name in ("no_teacher", "hinton"):
            applied = PRESETS[name].applied(best[0][1], settings.kind)
            for seed in (101, 102, 103):
                add(applied, "baseline", seed, best[0][0] - 0.05 + rng.normal(0, 0.005), "completed")
    _write(store, "trials", rows, extra)
    _write(store, "epochs", epochs, {})
    return store


def _write(store: Store, table: str, rows: list[dict[str, Any]], extra: dict[str, pa.DataType]) -> None:
    """As a compaction commits them."""
    schema = pa.schema([*core_schema(table), *(pa.field(name, kind) for name, kind in extra.items())])
    counts, footers = {}, {}
    for start in range(0, len(rows), FILE_ROWS):
        part = pa.Table.from_pylist(rows[start : start + FILE_ROWS], schema=schema)
        name = f"{1:08d}-{start:032x}.parquet"
        data = write_data(table, part)
        store.files.put(f"{folder(table, 'large')}/{name}", data)
        counts[name], footers[name] = part.num_rows, footer_checksum(pa.BufferReader(data))
    manifest = Manifest(table, "large", 1, datetime.now(UTC), counts, footers)
    assert store.files.put_new(manifest.path, manifest.to_json())


DRAWN = """new Promise((done) => {
  const box = document.querySelector("section.dataset .plot");
  box.scrollIntoView({ behavior: "instant" });
  const look = () => box.querySelector("svg") ? requestAnimationFrame(done) : requestAnimationFrame(look);
  look();
})"""
"""Goes to the first dataset's first figure and waits until it is there."""


def opened(page: Page, path: Path) -> dict[str, float]:
    """Seconds until a browser shows the text, has loaded the page, has drawn what is looked at, and all."""
    began = time.perf_counter()
    page.open(path, 1280)
    found = {"loaded": time.perf_counter() - began}
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    found["first text"] = page.evaluate(paint) / 1000
    page.evaluate(DRAWN)
    found["first figure"] = time.perf_counter() - began
    page.evaluate("drawAll()")
    found["all figures"] = time.perf_counter() - began
    return found


def measure(scratch: Path, console: Console, trials: int) -> dict[str, Any]:
    """Measure and print everything."""
    store = large_store(scratch / "store", trials)
    found: dict[str, Any] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        done = work()
        found[name] = time.perf_counter() - began
        return done

    analysis = timed("importance, comparisons and findings", lambda: analyse(store, "large"))
    report = timed("writing", lambda: write_report(store, "large", scratch / "report.html", analysis))
    found["MB"] = report.path.stat().st_size / 1e6
    program = find_browser()
    if program is None:
        console.print("no browser is installed: what it takes to open is not measured")
    else:
        with browser_page(program) as page:
            runs = [opened(page, report.path) for _ in range(3)]
        found |= {name: sorted(run[name] for run in runs)[1] for name in runs[0]}
    table = Table("the report", "seconds (of the browser: median of 3)")
    for name, value in found.items():
        table.add_row(name, f"{value:.2f}")
    console.print(table)
    console.print(f"{trials:,} search trials on each of 3 datasets; {len(report.figures)} figures")
    for line in analysis.missing:
        console.print(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(measure(Path(scratch), Console(width=110), options.trials)))


if __name__ == "__main__":
    main()
