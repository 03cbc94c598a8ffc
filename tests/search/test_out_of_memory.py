"""A cohort that does not fit into memory: halved until it does, all its trials with their rows and scores."""

from __future__ import annotations

import json

import pytest
import torch

from distiller.pipelines.cohort import CohortRun
from distiller.search.agenda import cohort_group
from distiller.search.assignment import Task, outcomes_from_json
from distiller.search.group import MOST_TRIES
from tests.search.test_worker import config, rows

RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1e-2)
TASKS = [Task(config(rate), "prior") for rate in RATES]


@pytest.fixture
def device(monkeypatch):
    """A device that holds so many students at a time; the cohorts that were tried on it."""

    class Device:
        holds, full_at, tried = 1, 3, []

    found = Device()
    found.tried = []
    train = CohortRun._train_step

    def limited(run):
        if run.step == 0:
            found.tried.append(len(run.members))
        if run.step == found.full_at and len(run.members) > found.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        train(run)

    monkeypatch.setattr(CohortRun, "_train_step", limited)
    return found


def test_a_cohort_is_halved_until_it_fits(bench, device):
    alone = {}
    for task in TASKS:
        (outcome,) = outcomes_from_json(bench.runner([task], role="baseline").step()["outcomes"])
        alone[outcome.config.config_id] = outcome.score
    device.tried.clear()
    device.holds = 2
    report = bench.runner(TASKS, search={"cohort": 5}).step()
    assert device.tried == [5, 3, 2, 1, 2]
    outcomes = outcomes_from_json(report["outcomes"])
    assert [o.config for o in outcomes] == [task.config for task in TASKS]
    assert {o.status for o in outcomes} == {"completed"}
    found = [row for row in bench.store.read("trials", "tiny").to_pylist() if row["role"] == "search"]
    assert len(found) == len(TASKS)
    for row in found:
        assert (row["status"], row["attempt"], row["steps"]) == ("completed", 1, 12)
        assert row["score"] == pytest.approx(alone[row["config_id"]], abs=0.05)
        assert "a cohort of 5 did not fit into memory" in row["adaptations"]
    assert bench.store.read("attempts", "tiny").num_rows == 2 * len(TASKS)


def test_what_did_not_fit_is_not_tried_again(bench, device):
    device.holds = 2
    runner = bench.runner(TASKS[:4], search={"cohort": 4})
    runner.step()
    assert runner.fitting == {cohort_group(TASKS[0].config): 2}
    device.tried.clear()
    more = [Task(config(rate), "prior") for rate in (3e-3, 5e-3, 6e-3, 7e-3)]
    again = json.loads(runner.assignment.to_json())
    again["tasks"] = [{"config": t.config.model_dump(mode="json"), "origin": t.origin} for t in more]
    runner.take({"assignment": json.dumps(again)})
    assert len(outcomes_from_json(runner.step()["outcomes"])) == 4
    assert device.tried == [2, 2]
    assert {row["status"] for row in rows(bench).values()} == {"completed"}


def test_a_student_alone_is_tried_again_beside_its_neighbours(bench, device, monkeypatch):
    waited = []
    device.holds = 0
    runner = bench.runner([TASKS[0]])

    def one_ends(where):
        waited.append(where)
        device.holds = 1

    monkeypatch.setattr("distiller.search.training.wait_for_memory", one_ends)
    (outcome,) = outcomes_from_json(runner.step()["outcomes"])
    assert (outcome.status, len(waited), device.tried) == ("completed", 1, [1, 1])
    (row,) = rows(bench).values()
    assert (row["attempt"], row["steps"]) == (1, 12)
    assert "did not fit into memory beside its neighbours" in row["adaptations"]


def test_a_student_that_never_fits_is_a_failed_row(bench, device):
    device.holds = 0
    (outcome,) = outcomes_from_json(bench.runner([TASKS[0]]).step()["outcomes"])
    assert (outcome.status, device.tried) == ("failed", [1] * MOST_TRIES)
    (row,) = rows(bench).values()
    assert row["error"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    assert "limited" in row["traceback"]


def test_halves_compare_their_members_among_themselves(bench, device):
    device.holds, device.full_at = 2, 5
    report = bench.runner(TASKS[:4], rungs=(4,), search={"cohort": 4}).step()
    said = {o.config.config_id: (o.status, o.steps) for o in outcomes_from_json(report["outcomes"])}
    assert sorted(said.values()) == [("completed", 12)] * 2 + [("stopped", 4)] * 2
    assert {c: (row["status"], row["steps"]) for c, row in rows(bench).items()} == said
