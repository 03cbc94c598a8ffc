"""`distiller import` and every command on what it imported, on the real command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from distiller.results.store import Store
from distiller.search.designs import designs
from tests.search.conftest import SWEEP


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / 'it\'s "a" place'
    place.mkdir()
    rng = np.random.default_rng(0)
    lines = ["method,strength,lr,task,val_acc,run"]
    for number in range(120):
        method = ["none", "mixup", "cutout"][rng.integers(3)]
        strength = rng.uniform() if method != "none" else None
        lr = 10 ** rng.uniform(-5, -1)
        score = 0.5 + 0.2 * (method == "mixup") + 0.01 * rng.normal()
        task = ["trec", "sst2"][rng.integers(2)]
        lines.append(f"{method},{'' if strength is None else strength},{lr},{task},{score},r{number}")
    (place / "trials.csv").write_text("\n".join(lines))
    return place


def test_from_a_table_to_every_command(command, refused, folder):
    suggested = command(folder, "import", "trials.csv", "--suggest")
    assert suggested.returncode == 0, suggested.stderr
    (folder / "mapping.yaml").write_text(suggested.stdout)
    arguments = ("import", "trials.csv", "--mapping", "mapping.yaml", "--store", "store")
    dry = command(folder, *arguments, "--dry-run")
    assert "would import 120 trials (120 completed) as sweep trials" in dry.stdout
    assert "asked only where method is mixup or cutout" in dry.stdout.replace(
        "cutout or mixup", "mixup or cutout"
    )
    assert not (folder / "store").exists()
    assert "imported 120 trials" in command(folder, *arguments).stdout
    told = json.loads(command(folder, *arguments, "--json").stdout)
    assert told["written"] is False
    assert told["datasets"] == list(designs(Store.open(str(folder / "store")), "trials"))
    assert [one["column"] for one in told["stages"]["method"]] == ["method", "method_strength"]

    store = ("--store", "store")
    best = json.loads(command(folder, "query", "best", *store, "--json").stdout)
    assert [row["dataset"] for row in best] == ["sst2", "trec"]
    listed = command(folder, "query", "--list", *store)
    assert "choices" in listed.stdout
    assert "did you mean 'best'" in refused(folder, "query", "bets", *store)
    assert "--list" in refused(folder, "query", *store)
    status = command(folder, "status", *store)
    assert "every trial has ended" in status.stdout
    assert "no teacher" not in status.stdout
    exported = command(folder, "export", *store, "--json")
    assert [one["dataset"] for one in json.loads(exported.stdout)] == told["datasets"]
    line = refused(folder, "train", "best/trec.yaml", "--out", "student")
    assert "imported table 'trials'" in line
    assert "imported table" in refused(folder, "mirror", "trials", "--to", "optuna:runs.log", *store)
    assert not (folder / "runs.log").exists()


def test_designs_carry_importance(command, folder):
    """What `designs` gives is what the analyses take: the stage that decides the score is found."""
    (folder / "mapping.yaml").write_text(command(folder, "import", "trials.csv", "--suggest").stdout)
    command(folder, "import", "trials.csv", "--mapping", "mapping.yaml", "--store", "store")
    done = command(folder, "importance", "--store", "store", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for found in told.values():
        shares = {stage: one["total"] for stage, one in found["stages"].items()}
        assert max(shares, key=shares.get) == "method"
    first = next(iter(told))
    one = command(folder, "importance", "--store", "store", "--json", "--dataset", first)
    assert json.loads(one.stdout) == {first: told[first]}
    gone = command(folder, "importance", "--store", "store", "--dataset", f"{first}x")
    assert gone.returncode == 2
    assert f"--dataset {first}x: not in sweep trials; did you mean '{first}'?" in gone.stderr


def test_what_is_refused(refused, command, folder):
    assert "--suggest" in refused(folder, "import", "trials.csv")
    assert "no such file" in refused(folder, "import", "gone.csv", "--suggest")
    (folder / "m.yaml").write_text("score: val_acc\nstages: {method: [method, strength], lr: lr}")
    line = refused(folder, "import", "trials.csv", "--mapping", "m.yaml", "--store", "store")
    assert "'task', 'run'" in line
    assert not (folder / "store").exists()
    Store.create(str(folder / "empty"))
    line = refused(folder, "importance", "--store", "empty")
    assert "it holds no sweep; run `distiller launch` or `distiller import` first" in line
    (folder / "m.yaml").write_text("scre: val_acc\nstages: {method: [method, strength]}")
    assert "m.yaml: " in refused(folder, "import", "trials.csv", "--mapping", "m.yaml", "--dry-run")
    (folder / "m.yaml").write_text(
        "name: tiny\nscore: val_acc\ndataset: task\nstages: {method: [method, strength], lr: lr}\nignore: run"
    )
    assert command(folder, "import", "trials.csv", "--mapping", "m.yaml", "--store", "store").returncode == 0
    warm = "search:\n  warm_start: [{store: store, sweep: tiny}]\n"
    (folder / "warm.yaml").write_text(SWEEP.replace("name: tiny", "name: other").replace("search:\n", warm))
    assert "tiny is an imported table" in refused(folder, "launch", "warm.yaml", "--store", "store")
