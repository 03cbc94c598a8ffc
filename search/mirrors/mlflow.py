"""MLflow: an experiment per dataset, `<sweep>/<dataset>`, a run per trial.

A run's status is set last: what was cut off before is deleted and written again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from distiller.results.ended import EndedTrial
from distiller.results.store import Store
from distiller.search.mirrors.mirror import about, points, summary

NAME, SWEEP = "distiller.trial_id", "distiller.sweep"
METRICS_AT_ONCE = 1000
"""What one request may carry."""
STATUS = {"completed": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


def open_mirror(store: Store, sweep: str, place: str) -> MlflowMirror:
    """A tracking server or database by its URL, or a folder."""
    return MlflowMirror(sweep, place)


class MlflowMirror:
    """Writes runs through MLflow's client."""

    def __init__(self, sweep: str, place: str):
        # A plain folder: as a database in it, which MLflow keeps up; files it has left behind.
        if "://" not in place:
            os.makedirs(place, exist_ok=True)
            place = f"sqlite:///{os.path.join(place, 'mlflow.db')}"
        self.sweep, self.client = sweep, MlflowClient(tracking_uri=place)
        self.experiments: dict[str, str] = {}

    def known(self) -> set[str]:
        whole = set()
        for run in self._runs():
            if run.info.status in STATUS.values():
                whole.add(run.data.tags[NAME])
            else:
                self.client.delete_run(run.info.run_id)
        return whole

    def _runs(self) -> Iterator[Any]:
        mine = [e for e in self._experiments() if e.tags.get(SWEEP) == self.sweep]
        for experiment in mine:
            token: str | None = None
            while True:
                page = self.client.search_runs([experiment.experiment_id], page_token=token)
                yield from (run for run in page if NAME in run.data.tags)
                token = page.token
                if not token:
                    break

    def _experiments(self) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self.client.search_experiments(page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def add(self, trial: EndedTrial) -> None:
        row = trial.row
        ended = row["ended_at"] or datetime.now(UTC)
        began = row["started_at"] or ended
        run = self.client.create_run(
            self._experiment(row["dataset"]),
            start_time=_milliseconds(began),
            tags={NAME: trial.name},
            run_name=trial.name,
        ).info.run_id
        parameters = [Param(name, str(value)) for name, value in trial.config.columns().items()]
        tags = [RunTag(f"distiller.{name}", str(value)[:5000]) for name, value in about(trial).items()]
        self.client.log_batch(run, params=parameters, tags=tags)
        metrics = [
            Metric(name, value, _milliseconds(began) + round(1000 * seconds), step)
            for step, seconds, values in points(trial)
            for name, value in values.items()
        ]
        last = int(row["steps"] or 0)
        metrics += [Metric(f"trial/{n}", v, _milliseconds(ended), last) for n, v in summary(trial).items()]
        for start in range(0, len(metrics), METRICS_AT_ONCE):
            self.client.log_batch(run, metrics=metrics[start : start + METRICS_AT_ONCE])
        self.client.set_terminated(run, STATUS[row["status"]], _milliseconds(ended))

    def _experiment(self, dataset: str) -> str:
        if dataset not in self.experiments:
            name = f"{self.sweep}/{dataset}"
            found = self.client.get_experiment_by_name(name)
            if found is None:
                try:
                    self.experiments[dataset] = self.client.create_experiment(name, tags={SWEEP: self.sweep})
                except MlflowException:  # another mirror of this sweep was faster
                    found = self.client.get_experiment_by_name(name)
                    if found is None:
                        raise
            if found is not None:
                self.experiments[dataset] = found.experiment_id
        return self.experiments[dataset]

    def close(self) -> None:
        """Nothing is open between two trials."""


def _milliseconds(moment: datetime) -> int:
    return round(1000 * moment.timestamp())
