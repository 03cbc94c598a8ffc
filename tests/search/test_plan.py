"""What leaves a dataset's space because models cut texts differently, and teachers that are a mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, BertTokenizerFast

from distiller.pipelines.demand import Demand
from distiller.search.agenda import cohort_group
from distiller.search.assignment import Task
from distiller.search.materials import depths_of, material_for
from distiller.search.plan import (
    OneTokenizer,
    Tokenizers,
    cuts_alike,
    planned_space,
    record_tokenizers,
    searched_space,
    teachers_of,
    tokenwise_objectives,
)
from distiller.search.prepare import architectures
from distiller.search.prepared import Prepared, check_inputs, pairs_of
from distiller.search.tokenizers import tokenizers_of
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import write_space
from distiller.spaces.sweep import parse_sweep
from tests.search.conftest import SWEEP
from tests.search.files import FILLERS, KINDS

SKIP = {"mapping": {"skip": None}}
TOKENS = {"slots": [{"none": None, "mse": SKIP, "minilm": None, "pkd": SKIP}, {"cosine": SKIP, "nst": SKIP}]}


def write_encoder(folder, tokenizer=None):
    """A BERT of 1 layer x 16 without a head; its tokenizer knows other pieces, unless it is given one."""
    folder.mkdir(parents=True)
    if tokenizer is None:
        pieces = BertWordPieceTokenizer()
        words = [*(w for kind in KINDS.values() for w in kind), *FILLERS]
        pieces.train_from_iterator(words * 9, vocab_size=60, min_frequency=1, show_progress=False)
        vocabulary = sorted(pieces.get_vocab(), key=pieces.get_vocab().get)
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    with torch.random.fork_rng(devices=[]):
        BertModel(config).save_pretrained(folder)


def sweep_with(datasets=None, **space):
    written = yaml.safe_load(SWEEP)
    written["space"] |= space
    for name, more in (datasets or {}).items():
        written["datasets"][name] |= more
    written["teachers"]["big"] = written["teachers"]["bert"]
    return parse_sweep(yaml.safe_dump(written, sort_keys=False), "sweep.yaml")


PRETRAINED = {"svd": {"layers": 1, "width": 16}, "pretrained": {"checkpoint": ["own", "kin"]}}
FOREIGN = Tokenizers(students=("own",))


def test_tokenwise_objectives_are_known_by_their_types():
    assert set(tokenwise_objectives()) == {"attention", "minilm", "minilm_v2", "nst", "fsp"}


def test_what_compares_tokens_leaves_for_a_student_that_cuts_differently():
    sweep = sweep_with(intermediate=TOKENS, augmentation=["none", "mixup"], student=PRETRAINED)
    whole, said = planned_space(sweep, "animals")
    assert said == []
    less, said = planned_space(sweep, "animals", tokenizers=FOREIGN)
    (note,) = said
    assert note == (
        "animals: augmentation.mixup, intermediate.mse.representation tokens, "
        "intermediate.2.cosine.representation tokens, intermediate.minilm, intermediate.2.nst left out "
        "(student own has another tokenizer than a teacher)"
    )
    written = write_space(less)
    assert list(written["augmentation"]) == ["none"]
    assert [list(slot) for slot in written["intermediate"]["slots"]] == [["none", "mse", "pkd"], ["cosine"]]
    assert written["student"] == write_space(whole)["student"]
    rng = np.random.default_rng(0)
    for config in (less.sample(rng) for _ in range(50)):
        assert all(getattr(term, "representation", "cls") != "tokens" for term in config.intermediate)


def test_nothing_left_is_refused_with_the_reason():
    sweep = sweep_with(intermediate={"mse": {"representation": "tokens"}}, student=PRETRAINED)
    with pytest.raises(InputError) as caught:
        planned_space(sweep, "animals", tokenizers=FOREIGN)
    assert str(caught.value) == (
        "space.intermediate: nothing is left without intermediate.mse; allow another choice "
        "(student own has another tokenizer than a teacher)"
    )


def test_teachers_of_slots_are_means_without_an_order():
    sweep = sweep_with(teacher={"slots": [None, {"checkpoint": "bert"}]})
    space, said = planned_space(sweep, "animals")
    assert teachers_of(space) == [("bert", "bert"), ("bert", "big")]
    assert pairs_of(sweep)[:2] == [("animals", "bert+bert"), ("animals", "bert+big")]
    assert said == []
    drawn = [space.sample(np.random.default_rng(i)) for i in range(20)]
    assert {config.teacher_name for config in drawn} == {"bert+bert", "bert+big"}
    one, other = (
        PipelineConfig.model_validate({"teacher": [{"checkpoint": c} for c in names]})
        for names in (("bert", "big"), ("big", "bert"))
    )
    assert cohort_group(one) == cohort_group(other)


def test_mixup_leaves_where_averaged_teachers_cut_differently():
    sweep = sweep_with(augmentation=["none", "mixup"], teacher={"slots": [None, None]})
    less, (note,) = planned_space(sweep, "animals", tokenizers=Tokenizers(teams=(("bert", "big"),)))
    assert list(write_space(less)["augmentation"]) == ["none"]
    assert note == "animals: augmentation.mixup left out (the tokenizers of bert+big differ)"


@pytest.mark.parametrize(
    ("more", "alike"),
    [
        ({}, True),
        ({"intermediate": {"objective": "pkd"}}, True),
        ({"intermediate": {"objective": "mse", "representation": "cls"}}, True),
        ({"intermediate": {"objective": "mse"}}, False),
        ({"intermediate": [{"objective": "pkd"}, {"objective": "fsp"}]}, False),
        ({"augmentation": "mixup"}, False),
        ({"augmentation": "mixup", "prediction": "labels"}, True),
    ],
)
def test_which_configs_compare_what_is_cut_alike(more, alike):
    own = {"initialization": "pretrained", "checkpoint": "own"}
    config = PipelineConfig.model_validate({"student": own, **more})
    assert cuts_alike(config, FOREIGN) == alike
    assert cuts_alike(config, OneTokenizer)
    assert cuts_alike(config.model_copy(update={"student": PipelineConfig().student}), FOREIGN)


def test_what_a_launch_recorded_is_what_it_searched(bench):
    sweep = sweep_with(intermediate=TOKENS, student=PRETRAINED)
    store = bench.store
    assert searched_space(store, sweep, "animals") == planned_space(sweep, "animals")[0]
    record_tokenizers(store, sweep.name, "animals", OneTokenizer)
    assert searched_space(store, sweep, "animals") == planned_space(sweep, "animals")[0]
    record_tokenizers(store, sweep.name, "animals", FOREIGN)
    expected = planned_space(sweep, "animals", tokenizers=FOREIGN)[0]
    assert searched_space(store, sweep, "animals") == expected
    assert searched_space(store, sweep, "opinions") == planned_space(sweep, "opinions")[0]


@pytest.fixture
def encoders(bench):
    """`own` cuts texts into smaller pieces than the teacher, `kin` as the teacher does."""
    folder = bench.place.folder
    if not (folder / "own").exists():
        write_encoder(folder / "own")
        write_encoder(folder / "kin", BertTokenizerFast.from_pretrained(folder / "teacher"))
    return folder


def test_a_worker_finds_out_who_cuts_differently(bench, encoders):
    sweep = sweep_with(student=PRETRAINED, teacher={"checkpoint": ["bert", "big"]})
    assert tokenizers_of(sweep, "animals", encoders) == FOREIGN
    alike = sweep_with(student={"pretrained": {"checkpoint": "kin"}})
    assert tokenizers_of(alike, "animals", encoders) == OneTokenizer
    mean = sweep_with(teacher={"slots": [None, None]})
    assert tokenizers_of(mean, "animals", encoders) == OneTokenizer
    other = mean.model_copy(
        update={
            "teachers": {**mean.teachers, "big": mean.teachers["big"].model_copy(update={"model": "own"})}
        }
    )
    assert tokenizers_of(other, "animals", encoders).teams == (("bert", "big"),)


def relaunched(bench, sweep):
    placed = sweep.model_copy(update={"cache": bench.launch.sweep.cache})
    return replace(bench, launch=replace(bench.launch, sweep=placed))


def test_pretrained_students_are_prepared_and_trained(bench, encoders):
    """From preparation to rows: notes by name, distinct architectures, depths of each, scores."""
    bench = relaunched(bench, sweep_with(intermediate=TOKENS, student=PRETRAINED))
    launch = bench.launch
    runner = bench.preparer("animals", alone=True)
    assert runner.step() == {"waits": False, "done": False}
    prepared = Prepared.from_json(runner.step()["prepared"])
    assert Prepared.from_json(prepared.to_json()) == prepared
    assert prepared.tokenizers == FOREIGN
    assert any(note.startswith("animals: intermediate.mse.representation tokens") for note in prepared.notes)
    assert list(prepared.architectures) == ["bert-L1-H16", "bert-L1-H16@own", "bert-L1-H16@kin"]
    material = material_for(launch, "animals", "bert")
    space = planned_space(launch.sweep, "animals", tokenizers=prepared.tokenizers)[0]
    assert depths_of(space, material) == [1]
    assert material.demand == Demand.of_space(space, [1], 2)
    assert "tokens" not in material.demand.representations
    config = material.teacher.model.config
    assert list(architectures(space, config, encoders)) == list(prepared.architectures)
    terms = [{"objective": "pkd"}, {"objective": "cosine", "representation": "mean"}]
    for checkpoint in ("own", "kin"):
        trial = PipelineConfig.model_validate(
            {
                "student": {"initialization": "pretrained", "checkpoint": checkpoint},
                "intermediate": terms,
                "teacher": {"checkpoint": "bert"},
                "optimization": {"batch_size": 8},
            }
        )
        bench.runner([Task(trial, "prior")]).step()
    rows = {row["student"]: row for row in bench.store.read("trials", "tiny").to_pylist()}
    assert set(rows) == {"bert-L1-H16@own", "bert-L1-H16@kin"}
    assert {row["status"] for row in rows.values()} == {"completed"}
    assert rows["bert-L1-H16@own"]["parameters"] < rows["bert-L1-H16@kin"]["parameters"]


def test_a_mean_of_teachers_is_prepared_and_taught(bench):
    bench = relaunched(bench, sweep_with(teacher={"slots": [{"checkpoint": "bert"}, {"checkpoint": "big"}]}))
    space = planned_space(bench.launch.sweep, "animals")[0]
    trial = space.sample(np.random.default_rng(1))
    assert trial.teacher_name == "bert+big"
    material = material_for(bench.launch, "animals", trial.teacher_name)
    assert [teacher.name for teacher in material.teachers] == ["bert", "big"]
    bench.runner([Task(trial, "prior")]).step()
    (row,) = bench.store.read("trials", "tiny").to_pylist()
    assert (row["status"], row["teacher"]) == ("completed", "bert+big")
    assert (row["teacher_checkpoint"], row["teacher_2_checkpoint"]) == ("bert", "big")
    assert row["teacher_score"] == material.teacher_scores["validation"]["matthews"]
    assert PipelineConfig.from_columns(row).config_id == trial.config_id


def test_a_missing_checkpoint_is_refused_before_anything_runs(bench):
    for space, place in (
        ({"student": {"pretrained": {"checkpoint": "./gone"}}}, "space.student.pretrained.checkpoint"),
        ({"student": {"pretrained": {"checkpoint": ["/no/such"]}}}, "space.student.pretrained.checkpoint"),
    ):
        with pytest.raises(InputError, match=rf"^{place}: no folder"):
            check_inputs(sweep_with(**space), bench.place.folder)
    own = yaml.safe_load(SWEEP)
    own["space_for"] = {"opinions": {"student": {"pretrained": {"checkpoint": "./gone"}}}}
    with pytest.raises(InputError, match=r"^space_for\.opinions\.student\.pretrained\.checkpoint: no folder"):
        check_inputs(parse_sweep(yaml.safe_dump(own), "sweep.yaml"), bench.place.folder)
