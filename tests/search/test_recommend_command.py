"""`distiller recommend --evaluate` on the real command line, on a table from elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

TASKS = ["trec-500", "trec-2000", "sst2", "qqp", "rte"]
METHODS = ["random", "average", "portfolio", "nearest", "learned"]


@pytest.fixture
def folder(tmp_path, command):
    """40 configs of which each task tried 25; `mixup` is best wherever it is tried."""
    place = tmp_path / 'it\'s "a" place'
    place.mkdir()
    rng = np.random.default_rng(0)
    lines = ["method,lr,task,val_acc,run"]
    configs = [(["none", "mixup", "cutout"][number % 3], 10 ** rng.uniform(-5, -1)) for number in range(40)]
    for task in TASKS:
        for number in rng.permutation(40)[:25]:
            method, lr = configs[number]
            score = 0.5 + 0.2 * (method == "mixup") + 0.01 * rng.normal()
            lines.append(f"{method},{lr},{task},{score},{task}{number}")
    (place / "trials.csv").write_text("\n".join(lines))
    (place / "mapping.yaml").write_text(command(place, "import", "trials.csv", "--suggest").stdout)
    done = command(place, "import", "trials.csv", "--mapping", "mapping.yaml", "--store", "store")
    assert done.returncode == 0, done.stderr
    return place


def test_recommenders_are_compared_on_an_imported_table(command, refused, folder):
    arguments = ("recommend", "--evaluate", "--store", "store")
    done = command(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["groups"] == {
        "qqp": ["qqp"], "rte": ["rte"], "sst2": ["sst2"], "trec": ["trec-2000", "trec-500"],
    }  # fmt: skip
    assert found["trials"] == 125
    assert list(found["recommenders"]) == METHODS
    regret = {name: one["regret"]["5"]["value"] for name, one in found["recommenders"].items()}
    assert regret["average"] < regret["random"]
    assert found["chosen"]["method"] in METHODS[1:]
    assert found["chosen"]["beats_random"]
    assert found["recommenders"]["average"]["teacher_regret"] == {}
    assert any(note.startswith("curve: left out") for note in found["notes"])

    shown = command(folder, *arguments, "--related", "pairs=qqp,rte").stdout
    assert "leaving out one of 3 groups of datasets at a time" in shown
    assert "pairs (qqp, rte)" in shown
    assert "the noise is unknown" in " ".join(shown.split())
    assert "taken: " in shown

    assert "--dataset my.yaml" in refused(folder, "recommend", "--store", "store")
    assert "did you mean 'qqp'" in refused(folder, *arguments, "--related", "pairs=qqpp")
    assert "--related pairs: write NAME=dataset,dataset" in refused(folder, *arguments, "--related", "pairs")
    assert "did you mean 'trials'" in refused(folder, *arguments, "--sweep", "trial")
    everything = "all=" + ",".join(TASKS)
    assert "none can be left out" in refused(folder, *arguments, "--related", everything)


def test_cheap_trials_are_asked_for_where_the_table_has_learning_curves(command, tmp_path):
    """On half of the tasks `mixup` is best, which shows after the first of three epochs."""
    rng = np.random.default_rng(0)
    lines = ["run,method,lr,task,epoch,val_acc"]
    configs = [(["none", "mixup", "cutout"][number % 3], 10 ** rng.uniform(-5, -1)) for number in range(30)]
    for place, task in enumerate("abcdefgh"):
        for number, (method, lr) in enumerate(configs):
            good = 0.1 * {"none": 0, "mixup": 1, "cutout": -1}[method] * (-1) ** place
            for epoch in (1, 2, 3):
                score = 0.4 + 0.1 * epoch + good + 0.01 * rng.normal()
                lines.append(f"{task}{number},{method},{lr},{task},{epoch},{score}")
    (tmp_path / "trials.csv").write_text("\n".join(lines))
    (tmp_path / "mapping.yaml").write_text(command(tmp_path, "import", "trials.csv", "--suggest").stdout)
    done = command(tmp_path, "import", "trials.csv", "--mapping", "mapping.yaml", "--store", "store")
    assert done.returncode == 0, done.stderr
    done = command(tmp_path, "recommend", "--evaluate", "--store", "store", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["recommenders"]) == [*METHODS, "curve"]
    curve = found["recommenders"]["curve"]
    assert curve["probes"] == pytest.approx(2)
    assert list(curve["paid"]) == ["3", "5", "10"]
    assert curve["regret"]["1"]["value"] < found["recommenders"]["learned"]["regret"]["1"]["value"]
    assert any("cost so many full trials a dataset: curve 2.0" in note for note in found["notes"])
