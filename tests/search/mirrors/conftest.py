"""A small sweep in a store for all mirrors: every role and status, conditional stages; made once, copied."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest

from distiller.results.store import Store
from tests.results.conftest import Demo, demo  # noqa: F401


@pytest.fixture(scope="session")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    made = Demo(tmp_path_factory.mktemp("mirrored") / "store")
    for dataset in made.sweep.datasets:
        made.describe(dataset)
        for number, status in enumerate(("completed", "stopped", "completed", "failed")):
            error = {"error": "ValueError: <b>nan</b>", "traceback": "T"} if status == "failed" else {}
            score = None if status == "failed" else 0.5 + number / 10
            made.trial(dataset, made.config(dataset), score, status=status, **error)
        config = made.config(dataset)
        made.retrain(dataset, config, [0.6, 0.7], seeds=(1, 2))
        made.baselines(dataset, config, [0.4] * 3, [0.5] * 3)
    return made


@pytest.fixture
def made(_filled: Demo, tmp_path: Path) -> Demo:
    mine = copy.copy(_filled)
    folder = shutil.copytree(_filled.store.url, tmp_path / 'it\'s "a" store')
    mine.store, mine.rows, mine.rng = Store.open(str(folder)), [*_filled.rows], copy.deepcopy(_filled.rng)
    return mine
