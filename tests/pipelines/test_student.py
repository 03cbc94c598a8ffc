"""Where students start: tables against numpy's SVD, layers against the teacher's, and what is saved."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distiller.pipelines.checkpoint import predict
from distiller.pipelines.cohort import CohortRun, Member, adaptations, cohort_key
from distiller.pipelines.material import Material
from distiller.pipelines.student import (
    Student,
    architecture,
    build_model,
    fold_scale,
    selected_layers,
    student_config,
    word_table,
)
from distiller.pipelines.tokens import Vocabulary
from distiller.spaces.errors import InputError
from distiller.spaces.student import RandomStart, SvdEmbeddings, TeacherLayers
from tests.pipelines.conftest import FAMILIES, LABELS, config_of, make_material, save_teacher

TABLE = torch.randn(90, 24, generator=torch.Generator().manual_seed(0)) * torch.linspace(2, 0.1, 24) + 0.3


def test_svd_table_is_the_best_of_its_rank() -> None:
    table = word_table(SvdEmbeddings(width=16), TABLE, 16, 0.02, 0)
    centred = TABLE.double().numpy() - TABLE.double().numpy().mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    expected = u[:, :16] * s[:16]
    found = table.double().numpy()
    scale = TABLE.double().std().item() / expected.std(ddof=1)
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs * scale, atol=1e-5)
    assert table.std().item() == pytest.approx(TABLE.std().item(), rel=1e-5)


def test_svd_signs_do_not_depend_on_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = word_table(SvdEmbeddings(width=16), TABLE, 16, 0.02, 0)
    solve = torch.linalg.eigh
    flips = torch.tensor([1.0, -1.0] * 12, dtype=torch.float64)
    monkeypatch.setattr(torch.linalg, "eigh", lambda a: (lambda r: (r[0], r[1] * flips))(solve(a)))
    torch.testing.assert_close(word_table(SvdEmbeddings(width=16), TABLE, 16, 0.02, 5), expected)


def test_random_and_widened_tables_depend_on_the_seed_alone() -> None:
    for choice, width in ((RandomStart(width=16), 16), (SvdEmbeddings(width=32), 32)):
        one, again, other = (word_table(choice, TABLE, width, 0.02, seed) for seed in (1, 1, 2))
        assert one.shape == (90, width)
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
    assert word_table(RandomStart(width=16), TABLE, 16, 0.02, 1).std().item() == pytest.approx(0.02, rel=0.1)
    assert torch.equal(word_table(TeacherLayers(), TABLE, 24, 0.02, 1), TABLE)


@pytest.mark.parametrize(
    ("selection", "student", "teacher", "expected"),
    [
        ("even", 6, 12, [0, 2, 4, 7, 9, 11]),  # DistilBERT
        # Shleifer & Rush 2020 (arXiv 2010.13002) copy these for BART, Pegasus and Marian; elsewhere they are
        # a layer off, as in 12 to 4, which is 0, 4, 8, 11 with them.
        ("even", 3, 12, [0, 6, 11]),
        ("even", 2, 6, [0, 5]),
        ("even", 3, 6, [0, 2, 5]),
        ("even", 2, 16, [0, 15]),
        ("even", 3, 16, [0, 8, 15]),
        ("even", 4, 16, [0, 5, 10, 15]),
        ("even", 6, 16, [0, 3, 6, 9, 12, 15]),
        ("even", 4, 12, [0, 4, 7, 11]),
        ("even", 6, 24, [0, 5, 9, 14, 18, 23]),
        ("first", 6, 12, [0, 1, 2, 3, 4, 5]),  # Patient KD starts from the first layers
        ("last", 4, 12, [8, 9, 10, 11]),
        ("even", 1, 12, [11]),
        ("even", 3, 3, [0, 1, 2]),
        ("first", 2, 6, [0, 1]),
        ("last", 2, 6, [4, 5]),
    ],
)
def test_selected_layers(selection: str, student: int, teacher: int, expected: list[int]) -> None:
    assert selected_layers(selection, student, teacher) == expected


@given(st.integers(2, 24).flatmap(lambda n: st.tuples(st.integers(2, n), st.just(n))))
def test_even_layers_are_as_even_as_they_can_be(counts: tuple[int, int]) -> None:
    student, teacher = counts
    chosen = selected_layers("even", student, teacher)
    assert (chosen[0], chosen[-1], len(chosen)) == (0, teacher - 1, student)
    gaps = np.diff(chosen)
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_teacher_layers_are_copied(material: Material) -> None:
    teacher = material.teacher.model
    choice = TeacherLayers(layers=2, selection="even")
    table = material.word_table(choice, 0)
    own = build_model(choice, teacher, material.dataset.task, table, None, 0).state_dict()
    origin = teacher.state_dict()
    assert len(own) < len(origin)
    for name, tensor in own.items():
        source = name.replace("encoder.layer.1.", "encoder.layer.2.")
        assert torch.equal(tensor, origin[source]), name


@pytest.mark.parametrize("family", list(FAMILIES))
def test_all_of_the_teachers_layers_give_its_logits(folder_of: Callable[[str], Path], family: str) -> None:
    material = make_material(folder_of(family), family)
    config = config_of(student={"initialization": "teacher_layers", "layers": 3})
    run = CohortRun([Member(config, 0)], material, 5, 0)
    teacher = predict(
        material.teacher.model, material.held_out["test"], material.teacher.tokenizer.pad_token_id
    )
    np.testing.assert_allclose(run.outputs("test")[0], teacher, atol=2e-6)
    saved = predict(run.student(0), material.held_out["test"], material.teacher.tokenizer.pad_token_id)
    np.testing.assert_allclose(saved, teacher, atol=2e-6)


def save_layered(folder: Path) -> Path:
    """A ModernBERT of 7 layers, every third of which attends to all; others see 4 tokens to each side."""
    return save_teacher(folder / "layered", "modernbert", num_hidden_layers=7)


@pytest.mark.parametrize(
    ("selection", "layers", "kinds"),
    [("even", 4, "fssf"), ("even", 3, "fff"), ("first", 5, "fssfs"), ("last", 4, "fssf"), ("last", 2, "sf")],
)
def test_layers_of_several_kinds_stay_what_they_are(
    folder_of: Callable[[str], Path], selection: str, layers: int, kinds: str
) -> None:
    """The student is the teacher cut to its chosen layers, whose first has one norm less in any case."""
    folder = folder_of("layered")
    material = make_material(folder, teacher=save_layered(folder))
    config = config_of(student={"initialization": "teacher_layers", "layers": layers, "selection": selection})
    run = CohortRun([Member(config, 0)], material, 5, 0)
    assert "".join(kind[0] for kind in run.student(0).config.layer_types) == kinds
    cut: Any = copy.deepcopy(material.teacher.model)
    chosen = selected_layers(selection, layers, 7)
    cut.model.layers = torch.nn.ModuleList([cut.model.layers[layer] for layer in chosen])
    dropped = isinstance(cut.model.layers[0].attn_norm, torch.nn.LayerNorm)
    cut.model.layers[0].attn_norm = torch.nn.Identity()
    tokens, pad = material.held_out["test"], material.teacher.origin.pad_id
    assert int(tokens.lengths.max()) > 10
    np.testing.assert_allclose(run.outputs("test")[0], predict(cut, tokens, pad), atol=2e-6)
    np.testing.assert_allclose(predict(run.student(0), tokens, pad), predict(cut, tokens, pad), atol=2e-6)
    said = f"student: layer 1 is the teacher's {chosen[0] + 1} without attn_norm.weight, for which a first "
    assert adaptations(config, material) == ([f"{said}layer has no place"] if dropped else [])


def test_copies_of_several_kinds_are_cohorts_of_their_own(
    material: Material, folder_of: Callable[[str], Path]
) -> None:
    folder = folder_of("kinds")
    layered = make_material(folder, teacher=save_layered(folder))
    configs = [
        config_of(student={"initialization": "teacher_layers", "layers": 2, "selection": selection})
        for selection in ("first", "last", "even")
    ]
    assert len({cohort_key(config, layered) for config in configs}) == 3
    assert len({cohort_key(config, material) for config in configs}) == 1


def test_copied_heads_follow_the_tasks_classes_and_scale(folder_of: Callable[[str], Path]) -> None:
    config = config_of(student={"initialization": "teacher_layers", "layers": 3})
    folder = folder_of("order")
    permuted = (LABELS[2], LABELS[0], LABELS[1])
    classes = make_material(folder, teacher=save_teacher(folder / "permuted", labels=permuted))
    assert classes.teacher.order.tolist() == [1, 2, 0]
    scores = make_material(folder_of("unit"), task="regression")
    for material in (classes, scores):
        run = CohortRun([Member(config, 0)], material, 5, 0)
        pad = material.teacher.tokenizer.pad_token_id
        teacher = predict(material.teacher.model, material.held_out["test"], pad)[
            :, material.teacher.order.numpy()
        ]
        mean, deviation = material.scale
        np.testing.assert_allclose(run.outputs("test")[0] * deviation + mean, teacher, atol=2e-5)
        model = run.student(0)
        fold_scale(model, material.dataset.task, mean, deviation)
        np.testing.assert_allclose(predict(model, material.held_out["test"], pad), teacher, atol=2e-5)


def test_restricted_table_trains_like_the_full_one(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(
        intermediate={"objective": "mse"}, optimization={"weight_decay": 0.0}, augmentation="mixup"
    )

    def trained() -> tuple[CohortRun, dict[str, Any]]:
        run = CohortRun([Member(config, 3)], material, 12, 0)
        run.advance(12)
        return run, run.student(0).state_dict()

    run, restricted = trained()
    assert len(run.vocabulary.kept) < 200
    everything = Vocabulary(torch.arange(200), torch.arange(200))
    monkeypatch.setattr(Material, "vocabulary", lambda self, views, origin: everything)
    full_run, full = trained()
    assert full_run.students.parameters["model.bert.embeddings.word_embeddings.weight"].shape[0] == 200
    for name, tensor in full.items():
        torch.testing.assert_close(restricted[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    words = restricted["bert.embeddings.word_embeddings.weight"]
    untouched = sorted({*range(200)} - set(run.vocabulary.kept.tolist()))
    assert torch.equal(words[untouched], run.tables[0][untouched])
    trained_rows = run.vocabulary.kept[10:40]
    assert not torch.equal(words[trained_rows], run.tables[0][trained_rows])


def test_starts_depend_on_the_seed_alone_and_leave_the_global_generator(material: Material) -> None:
    choice, task = RandomStart(layers=2, width=16), material.dataset.task
    table = material.word_table(choice, 1)
    few = Vocabulary.of([], 200, [0, 1, 2, 3], 0)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    models = [
        build_model(choice, material.teacher.model, task, table, vocabulary, seed).state_dict()
        for vocabulary, seed in ((None, 1), (few, 1), (None, 2))
    ]
    assert torch.equal(before, torch.random.get_rng_state())
    name = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(models[0][name], models[1][name])
    assert not torch.equal(models[0][name], models[2][name])


@pytest.mark.parametrize("family", list(FAMILIES))
def test_students_have_no_dropout(folder_of: Callable[[str], Path], family: str) -> None:
    folder = folder_of("dropout")
    material = make_material(folder, family)
    choice = SvdEmbeddings(layers=2, width=16)
    model = build_model(
        choice, material.teacher.model, material.dataset.task, material.word_table(choice, 0), None, 0
    )
    student = Student(model).train()
    ids = torch.arange(5, 17).reshape(2, 6)
    mask = torch.ones_like(ids, dtype=torch.bool)
    once, again = (student(ids, torch.zeros_like(ids), mask) for _ in range(2))
    assert torch.equal(once[0], again[0])
    assert len(once[1]["hidden"]) == 3
    assert all(h.shape == (2, 6, 16) for h in once[1]["hidden"])


def test_segments_reach_the_models(folder_of: Callable[[str], Path]) -> None:
    material = make_material(folder_of("pairs"), pair=True)
    assert int(material.tokens().types.max()) == 1
    run = CohortRun([Member(config_of(), 0)], material, 5, 0)
    start = run.students.parameters["model.bert.embeddings.token_type_embeddings.weight"].detach().clone()
    run.advance(3)
    moved = (
        (run.students.parameters["model.bert.embeddings.token_type_embeddings.weight"] - start).abs().sum(1)
    )
    assert bool((moved > 0).all())
    tokens, pad = material.held_out["test"], material.teacher.tokenizer.pad_token_id
    flat = replace(tokens, types=torch.zeros_like(tokens.types))
    teacher = material.teacher.model
    assert np.abs(predict(teacher, tokens, pad) - predict(teacher, flat, pad)).max() > 1e-3


def test_more_layers_than_the_teacher_has(material: Material) -> None:
    with pytest.raises(InputError, match=r"^student\.layers: 4 layers cannot start from a teacher of 3; ask"):
        student_config(TeacherLayers(layers=4), material.teacher.model.config, material.dataset.task)


def test_architecture_names(material: Material) -> None:
    config = material.teacher.model.config
    assert architecture(SvdEmbeddings(layers=2, width=128), config) == "bert-L2-H128"
    assert architecture(TeacherLayers(layers=2), config) == "bert-L2-H32"
    wide = student_config(RandomStart(layers=2, width=192), config, material.dataset.task)
    assert (wide.num_attention_heads, wide.intermediate_size) == (3, 384)
    assert wide.id2label == dict(enumerate(LABELS))
