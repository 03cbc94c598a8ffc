"""What of a table becomes rows of the store, and what is said of it."""

import json
import math
import re

import pytest

from distiller.results.export import export
from distiller.results.frames import to_frame
from distiller.results.imported import import_table, imported_designs, is_imported, parse_mapping
from distiller.results.leaderboard import leaderboard
from distiller.results.standing import standing
from distiller.spaces.errors import InputError
from distiller.spaces.recipe import parse_recipe
from tests.results.imported.texts import LONG, MAPPING, TABLE, csv, reading


def test_rows_of_a_plain_table(place, store):
    found = import_table(store, csv(place, TABLE), parse_mapping(MAPPING, "m"))
    assert found.written
    assert is_imported(store, "t")
    rows = store.read("trials", "t").to_pylist()
    got = {(r["dataset"], r["s_a"], r["s_b"], r["score"], r["seed"], r["status"], r["metric"]) for r in rows}
    assert got == {
        ("trec", "x", 1, 0.5, 0, "completed", "acc"),
        ("trec", "y", None, 0.6, 0, "completed", "acc"),
        ("qa", "x", 2, 0.7, 1, "completed", "acc"),
    }
    assert all(re.fullmatch("[0-9a-f]{12}", r["config_id"]) and r["origin"] == "prior" for r in rows)
    assert json.loads(rows[0]["config"]) == {"s": {"a": "x", "b": 2}}
    assert sorted(r["dataset"] for r in store.read("datasets", "t").to_pylist()) == ["qa", "trec"]
    assert list(imported_designs(store, "t")) == ["trec", "qa"]
    assert any("asked only where a is x" in note for note in found.notes)
    assert imported_designs(store, "t")["qa"].columns() == ["s_a", "s_b"]


def test_a_long_table_is_learning_curves(place, store):
    mapping = """
score: acc
trial: id
fidelity: epoch
status: state
costs: {wall_seconds: secs}
stages: {s: a}
"""
    table = csv(place, LONG.replace("RUNNING", "COMPLETE"))
    found = import_table(store, table, parse_mapping(mapping, "m"))
    rows = {r["s_a"] + str(r["seed"]): r for r in store.read("trials", "t").to_pylist()}
    keys = ("status", "score", "steps", "budget_steps", "fidelity", "best_score", "best_step", "wall_seconds")
    assert {name: tuple(row[k] for k in keys) for name, row in rows.items()} == {
        "x0": ("completed", 0.35, 4, 4, 1.0, 0.4, 2, 4.0),
        "y0": ("stopped", 0.2, 2, 4, 0.5, 0.2, 2, 2.0),
        "x1": ("failed", None, 1, 4, 0.25, None, None, 1.0),
    }
    curves = store.read("epochs", "t").to_pylist()
    points = [(c["trial_id"], c["step"], c["fidelity"], c["score"]) for c in curves]
    assert points == sorted(
        [(rows["x0"]["trial_id"], s, s / 4, v) for s, v in ((1, 0.3), (2, 0.4), (4, 0.35))]
        + [(rows["y0"]["trial_id"], s, s / 4, v) for s, v in ((1, 0.1), (2, 0.2))]
        + [(rows["x1"]["trial_id"], 1, 0.25, None)]
    )
    assert "fidelity: 4 epoch is a whole run (the greatest value); `full:` says otherwise" in found.notes


def test_lower_is_better_shares_and_unfinished_rows(place):
    text = "a,loss,share,st\nx,0.5,1.0,ok\ny,0.9,0.25,pruned\nx,nan,0.5,ok\ny,0.1,0.1,running\n"
    found = reading(
        place,
        text,
        "score: loss\nhigher_is_better: false\nfidelity: share\nstatus: st\nstages: {s: a}",
    )
    rows = to_frame(found.rows.trials)
    assert rows["score"].tolist()[:2] == [-0.5, -0.9]
    assert math.isnan(rows["score"][2])
    assert rows["status"].tolist() == ["completed", "stopped", "failed"]
    assert rows["steps"].tolist() == [10_000, 2500, 5000]
    assert rows["metric"].unique().tolist() == ["-loss"]
    assert rows["error"].tolist()[2] == "the imported table has no finite score"
    said = " / ".join(found.notes)
    for words in (
        "higher is better",
        "1 rows of trials that have not ended",
        "1 trials without a finite score",
    ):
        assert words in said


