"""What of a table becomes rows, what is said, and what is refused; how it is written."""

import json
import math
import re

import numpy as np
import pytest

from distiller.results.compaction import compact
from distiller.results.export import export
from distiller.results.frames import to_frame
from distiller.results.imported import (
    import_table,
    imported_designs,
    importing,
    is_imported,
    parse_mapping,
    read_import,
    read_table,
    suggest,
)
from distiller.results.leaderboard import leaderboard
from distiller.results.standing import standing
from distiller.results.store import Store
from distiller.spaces.errors import InputError
from distiller.spaces.recipe import parse_recipe
from tests.results.imported.made import write_csv

STAGES = "stages: {s: [a, b]}"


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / 'it\'s "a" place'
    folder.mkdir()
    return folder


@pytest.fixture
def store(place):
    return Store.create(str(place / "store"))


def csv(place, text, name="t.csv"):
    (place / name).write_text(text)
    return read_table(place / name)


def reading(place, text, mapping, name="t.csv"):
    return read_import(csv(place, text, name), parse_mapping(mapping, "mapping.yaml"))


TABLE = """\
a,b,acc,task,seed,note
x,1,0.5,trec,0,p
y,,0.6,trec,0,q
x,2,0.7,qa,1,r
"""
MAPPING = "score: acc\ndataset: task\nseed: seed\nignore: note\n" + STAGES


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


LONG = """\
id,a,epoch,acc,state,secs
1,x,1,0.3,RUNNING,1
1,x,2,0.4,RUNNING,2
1,x,4,0.35,COMPLETE,4
2,y,2,0.2,PRUNED,2
2,y,1,0.1,PRUNED,1
3,x,1,,FAIL,1
"""


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


