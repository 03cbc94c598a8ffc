"""A tiny teacher, tiny files and the real command line, in folders whose names trip careless code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from distiller.results.store import Store
from distiller.search import cli, materials
from distiller.search.assignment import Assignment, Launch, Preparation, Task
from distiller.search.plan import cache_from, planned_space
from distiller.search.searcher import STANDBY
from distiller.search.worker import TrialRunner
from distiller.spaces.sweep import parse_sweep
from tests.search.files import write_animals, write_opinions, write_teacher

SWEEP = """\
name: tiny
datasets:
  animals:
    train: animals-train-*.csv
    validation: animals-validation.csv
    test: animals-test.csv
    unlabeled: animals-raw.jsonl
    text: body
    label: kind
    max_length: 16
  opinions: {train: opinions.parquet, text: text, score: stars, max_length: 16}
teachers:
  bert: {model: teacher, fine_tune: {epochs: 1, learning_rate: 3e-3, batch_size: 8}}
space:
  augmentation: {none: {}, random: {strength: 0.1, copies: 1}}
  intermediate: {none: {}, mse: {weight: [0.1, 1.0], representation: cls, mapping: last, projection: linear}}
  prediction: {kl: {hard_weight: {uniform: [0, 0.6]}, temperature: 2}, mse: {hard_weight: 0.5}}
  student: {svd: {layers: 1, width: 16}}
  optimization: {learning_rate: {loguniform: [1e-3, 3e-2]}, warmup: 0.1, weight_decay: 0.0, schedule: linear,
                 batch_size: 8}
budget: {steps: 12, evaluations: 4}
search:
  trials: 6
  startup: 4
  scheduler: {asha: {reduction: 2, min_share: 0.25}}
  finalists: {top: 2, seeds: 2}
resources: {cpus: 1}
cache: {path: cache}
"""


@dataclass
class Place:
    """A folder with a sweep's files, where the real command is run."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store.open(str(self.folder / "results/data"))

    def rows(self, sweep: str = "tiny", table: str = "trials") -> list[dict[str, Any]]:
        """Rows that are there by now; none where there is no store yet."""
        if not (self.folder / "results/data/sweeps" / sweep).exists():
            return []
        return self.store.read(table, sweep).to_pylist()

    def fragments(self) -> dict[str, bytes]:
        """Every file of the store."""
        root = self.folder / "results/data"
        files = (p for p in root.rglob("*") if p.is_file() and not p.name.startswith("."))
        return {str(p.relative_to(root)): p.read_bytes() for p in files}

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "distiller.search.cli", *arguments],
            cwd=self.folder,
            env={**os.environ, **ENVIRONMENT, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """The command, run to its end; what hangs is ended with all its children."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            end(process, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def wait_for(self, process: subprocess.Popen[str], ready: Any, seconds: float = 120) -> Any:
        """What `ready()` says once it is true; fails where the process ends before."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = ready()
            if found:
                return found
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        raise AssertionError("waited in vain")


ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "COLUMNS": "160", "PYTHONWARNINGS": "ignore"}


def end(process: subprocess.Popen[str], how: int) -> None:
    """Send a signal to the process and all that it started, and wait for it."""
    os.killpg(process.pid, how)
    process.communicate(timeout=60)


def make_place(folder: Path, sweep: str = SWEEP) -> Place:
    folder.mkdir(parents=True, exist_ok=True)
    write_animals(folder)
    write_opinions(folder)
    write_teacher(folder / "teacher")
    place = Place(folder)
    place.write("sweep.yaml", sweep)
    return place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A fresh folder with all files of the tiny sweep."""
    return make_place(tmp_path / 'it\'s a "place"')


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line in this process, which has loaded torch already; Ray must not be started."""
    monkeypatch.setattr("ray.init", lambda **options: pytest.fail("Ray was started"))

    def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["distiller", *arguments])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return call


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """The one line with which a command refuses its arguments."""
    return lambda folder, *arguments: refusal(command(folder, *arguments))


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    (line,) = lines
    assert line.startswith("distiller: "), line
    return line.removeprefix("distiller: ")


@dataclass
class Bench:
    """The worker's code on the tiny sweep in this process, Ray stood in for."""

    place: Place
    launch: Launch
    store: Store

    def runner(
        self, tasks: Sequence[Task] | None = None, rungs: tuple[int, ...] = (), **more: Any
    ) -> TrialRunner:
        """A trainable that was given `tasks` on animals; without any, one draw from the prior."""
        launch = self.launch
        if "search" in more:
            search = launch.sweep.search.model_copy(update=more.pop("search"))
            launch = replace(launch, sweep=launch.sweep.model_copy(update={"search": search}))
        if tasks is None:
            config = planned_space(launch.sweep, "animals")[0].sample(np.random.default_rng(0))
            tasks = [Task(config, "prior")]
        options = {"dataset": "animals", "role": "search", "seed": 0, **more}
        assignment = Assignment(tasks=tuple(tasks), rungs=rungs, **options)
        return self._set_up(launch, {"assignment": assignment.to_json()})

    def preparer(self, dataset: str, alone: bool = False) -> TrialRunner:
        """A trainable that was told to prepare a dataset."""
        return self._set_up(self.launch, {"preparation": Preparation(dataset, "bert", alone).to_json()})

    def standing_by(self) -> TrialRunner:
        """A trainable that has nothing to do."""
        return self._set_up(self.launch, STANDBY)

    @staticmethod
    def _set_up(launch: Launch, config: dict[str, Any]) -> TrialRunner:
        runner = TrialRunner(launch)
        runner.take(config)
        return runner


@pytest.fixture(scope="module")
def _forgotten() -> Iterator[None]:
    """What this process kept ready is of a file's sweeps: other files ask for others of the same name."""
    yield
    materials._materials.clear()


@pytest.fixture(scope="session")
def _bench(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("bench") / "it's a bench")


@pytest.fixture
def bench(_bench: Place, _forgotten: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("ray.get_gpu_ids", list)
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "node"))
    sweep = parse_sweep(SWEEP, "sweep.yaml")
    sweep = sweep.model_copy(update={"cache": cache_from(sweep.cache, _bench.folder)})
    store = Store.create(str(tmp_path / "store"))
    store.write_text("tiny", "sweep.yaml", SWEEP)
    provenance = {"versions": {}, "git_commit": None, "distiller_version": "0"}
    return Bench(_bench, Launch(sweep, str(_bench.folder), store.url, provenance), store)


@dataclass
class Finished:
    """The tiny sweep, launched once through the command line and run to its end."""

    place: Place
    done: subprocess.CompletedProcess[str]
    trials: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    attempts: list[dict[str, Any]]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Made by the first of the test processes that asks; the others wait for it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    place, said = Place(shared / 'the user\'s "own" data'), shared / "finished.json"
    with FileLock(shared / "finished.lock"):
        if not said.exists():
            done = make_place(place.folder).run("launch", "sweep.yaml")
            assert done.returncode == 0, (done.stdout, done.stderr)
            said.write_text(json.dumps([done.stdout, done.stderr]))
    done = subprocess.CompletedProcess(["launch", "sweep.yaml"], 0, *json.loads(said.read_text()))
    return Finished(place, done, *(place.rows(table=t) for t in ("trials", "epochs", "attempts")))
