"""What a task makes impossible leaves the space, by name and with the reason; the rest stays."""

from __future__ import annotations

import pytest

from distiller.search.plan import planned_space
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.presets import PRESETS
from distiller.spaces.sweep import parse_sweep

DATASETS = {
    "classification": "{train: a.csv, text: t, label: l}",
    "regression": "{train: a.csv, text: t, score: s}",
    "multi_label": "{train: a.csv, text: t, labels: [a, b]}",
    "qa": "{train: a.json, task: qa}",
    "token_classification": "{train: a.conll, task: token_classification}",
}
TEXT = ["random", "synonym", "back_translation", "mixup"]


def sweep_of(kind, space=""):
    text = f"name: x\ndatasets: {{d: {DATASETS[kind]}}}\nteachers: {{t: {{model: m}}}}\n"
    return parse_sweep(text + (space or f"space: {{augmentation: [{', '.join(TEXT)}]}}\n"), "s.yaml")


@pytest.mark.parametrize("kind", DATASETS)
def test_what_a_task_makes_impossible(kind):
    space, removed = planned_space(sweep_of(kind), "d")
    augmentation, prediction = ([*space.stages[s][0].choices] for s in ("augmentation", "prediction"))
    assert augmentation == (TEXT[:2] if kind in ("qa", "token_classification") else TEXT)
    probabilities = {"ce", "kl", "reverse_kl", "js", "dkd", "dist"}
    assert probabilities.isdisjoint(prediction) == (kind == "regression")
    assert {"mse", "l1"} <= set(prediction)
    gone = {"regression": 6, "qa": 2, "token_classification": 2}.get(kind, 0)
    assert len(removed) == gone
    assert all(line.startswith("d: ") and "left out (" in line for line in removed)


def test_nothing_is_left():
    with pytest.raises(
        InputError, match=r"space\.augmentation: nothing is left for d, a qa \(mixup: .*; add none"
    ):
        planned_space(sweep_of("qa", "space: {augmentation: mixup}\n"), "d")


@pytest.mark.parametrize("kind", DATASETS)
def test_presets_stay_inside_of_what_is_possible(kind):
    """With every choice allowed, each preset's own stages are in the space that is left."""
    everything = (
        "space: {augmentation: {slots: [[none, random, embedding, mixup], [none, random, mixup]]},"
        " prediction: [labels, ce, kl, mse]}\n"
    )
    space, _ = planned_space(sweep_of(kind, everything), "d")
    allowed = {
        stage: {name for node in space.stages[stage] for name in node.choices}
        for stage in ("augmentation", "prediction")
    }
    for preset in PRESETS.values():
        config = preset.applied(PipelineConfig(), kind)
        assert {slot.method for slot in config.augmentation} <= allowed["augmentation"]
        assert config.prediction.loss in allowed["prediction"]
        assert len(config.augmentation) >= 1
