"""Paths between two configs whose gains are planted."""

import json

import numpy as np
import pandas as pd
import pytest

from distiller.results.comparison.ablation import ablation_path, missing, start_of
from distiller.results.comparison.membership import outside
from distiller.spaces.config import PipelineConfig
from distiller.spaces.presets import PRESETS
from tests.results.comparison.planted import DESIGN, augmented, chose, table

BEST = {
    "augmentation": {"method": "random", "strength": 0.1, "copies": 1},
    "intermediate": {"objective": "mi_alpha", "alpha": 0.9, "weight": 0.1, "representation": "cls"},
    "prediction": {"loss": "mse", "hard_weight": 0.5},
    "student": {"initialization": "svd", "layers": 2, "width": 128},
    "teacher": {"checkpoint": "bert"},
    "optimization": {
        "learning_rate": 8e-3, "warmup": 0.1, "schedule": "linear", "batch_size": 32, "weight_decay": 0.0,
    },
}  # fmt: skip


def config(**stages):
    return PipelineConfig.model_validate({**BEST, **stages})


START = config(
    augmentation={"method": "none"},
    intermediate={"objective": "none"},
    prediction={"loss": "kl", "hard_weight": 0.3, "temperature": 2},
)


def planted(frame, name):
    mse = (frame["prediction_loss"] == "mse").to_numpy(dtype=float)
    return 0.1 * chose(frame, "mi_alpha") + 0.06 * augmented(frame) - 0.05 * mse


@pytest.fixture(scope="module")
def trials():
    return table(planted, ["a"], trials=300)[0]


def test_each_step_changes_what_gains_most(trials):
    path = ablation_path(trials, "a", DESIGN, "hinton", START, config())
    assert [step.stage for step in path.steps] == [None, "intermediate", "augmentation", "prediction"]
    assert [step.gain.value for step in path.steps[1:]] == pytest.approx([0.1, 0.06, -0.05], abs=0.025)
    assert path.label == "predicted"
    assert path.r2 > 0.5
    assert path.steps[0].config_id == START.config_id
    assert path.steps[-1].config_id == config().config_id
    assert "--run trains them" in path.notes[-1]
    assert path.steps[1].was == "none"
    assert path.steps[1].became.startswith("mi_alpha")
    json.dumps(path.to_dict(), allow_nan=False)


def test_a_start_outside_the_space_is_changed_first_and_not_predicted(trials):
    start = start_of("tinybert", config(), DESIGN, "classification")
    assert start.student == config().student
    assert start.optimization.learning_rate == pytest.approx(1e-3)
    path = ablation_path(trials, "a", DESIGN, "tinybert", start, config())
    assert [step.stage for step in path.steps[:4]] == [None, "augmentation", "intermediate", "prediction"]
    assert [s.predicted.label for s in path.steps] == ["not predicted"] * 3 + ["predicted"] * 2
    assert "augmentation.method is embedding" in path.steps[1].note
    assert path.steps[3].gain is None
    assert path.steps[4].gain.low is None


def test_runs_stand_in_for_predictions(trials):
    path = ablation_path(trials, "a", DESIGN, "hinton", START, config())
    todo = missing(path, trials, [4, 5, 6])
    assert len(todo) == 3 * len(path.steps)
    rows = [
        {"dataset": "a", "role": "ablation", "config_id": one.config_id, "seed": seed, "status": "completed",
         "fidelity": 1.0, "score": 0.5 + 0.01 * place + 0.1 * seed}
        for place, (one, seed) in enumerate(todo)
    ]  # fmt: skip
    with_runs = pd.concat([trials, pd.DataFrame(rows[:-1])], ignore_index=True)
    path = ablation_path(with_runs, "a", DESIGN, "hinton", START, config())
    assert path.label == "measured"
    assert missing(path, with_runs, [4, 5, 6]) == todo[-1:]
    first, second, *_, last = path.steps
    assert first.measured.value == pytest.approx(np.mean([row["score"] for row in rows[:3]]))
    assert (first.measured.seeds, last.measured.seeds) == (3, 2)
    assert second.gain.value == pytest.approx(0.03)
    assert last.gain.value == pytest.approx(0.03)


def test_too_few_runs_predict_nothing(trials):
    path = ablation_path(trials.head(10), "a", DESIGN, "hinton", START, config())
    assert path.label == "not predicted"
    assert [step.stage for step in path.steps[1:]] == ["augmentation", "intermediate", "prediction"]
    assert path.r2 is None


def test_membership_is_the_spaces():
    draws = DESIGN.draw(50, np.random.default_rng(0)).to_dict("records")
    assert {outside(DESIGN, row, stage) for row in draws for stage in DESIGN.stages} == {""}
    assert outside(DESIGN, config().columns(), "intermediate") == ""
    hinton = PRESETS["hinton"].applied(config(), "classification").columns()
    assert outside(DESIGN, hinton, "prediction") == ""
    far = config(optimization={"learning_rate": 0.5}).columns()
    assert "optimization.learning_rate is 0.5" in outside(DESIGN, far, "optimization")
    two = config(intermediate=[{"objective": "none"}, {"objective": "mse"}]).columns()
    assert outside(DESIGN, two, "intermediate") == "intermediate_2_objective is not asked there"
