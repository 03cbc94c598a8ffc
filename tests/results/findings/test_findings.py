"""Four claims on planted tables: supported, not supported, cannot tell; and seldom wrong where nothing is."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from distiller.results.comparison import Regret, RegretMatrix
from distiller.results.design import Design
from distiller.results.findings import find
from distiller.results.findings.augmentation import helps_small
from distiller.results.findings.differs import _lost, best_differs
from distiller.results.findings.find import beats_no_teacher
from distiller.results.findings.intermediate import most_important
from distiller.results.findings.objective import best_objective
from distiller.results.findings.text import render_findings, render_regret
from distiller.results.importance import ALL
from tests.results.comparison.planted import DESIGN, augmented, chose, layers, quickly, table


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        quickly(patch)
        yield


def important(**totals):
    """An importance with a total effect and its interval for each stage."""
    stages = [
        SimpleNamespace(stage=stage, total=total, total_interval=(total - 0.05, total + 0.05))
        for stage, total in totals.items()
    ]
    return SimpleNamespace(verdict="ok", reason="", trials=60, stages=stages)


AHEAD = important(intermediate=0.6, student=0.3)
LEVEL = important(intermediate=0.45, student=0.4)
BEHIND = important(intermediate=0.2, student=0.5)
SILENT = SimpleNamespace(verdict="cannot tell", reason="held-out R2 is 0.01", trials=60, stages=[])


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([AHEAD, AHEAD, LEVEL], "supported"),
        ([AHEAD], "supported"),
        ([AHEAD, AHEAD, BEHIND], "cannot tell"),
        ([AHEAD, LEVEL], "cannot tell"),
        ([BEHIND, BEHIND, LEVEL], "not supported"),
        ([LEVEL, LEVEL, LEVEL], "cannot tell"),
        ([SILENT, AHEAD], "supported"),
        ([SILENT], "cannot tell"),
        ([], "cannot tell"),
    ],
)
def test_most_important_stage(found, verdict):
    names = [f"d{i}" for i in range(len(found))]
    one = most_important(dict(zip(names, found, strict=True)), dict.fromkeys(names, DESIGN))
    assert one.verdict == verdict
    assert one.trials == 60 * len(one.datasets) == 60 * sum(f is not SILENT for f in found)


def test_the_mean_over_datasets_has_no_vote():
    one = most_important({"a": AHEAD, "b": LEVEL, ALL: AHEAD}, dict.fromkeys("ab", DESIGN))
    assert one.verdict == "cannot tell"
    assert one.datasets == ("a", "b")
    assert "of 2 datasets" in one.reason


def test_without_intervals_no_stage_is_the_most_important():
    bare = important(intermediate=0.9, student=0.01)
    for share in bare.stages:
        del share.total_interval
    assert most_important({"a": bare}, {"a": DESIGN}).verdict == "cannot tell"


def test_a_table_without_the_stage_cannot_tell():
    trials, _ = table(lambda frame, name: 0.1 * layers(frame, 4), ["a", "b"])
    design = Design({"student": DESIGN.stages["student"]})
    found = find(trials, {"a": design, "b": design}, {"a": important(student=0.9)})
    first, second, third, _ = found.findings
    assert {one.verdict for one in (first, second, third)} == {"cannot tell"}
    assert "no such stage" in first.reason
    assert "no such stage as intermediate" in second.reason
    assert "no such stage as augmentation" in third.reason


@pytest.mark.parametrize(
    ("best", "more", "verdict"),
    [("mi_alpha", 0.05, "supported"), ("mse", 0.05, "not supported"), ("mse", 0.0, "cannot tell")],
)
def test_best_objective(best, more, verdict):
    trials, designs = table(lambda frame, name: more * chose(frame, best) + 0.02 * layers(frame, 4))
    found = best_objective(trials, designs)
    assert found.verdict == verdict
    assert found.trials == 240
    if more:
        sign = 1 if best == "mi_alpha" else -1
        assert found.effect.low <= sign * more <= found.effect.high


def test_a_samplers_trail_or_halved_trials_cannot_tell():
    trials, designs = table(lambda frame, name: 0.05 * chose(frame, "mi_alpha"))
    assert best_objective(trials.assign(origin="model"), designs).verdict == "cannot tell"
    half = trials.assign(status=np.where(trials.index % 2, "stopped", "completed"))
    found = best_objective(half, designs)
    assert found.verdict == "cannot tell"
    assert "trials ran in full" in found.reason
    few = trials[trials["intermediate_objective"] != "none"].groupby("dataset").head(30)
    none = trials[trials["intermediate_objective"] == "none"].groupby("dataset").head(2)
    found = best_objective(pd.concat([few, none]), designs)
    assert found.verdict == "cannot tell"
    assert "none had too few runs" in found.reason


def by_size(small, large):
    """Augmentation's gain on NAME-500 and NAME-2000."""
    return lambda frame, name: (small if name.endswith("-500") else large) * augmented(frame)


