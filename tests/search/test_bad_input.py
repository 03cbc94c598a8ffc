"""Bad input is one line that names the place and the remedy, and exit code 2; nothing is lost by it."""

from __future__ import annotations

import re

import pytest

from distiller.results.store import Store
from tests.search.conftest import SWEEP, make_place, refusal
from tests.search.files import write_teacher


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Files that no test of this module changes."""
    return make_place(tmp_path_factory.mktemp("bad") / 'it\'s "bad"')


def edited(old, new):
    assert old in SWEEP
    return SWEEP.replace(old, new, 1)


FILES = {
    "one-class.csv": "body,kind\nthe wing,bird\na beak,bird\nmy nest,bird\n",
    "unseen.csv": "body,kind\nthe wing,bird\na trunk,elephant\n",
    "null.csv": "body,kind\nthe wing,bird\n,fish\n",
    "empty.csv": "body,kind\n",
}
OWN_SPLITS = """train: animals-train-*.csv
    validation: animals-validation.csv
    test: animals-test.csv"""
CASES = {
    "misspelt key": ("budget:", "budgets:", ["budgets", "did you mean 'budget'"]),
    "misspelt key inside": ("trials: 6", "trails: 6", ["search.trails", "did you mean 'trials'"]),
    "unknown choice": ("augmentation: {none", "augmentation: {nonne", ["space.augmentation.nonne", "'none'"]),
    "outside its prior": ("uniform: [0, 0.6]", "uniform: [0, 1.6]", ["prediction.kl.hard_weight", "1.6"]),
    "no such dataset": ("search:\n", "space_for: {animal: {}}\nsearch:\n", ["space_for.animal", "'animals'"]),
    "teacher is no folder": ("model: teacher", "model: ./techer", ["teachers.bert.model", "techer", "check"]),
    "missing file": ("animals-raw.jsonl", "animals-row.jsonl", ["datasets.animals.unlabeled", "animals-row"]),
    "missing column": ("label: kind", "label: kinds", ["datasets.animals", "kinds", "kind"]),
    "one class": (OWN_SPLITS, "train: one-class.csv", ["datasets.animals", "class 'bird'"]),
    "no rows": ("animals-train-*.csv", "empty.csv", ["datasets.animals.train", "no rows"]),
    "unseen label": ("animals-test.csv", "unseen.csv", ["unseen.csv row 2", "'elephant'", "train"]),
    "null text": ("animals-train-*.csv", "null.csv", ["null.csv row 2", "'body'", "empty"]),
    "too many cpus": ("cpus: 1", "cpus: 4096", ["resources", "4096", "ask for less"]),
    "no gpu": ("cpus: 1", "cpus: 1, gpus: 64", ["resources", "64 gpus", "ask for less"]),
    "no loss for a regression": (", mse: {hard_weight: 0.5}}", "}", ["opinions", "regression", "mse"]),
    "no masked model": (
        "augmentation: {none: {}, random: {strength: 0.1, copies: 1}}",
        "augmentation: {slots: [none, {contextual: {checkpoint: [bert-base-uncased, ./mlm]}}]}",
        ["space.augmentation.2.contextual.checkpoint: no folder", "mlm", "check the path"],
    ),
    "no translator": (
        "search:\n",
        "space_for: {opinions: {augmentation: {back_translation: {back: 'package:nowhere/x'}}}}\nsearch:\n",
        ["space_for.opinions.augmentation.back_translation.back: no folder 'x'", "install the package"],
    ),
    "broken YAML": ("name: tiny", "name: [tiny", ["line", "column", "YAML"]),
}


@pytest.mark.parametrize("case", CASES)
def test_launch_refuses_before_ray_starts(refused, own, tmp_path, case):
    old, new, wanted = CASES[case]
    for name, text in FILES.items():
        own.write(name, text)
    own.write("bad.yaml", edited(old, new))
    line = refused(own.folder, "launch", "bad.yaml", "--store", str(tmp_path / "store"))
    for part in wanted:
        assert part in line, line
    # What was refused is not yet launched: the mended file may have the same name.
    if (tmp_path / "store").exists():
        assert Store.open(str(tmp_path / "store")).sweeps() == []


def test_unknown_sweeps_and_stores(refused, own, tmp_path):
    assert "no such file or bundled sweep; did you mean 'quickstart'" in refused(
        tmp_path, "launch", "quickstrat"
    )
    assert "no such file" in refused(tmp_path, "launch", "nothing.yaml")
    (tmp_path / "file").write_text("")
    line = refused(own.folder, "launch", "sweep.yaml", "--store", str(tmp_path / "file" / "store"))
    assert line.startswith("--store")
    assert "not writable" in line
    (tmp_path / "other").mkdir()
    for command in (["query", "SELECT 1"], ["status"], ["importance"], ["export"], ["report"]):
        line = refused(tmp_path, *command, "--store", str(tmp_path / "other"))
        assert "not a Distiller store" in line, command
    Store.create(str(tmp_path / "empty"))
    for command in ("status", "importance", "export", "report"):
        assert "distiller launch" in refused(tmp_path, command, "--store", str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("SELECT scroe FROM trials", "score"),
        ("DELETE FROM trials", "only read"),
        ("COPY trials TO 'x.csv'", "only read"),
        ("SELECT * FROM read_text('secret')", "SELECT"),
        ("SELECT * FROM 'data.parquet'", "SELECT"),
        ("SELECT 1; SELECT 2", "2 statements"),
    ],
)
def test_sql_that_fails_writes_or_reads_a_file(refused, tmp_path, sql, wanted):
    Store.create(str(tmp_path / "store"))
    (tmp_path / "secret").write_text("secret")
    line = refused(tmp_path, "query", sql, "--store", str(tmp_path / "store"))
    assert line.startswith("SQL: ")
    assert wanted in line
    assert not (tmp_path / "x.csv").exists()


def test_recipes_and_where_a_student_is_saved(refused, tmp_path):
    (tmp_path / "broken.yaml").write_text("name: [unclosed")
    (tmp_path / "other.yaml").write_text("name: x\ndatasett: {}\n")
    assert "YAML" in refused(tmp_path, "train", str(tmp_path / "broken.yaml"), "--out", str(tmp_path / "s"))
    assert "dataset" in refused(tmp_path, "train", str(tmp_path / "other.yaml"), "--out", str(tmp_path / "s"))
    assert "no such file" in refused(
        tmp_path, "train", str(tmp_path / "none.yaml"), "--out", str(tmp_path / "s")
    )


@pytest.mark.slow
def test_what_only_a_worker_sees_arrives_as_the_same_line(place, refused):
    """A teacher with another number of labels; then the mended file goes by the same name."""
    write_teacher(place.folder / "pretender", labels=5)
    place.write("sweep.yaml", re.sub(r"{model: teacher.*}", "{model: pretender}", SWEEP))
    line = refusal(place.run("launch", "sweep.yaml"))
    assert line.startswith("teachers.bert.model: the teacher has 5 labels, the dataset needs")
    assert "fine_tune: true" in line
    assert place.rows() == []
    place.write("sweep.yaml", edited("cpus: 1", "cpus: 4096"))
    assert "ask for less" in refused(place.folder, "launch", "sweep.yaml")


def test_an_address_where_no_cluster_is(refused, own, tmp_path):
    for address in ("127.0.0.1:1", "ray://localhost:1", "127.0.0.1:70000"):
        line = refused(
            own.folder, "launch", "sweep.yaml", "--store", str(tmp_path / "s"), "--address", address
        )
        assert line.startswith(f"--address {address}: no Ray cluster answers")
        assert "ray start --head" in line
