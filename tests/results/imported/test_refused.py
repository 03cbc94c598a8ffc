"""Tables and mappings that are refused, in one line with the place and the remedy."""

import pytest

from distiller.results.imported import read_table
from distiller.spaces.errors import InputError
from tests.results.imported.texts import STAGES, reading

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
    "misspelt and so missing": (ONE, "scroe: acc\n" + STAGES, ["scroe", "did you mean 'score'", "1 more"]),
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
