"""What `plan` says a sweep costs, beside what preparing and training it for real leaves behind."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from distiller.pipelines.rehearsal import Sizes, TeacherPace
from distiller.pipelines.room import GIB
from distiller.search import materials
from distiller.search.cache_plan import cache_notes
from distiller.search.costs import costs_of
from distiller.search.estimate import SMALL_STUDENT_SECONDS, _features_seconds, estimate, search_share
from distiller.search.materials import material_for
from distiller.search.prepare import prepare
from distiller.search.schedulers import RungScheduler
from distiller.spaces.sweep import parse_sweep
from tests.search.conftest import SWEEP
from tests.search.test_scheduler import report, trial


@pytest.fixture(scope="module", autouse=True)
def _forgotten():
    """What this process kept ready is of these tests' sweeps: other files ask for others of the same name."""
    yield
    materials._materials.clear()


def counted(bench, **changes):
    """The tiny sweep's estimate without a rehearsal, by dataset."""
    sweep = bench.launch.sweep.model_copy(update=changes)
    found = estimate(sweep, bench.place.folder, 2, timed=False)
    assert (found.hours, found.worker_gib) == (None, None)
    return {cost.dataset: cost for cost in found.datasets}


@pytest.mark.parametrize("dataset", ["animals", "opinions"])
def test_passes_and_cache_are_those_of_a_real_preparation(bench, dataset):
    cost = counted(bench)[dataset]
    cache = Path(bench.launch.sweep.cache.path) / "outputs"
    before = set(cache.glob("*")) if cache.exists() else set()
    materials._materials.clear()
    prepare(bench.launch, dataset, "bert")
    material = material_for(bench.launch, dataset, "bert")
    assert cost.teacher_passes == len(material._outputs)
    real_rows = sum(len(outputs.tokens) for outputs in material._outputs.values())
    assert cost.teacher_rows == real_rows
    if not before:  # nothing was there that another test had made
        files = [path for folder in cache.glob("*") for path in folder.glob("*.npy")]
        assert cost.cache_gib * GIB == pytest.approx(sum(p.stat().st_size for p in files), rel=0.15)


def test_what_exceeds_the_cache_is_said(bench):
    space = {**bench.launch.sweep.space, "intermediate": {"mse": {"representation": "tokens"}}}
    small = bench.launch.sweep.cache.model_copy(update={"max_gb": 5e-5})
    cost = counted(bench, space=space, cache=small)["animals"]
    assert cost.notes == ("tokens exceed cache.max_gb and are computed live, which takes longer",)
    assert cost.cache_gib < counted(bench, space=space)["animals"].cache_gib


def test_a_cache_that_does_not_fit_is_said(bench, monkeypatch):
    folder, cache = bench.place.folder, bench.launch.sweep.cache

    def notes(gib, **changes):
        return cache_notes(cache.model_copy(update=changes), folder, gib)

    assert notes(0.9) == notes(0.9, total_gb=1.0) == []
    (said,) = notes(1.1, total_gb=1.0)
    assert "come to 1.1 GiB, and cache.total_gb is 1; raise it, or outputs make way for others" in said
    disk = SimpleNamespace(total=100 * GIB, free=5 * GIB)
    monkeypatch.setattr("shutil.disk_usage", lambda path: disk)
    (said,) = notes(3.5, total_gb=4.0)
    assert f"the disk of {cache.path} has 3.0 GiB to spare; name a larger one's folder in cache.path" in said
    monkeypatch.delenv("SCRATCH", raising=False)
    assert notes(3.5, path="$SCRATCH/x") == []
    assert notes(3.5, path="$SCRATCH/x", total_gb=3.0) != []
    small = cache.model_copy(update={"total_gb": 1e-9})
    changed = bench.launch.sweep.model_copy(update={"cache": small})
    (said,) = estimate(changed, folder, 2, timed=False).notes
    assert "cache.total_gb" in said


def test_active_parameters_are_those_that_a_config_has(bench):
    """animals: weight with mse only, hard_weight and temperature with kl only, learning rate always."""
    cost = counted(bench)["animals"]
    assert 4 < cost.active_parameters < 6  # three choices, the learning rate, and halves of two more


