"""`distiller compare` and `distiller findings` on a finished sweep, and a path that is trained for real."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from tests.search.conftest import Place, end


def read(command, finished, *arguments):
    done = command(finished.place.folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_compare_prints_a_table_and_json(command, finished):
    data = read(command, finished, "compare", "intermediate.objective")
    assert data["column"] == "intermediate_objective"
    assert data["choices"] == ["none", "mse"]
    full = [r for r in finished.trials if r["role"] == "search" and r["status"] == "completed"]
    used = sum(c["completed"] for d in data["datasets"] for c in d["choices"])
    assert used <= len(full)
    done = command(finished.place.folder, "compare", "intermediate.objective", "none", "mse")
    assert done.returncode == 0
    assert "none - mse" in done.stdout
    assert "Holm-corrected" in done.stdout


def test_choices_without_full_runs_of_both_are_refused_with_what_there_is(command, finished):
    """Which runs go on depends on which trials were there first."""
    full = [r for r in finished.trials if r["role"] == "search" and r["status"] == "completed"]
    met = {
        name: {r["prediction_loss"] for r in full if r["dataset"] == name} for name in ("animals", "opinions")
    }
    done = command(finished.place.folder, "compare", "prediction", "kl", "mse")
    if any({"kl", "mse"} <= losses for losses in met.values()):
        assert done.returncode == 0
        assert "kl - mse" in done.stdout
    else:
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "run more trials in full" in done.stderr


def test_findings_of_a_small_sweep_cannot_tell(command, finished):
    data = read(command, finished, "findings")
    assert {one["verdict"] for one in data["findings"]} == {"cannot tell"}
    assert data["beats_no_teacher"]["trials"] > 0
    assert data["regret"]["datasets"] == ["animals", "opinions"]
    assert "cannot tell" in command(finished.place.folder, "findings").stdout


def test_a_path_is_planned_before_it_is_run(command, finished):
    paths = read(command, finished, "compare", "--ablation", "pkd")
    assert [path["dataset"] for path in paths] == ["animals", "opinions"]
    for path in paths:
        assert path["label"] == "not predicted"
        assert path["steps"][0]["stage"] is None
        assert all(step["measured"] is None for step in path["steps"])
    assert "--run trains them" in command(finished.place.folder, "compare", "--ablation", "pkd").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "compare: name either what to compare (intermediate.objective) or --ablation PRESET"),
        (("intermediate", "--ablation", "pkd"), "compare: name either"),
        (("intermediate", "--run"), "--run: it trains an ablation path; add --ablation PRESET"),
        (("--ablation", "tinyber"), "--ablation tinyber: no such preset; did you mean 'tinybert'?"),
        (("intermediat",), "intermediat: no such question, stage or column; did you mean 'intermediate'?"),
        (("student",), "student: nothing is searched in this stage, so there are no choices to compare"),
        (("prediction", "kl", "mze"), "prediction: 'mze' is none of its choices; did you mean 'mse'?"),
    ],
)
def test_bad_input_is_one_line(refused, finished, arguments, said):
    assert refused(finished.place.folder, "compare", *arguments).startswith(said)


@pytest.mark.slow
def test_a_path_is_trained_once_and_the_sweep_stays_over(finished, tmp_path):
    """Its rows are the sweep's, on 3 seeds that no trial had; killed and run again, it goes on."""
    shutil.copytree(finished.place.folder, tmp_path / "copy")
    place = Place(tmp_path / "copy")
    process = place.start("compare", "--ablation", "pkd", "--run")
    place.wait_for(process, lambda: sum(r["role"] == "ablation" for r in place.rows()) >= 2)
    end(process, signal.SIGKILL)
    before = {r["trial_id"]: r["ended_at"] for r in place.rows() if r["role"] == "ablation"}
    done = place.run("compare", "--ablation", "pkd", "--run", "--json")
    assert done.returncode == 0, done.stderr
    paths = json.loads(done.stdout)
    assert {path["label"] for path in paths} == {"measured"}
    rows = [r for r in place.rows() if r["role"] == "ablation"]
    assert len(rows) == sum(3 * len(path["steps"]) for path in paths)
    assert before.items() <= {r["trial_id"]: r["ended_at"] for r in rows}.items()
    taken = {r["seed"] for r in finished.trials}
    assert taken.isdisjoint(r["seed"] for r in rows)
    for path in paths:
        for step in path["steps"]:
            own = [
                r["score"]
                for r in rows
                if (r["dataset"], r["config_id"]) == (path["dataset"], step["config_id"])
            ]
            assert step["measured"]["value"] == pytest.approx(sum(own) / 3)
    again = place.run("compare", "--ablation", "pkd", "--run")
    assert "every step of the path has been run" in again.stdout
    assert "every trial of this sweep has ended" in place.run("launch", "sweep.yaml").stdout
