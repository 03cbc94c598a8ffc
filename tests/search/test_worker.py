"""The trainable in this process: rows of trials that complete, stop, diverge, crash or halve in a cohort."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from distiller.pipelines.places import located
from distiller.search import prepare as preparing
from distiller.search import training
from distiller.search.assignment import Task, outcomes_from_json
from distiller.search.plan import planned_space
from distiller.search.prepared import Prepared
from distiller.search.rows import revived
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError


def config(rate=3e-3, **more):
    stages = {
        "student": {"initialization": "svd", "layers": 1, "width": 16},
        "teacher": {"checkpoint": "bert"},
    }
    return PipelineConfig.model_validate(
        {**stages, "optimization": {"learning_rate": rate, "batch_size": 8}, **more}
    )


DIVERGES = config(1.0, intermediate={"objective": "mi_alpha", "alpha": 0.0, "weight": 1000.0})


def rows(bench):
    return {row["config_id"]: row for row in bench.store.read("trials", "tiny").to_pylist()}


def test_a_trial_reports_at_rungs_and_ends_with_its_row(bench):
    task = Task(config(), "prior")
    runner = bench.runner([task], rungs=(4, 8), no_teacher={"bert-L1-H16": 0.25})
    reports = [runner.step() for _ in range(3)]
    assert [(r["done"], r.get("rung")) for r in reports] == [(False, 0), (False, 1), (True, None)]
    row, epochs = revived(reports[1]["if_stopped"])
    assert (row["status"], row["steps"], row["fidelity"], epochs[-1]["step"]) == ("stopped", 8, 8 / 12, 8)
    assert row["score"] == reports[1]["score"]
    (written,) = rows(bench).values()
    assert (written["status"], written["steps"], written["fidelity"], written["attempt"]) == (
        "completed",
        12,
        1,
        1,
    )
    assert (written["no_teacher_score"], written["test_score"]) == (0.25, None)
    assert written["score"] == json.loads(written["metrics"])["validation"]["matthews"]
    assert {k: v for k, v in written.items() if k in task.config.columns()} == task.config.columns()
    curve = bench.store.read("epochs", "tiny").to_pylist()
    assert [e["step"] for e in curve] == [3, 4, 6, 8, 9, 12]
    (outcome,) = outcomes_from_json(reports[2]["outcomes"])
    assert outcome.curve == tuple((e["step"], e["score"]) for e in curve)
    assert outcome.status == "completed"


def test_equal_assignments_give_equal_scores_and_end_once(bench):
    scores = []
    for number, role in enumerate(("search", "finalist")):
        runner = bench.runner([Task(config(), "prior")], seed=5, role=role)
        dropped = bench.runner([Task(config(), "prior")], seed=5, role=role)  # never asked for a step
        scores.append(outcomes_from_json(runner.step()["outcomes"])[0].curve)
        assert dropped.group is None
        assert bench.store.read("attempts", "tiny").num_rows == number + 1
    assert scores[0] == scores[1]
    before = bench.store.read("trials", "tiny")
    again = bench.runner([Task(config(), "prior")], seed=5).step()  # as after a worker that died too late
    assert outcomes_from_json(again["outcomes"])[0].curve == scores[0]
    assert bench.store.read("attempts", "tiny").num_rows == 2
    assert bench.store.read("trials", "tiny").equals(before)


def test_only_where_it_is_asked_for_a_student_sees_test(bench):
    bench.runner([Task(config(), "warm")], role="finalist", test=True).step()
    (row,) = rows(bench).values()
    assert row["test_score"] == json.loads(row["metrics"])["test"]["matthews"]


def test_a_student_that_diverges_is_a_failed_row_and_the_process_goes_on(bench):
    runner = bench.runner([Task(DIVERGES, "prior")], rungs=(4, 8))
    while not (report := runner.step())["done"]:
        pass
    row = rows(bench)[DIVERGES.config_id]
    assert (row["status"], row["intermediate_alpha"]) == ("failed", 0.0)
    assert row["error"]
    assert "\n" not in row["error"]
    assert 0 < row["steps"] <= 12
    (outcome,) = outcomes_from_json(report["outcomes"])
    assert (outcome.status, outcome.error) == ("failed", row["error"])
    assert all(math.isfinite(score) for _, score in outcome.curve)
    runner.take({"assignment": runner.assignment.to_json().replace("1000.0", "0.01")})
    while not (report := runner.step())["done"]:
        pass
    assert outcomes_from_json(report["outcomes"])[0].status in ("completed", "failed")


def test_a_crash_is_a_failed_row_with_its_traceback(bench, monkeypatch):
    def explode(self):
        raise ZeroDivisionError("in\nthe middle")

    monkeypatch.setattr("distiller.pipelines.cohort.CohortRun._train_step", explode)
    report = bench.runner([Task(config(), "prior"), Task(config(1e-2), "model")]).step()
    assert report["done"]
    assert [o.status for o in outcomes_from_json(report["outcomes"])] == ["failed"] * 2
    for row in rows(bench).values():
        assert (row["status"], row["error"], row["score"]) == (
            "failed",
            "ZeroDivisionError: in the middle",
            None,
        )
        assert row["traceback"].startswith("Traceback")
        assert "explode" in row["traceback"]
    assert {row["origin"] for row in rows(bench).values()} == {"prior", "model"}


def test_a_cohort_halves_itself_and_every_member_has_its_row(bench):
    tasks = [Task(config(rate), "prior") for rate in (1e-3, 3e-3, 1e-2, 2e-2)] + [Task(DIVERGES, "prior")]
    search = {"cohort": 5}
    report = bench.runner(tasks, rungs=(6, 9), search=search).step()
    assert report["done"]
    of = rows(bench)
    assert set(of) == {t.config.config_id for t in tasks}
    assert of[DIVERGES.config_id]["status"] == "failed"
    assert {row["steps"] for row in of.values() if row["status"] == "stopped"} <= {6, 9}
    assert {row["steps"] for row in of.values() if row["status"] == "completed"} == {12}
    epochs = bench.store.read("epochs", "tiny").to_pylist()
    for rung in (6, 9):  # of those who came here, the better half (rounded up) went on
        came = {e["config_id"]: e["score"] for e in epochs if e["step"] == rung}
        well = {c: s for c, s in came.items() if (of[c]["status"], of[c]["steps"]) != ("failed", rung)}
        on = [c for c in well if of[c]["steps"] > rung]
        out = [c for c in well if of[c]["steps"] == rung]
        assert len(on) == min(len(well), math.ceil(len(came) / 2))
        assert not out or max(well[c] for c in out) <= min(well[c] for c in on)
    said = {o.config.config_id: (o.status, o.steps) for o in outcomes_from_json(report["outcomes"])}
    assert said == {c: (row["status"], row["steps"]) for c, row in of.items()}


def test_members_in_their_first_stage_go_on_uncompared(bench):
    """Of 12 steps the staged ones predict from the seventh on: compared at 9 with all others, not at 6."""
    early = {"objective": "mse", "schedule": {"kind": "first_stage", "share": 0.5}}
    staged = [config(rate, intermediate=early) for rate in (1e-3, 2e-3)]
    plain = [config(rate) for rate in (1e-3, 3e-3, 1e-2, 2e-2)]
    tasks = [Task(one, "prior") for one in (*staged, *plain)]
    runner = bench.runner(tasks, rungs=(6, 9), search={"cohort": 6})
    assert runner.step()["done"]
    of = rows(bench)
    assert sorted(of[c.config_id]["steps"] for c in plain)[:2] == [6, 6]
    assert all(of[c.config_id]["steps"] >= 9 for c in staged)
    came = [c for c in of if of[c]["steps"] >= 9]
    assert (len(came), len([c for c in came if of[c]["steps"] == 12])) == (4, 2)
    scores = {
        e["config_id"]: e["score"]
        for e in bench.store.read("epochs", "tiny").to_pylist()
        if e["step"] == 9 and e["config_id"] in came
    }
    on, out = ([s for c, s in scores.items() if (of[c]["steps"] == 12) is went] for went in (True, False))
    assert max(out) <= min(on)


def test_every_config_of_the_space_has_a_row_that_the_table_takes(bench):
    space = planned_space(bench.launch.sweep, "opinions")[0]
    drawn = {c.config_id: c for c in (space.sample(np.random.default_rng(i)) for i in range(4))}
    for one in drawn.values():
        bench.runner([Task(one, "prior")], dataset="opinions").step()
    for config_id, row in rows(bench).items():
        assert (row["status"], row["task_kind"], row["metric"]) == ("completed", "regression", "pearson")
        back = PipelineConfig.from_columns(row)
        assert (back.config_id, back) == (config_id, drawn[config_id])


@pytest.mark.parametrize("dataset", ["animals", "opinions"])
def test_preparing_finds_the_facts_of_a_dataset(bench, dataset):
    runner = bench.preparer(dataset, alone=True)
    assert runner.step() == {"waits": False, "done": False}
    assert len(list(Path(bench.launch.sweep.cache.path).glob("latency/*/latency.json"))) >= 1
    report = runner.step()
    prepared = Prepared.from_json(report["prepared"])
    assert report["done"]
    assert Prepared.from_json(prepared.to_json()) == prepared
    assert list(prepared.architectures) == ["bert-L1-H16"]
    sizes = {"animals": (120, 60, 45, 45, 3), "opinions": (128, 0, 16, 16, 1)}[dataset]
    row = prepared.row
    found = [row[f"{split}_rows"] for split in ("train", "unlabeled", "validation", "test")] + [row["labels"]]
    assert found[1:] == list(sizes)[1:]
    assert found[0] <= sizes[0]  # less those whose text stands in another split
    assert any("kl left out" in note for note in prepared.notes) == (dataset == "opinions")


def test_a_worker_stands_by_without_a_trace(bench):
    runner = bench.standing_by()
    assert [runner.step() for _ in "12"] == [{"standby": True, "done": False}] * 2
    assert bench.store.read("attempts", "tiny").num_rows == 0


def test_what_is_wrong_with_a_preparation_is_told_and_not_raised(bench, monkeypatch):
    def fails(error):
        def prepare(launch, dataset, teacher):
            raise error

        return prepare

    monkeypatch.setattr(preparing, "prepare", fails(InputError("datasets.animals: no")))
    assert bench.preparer("animals").step() == {"refused": "datasets.animals: no", "done": True}
    monkeypatch.setattr(preparing, "prepare", fails(MemoryError("too big")))
    report = bench.preparer("animals").step()
    assert report["broke"] == "preparing animals with bert: MemoryError: too big"
    assert "raise error" in report["traceback"]
    monkeypatch.setattr(
        training, "measure_latencies", lambda launch: located("./none", Path(), "teachers.bert.model")
    )
    assert "teachers.bert.model: no folder" in bench.preparer("animals", alone=True).step()["refused"]