def test_repeats_are_numbered_and_constants_kept(place):
    found = reading(place, "a,k,acc\nx,1,0.5\nx,1,0.5\ny,1,0.6\nx,1,0.7\n", "score: acc\nstages: {s: [a, k]}")
    assert found.rows.trials.column("seed").to_pylist() == [0, 1, 0, 2]
    said = " / ".join(found.notes)
    assert "s.k: is 1 in every row: a constant" in said
    assert "2 rows repeat the config of another one" in said
    assert "1 of them also have the very same score" in said
    assert found.design.columns() == ["s_a"]
    assert found.rows.trials.column("s_k").to_pylist() == [1] * 4


def test_names_that_harm(place, store):
    """Column names, datasets and cells that are paths, SQL, markup or line breaks stay text."""
    text = (
        '"a; DROP TABLE trials","<b>x</b>","ünï\ncode","x.y/../z",acc,"data set"\n'
        '"\'); --","[red]",é,"=1+1",0.5,"../../etc/passwd"\n'
        "ok,[/red],e,'2,0.6,a&b\n"
    )
    table = csv(place, text, "bad name.csv")
    mapping = """
name: bad
score: acc
dataset: data set
stages:
  "A <i>stage</i>": ["a; DROP TABLE trials", "<b>x</b>"]
  Ü: ["ünï\\ncode", "x.y/../z"]
"""
    import_table(store, table, parse_mapping(mapping, "m"))
    rows = store.read("trials", "bad").to_pylist()
    assert {row["dataset"] for row in rows} == {"-..-etc-passwd", "a-b"}
    names = {c for c in rows[0] if c.startswith(("a_i_stage_i", "u_"))}
    assert names == {"a_i_stage_i_a_drop_table_trials", "a_i_stage_i_b_x_b", "u_uni_code", "u_x_y_z"}
    assert {row["u_uni_code"] for row in rows} == {"é", "e"}
    assert not (place.parent / "etc").exists()
    assert [board.best.settings["A <i>stage</i>"]["<b>x</b>"] for board in leaderboard(store, "bad")]


def test_status_export_and_leaderboard(place, store):
    table = csv(place, "a,acc,seed,lab\nx,0.9,0,1\nx,0.1,1,1\ny,0.6,0,1\ny,0.7,1,1\n")
    import_table(
        store, table, parse_mapping("score: acc\nseed: seed\nignore: lab\nstages: {my stage: a}", "m")
    )
    (board,) = leaderboard(store, "t")
    assert board.best.settings == {"my stage": {"a": "y"}}  # the mean over seeds, not the luckiest one
    assert board.to_dict()["config"] == {"my stage": {"a": "y"}}
    assert "mean of 2 seeds" in board.note
    found = standing(store, "t")
    assert found.over
    assert found.waits_for == ["nothing: every trial has ended"]
    json.dumps(found.to_dict(), allow_nan=False)
    (one,) = export(store, "t", place / "best")
    text = one.path.read_text()
    assert "a: y" in text
    assert one.recipe is None
    with pytest.raises(InputError, match="imported table 't'"):
        parse_recipe(text, "best.yaml")


def test_scores_of_trials_that_failed_are_not_left_out_in_silence(place, store):
    """MLflow's KILLED may be a trial that was stopped early: its score is there."""
    table = csv(place, "status,acc,lr\nFINISHED,0.5,0.1\nKILLED,0.4,0.2\nFINISHED,0.6,0.3\nFAILED,,0.4\n")
    found = import_table(store, table, parse_mapping("score: acc\nstatus: status\nstages: {s: lr}", "m"))
    assert found.status == {"completed": 2, "failed": 2}
    (said,) = [note for note in found.notes if "counts nowhere" in note]
    assert said.startswith("1 trials that failed by their status, row 2 the first, have a score")
