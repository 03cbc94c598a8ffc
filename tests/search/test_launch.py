"""The tiny sweep through the real command line: its rows, its answers, and launching it again."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter

import pandas as pd
import pyarrow.parquet as pq
import pytest

from distiller.spaces.catalog import column_types
from distiller.spaces.config import PipelineConfig
from distiller.spaces.presets import BASELINES, PRESETS
from distiller.spaces.recipe import parse_recipe
from tests.search.conftest import SWEEP

STEPS, RUNGS = 12, (3, 6)


def identity(row):
    return row["dataset"], row["config_id"], row["seed"], row["role"]


def of(rows, dataset, role):
    return [row for row in rows if (row["dataset"], row["role"]) == (dataset, role)]


def test_every_trial_has_exactly_one_terminal_row(finished):
    counts = Counter(map(identity, finished.trials))
    assert set(counts.values()) == {1}
    for dataset in ("animals", "opinions"):
        roles = Counter(row["role"] for row in finished.trials if row["dataset"] == dataset)
        winner = {row["config_id"] for row in of(finished.trials, dataset, "baseline") if row["seed"] > 0}
        # Asynchronous halving lets few trials through where many report at once: then one is left to choose.
        through = sum(row["status"] == "completed" for row in of(finished.trials, dataset, "search"))
        assert through >= 1
        assert roles == {"search": 6, "finalist": 2 * min(2, through), "baseline": 1 + 2 * len(winner)}
        assert len(winner) in (2, 3)  # the winner (which may be plain Hinton KD) and its baselines
    assert {identity(row) for row in finished.attempts} == set(counts)


def test_status_and_fidelity_agree_with_the_epochs(finished):
    for row in finished.trials:
        curve = [e for e in finished.epochs if e["trial_id"] == row["trial_id"]]
        assert row["error"] is None
        assert row["fidelity"] == row["steps"] / STEPS == curve[-1]["fidelity"]
        assert row["score"] == curve[-1]["score"]
        assert row["best_score"] == max(e["score"] for e in curve)
        if row["status"] == "completed":
            assert row["steps"] == STEPS
        else:
            assert (row["status"], row["role"]) == ("stopped", "search")
            assert row["steps"] in RUNGS
            at_rung = [e["score"] for e in finished.epochs if e["dataset"] == row["dataset"]
                       and e["step"] == row["steps"] and e["role"] == "search"]  # fmt: skip
            assert row["score"] < max(at_rung)


def test_an_attempt_is_recorded_before_its_trial(finished):
    started = {(row["trial_id"], row["attempt"]): row for row in finished.attempts}
    for row in finished.trials:
        attempt = started[row["trial_id"], row["attempt"]]
        assert attempt["started_at"] <= row["ended_at"]
        assert (attempt["config"], attempt["origin"]) == (row["config"], row["origin"])
        assert attempt["pid"] > 0


def test_origins(finished):
    for row in finished.trials:
        assert (
            row["origin"]
            in {"search": ("prior", "model"), "finalist": ("prior", "model"), "baseline": ("warm",)}[
                row["role"]
            ]
        )
    for dataset in ("animals", "opinions"):
        ordered = sorted(of(finished.trials, dataset, "search"), key=lambda row: row["started_at"])
        assert [row["origin"] for row in ordered[:4]] == ["prior"] * 4


def test_references_come_first_and_stand_on_every_row_of_the_search(finished):
    for dataset in ("animals", "opinions"):
        (reference,) = [row for row in of(finished.trials, dataset, "baseline") if row["seed"] == 0]
        assert (reference["prediction_loss"], reference["intermediate_objective"]) == ("labels", "none")
        for row in of(finished.trials, dataset, "search"):
            assert row["no_teacher_score"] == reference["score"]
            assert row["started_at"] >= reference["ended_at"]


def test_only_winners_and_their_baselines_saw_test(finished):
    for dataset in ("animals", "opinions"):
        finalists = pd.DataFrame(of(finished.trials, dataset, "finalist"))
        best = finalists.groupby("config_id")["score"].mean().idxmax()
        winner = PipelineConfig.model_validate_json(
            finalists.set_index("config_id").loc[best, "config"].iloc[0]
        )
        kind = {"animals": "classification", "opinions": "regression"}[dataset]
        allowed = {best, *(PRESETS[name].applied(winner, kind).config_id for name in BASELINES)}
        tested = [
            row for row in finished.trials if row["dataset"] == dataset and row["test_score"] is not None
        ]
        assert {row["role"] for row in tested} == {"baseline"}
        assert {(row["config_id"], row["seed"]) for row in tested} == {
            (c, s) for c in allowed for s in (1, 2)
        }
        searched = {
            row["config_id"] for row in of(finished.trials, dataset, "search") if row["status"] == "completed"
        }
        assert set(finalists["config_id"]) <= searched


def test_columns_of_the_space_are_the_config_and_null_where_inactive(finished):
    types = column_types()
    for row in finished.trials:
        config = PipelineConfig.model_validate_json(row["config"])
        assert config.config_id == row["config_id"]
        active = config.columns()
        for column, value in row.items():
            if column in types:
                assert value == active.get(column), column
        assert row["student"] == "bert-L1-H16"
        assert row["teacher"] == "bert"
        for column in (
            "teacher_score",
            "parameters",
            "flops",
            "latency_ms",
            "train_seconds",
            "versions",
            "host",
        ):
            assert row[column] is not None, column


def test_datasets_rows(finished):
    rows = {row["dataset"]: row for row in finished.place.rows(table="datasets")}
    assert (rows["animals"]["labels"], rows["animals"]["metric"], rows["animals"]["unlabeled_rows"]) == (
        3,
        "matthews",
        60,
    )
    assert (rows["opinions"]["labels"], rows["opinions"]["metric"], rows["opinions"]["test_rows"]) == (
        1,
        "pearson",
        16,
    )
    for row in rows.values():
        assert (
            row["teacher_score"] == finished.trials[0]["teacher_score"]
            or row["dataset"] != finished.trials[0]["dataset"]
        )
        assert row["fingerprint"]


def test_what_a_launch_says(finished):
    out = finished.done.stdout
    assert finished.done.stderr == ""
    assert str(finished.place.folder / "results/data") in out
    for part in ("best student", "no teacher", "plain Hinton KD", "majority or mean", "cannot tell", "left",
                 "prediction kl left out", "seconds per phase", "best config:", "report:"):  # fmt: skip
        assert part in out, part
    assert (finished.place.folder / "report.html").read_text().count("<html") == 1


def test_exported_recipes_read_back(finished):
    for dataset in ("animals", "opinions"):
        path = finished.place.folder / f"best/{dataset}.yaml"
        recipe = parse_recipe(path.read_text(), str(path))
        assert recipe.name == dataset
        assert recipe.scores["validation"]["seeds"] == [1, 2]
        assert recipe.scores["test"]["seeds"] == [1, 2]
        assert recipe.scores["no_teacher"]["test"]["seeds"] == [1, 2]
        assert recipe.base == str(finished.place.folder)


QUESTION = (
    "SELECT dataset, student_layers, max(score) AS best, count(*) AS n FROM trials GROUP BY ALL ORDER BY 1"
)


def test_query_in_every_format(finished, command):
    truth = pd.DataFrame(finished.trials).groupby("dataset")["score"].agg(["max", "count"])
    place = finished.place

    def ask(*more):
        done = command(place.folder, "query", QUESTION, *more)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    shown = json.loads(ask("--format", "json"))
    assert [(r["dataset"], r["student_layers"], r["n"]) for r in shown] == [
        ("animals", 1, truth["count"].iloc[0]),
        ("opinions", 1, truth["count"].iloc[1]),
    ]
    assert [r["best"] for r in shown] == pytest.approx(list(truth["max"]))
    assert [float(r["best"]) for r in csv.DictReader(io.StringIO(ask("--format", "csv")))] == pytest.approx(
        list(truth["max"])
    )
    ask("--format", "parquet", "--out", "answer.parquet")
    assert pq.read_table(place.folder / "answer.parquet").to_pylist() == shown
    assert "opinions" in ask()


def test_status_and_importance_for_programs(finished, command):
    status = json.loads(command(finished.place.folder, "status", "--json").stdout)
    assert (status["sweep"], status["running_or_lost"]) == ("tiny", 0)
    for board in status["datasets"]:
        rows = of(finished.trials, board["dataset"], "finalist")
        means = pd.DataFrame(rows).groupby("config_id")["score"].mean()
        assert board["winner"]["config_id"] == means.idxmax()
        assert board["winner"]["validation"]["mean"] == pytest.approx(means.max())
        tests = [
            r["test_score"]
            for r in of(finished.trials, board["dataset"], "baseline")
            if r["config_id"] == means.idxmax()
        ]
        assert sorted(board["winner"]["test"]["scores"]) == sorted(tests)
        assert board["gain"]["split"] == "test"
        assert board["note"] == ""
    importance = json.loads(command(finished.place.folder, "importance", "--json").stdout)
    assert {one["verdict"] for one in importance.values()} == {"cannot tell"}


def test_the_same_launch_again_changes_nothing(finished, command):
    """Nor where only what says where it runs has changed, or comments."""
    before = finished.place.fragments()
    text = SWEEP.replace("cpus: 1", "cpus: 2, max_concurrent: 1").replace("path: cache", "path: elsewhere")
    finished.place.write("moved.yaml", "# the same\n" + text)
    done = command(finished.place.folder, "launch", "moved.yaml", "--out", "again")
    assert (done.returncode, done.stderr) == (0, "")
    assert "every trial of this sweep has ended" in done.stdout
    assert finished.place.fragments() == before
    for dataset in ("animals", "opinions"):
        first, again = (
            (finished.place.folder / folder / f"{dataset}.yaml").read_text() for folder in ("best", "again")
        )
        assert parse_recipe(first, "").config == parse_recipe(again, "").config


def test_a_changed_file_under_the_same_name_is_refused(finished, refused):
    before = finished.place.fragments()
    finished.place.write("changed.yaml", SWEEP.replace("trials: 6", "trials: 7"))
    line = refused(finished.place.folder, "launch", "changed.yaml")
    assert "search.trials: 6 -> 7" in line
    assert "another name" in line
    assert finished.place.fragments() == before