@pytest.mark.parametrize(("trials", "reduction", "min_share"), [(12, 3, 0.15), (25, 2, 0.25), (5, 4, 0.05)])
def test_the_share_of_the_search_is_that_of_the_real_scheduler(bench, trials, reduction, min_share):
    asha = {"asha": {"reduction": reduction, "min_share": min_share}}
    written = yaml.safe_load(SWEEP) | {"budget": {"steps": 400}}
    written["search"] |= {"trials": trials, "scheduler": asha}
    sweep = parse_sweep(yaml.safe_dump(written), "sweep.yaml")
    rungs, runs = sweep.rungs(), []
    rng = np.random.default_rng(7)
    for _ in range(600 // trials):
        scheduler = RungScheduler(bench.store, rungs, sweep.search.scheduler)
        scheduler.store = Ignored()
        for number in range(trials):
            score, one, reached = rng.random(), trial(f"t{number}", "animals"), rungs[-1]
            scheduler.on_trial_add(None, one)
            for rung, step in enumerate(rungs[:-1]):
                if scheduler.on_trial_result(None, one, report(rung, score)) == "STOP":
                    reached = step
                    break
            runs.append(reached / rungs[-1])
    assert search_share(sweep) == pytest.approx(np.mean(runs), abs=0.05)


class Ignored:
    """A store that takes no rows."""

    def write_epochs(self, epochs):
        pass

    def write_trial(self, row, columns):
        pass


def test_the_share_of_a_cohort_is_counted_by_hand(bench):
    search = bench.launch.sweep.search
    sweep = bench.launch.sweep.model_copy(update={"search": search.model_copy(update={"cohort": 8})})
    assert sweep.rungs() == [3, 6, 12]
    assert search_share(sweep) == (8 * 3 + 4 * 3 + 2 * 6) / (8 * 12)
    assert (
        search_share(sweep.model_copy(update={"search": search.model_copy(update={"scheduler": None})})) == 1
    )


def test_a_rehearsal_trains_and_times_every_part(bench):
    """Nothing of it stays behind: neither files nor a trial."""
    files = Counter(path for path in bench.place.folder.rglob("*"))
    started = time.perf_counter()
    said = []
    found = costs_of(bench.launch.sweep, bench.place.folder, 2, None, True, said.append)
    took = time.perf_counter() - started
    assert said == ["rehearsing animals", "rehearsing opinions"]
    assert Counter(path for path in bench.place.folder.rglob("*")) == files
    estimated = found.estimate
    for cost in estimated.datasets:
        assert cost.preparation_seconds > 0
        assert 0 < cost.trial_seconds < cost.trials_seconds
    assert estimated.hours * 3600 > 15
    assert 0.1 < estimated.worker_gib < 4
    assert took < 60
    assert json.loads(json.dumps(found.to_dict()))["gpu"] is None


def test_the_command_says_it(place, command):
    done = command(place.folder, "plan", "sweep.yaml", "--workers", "4")
    assert done.returncode == 0, done.stderr
    assert "hours on 4 workers" in done.stdout
    written = (place.folder / "sweep.yaml").read_text()
    place.write("gpu.yaml", written.replace("{cpus: 1}", "{cpus: 1, gpus: auto}"))
    done = command(place.folder, "plan", "gpu.yaml", "--no-probe", "--gpu-gib", "80", "--json")
    assert done.returncode == 0, done.stderr
    costs = json.loads(done.stdout)["costs"]
    assert costs["gpu"]["students"] == 8
    assert costs["gpu"]["bytes"]["peak"] > costs["gpu"]["bytes"]["context"]
    assert [cost["dataset"] for cost in costs["datasets"]] == ["animals", "opinions"]


@pytest.mark.parametrize(("train", "validation", "rows"), [(100, 50, 150), (5000, 1000, 1000)])
def test_meta_features_cost_a_pass_over_a_sample_and_a_small_student(train, validation, rows):
    data = SimpleNamespace(splits={"train": range(train), "validation": range(validation)})
    pace, sizes = TeacherPace(0.01, 0.0, 0.0), Sizes(2.0, 30.0)
    seconds = _features_seconds(data, pace, sizes)
    assert seconds == pytest.approx(rows * 2 * 0.01 + SMALL_STUDENT_SECONDS)
