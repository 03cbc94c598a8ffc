"""What a terminal shows of a comparison at 80 columns: each number on its line, and no empty columns."""

import io
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.compare import compare
from distiller.results.comparison.path import Score
from distiller.results.comparison.text import render_comparison, render_path
from tests.results.analysed import ablation
from tests.results.comparison.planted import chose, layers, quickly, table

DATASETS = ("trec-2000", "amazon-reviews-2000", "c")


def planted(frame, name):
    return 0.04 * chose(frame, "mi_alpha") + 0.1 * layers(frame, 4)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        quickly(patch)
        yield


@pytest.fixture(scope="module")
def three():
    return table(planted, DATASETS)


@pytest.fixture(scope="module")
def found(three):
    return compare(*three, "intermediate")


def said(shown, width=80):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(shown)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    return lines


def cells(lines):
    return [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]


def test_every_difference_is_one_line_with_its_interval_and_p(found):
    rows = cells(said(render_comparison(found)))
    differences = [*found.overall, *(d for one in found.datasets for d in one.differences)]
    assert len(differences) == 12
    for one in differences:
        for estimate in (one.best, one.mean, one.adjusted):
            value, ends = f"{estimate.value:+.4f}", f"{estimate.low:+.4f} to {estimate.high:+.4f}"
            p = "< 0.001" if estimate.p_holm < 0.001 else f"{estimate.p_holm:.3f}"
            assert any(row[-3:] == [value, ends, p] for row in rows), one


def test_every_choice_is_one_line(found):
    rows = cells(said(render_comparison(found)))
    for dataset in found.datasets:
        n = min(one.n for one in dataset.differences)
        for one in dataset.choices:
            numbers = [f"{one.completed} of {one.completed}", f"{one.mean:.4f}", f"{one.sd:.4f}"]
            assert [one.choice, *numbers, f"{one.best_of[n - 1]:.4f}", f"{one.of_teacher:.0%}"] in rows


def test_columns_without_anything_are_left_out(three, found):
    trials, designs = three[0], {"c": three[1]["c"]}
    assert "teacher's" in " ".join(said(render_comparison(found)))
    alone = compare(trials.drop(columns="teacher_score"), designs, "intermediate")
    text = " ".join(said(render_comparison(alone)))
    assert "teacher" not in text
    assert "failed" not in text
    failed = trials.assign(status=trials["status"].where(trials.index % 7 > 0, "failed"))
    assert "failed" in " ".join(said(render_comparison(compare(failed, designs, "intermediate"))))
    seeds = [trials.assign(seed=s, score=trials["score"] + 0.001 * s) for s in (0, 1)]
    again = compare(pd.concat(seeds, ignore_index=True), designs, "intermediate")
    assert "compared" in " ".join(said(render_comparison(again)))


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_is_cut_off_at_any_width(found, width):
    text = "".join(said(render_comparison(found), width))
    assert all(f"{one.mean.value:+.4f}" in text for one in found.overall)
    path = "".join(said(render_path(ablation("trec")), width))
    assert all(whole in path for whole in ("0.6600 ±", "0.0200", "+0.0500", "mi_alpha", "intermediate"))


def test_a_path_says_what_is_run_and_what_is_predicted():
    path = ablation("trec")
    guess = replace(path.steps[2], gain=Estimate(0.05), gain_label="predicted")
    mixed = said(render_path(replace(path, steps=(*path.steps[:2], guess))), 120)
    assert ["0.6600 ± 0.0200", "+0.0500", "+0.0200 to +0.0800"] in [row[-3:] for row in cells(mixed)]
    assert ["-", "~+0.0500", "-"] in [row[-3:] for row in cells(mixed)]
    assert "~ is predicted" in " ".join(mixed)
    assert "measured: mean ± SD over 3 seeds" in " ".join(mixed)
    steps = [replace(step, predicted=Score("not predicted", None)) for step in path.steps]
    text = " ".join(said(render_path(replace(path, label="measured", steps=tuple(steps))), 120))
    assert "predicted" not in text
    nothing = [replace(step, measured=None, gain=None, gain_label="") for step in steps]
    text = " ".join(said(render_path(replace(path, label="not predicted", steps=tuple(nothing))), 120))
    assert "measured" not in text
    assert "gain" not in text
