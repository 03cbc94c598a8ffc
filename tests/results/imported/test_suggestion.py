"""First mappings that are suggested for a table."""

import pytest

from distiller.results.imported import import_table, parse_mapping, suggest
from distiller.spaces.errors import InputError
from tests.results.imported.texts import csv

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


def test_a_status_with_a_word_of_its_own_is_no_setting(place, store):
    """How a trial ended would explain its score by itself."""
    table = csv(place, "acc,lr,state\n0.5,0.1,done\n0.6,0.2,done\n,0.3,oom\n0.4,0.4,pruned\n")
    text = suggest(table)
    assert "# status: write what 'oom' means" in text
    mapping = parse_mapping(text, "suggested")
    assert mapping.status.column == "state"
    assert {column for stage in mapping.stages.values() for column in stage} == {"lr"}
    with pytest.raises(InputError, match="status: column 'state' also holds 'oom'; write under completed"):
        import_table(store, table, mapping)


def test_what_is_left_out_is_left_out_with_a_reason(place):
    lines = ["acc,lr,mixed,gaps,nothing"]
    lines += [f"0.{n},{n},{'x' if n % 2 else n},{n if n % 3 else ''}," for n in range(10, 90)]
    text = suggest(csv(place, "\n".join(lines) + "\n"))
    assert set(parse_mapping(text, "suggested").ignore) == {"mixed", "gaps", "nothing"}
    said = {
        line.split("#")[0].strip("- "): line.split("#")[1] for line in text.splitlines() if line[0] == "-"
    }
    assert "mixes types" in said["mixed"]
    assert "empty in some rows" in said["gaps"]
    assert said["nothing"] == " empty"


def test_columns_keep_their_names_whatever_is_in_them(place):
    names = ["a: b # c", '"l.r",x', "Öl ☃", "w" * 200, "two\nlines", "- dash"]
    rows = [
        ["acc", *names],
        *([f"0.{n}", *(str(n % 7 + k) for k in range(len(names)))] for n in range(10, 40)),
    ]
    cells = ("\n").join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    mapping = parse_mapping(suggest(csv(place, cells + "\n")), "suggested")
    assert {column for stage in mapping.stages.values() for column in stage} == set(names)


def test_a_suggestion_without_a_score_says_so(place):
    with pytest.raises(InputError, match="score"):
        suggest(csv(place, "a,b\nx,y\n"))
