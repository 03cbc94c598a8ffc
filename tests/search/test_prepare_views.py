"""Before the first trial: every view of the space is there, or what it lacks is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from distiller.pipelines.augment import wordnet
from distiller.search.materials import _materials
from distiller.search.prepared import check_inputs
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import parse_sweep
from tests.search.conftest import SWEEP

PLAIN = "augmentation: {none: {}, random: {strength: 0.1, copies: 1}}"


def launched(bench, augmentation, old="", new=""):
    """The bench with another augmentation stage."""
    text = SWEEP.replace(PLAIN, f"augmentation: {augmentation}").replace(old, new)
    assert text != SWEEP
    sweep = parse_sweep(text, "sweep.yaml")
    sweep = sweep.model_copy(update={"name": "views", "cache": bench.launch.sweep.cache})
    bench.launch = replace(bench.launch, sweep=sweep)
    return bench


@pytest.fixture(autouse=True)
def _fresh():
    yield
    for key in [key for key in _materials if key[0] == "views"]:
        del _materials[key]


def views_made(bench):
    report = bench.preparer("animals").step()
    assert "prepared" in report, report
    (material,) = [m for key, m in _materials.items() if key[0] == "views"]
    return set(material._outputs), {key[0] for key in material._pools}


def test_views_of_all_slots_and_redraws_are_made(bench):
    """40 steps of 8 begin a second pass over the pool's 180 rows."""
    first = "{none: {}, random: {strength: [0.1, 0.2], copies: 2}}"
    second = "{embedding: {strength: 0.1, copies: 1, redraw: 1}}"
    launched(bench, f"{{slots: [{first}, {second}]}}", "steps: 12", "steps: 40")
    outputs, texts = views_made(bench)
    random = {f"random-{strength}-seed0-round{n}" for strength in (0.1, 0.2) for n in (1, 2)}
    near = {f"embedding-0.1-15-seed0-round{n}" for n in (1, 2)}
    assert outputs == {"original"} | random | near
    assert texts >= outputs


def test_students_without_a_teacher_see_more_rounds(bench):
    """40 steps of 8 begin a third pass over the 120 labelled rows."""
    slot = "{random: {strength: 0.1, copies: 1, redraw: 1}}"
    launched(bench, slot, "prediction: {kl:", "prediction: {labels: {}, kl:")
    sweep = bench.launch.sweep
    bench.launch = replace(
        bench.launch,
        sweep=sweep.model_copy(update={"budget": sweep.budget.model_copy(update={"steps": 40})}),
    )
    outputs, texts = views_made(bench)
    assert outputs == {"original", *(f"random-0.1-seed0-round{n}" for n in (1, 2))}
    assert texts - outputs >= {"random-0.1-seed0-round3"}


@pytest.mark.parametrize(
    ("choice", "parameter"),
    [
        ("contextual: {checkpoint: no/such-model}", "contextual.checkpoint"),
        ("back_translation: {there: no/such-model}", "back_translation.there"),
    ],
)
def test_a_hub_name_that_cannot_be_loaded_is_refused_in_the_preparation(
    bench, monkeypatch, choice, parameter
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    check_inputs(launched(bench, f"{{{choice}}}").launch.sweep, Path(bench.launch.base))
    refused = bench.preparer("animals").step()["refused"]
    assert refused.startswith(f"space.augmentation.{parameter}: 'no/such-model' cannot be loaded"), refused


def test_missing_wordnet_is_refused_by_the_driver(bench, monkeypatch):
    launched(bench, "{none: {}, synonym: {}}")
    check_inputs(bench.launch.sweep, Path(bench.launch.base))
    monkeypatch.setattr(wordnet, "wordnet_source", lambda: None)
    with pytest.raises(InputError, match=r"^space.augmentation.synonym: WordNet is not installed; pip"):
        check_inputs(bench.launch.sweep, Path(bench.launch.base))