SIZES = {"x-500": 500, "x-2000": 2000, "y-500": 500, "y-2000": 2000}


@pytest.mark.parametrize(
    ("small", "large", "verdict"),
    [
        (0.05, 0.0, "supported"),
        (0.0, 0.05, "not supported"),
        (0.0, -0.05, "cannot tell"),
        (0.05, 0.05, "not supported"),
    ],
)
def test_augmentation_by_train_size(small, large, verdict):
    trials, designs = table(by_size(small, large), list(SIZES), trials=100, noise=0.01)
    found = helps_small(trials.assign(parameters=1000), designs, SIZES)
    assert found.verdict == verdict, found.reason
    assert found.effect.low <= small - large <= found.effect.high
    assert found.numbers["train size"]["of"] == ["x", "y"]


def test_augmentation_by_student_size():
    trials, designs = table(lambda frame, name: 0.05 * augmented(frame) * layers(frame, 2), ["a", "b"])
    found = helps_small(trials, designs, {})
    assert found.verdict == "supported"
    assert "student size" in found.reason
    assert "train size" not in found.reason


def test_augmentation_needs_two_sizes():
    trials, designs = table(by_size(0.05, 0.0), ["x-500", "y-2000"])
    found = helps_small(trials.assign(parameters=1000), designs, SIZES)
    assert found.verdict == "cannot tell"
    assert "neither two train sizes" in found.reason
    named_alike, designs = table(by_size(0.05, 0.0), ["glue-2", "glue-3"])
    assert helps_small(named_alike.assign(parameters=1000), designs, {}).verdict == "cannot tell"


@pytest.fixture(scope="module")
def apart():
    """mi_alpha is best on a and b, mse on c."""
    made = table(lambda f, name: 0.08 * chose(f, "mi_alpha" if name in "ab" else "mse"), list("abc"), 140)
    return best_differs(*made)


@pytest.fixture(scope="module")
def alike():
    return best_differs(*table(lambda frame, name: 0.08 * chose(frame, "mi_alpha"), list("abc"), 140))


def test_best_pipeline_differs(apart, alike):
    for (found, regret), verdict in ((apart, "supported"), (alike, "not supported")):
        assert found.verdict == verdict, found.reason
        assert regret.datasets == ("a", "b", "c")
    assert alike[0].effect.high < 0.1


def test_how_it_differs_is_said_with_all_that_the_numbers_rest_on(apart, alike):
    """The words against the matrix: shares, pairs, what they are compared with."""
    found, regret = apart
    (stage,) = [one for one in regret.stages if one.stage == "intermediate"]
    known = [one.regret for one in regret.entries]
    assert found.reason.startswith(
        f"intermediate works differently on different datasets: the differences make up {stage.share:.0%} of "
        "the variance of scores that is left when intermediate has one effect for all (p "
    )
    for words in (
        "The best intermediate.objective on average is mi_alpha on a, b; mse on c.",
        f"falls {np.mean(known):.4f} short of the best one there",
        "on average over 6 pairs of datasets (0 measured, 6 predicted)",
        f"{np.mean(known) / 0.01:.1f} times the 0.01 that it must exceed",
    ):
        assert words in found.reason
    assert found.amount(found.effect.value) == f"{stage.share:.0%}"
    assert alike[0].reason.startswith("No stage is shown to work differently on different datasets; ")
    assert " comes nearest" in alike[0].reason


