"""The benchmark's figures from cases made by hand, and its rivals' view of a table."""

import numpy as np
import pandas as pd
import pytest

from distiller.search.samplers.tpe import optuna_parameters
from tests.bench.importance_figures import (
    bootstrap_summary,
    coverage,
    rival_summary,
    summary,
    verdicts,
)
from tests.bench.rivals import answered, bootstrap
from tests.truth.shapes import SHAPES
from tests.truth.spaces import design_of, space_of


def stage(main, found, interval, influential, total=None):
    """Of a stage without interactions, unless `total` says otherwise."""
    total = main if total is None else total
    found = {"found_main": found, "found_total": found, "influential": influential}
    return {"main": main, "total": total, **found, "main_interval": interval, "total_interval": interval}


def case(*stages, **more):
    """A repetition; its stages are a, b, …"""
    names = dict(zip("abc", stages, strict=False))
    return {"stages": names, "verdict": "ok", "seconds": 1.0, "null_parameter": 0.0, "pairs": [0.01],
            "parameters": [0.02, 0.04], "noise_share": None, "true_noise_share": 0.1, **more}  # fmt: skip


GOOD = case(
    stage(0.9, 0.89, [0.85, 0.93], True),
    stage(0.1, 0.11, [0.08, 0.14], True),
    stage(0, 0, [0, 0], False),
)
BAD = case(
    stage(0.9, 0.8, [0.75, 0.85], True),
    stage(0.1, 0.18, [0.05, 0.3], False),
    stage(0, 0.02, [0.01, 0.03], True),
    seconds=3.0,
    null_parameter=0.05,
    noise_share=0.13,
)


def test_figures_of_two_cases():
    found = summary([GOOD, BAD])
    assert (found["repetitions"], found["cannot_tell"], found["seconds"]) == (2, 0, 2.0)
    errors = [0.01, 0.01, 0, 0.1, 0.08, 0.02]
    assert found["error"]["mean"] == pytest.approx(np.mean(errors))
    assert found["error"]["median"] == pytest.approx(0.015)
    assert found["error"]["worst"] == pytest.approx(0.1)
    assert found["error"]["within"] == pytest.approx(4 / 6)
    assert found["bias"] == pytest.approx((-0.01 + 0.01 - 0.1 + 0.08 + 0.02) / 6)
    assert found["coverage"]["main"] == pytest.approx({"share": 0.75, "se": 0.25})
    assert found["coverage_of_null"] == pytest.approx({"share": 0.5, "se": 0.5})
    assert found["width"] == pytest.approx(np.median([0.08, 0.06, 0, 0.1, 0.25, 0.02]))
    assert (found["null_called"], found["power"]) == (0.5, 0.5)
    assert found["null_parameter"] == pytest.approx({"median": 0.025, "worst": 0.05})
    assert found["parameters"] == pytest.approx({"mean": 0.03, "worst": 0.04})
    assert found["noise"] == pytest.approx({"mean": 0.03, "worst": 0.03})
    assert set(verdicts(summary([GOOD])).values()) == {True}
    missed = [name for name, met in verdicts(found).items() if not met]
    assert len(missed) == 7
    assert not any("width" in name for name in missed)


def test_shares_that_are_not_to_be_read_are_no_errors():
    unread = summary([GOOD, {**BAD, "verdict": "cannot tell"}])
    alone = summary([GOOD])
    assert unread["cannot_tell"] == 1
    for figure in ("error", "bias", "coverage", "coverage_of_null", "width", "parameters"):
        assert unread[figure] == alone[figure]
    assert (unread["null_called"], unread["power"]) == (0.5, 0.5)  # calls count all the same


def test_a_stage_without_shares_is_no_error_and_no_call():
    found = summary(
        [case({"main": 0.1, "total": 0.1, "influential": False}, verdict="cannot tell", pairs=[])]
    )
    assert found["error"] == {"mean": None, "median": None, "p90": None, "worst": None, "within": None}
    assert (found["power"], found["null_called"], found["width"]) == (0.0, 0.0, None)
    assert coverage([GOOD], "main", "no_interval", nulls=False) is None
    assert verdicts(found)["main intervals cover 0.9"] is None


def test_rivals_are_measured_on_the_cases_that_they_had():
    rival = {"main": {"a": 0.8, "b": 0.2, "c": 0.0}, "told": 3, "searched": 30, "seconds": 2.0}
    plain = {"a": (0.7, 0.8), "b": (0.0, 0.2), "c": (0.0, 0.0)}
    had = {**GOOD, "rivals": {"one": rival}, "bootstrap": plain}
    found = rival_summary([had, BAD])["one"]
    assert found == pytest.approx(
        {"repetitions": 1, "mean": 0.2 / 3, "worst": 0.1, "told": 3, "searched": 30, "seconds": 2.0}
    )
    assert bootstrap_summary([had, BAD]) == pytest.approx({"repetitions": 1, "coverage": 0.5, "width": 0.15})
    assert bootstrap_summary([BAD]) is None


def test_rivals_get_the_parameters_that_our_sampler_gives_optuna():
    rng = np.random.default_rng(0)
    for _ in range(40):
        config = space_of().sample(rng)
        row = pd.Series(config.columns()).reindex(design_of().columns()).to_dict()
        constants = {q.column: None for q in design_of().questions()} | config.columns()
        assert answered(design_of(), {**row, **constants}) == optuna_parameters(space_of(), config)


def test_a_plain_bootstrap_of_boosted_trees_is_near_the_truth():
    made = SHAPES["null"](300, 0)
    for name, (low, high) in bootstrap(made, 0, resamples=2).items():
        assert 0 <= low <= high <= 1
        assert abs((low + high) / 2 - made.truth.main(name)) < 0.2
