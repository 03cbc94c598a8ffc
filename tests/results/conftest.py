"""A made-up sweep in a real store: every role and status, written as workers write it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distiller.results.schema import trial_id
from distiller.results.store import Store
from distiller.spaces.catalog import column_types
from distiller.spaces.presets import PRESETS
from distiller.spaces.sweep import parse_sweep

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ARROW = {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}
DATASETS = {
    "trec": "{builtin: trec, train_rows: 1000, rest_as_unlabeled: true}",
    "tweets": "{builtin: tweets, train_rows: 500}",
}
SWEEP = """\
name: demo
datasets:
{datasets}
teachers:
  minilm: {{model: models/minilm, fine_tune: true}}
  unused: {{model: models/unused}}
space:
  augmentation: {{none: {{}}, random: {{strength: 0.1}}}}
  prediction: {{mse: {{hard_weight: {{uniform: [0, 0.6]}}}}}}
  student: {{svd: {{layers: [2, 3, 4], width: [128, 256]}}}}
  teacher: {{checkpoint: minilm}}
budget: {{steps: 90}}
search: {{trials: 30, finalists: {{top: 3, seeds: 3}}}}
"""


class Demo:
    """A store with the sweep `demo`, filled row by row."""

    def __init__(self, folder, datasets=None, name="demo", more="", base=Path()):
        text = "\n".join(f"  {key}: {value}" for key, value in (datasets or DATASETS).items())
        self.text = SWEEP.format(datasets=text).replace("name: demo", f"name: {name}") + more
        self.sweep, self.name = parse_sweep(self.text, "sweep.yaml", base), name
        self.store = Store.create(str(folder))
        self.rng = np.random.default_rng(0)
        self.rows, self.scores = [], iter(self.rng.uniform(0.5, 0.7, 100_000))
        self.store.write_text(name, "sweep.yaml", self.text)
        origin = {"base": "/data/mine", "launched_at": WHEN.isoformat(), "distiller_version": "0.1.0"}
        self.store.write_text(name, "sweep.json", json.dumps({**origin, "git_commit": "abc1234"}))

    def describe(self, dataset, **more):
        config = self.sweep.datasets[dataset]
        scores = {"teacher_score": 0.85, "teacher_test_score": 0.84, "majority_score": 0.1}
        row = {"sweep": self.name, "dataset": dataset, "task_kind": config.kind, "metric": config.headline}
        self.store.write_dataset({**row, **scores, **more})

    def config(self, dataset):
        return self.sweep.space_of(dataset).sample(self.rng)

    def trial(self, dataset, config, score, role="search", seed=0, status="completed", **more):
        """Writes one trial with its attempt and its curve; more columns by name."""
        name = trial_id(dataset, config.config_id, seed, role)
        identity = {"sweep": self.name, "dataset": dataset, "config_id": config.config_id, "seed": seed,
                    "role": role, "trial_id": name, "attempt": 1}  # fmt: skip
        share = {"completed": 1.0, "stopped": 1 / 3, "failed": 0.0}[status]
        layers, width = config.student.layers, config.student.width
        started = WHEN + timedelta(seconds=7 * len(self.rows))
        row = {
            **identity, **config.columns(), "origin": "prior", "status": status, "score": score,
            "task_kind": self.sweep.datasets[dataset].kind, "metric": self.sweep.datasets[dataset].headline,
            "fidelity": share, "steps": round(90 * share), "budget_steps": 90, "teacher": "minilm",
            "teacher_score": 0.85, "teacher_test_score": 0.84, "config": config.model_dump_json(),
            "student": f"bert-L{layers}-H{width}", "parameters": 4_000_000 + layers * width * width * 12,
            "latency_ms": 0.5 * layers * width / 128, "device": "cpu", "versions": '{"torch": "2.13.0"}',
            "distiller_version": "0.1.0", "git_commit": "abc1234", "wall_seconds": 20.0,
            "started_at": started, "ended_at": started + timedelta(seconds=20),
        } | more  # fmt: skip
        attempt = {"origin": "prior", "config": row["config"], "started_at": started}
        assert self.store.write_attempt({**identity, **attempt})
        curve = [{**identity, "step": s, "fidelity": s / 90, "score": score - 0.1 * (1 - s / row["steps"])}
                 for s in range(10, row["steps"] + 1, 10) if score is not None]  # fmt: skip
        self.store.write_epochs(curve)
        types = column_types()
        assert self.store.write_trial(row, {name: ARROW[types[name]] for name in config.columns()})
        self.rows.append(row)
        return row

    def retrain(self, dataset, config, scores, role="finalist", seeds=(101, 102, 103), tests=None):
        tests = tests or [None] * len(scores)
        for seed, score, test in zip(seeds, scores, tests, strict=True):
            self.trial(dataset, config, score, role, seed, test_score=test)

    def baselines(self, dataset, config, no_teacher, hinton, below=0.02):
        kind = self.sweep.datasets[dataset].kind
        for name, scores in (("no_teacher", no_teacher), ("hinton", hinton)):
            applied = PRESETS[name].applied(config, kind)
            self.retrain(dataset, applied, scores, "baseline", tests=[s - below for s in scores])

    def filled(self, trials=6, failed=2):
        """All datasets with search rows, three finalists, baselines of the best one and failures."""
        for dataset in self.sweep.datasets:
            self.describe(dataset)
            for i in range(trials):
                status = "stopped" if i % 3 == 2 else "completed"
                self.trial(dataset, self.config(dataset), next(self.scores), status=status)
            for i in range(failed):
                error, trace = f"ValueError: loss is nan at step {i}", f"Traceback\n  step {i}\nValueError"
                self.trial(dataset, self.config(dataset), None, status="failed", error=error, traceback=trace)
            done = [self.config(dataset) for _ in range(3)]
            self.retrain(dataset, done[0], [0.70, 0.72, 0.74])
            self.retrain(dataset, done[1], [0.73, 0.745, 0.75], tests=[0.71, 0.70, 0.735])  # the best mean
            self.retrain(dataset, done[2], [0.60, 0.65, 0.80])  # the best single run
            self.baselines(dataset, done[1], [0.66, 0.67, 0.69], [0.70, 0.71, 0.70])
        return self


@pytest.fixture
def demo(tmp_path):
    """Makes `Demo`s in a folder with a difficult name."""
    return lambda *args, **more: Demo(tmp_path / 'it\'s "a" store', *args, **more)