def test_a_regret_below_zero_is_said_to_be_no_worse():
    def known(label, *regrets):
        return [(Regret("a", "b", label, one, None), one / 0.01) for one in regrets]

    assert (
        "is predicted to do no worse than the best one there (0.0100 better), on average over 2 pairs"
        in _lost(known("predicted", -0.03, 0.01), -1.0)
    )
    assert "does no worse than the best one there (0.0300 better)" in _lost(known("measured", -0.03), -3.0)
    assert "falls 0.0000 short" in _lost(known("measured", 0.0), -0.0)
    assert "-" not in _lost(known("measured", 0.0), -0.0)
    for entries, told in (((-0.00001, 0.02), True), ((0.0, 0.02), False), ((None, 0.02), False)):
        pairs = zip(("ab", "ba"), entries, strict=True)
        both = tuple(Regret(of, on, "predicted", one, None) for (of, on), one in pairs)
        matrix = RegretMatrix(("a", "b"), both, (), {})
        console = Console(width=200, file=io.StringIO())
        console.print(render_regret(matrix))
        shown = console.file.getvalue()
        assert ("with ~ it is predicted to do no worse" in shown) == told
        assert "-0.0000" not in shown


def test_one_dataset_and_few_trials_cannot_differ():
    trials, designs = table(lambda frame, name: 0.0, ["a", "b"], trials=15)
    assert best_differs(trials, designs)[0].verdict == "cannot tell"
    found, regret = best_differs(trials, {"a": designs["a"]})
    assert (found.verdict, regret) == ("cannot tell", None)


@pytest.mark.slow
def test_where_nothing_is_little_is_supported():
    """6 tables of noise: as many wrong verdicts as 5% of them would give but once in a thousand times."""
    supported = {"mi_alpha": 0, "augmentation": 0, "differs": 0}
    for seed in range(6):
        trials, designs = table(lambda frame, name: 0.0, ["x-500", "x-2000"], trials=30, seed=seed)
        for one in (best_objective(trials, designs), helps_small(trials, designs, SIZES)):
            supported[one.name] += one.verdict == "supported"
        supported["differs"] += best_differs(trials, designs)[0].verdict == "supported"
    assert max(supported.values()) <= stats.binom.ppf(0.999, 6, 0.05)


def test_share_that_beats_no_teacher():
    trials, _ = table(lambda frame, name: 0.1 if name == "a" else -0.2, ["a", "b"], trials=50)
    found = beats_no_teacher(trials, ["a", "b"])
    assert (found.beat, found.trials, found.share) == (50, 100, 0.5)
    assert found.datasets == {"a": 1.0, "b": 0.0}
    assert found.low == pytest.approx(0.404, abs=0.001)
    unknown = beats_no_teacher(trials.drop(columns="no_teacher_score"), ["a"])
    assert (unknown.trials, unknown.share, unknown.datasets) == (0, None, {"a": None})
    stopped = trials.assign(status="stopped")
    assert beats_no_teacher(stopped, ["a", "b"]).trials == 0


def test_all_of_it_reads_and_is_strict_json():
    trials, designs = table(lambda frame, name: 0.05 * chose(frame, "mi_alpha"), ["a", "b"], trials=40)
    found = find(trials, designs, {"a": AHEAD, "b": LEVEL}, {})
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [one["name"] for one in data["findings"]] == [
        "intermediate",
        "mi_alpha",
        "augmentation",
        "differs",
    ]
    assert all(one["rule"] and one["reason"] for one in data["findings"])
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render_findings(found))
    said = console.export_text()
    assert "beat the same student without a teacher" in said.replace("\n", " ")
    for one in found.findings:
        assert one.claim in said
    assert "~" in said
