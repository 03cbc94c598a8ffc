"""Weights & Biases, offline: run folders below `<place>/wandb` that `wandb sync` uploads.

A run's id follows from its trial, so that what is uploaded twice is one run. A trial counts as written once
its name is in `<place>/.distiller-<sweep>.txt`, which comes last.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when it is imported

import wandb

from distiller.results.ended import EndedTrial
from distiller.results.store import Store
from distiller.search.mirrors.mirror import about, points, summary
from distiller.spaces.errors import InputError


def open_mirror(store: Store, sweep: str, place: str) -> WandbMirror:
    """A local folder.

    Raises:
        InputError: `place` is a URL.
    """
    if "://" in place:
        raise InputError(
            f"mirror wandb:{place}: runs are written offline; name a folder, then upload it by `wandb sync`"
        )
    return WandbMirror(sweep, Path(place))


class WandbMirror:
    """Writes offline runs, one project per sweep, grouped by dataset."""

    def __init__(self, sweep: str, folder: Path):
        self.sweep, self.folder = sweep, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.done = folder / f".distiller-{sweep}.txt"

    def known(self) -> set[str]:
        return set(self.done.read_text().splitlines()) if self.done.exists() else set()

    def add(self, trial: EndedTrial) -> None:
        row = trial.row
        name = hashlib.sha256(f"{self.sweep}/{trial.name}".encode()).hexdigest()[:16]
        for cut_off in self.folder.glob(f"wandb/offline-run-*-{name}"):
            shutil.rmtree(cut_off)
        run = wandb.init(
            mode="offline",
            dir=self.folder,
            project=self.sweep,
            group=row["dataset"],
            job_type=row["role"],
            name=trial.name,
            id=name,
            config={**trial.config.columns(), **{f"trial/{n}": v for n, v in about(trial).items()}},
            reinit="create_new",
            settings=wandb.Settings(
                silent=True, console="off", x_disable_stats=True, x_disable_meta=True, save_code=False
            ),
        )
        for step, seconds, values in points(trial):
            run.log({**values, "train_seconds": seconds}, step=step)
        run.summary.update({**summary(trial), "status": row["status"]})
        run.finish(exit_code=1 if row["status"] == "failed" else 0)
        with self.done.open("a") as file:
            file.write(f"{trial.name}\n")

    def close(self) -> None:
        """End the process that writes the runs, which may be behind."""
        wandb.teardown()
