"""What `distiller plan` finds out before anything runs: it loads configs and tokenizers, as workers will."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml
from rich.console import Console

from distiller.search.launch import Running
from distiller.search.method import method
from distiller.search.plan import Tokenizers
from distiller.search.prepared import Prepared
from distiller.search.steps import Trials
from distiller.spaces.errors import InputError
from distiller.spaces.student import Pretrained
from distiller.spaces.sweep import parse_sweep
from tests.search.conftest import SWEEP
from tests.search.test_plan import TOKENS, write_encoder

OWN = {"pretrained": {"checkpoint": "own"}}
GONE = {"pretrained": {"checkpoint": "no/such"}}


@pytest.fixture
def planned(place, monkeypatch):
    """A place whose hub is out of reach, and a way to write a sweep with other stages."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def write(space=None, teacher="teacher", **more):
        sweep = yaml.safe_load(SWEEP)
        sweep["space"] |= space or {}
        sweep["teachers"]["bert"]["model"] = teacher
        place.write("planned.yaml", yaml.safe_dump({**sweep, **more}, sort_keys=False))
        return place.folder

    return write


def test_what_leaves_because_of_tokenizers_is_listed(planned, command):
    """Of the dataset whose student cuts texts differently, and of no other."""
    write_encoder(
        (folder := planned({"intermediate": TOKENS}, space_for={"opinions": {"student": OWN}})) / "own"
    )
    done = command(folder, "plan", "planned.yaml", "--no-probe", "--json")
    assert done.returncode == 0, done.stderr
    animals, opinions = json.loads(done.stdout)["datasets"]
    assert not any("tokenizer" in note for note in animals["left_out"])
    assert animals["choices"]["intermediate"] == [["minilm", "mse", "none", "pkd"], ["cosine", "nst"]]
    (note,) = [note for note in opinions["left_out"] if "tokenizer" in note]
    assert note == (
        "opinions: intermediate.mse.representation tokens, intermediate.2.cosine.representation tokens, "
        "intermediate.minilm, intermediate.2.nst left out (student own has another tokenizer than a teacher)"
    )
    assert opinions["choices"]["intermediate"] == [["mse", "none", "pkd"], ["cosine"]]


def test_more_layers_than_the_teacher_has_are_refused(planned, refused):
    folder = planned({"student": {"teacher_layers": {"layers": [1, 3]}}})
    assert refused(folder, "plan", "planned.yaml") == (
        "space.student.teacher_layers.layers: 3 is more than the teacher's 2; ask for at most that many"
    )


@pytest.mark.parametrize(
    ("where", "written"),
    [
        ("teachers.bert.model", {"teacher": "no/such"}),
        ("space.student.pretrained.checkpoint", {"space": {"student": GONE}}),
        (
            "space_for.opinions.student.pretrained.checkpoint",
            {"space_for": {"opinions": {"student": GONE}}},
        ),
        (
            "space.augmentation.2.contextual.checkpoint",
            {"space": {"augmentation": {"slots": ["none", {"contextual": {"checkpoint": "no/such"}}]}}},
        ),
        (
            "space.augmentation.back_translation.there",
            {"space": {"augmentation": {"back_translation": {"there": "no/such", "back": "teacher"}}}},
        ),
    ],
)
def test_hub_names_are_looked_up(planned, refused, where, written):
    assert refused(planned(**written), "plan", "planned.yaml") == (
        f"{where}: 'no/such' cannot be loaded (the model hub cannot be reached, and this machine holds no "
        "copy); connect to it, or give a local folder"
    )


def test_a_folder_without_a_model_is_refused(planned, refused):
    folder = planned(teacher="empty")
    (folder / "empty").mkdir()
    line = refused(folder, "plan", "planned.yaml")
    assert line.startswith("teachers.bert.model: ")
    assert "cannot be loaded (" in line
    assert "hub cannot be reached" not in line


WARM = (
    "search.warm_start: the preset minilm compares tokens on animals, and student own has another "
    "tokenizer than a teacher; leave it out"
)


