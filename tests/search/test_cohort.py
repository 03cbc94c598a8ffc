"""A sweep in cohorts through Ray, in a space where a third of the trials diverges."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.search.conftest import SWEEP, make_place

COHORTS = (
    re.sub(r"  opinions: .*\n", "", SWEEP)
    .replace("trials: 6", "trials: 9\n  sampler: grid\n  cohort: 3")
    .replace("cpus: 1", "cpus: 1, max_concurrent: 1")
    .replace("top: 2, seeds: 2", "top: 1, seeds: 2")
    .replace(
        "intermediate: {none: {}, mse:",
        "intermediate: {mi_alpha: {alpha: 0.0, weight: 1000.0, mapping: last, representation: cls}, mse:",
    )
    .replace("learning_rate: {loguniform: [1e-3, 3e-2]}", "learning_rate: [3e-3, 1.0]")
)


@pytest.mark.slow
def test_a_sweep_in_cohorts_with_trials_that_fail(tmp_path):
    place = make_place(tmp_path / 'it\'s "cohorts"', COHORTS)
    done = place.run("launch", "sweep.yaml")
    assert (done.returncode, done.stderr) == (0, ""), (done.stdout, done.stderr)
    rows = place.rows()
    search = [row for row in rows if row["role"] == "search"]
    assert len({row["config_id"] for row in search}) == len(search) == 9
    status = Counter(row["status"] for row in search)
    assert status["failed"] >= 1
    assert status["completed"] >= 1
    assert status["stopped"] >= 1
    for row in search:
        if row["status"] == "failed":
            assert row["error"]
            assert (row["intermediate_objective"], row["optimization_learning_rate"]) == ("mi_alpha", 1.0)
        else:
            assert row["error"] is None
            assert row["steps"] == {"completed": 12}.get(row["status"], row["steps"])
            assert row["steps"] in (3, 6, 12)
    assert f"{status['failed']} failed" in done.stdout
    # Alone in the final, the winner sees test as a finalist.
    finalists = [row for row in rows if row["role"] == "finalist"]
    assert len(finalists) == 2
    assert all(row["test_score"] is not None for row in finalists)
    assert all(row["test_score"] is None for row in search)
