"""MLflow runs, read back through its client; a database in a folder, no server."""

from __future__ import annotations

import pytest

pytest.importorskip("mlflow", reason="pip install 'kd-distiller[mlflow]'")
pytest.importorskip("sqlalchemy", reason="pip install 'kd-distiller[mlflow]'")

from mlflow import MlflowClient

from distiller.search.mirrors.feeding import Feed
from distiller.search.mirrors.mirror import Target
from distiller.search.mirrors.mlflow import NAME
from distiller.spaces.config import PipelineConfig

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, of packages that it draws in


def mirrored(made, folder):
    return Feed(made.store, "demo", Target("mlflow", str(folder))).step()


def runs(folder):
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiments = [e.experiment_id for e in client.search_experiments() if e.name.startswith("demo/")]
    return client, {run.data.tags[NAME]: run for run in client.search_runs(experiments)}


def test_every_trial_is_a_run_once(made, tmp_path):
    folder = tmp_path / "it's ml"
    assert mirrored(made, folder) == len(made.rows)
    client, found = runs(folder)
    assert set(found) == {row["trial_id"] for row in made.rows}
    statuses = {"completed": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
    for row in made.rows:
        run = found[row["trial_id"]]
        assert run.info.status == statuses[row["status"]]
        assert run.info.start_time == round(1000 * row["started_at"].timestamp())
        columns = PipelineConfig.model_validate_json(row["config"]).columns()
        assert run.data.params == {name: str(value) for name, value in columns.items()}
        if row["score"] is None:
            assert "trial/score" not in run.data.metrics
        else:
            assert run.data.metrics["trial/score"] == row["score"]
            history = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "score")}
            assert list(history) == list(range(10, row["steps"] + 1, 10))
        assert run.data.tags["distiller.role"] == row["role"]
    assert mirrored(made, folder) == 0
    cut = found[made.rows[0]["trial_id"]]
    client.update_run(cut.info.run_id, "RUNNING")  # as if killed before its end was set
    assert mirrored(made, folder) == 1
    _, again = runs(folder)
    assert set(again) == set(found)
    assert again[made.rows[0]["trial_id"]].info.run_id != cut.info.run_id