ONE = "a,b,acc\nx,1,0.5\ny,2,0.6\n"
REFUSED = {
    "unmapped": (ONE, "score: acc\nstages: {s: a}", ["column 'b'", "ignore"]),
    "no such column": (
        ONE,
        "score: ac\nignore: [acc, b]\nstages: {s: a}",
        ["score", "'ac'", "did you mean 'acc'"],
    ),
    "mapped twice": (ONE, "score: acc\nignore: a\n" + STAGES, ["ignore", "stages.s.a", "once"]),
    "mixed types": (
        "a,b,acc\nx,1,1\ny,two,1\n",
        "score: acc\n" + STAGES,
        ["stages.s.b", "'two' in row 2", "type: text"],
    ),
    "a score that is none": (
        "a,b,acc\nx,1,1\ny,2,0.x\n",
        "score: acc\n" + STAGES,
        ["score", "'0.x' in row 2"],
    ),
    "outside its prior": (
        ONE,
        "score: acc\nstages: {s: {a: , b: {prior: [1, 3]}}}",
        ["stages.s.b.prior", "2 in row 2", "1 | 3"],
    ),
    "no prior": (
        ONE,
        "score: acc\nstages: {s: {a: , b: {prior: {normal: [1, 3]}}}}",
        ["stages.s.b.prior", "uniform"],
    ),
    "twice the same trial": (
        "a,b,acc,sd\nx,1,1,3\nx,1,2,3\n",
        "score: acc\nseed: sd\n" + STAGES,
        ["row 1 and row 2", "seed 3"],
    ),
    "a seed that is none": (
        "a,b,acc,sd\nx,1,1,3.5\n",
        "score: acc\nseed: sd\n" + STAGES,
        ["seed", "'3.5' in row 1"],
    ),
    "null for no reason": (
        "a,b,acc\nx,1,1\nx,,1\ny,2,1\n",
        "score: acc\n" + STAGES,
        ["stages.s.b", "row 2", "when"],
    ),
    "across stages": (
        "a,b,acc\nx,1,1\ny,,1\n",
        "score: acc\nstages: {s: a, t: b}",
        ["stages.t.b", "a of stage 's' is x", "one stage"],
    ),
    "when across stages": (
        ONE,
        "score: acc\nstages: {s: a, t: {b: {when: {a: x}}}}",
        ["stages.t.b.when.a", "one stage"],
    ),
    "when of no column": (
        ONE,
        "score: acc\nstages: {s: {a: , b: {when: {c: x}}}}",
        ["stages.s.b.when.c", "no such"],
    ),
    "when in a circle": (
        ONE,
        "score: acc\nstages: {s: {a: {when: {b: 1}}, b: {when: {a: x}}}}",
        ["stages.s", "circle"],
    ),
    "when on a value that is none": (
        ONE,
        "score: acc\nstages: {s: {a: , b: {when: {a: z}}}}",
        ["when.a", "'z'"],
    ),
    "when on a range": (
        ONE,
        "score: acc\nstages: {s: {a: {when: {b: 1}}, b: {prior: {uniform: [0, 3]}}}}",
        ["when.b", "range"],
    ),
    "full although not asked": (
        ONE,
        "score: acc\nstages: {s: {a: , b: {when: {a: x}}}}",
        ["is not empty (2) in row 2"],
    ),
    "empty although asked": (
        "a,b,acc\nx,1,1\nx,,1\ny,,1\n",
        "score: acc\nstages: {s: {a: , b: {when: {a: x}}}}",
        ["is empty in row 2"],
    ),
    "unknown status": (
        "a,b,acc,st\nx,1,1,ok\ny,1,1,weird\n",
        "score: acc\nstatus: st\n" + STAGES,
        ["status", "'weird'", "unfinished"],
    ),
    "stopped nobody knows where": (
        "a,b,acc,st\nx,1,1,ok\ny,1,1,pruned\n",
        "score: acc\nstatus: st\n" + STAGES,
        ["row 2", "fidelity"],
    ),
    "beyond the budget": (
        "a,b,acc,e\nx,1,1,30\n",
        "score: acc\nfidelity: {column: e, full: 20}\n" + STAGES,
        ["30 in row 1", "full"],
    ),
    "settings change in a trial": (
        "a,b,acc,e,id\nx,1,1,1,7\ny,1,1,2,7\n",
        "score: acc\nfidelity: e\ntrial: id\n" + STAGES,
        ["'7'", "column 'a'"],
    ),
    "twice at one fidelity": (
        "a,b,acc,e,id\nx,1,1,1,7\nx,1,1,1,7\n",
        "score: acc\nfidelity: e\ntrial: id\n" + STAGES,
        ["row 1 and row 2"],
    ),
    "a trial of rows without fidelity": (
        "a,b,acc,id\nx,1,1,7\nx,1,1,7\n",
        "score: acc\ntrial: id\n" + STAGES,
        ["'7' has 2 rows", "fidelity"],
    ),
    "empty column": ("a,b,acc\nx,,1\ny,,1\n", "score: acc\n" + STAGES, ["stages.s.b", "empty in every row"]),
    "no finite setting": (
        "a,b,acc\nx,1.5,1\ny,inf,1\n",
        "score: acc\n" + STAGES,
        ["stages.s.b", "inf", "row 2"],
    ),
    "unknown role": ("a,b,acc,r\nx,1,1,serach\n", "score: acc\nrole: r\n" + STAGES, ["role", "'search'"]),
    "two metrics": (
        "a,b,acc,m\nx,1,1,f1\ny,1,1,mcc\n",
        "score: acc\nmetric: {column: m}\n" + STAGES,
        ["metric", "row 2", "mcc"],
    ),
    "two names in one": (
        "lr A,Lr-a,acc\n1,2,3\n",
        "score: acc\nstages: {s: [lr A, Lr-a]}",
        ["stages.s.Lr-a", "s_lr_a", "as: name"],
    ),
    "the store's own column": (
        "score,acc\n1,2\n",
        "score: acc\nstages: {test: score}",
        ["test_score", "as: name"],
    ),
    "a stage without a name": (
        ONE,
        "score: acc\nignore: b\nstages: {'../..': a}",
        ["stages.../..", "usable"],
    ),
    "unknown key": (ONE, "score: acc\nscroe: a\n" + STAGES, ["scroe", "did you mean 'score'"]),
    "unknown cost": (ONE, "score: acc\ncosts: {minutes: a}\n" + STAGES, ["costs", "minutes", "wall_seconds"]),
    "not a list": (ONE, "score: acc\nstages: {s: 3}", ["stages", "s: 3"]),
    "a prior's name that is none": (
        ONE,
        "score: acc\nstages: {s: [a], t: {b: {as: 'B b'}}}",
        ["stages.t.b.as", "'B b'"],
    ),
    "no column's name": (ONE, "score: acc\nfidelity: 3\n" + STAGES, ["fidelity", "a column's name"]),
    "no values": (ONE, "score: acc\nstages: {s: {a: , b: {when: {a: {x: 1}}}}}", ["when.a", "write [a, b]"]),
    "no single value": (
        ONE,
        "score: acc\nstages: {s: {a: {missing_is: [x]}, b: }}",
        ["missing_is", "one value"],
    ),
    "a name of another place": (ONE, "name: ../x\nscore: acc\n" + STAGES, ["name", "a letter"]),
    "dataset without a name": (
        "a,b,acc,d\nx,1,1,..\n",
        "score: acc\ndataset: d\n" + STAGES,
        ["dataset", "'..'", "rename"],
    ),
    "datasets that become one": (
        "a,b,acc,d\nx,1,1,a/b\ny,1,1,a b\n",
        "score: acc\ndataset: d\n" + STAGES,
        ["'a/b'", "'a b'"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_names_the_place_and_the_remedy(place, case):
    text, mapping, words = REFUSED[case]
    with pytest.raises(InputError) as caught:
        reading(place, text, mapping)
    line = str(caught.value)
    assert "\n" not in line
    assert ";" in line or "?" in line
    for word in words:
        assert word in line, line


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "a,b\n1\n", ["line 2", "1 cells where 2"]),
        ("t.csv", "a,a\n1,2\n", ["two columns are named 'a'"]),
        ("t.csv", ",a\n5,2\n", ["without a name"]),
        ("t.csv", "a,b\n", ["no rows"]),
        ("t.csv", 'a\n"x\n', ["cannot be read"]),
        ("t.csv", "", ["no rows"]),
        ("t.jsonl", '{"a": 1}\n[1]\n', ["line 2", "object"]),
        ("t.jsonl", '{"a": 1}\n{\n', ["line 2", "JSON"]),
        ("t.jsonl", '{"a.b": 1, "a": {"b": 2}}\n', ["'a.b' is there twice"]),
        ("t.parquet", "PAR1", ["cannot be read"]),
        ("t.xlsx", "x", [".csv"]),
    ],
)
def test_files_that_are_no_tables(place, name, text, words):
    (place / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_table(place / name)
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        read_table(place / f"gone-{name}".replace("xlsx", "csv"))


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


def test_the_same_again_is_no_second_import_and_another_is_refused(place, store, monkeypatch):
    table, mapping = csv(place, TABLE), parse_mapping(MAPPING, "m")
    import_table(store, table, mapping)
    assert not import_table(store, table, mapping).written
    assert not import_table(store, table, parse_mapping(MAPPING.replace("acc", '"acc"'), "m")).written
    other = parse_mapping(MAPPING.replace("[a, b]", "{a: , b: {prior: [1, 2, 3]}}"), "m")
    with pytest.raises(InputError, match=r"another name|stages\.s\.b\.prior.*--replace"):
        import_table(store, table, other)
    more = csv(place, TABLE + "x,1,0.9,new,0,p\n")
    with pytest.raises(InputError, match=r"rows: 3 -> 4.*--replace"):
        import_table(store, more, mapping)
    assert store.read("trials", "t").num_rows == 3
    assert import_table(store, more, mapping, again=True).written
    assert store.read("trials", "t").num_rows == 4
    fewer = csv(place, TABLE.replace("qa", "trec"))
    import_table(store, fewer, mapping, again=True)
    assert store.read("trials", "t").num_rows == 3
    assert [row["dataset"] for row in store.read("datasets", "t").to_pylist()] == ["trec"]
    done = {one.table: one for one in compact(store, settle=0)}
    assert done["trials"].total == 3
    assert store.read("trials", "t").num_rows == 3


def test_killed_between_any_two_writes_the_same_import_begins_anew(place, monkeypatch):
    table = csv(place, LONG)
    mapping = parse_mapping(
        "score: acc\ntrial: id\nfidelity: epoch\nignore: [secs, state]\nstages: {s: a}", "m"
    )
    whole = read_import(table, mapping)

    class KilledError(Exception):
        pass

    class Counting:
        """Files that die before their n-th write."""

        def __init__(self, files, left):
            self.files, self.left = files, left

        def __getattr__(self, name):
            if name in ("put", "put_new", "remove") and self.left == 0:
                raise KilledError
            if name in ("put", "put_new"):
                self.left -= 1
            return getattr(self.files, name)

    writes = 0
    for writes in range(20):
        store = Store.create(str(place / f"store-{writes}"))
        dying = Store(Counting(store.files, writes))
        monkeypatch.setattr(Store, "patient", lambda self: self)
        try:
            import_table(dying, table, mapping)
        except KilledError:
            if is_imported(store, "t"):
                with pytest.raises(InputError, match="did not come to its end"):
                    imported_designs(store, "t")
            assert import_table(store, table, mapping).written
        else:
            break
        assert store.read("trials", "t").num_rows == whole.rows.trials.num_rows
        assert store.read("epochs", "t").num_rows == whole.rows.epochs.num_rows
        assert imported_designs(store, "t") == {"t": whole.design}
    assert 7 < writes < 19


def test_two_imports_at_once(place, store, monkeypatch):
    table, mapping = csv(place, TABLE), parse_mapping(MAPPING, "m")
    others = csv(place, TABLE + "x,1,0.9,new,0,p\n")
    before = importing.generation_of

    def meanwhile(*args):
        monkeypatch.setattr(importing, "generation_of", before)
        seen = before(*args)
        import_table(store, others, mapping)
        return seen

    monkeypatch.setattr(importing, "generation_of", meanwhile)
    with pytest.raises(InputError, match="at this time"):
        import_table(store, table, mapping)
    assert store.read("trials", "t").num_rows == 4


def test_names_of_launched_sweeps_and_types_of_other_columns_are_taken(place, store):
    store.write_text("t", "sweep.yaml", "name: t")
    with pytest.raises(InputError, match="launched"):
        import_table(store, csv(place, TABLE), parse_mapping(MAPPING, "m"))
    import_table(store, csv(place, TABLE), parse_mapping("name: one\n" + MAPPING, "m"))
    other = csv(place, TABLE.replace("x,", "1,").replace("y,", "2,"), "other.csv")
    with pytest.raises(InputError, match=r"stages\.s\.a.*s_a of type int64, which is string elsewhere"):
        import_table(store, other, parse_mapping(MAPPING, "m"))
    taken = MAPPING.replace("{s: [a, b]}", "{student: {a: {as: layers}, b: }}")
    with pytest.raises(InputError, match="student_layers of type string, which is int64"):
        import_table(store, csv(place, TABLE), parse_mapping("name: two\n" + taken, "m"))


def test_ten_thousand_wide_rows(place, store):
    """Written at once: three files for trials and epochs, not one a trial."""
    rng = np.random.default_rng(0)
    rows = [
        {**{f"c{j}": int(v) for j, v in enumerate(rng.integers(0, 4, 30))}, "acc": float(rng.uniform())}
        for _ in range(10_000)
    ]
    write_csv(place / "wide.csv", rows)
    stages = {f"s{k}": [f"c{j}" for j in range(k, 30, 6)] for k in range(6)}
    mapping = parse_mapping(f"score: acc\nstages: {json.dumps(stages)}", "m")
    found = import_table(store, read_table(place / "wide.csv"), mapping)
    read = to_frame(store.read("trials", "wide"))
    assert len(read) == 10_000
    assert math.isclose(read["score"].sum(), sum(row["acc"] for row in rows))
    assert read["s1_c7"].sum() == sum(row["c7"] for row in rows)
    assert not store.files.names("trials/wide")
    assert len(found.design.columns()) == 30


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


SUGGESTED = {
    "optuna-like": "number,value,params_lr,params_kind,state\n0,0.5,0.1,a,COMPLETE\n1,0.6,0.2,b,COMPLETE\n",
    "mlflow": "run_id,status,start_time,metrics.acc,params.lr,params.model,tags.mlflow.user\n"
    "q1,FINISHED,2026-01-02 03:04:05.123000+00:00,0.5,0.1,b,me\n"
    "q2,FAILED,2026-01-02 03:05:05+00:00,,0.2,c,me\n",
    "conditions": "method,strength,opt,momentum,loss,seed,task\n"
    "none,,sgd,0.9,1.5,0,a\nmixup,0.2,adam,,1.1,1,a\n"
    "mixup,0.3,sgd,0.8,1.2,2,b\nnone,,adam,,1.3,3,b\n",
    "long": "run,epoch,val_acc,lr,note\n1,1,0.1,0.1,u\n1,2,0.2,0.1,v\n2,1,0.3,0.2,w\n2,2,0.4,0.2,z\n",
    "index": ",a,score\n0,x,0.5\n1,y,0.6\n",
    "odd names": "Learning Rate,a: b,#c,score,true\n0.1,x,1,0.5,p\n0.2,y,2,0.6,q\n",
}


@pytest.mark.parametrize("case", SUGGESTED)
def test_a_suggestion_imports(place, store, case):
    table = csv(place, SUGGESTED[case])
    text = suggest(table)
    found = import_table(store, table, parse_mapping(text, "suggested"))
    assert found.written
    assert found.design.columns()
    wanted = {
        "mlflow": ("score: metrics.acc", "status:", "started_at: start_time", "- run_id"),
        "conditions": ("higher_is_better: false", "dataset: task", "seed: seed"),
        "long": ("trial: run", "column: epoch"),
    }
    for words in wanted.get(case, ()):
        assert words in text
    if case == "long":
        assert found.rows.epochs.num_rows == 4
    if case == "mlflow":
        assert found.status == {"completed": 1, "failed": 1}


def test_what_a_trial_came_to_is_suggested_as_no_setting(place):
    lines = ["acc,test_acc,best_acc,lr,loss_weight,secs,host"]
    lines += [f"0.{n},0.{n},0.{n},{n},0.{n},{n},h{n % 2}" for n in range(10, 20)]
    mapping = parse_mapping(suggest(csv(place, "\n".join(lines) + "\n")), "suggested")
    assert mapping.test_score == "test_acc"
    assert mapping.costs == {"wall_seconds": "secs"}
    assert {column for stage in mapping.stages.values() for column in stage} == {"lr", "loss_weight"}
    assert set(mapping.ignore) == {"best_acc", "host"}


def test_a_suggestion_without_a_score_says_so(place):
    with pytest.raises(InputError, match="score"):
        suggest(csv(place, "a,b\nx,y\n"))
