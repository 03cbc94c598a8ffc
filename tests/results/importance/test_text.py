"""What a terminal shows of importance: every share, whole, at 80 columns and fewer."""

import io

import pytest
from rich.console import Console

from distiller.results.importance.parameters import ParameterShare
from distiller.results.importance.report import Importance, PairShare, StageShare
from distiller.results.importance.text import render_importance

STAGES = {
    "intermediate": (0.4821, "intermediate.mi_alpha.schedule.first_stage.share"),
    "optimization": (0.2912, "optimization.learning_rate"),
    "augmentation": (0.1233, "augmentation.method"),
    "a stage of somebody's own table": (0.0534, "a stage of somebody's own table.depth"),
}


def found(repeats=6):
    stages = tuple(
        StageShare(name, s, s + 0.01, s, (s - 0.04, s + 0.05), (s - 0.03, s + 0.06), s > 0.1, 1e-4)
        for name, (s, _) in STAGES.items()
    )
    parts = tuple(
        ParameterShare(path, None, name, "parameter", 1.0, s - 0.02) for name, (s, path) in STAGES.items()
    )
    return Importance(
        verdict="ok", reason="held-out R2 is 0.81", caution=("Shares are of the explained variance.",),
        trials=90, full=90, failed=0, from_prior=90, surrogate="linear", r2=0.81, r2_low=0.74, r2_of={},
        measured_on="full runs", noise_share=0.12 if repeats else None, noise_repeats=repeats, stages=stages,
        pairs=(PairShare(("intermediate", "augmentation"), 0.03),), subsets=(), parameters=parts, top=None,
    )  # fmt: skip


def said(one, width):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(render_importance("trec", one))
    return console.file.getvalue().splitlines()


def test_at_80_columns_each_stage_is_a_row_and_nothing_is_cut_off():
    lines = said(found(), 80)
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    rows = [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]
    assert ["intermediate", "48% (44% to 53%)", "49% (45% to 54%)", "yes"] in rows
    assert ["optimization", "29% (25% to 34%)", "30% (26% to 35%)", "yes"] in rows
    assert ["learning_rate", "27%", "", ""] in rows
    assert sum(row[-1] == "not shown" for row in rows) == 1
    flat = "".join(row[0] for row in rows)
    for name, (_, path) in STAGES.items():
        assert name.replace(" ", "") in flat.replace(" ", "")
        assert path.removeprefix(f"{name}.") in flat


@pytest.mark.parametrize("width", [30, 40, 60])
def test_narrower_ones_have_all_of_it_too(width):
    text = "".join(said(found(), width))
    assert "…" not in text
    for share in ("48%", "44%", "53%", "29%", "27%", "12%", "46%"):
        assert share in text


def test_the_noise_share_says_what_it_rests_on():
    assert "seeds of one config make 12% of the variance of full runs (6 repeats)" in said(found(), 80)
    assert "seeds of one config make 12% of the variance of full runs (1 repeat)" in said(found(1), 80)
    assert "seeds of one config" not in "".join(said(found(0), 80))


def test_without_intervals_none_are_announced():
    assert "with 95% intervals" in " ".join(said(found(), 80))
    one = found()
    bare = [StageShare(s.stage, s.main, s.total, s.shapley, None, None, True, 0.0) for s in one.stages]
    lines = said(Importance(**{**vars(one), "stages": tuple(bare)}), 80)
    assert "interval" not in " ".join(lines)
    assert any("48%" in line for line in lines)
