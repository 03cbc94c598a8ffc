"""What `distiller report` finds out by itself, and what it says where it cannot."""

import pytest
from typer.testing import CliRunner

from distiller.results.design import Design
from distiller.results.report import files as figure_files
from distiller.results.store import Store
from distiller.search import reporting
from distiller.search.cli import app
from tests.results.conftest import demo  # noqa: F401


@pytest.fixture
def searched(demo):  # noqa: F811
    """24 full runs in which more layers are better by far."""
    made = demo(datasets={"trec": "{builtin: trec}"})
    made.describe("trec")
    for i in range(24):
        config = made.config("trec")
        layers = config.student.layers
        made.trial("trec", config, 0.5 + 0.1 * layers + 0.001 * (i % 5))
    return made


def test_answers_are_those_of_the_other_commands_as_far_as_there_is_time(searched, monkeypatch):
    monkeypatch.setattr(reporting, "MOST_COMPARED", 24 * 5)  # a few questions of two and three choices fit in
    heard = []
    analysis = reporting.analyse(searched.store, "demo", said=heard.append)
    design = Design.of(searched.sweep.space_of("trec"))
    assert analysis.designs == {"trec": design}
    assert set(analysis.importance["trec"]["stages"]) == set(design.searched_stages())
    assert [one.verdict for one in analysis.findings.findings if one.name == "differs"] == ["cannot tell"]
    assert [path.preset for path in analysis.ablations] == [reporting.PRESET]
    compared = {one.what for one in analysis.comparisons}
    assert {f"comparing {path}" for path in compared} <= set(heard)
    (line,) = [said for said in analysis.missing if "not compared here" in said]
    left_out = line.split("their time: ")[1].split(";")[0].split(", ")
    assert compared
    assert compared | set(left_out) == set(reporting._questions(analysis.designs))
    assert not compared & set(left_out)
    assert f"`distiller compare {left_out[0]}`" in line


def test_a_store_without_the_sweeps_file_has_a_report(searched, tmp_path, monkeypatch):
    path = tmp_path / 'it\'s "a" store' / "sweeps" / "demo" / "sweep.yaml"
    path.unlink()
    assert (
        "no importance and comparisons"
        in reporting.analyse(Store.open(searched.store.url), "demo").missing[0]
    )
    monkeypatch.setattr(figure_files, "find_browser", lambda: None)
    out, folder = tmp_path / "r.html", tmp_path / "figures"
    arguments = ["report", "--store", searched.store.url, "--out", str(out), "--figures", str(folder)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "--figures: no Chromium, Chrome or Edge is installed" in " ".join(done.output.split())
    assert {one.name for one in folder.iterdir()} >= {"trec-learning-curves.csv"}
    text = out.read_text()
    assert "its space is not known" in text
    assert "No importance and comparisons" in text