def test_a_preset_that_compares_tokens_is_refused_by_name(planned, command, refused):
    folder = planned({"student": OWN}, search={"trials": 2, "warm_start": ["hinton", "minilm"]})
    write_encoder(folder / "own")
    assert refused(folder, "plan", "planned.yaml") == WARM
    assert refused(folder, "plan", "planned.yaml", "--preset", "minilm") == WARM
    assert command(folder, "plan", "planned.yaml", "--no-probe", "--preset", "pkd").returncode == 0


@pytest.mark.parametrize("name", ["pkd", "minilm"])
def test_a_launch_refuses_it_too(bench, name):
    search = bench.launch.sweep.search.model_copy(update={"warm_start": (name,)})
    launch = replace(bench.launch, sweep=bench.launch.sweep.model_copy(update={"search": search}))
    row = {"task_kind": "classification"}
    own, foreign = Pretrained(checkpoint="own"), Tokenizers(students=("own",))
    prepared = Prepared("animals", "bert", 2, row, {"own": own}, [], foreign)
    trials = Trials(Running(launch, bench.store, Console()), prepared)
    if name == "pkd":
        (config,) = trials.warm()
        assert config.student == own
        return
    with pytest.raises(InputError) as caught:
        trials.warm()
    assert str(caught.value) == WARM


def test_references_count_and_what_a_preset_leaves_out_is_listed(planned, command):
    """Of the preset's own stages only: the space's prediction has no part in a launch of presets."""
    folder = planned({"student": {"svd": {"layers": [1, 2], "width": 16}}, "prediction": "kl"})
    presets = ("--preset", "hinton", "--preset", "mixkd")
    done = command(folder, "plan", "planned.yaml", "--no-probe", "--json", *presets)
    assert done.returncode == 0, done.stderr
    animals, opinions = json.loads(done.stdout)["datasets"]
    assert animals["left_out"] == []
    assert opinions["left_out"] == [
        "opinions: preset hinton: prediction: scores have no classes, so mse stands in for kl"
    ]
    # Two references, two finalists, two baselines and the winner, each of the last three on two seeds.
    assert (animals["search_trials"], animals["other_trials"]) == (2, 2 + 4 + 4 + 2)


def test_more_presets_than_trials_are_refused(planned, refused):
    folder = planned(search={"trials": 1, "warm_start": ["hinton", "pkd"]})
    assert "warm_start has 2 presets, and there are 1 trials" in refused(folder, "plan", "planned.yaml")


@pytest.mark.parametrize(
    ("search", "says"),
    [
        ({}, "tpe, 20% from the prior; asha at 1, 4 of 12 steps"),
        ({"sampler": "quasi_random", "scheduler": "none"}, "quasi-random; every trial in full"),
        (
            {"sampler": "bohb", "trials": 5, "stop": {"hours": 2, "target": {"animals": 0.5}, "patience": 3}},
            "bohb, 20% from the prior, models once 11 trials compare, so with these it never does; "
            "asha at 1, 4 of 12 steps; ends after 2 hours or a score of 0.5 or 3 trials without a better one",
        ),
        (
            {"objectives": ["score", "latency"], "scheduler": "none", "warm_start": ["pkd"]},
            "tpe, 20% from the prior; every trial in full; starts with pkd; "
            "finalists from the Pareto set of score, latency",
        ),
    ],
)
def test_how_a_dataset_will_be_searched(search, says):
    sweep = parse_sweep(yaml.safe_dump({**yaml.safe_load(SWEEP), "search": search}), "s.yaml")
    assert method(sweep, "animals", sweep.space_of("animals")) == f"animals: {says}"


def test_a_warm_start_that_is_not_there_is_refused(planned, refused):
    folder = planned(search={"warm_start": {"configs": "gone.yaml"}})
    assert refused(folder, "plan", "planned.yaml").endswith("gone.yaml: no such file; check the path")
