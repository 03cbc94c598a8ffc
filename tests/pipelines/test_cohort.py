"""Students trained together are the students trained alone: to rounding, whoever their neighbours are."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from distiller.pipelines import stack
from distiller.pipelines.cohort import CohortRun, Member, adaptations
from distiller.pipelines.material import Material
from distiller.pipelines.optimizer import SoloAdamW
from distiller.spaces.config import STAGES
from tests.matrix import most_slow
from tests.pipelines.augment.conftest import save_masked, save_translator
from tests.pipelines.cohorts import (
    CONFIGS,
    EMD,
    LABELS_ONLY,
    MEMBERS,
    STEPS,
    assert_same_member,
    assert_same_report,
    handed_over,
    state_of,
    term,
    trained,
)
from tests.pipelines.conftest import FAMILIES, config_of, make_material


@pytest.fixture(scope="module")
def solos(material: Material) -> list[CohortRun]:
    return [trained([member], material) for member in MEMBERS]


@pytest.mark.parametrize(
    "order", [list(range(len(CONFIGS))), [8, 10, 3, 6, 0, 13, 5, 2, 9, 14, 7, 12, 1, 4, 11], [4, 0], [10, 9]]
)
def test_fused_equals_solo_in_float64(material: Material, solos: list[CohortRun], order: list[int]) -> None:
    run = trained([MEMBERS[i] for i in order], material)
    assert run.students.fused
    assert all(isinstance(solo.optimizer, SoloAdamW) for solo in solos)
    for name, i in enumerate(order):
        assert_same_member(run, name, solos[i])
        assert_same_report(run.reports[name], solos[i].reports[0])  # type: ignore[attr-defined]


def test_members_differ(solos: list[CohortRun]) -> None:
    """Or the test above would prove nothing."""
    heads = [state_of(solo, 0)["model.classifier.weight"] for solo in solos]
    assert all(not torch.allclose(a, b, atol=1e-4) for i, a in enumerate(heads) for b in heads[:i])


MORE = [
    [term("l1", mapping={"kind": "first"}), term("barber_agakov", representation="mean")],
    [term("kl", temperature=2.0), term("ce", mapping={"kind": "all_pairs"}, representation="mean")],
    [term("attention", target="scores"), term("attention", target="maps", mapping=EMD)],
    [term("minilm", schedule={"kind": "first_stage", "share": 0.5})],
    [term("minilm_v2", heads=4), term("nst", weight=0.1)],
    [term("cka", schedule="linear"), term("rkd", angle_weight=1.0)],
    [term("fsp", weight=0.1), term("crd", negatives=16, temperature=0.3, weight=0.01)],
    [term("crd", negatives=16, temperature=0.1, weight=0.02), term("info_nce", weight=0.1)],
    [
        term("mse", mapping="attention_weighted"),
        term("l1", mapping="attention_weighted", representation="cls"),
    ],
    [term("mse", mapping={"kind": "skip", "embeddings": True}, projection={"kind": "mlp", "shared": True})],
    [term("cosine", projection={"kind": "linear", "shared": True}), term("tuba", weight=0.1)],
    [term("nwj", weight=0.01, mapping={"kind": "top", "below": 1}), term("js", weight=0.1)],
]


def test_fused_equals_solo_for_every_objective_and_mapping(material: Material) -> None:
    """Each kind of term beside a neighbour of its kind with other numbers, and beside all the others."""
    members = [Member(config_of(intermediate=terms), seed=i % 2) for i, terms in enumerate(MORE)]
    told = {t["objective"] for terms in MORE for t in terms}
    assert told | {"none", "pkd", "mi_alpha"} == set(STAGES["intermediate"].part.choices)  # type: ignore[union-attr]
    steps = 6
    run = trained([*members, *(Member(m.config, 5) for m in members)], material, steps)
    for name, member in enumerate(members):
        solo = trained([member], material, steps)
        assert_same_member(run, name, solo)
        assert_same_report(run.reports[name], solo.reports[0])  # type: ignore[attr-defined]
        assert all(math.isfinite(v) for v in solo.reports[0].losses.values())  # type: ignore[attr-defined]


@pytest.mark.slow
def test_fused_equals_solo_for_texts_that_models_wrote(folder_of: Callable[[str], Path]) -> None:
    folder = folder_of("written")
    save_masked(folder / "masked")
    save_translator(folder / "there", 1)
    save_translator(folder / "back", 2)
    masked = {"method": "contextual", "checkpoint": "./masked", "strength": 0.3, "redraw": 1}
    translated = {"method": "back_translation", "there": "./there", "back": "./back", "copies": 2}
    policies = [masked, [translated, {"method": "mixup"}], [masked, masked], "none"]
    members = [Member(config_of(augmentation=policy), 0) for policy in policies]
    material, steps = make_material(folder), 30  # two passes and more
    run, solos = trained(members, material, steps), [trained([member], material, steps) for member in members]
    heads = [state_of(solo, 0)["model.classifier.weight"] for solo in solos]
    assert all(not torch.allclose(a, b, atol=1e-4) for i, a in enumerate(heads) for b in heads[:i])
    for name, solo in enumerate(solos):
        assert_same_member(run, name, solo)
        assert_same_report(run.reports[name], solo.reports[0])  # type: ignore[attr-defined]


def test_layer_attention_learns(material: Material) -> None:
    run = CohortRun([Member(config_of(intermediate=MORE[8]), 0)], material, 8, 7, torch.float64)
    start = run.terms[0].parameters["layer_attention"].detach().clone()
    run.advance(4)
    assert (run.terms[0].parameters["layer_attention"] - start).abs().max() > 1e-4


def test_fused_equals_solo_without_a_teacher(material: Material) -> None:
    run = trained(LABELS_ONLY, material)
    for name, member in enumerate(LABELS_ONLY):
        assert_same_member(run, name, trained([member], material))


def test_fused_equals_solo_in_a_regression(regression: Material) -> None:
    members = [
        Member(config_of(prediction={"loss": loss, "hard_weight": w}, intermediate=term("mse")), 1)
        for loss, w in (("mse", 0.2), ("l1", 0.5), ("mse", 0.8))
    ]
    run = trained(members, regression)
    for name, member in enumerate(members):
        assert_same_member(run, name, trained([member], regression))


def test_first_gradients_in_float32(material: Material) -> None:
    members = [
        Member(
            m.config.model_copy(
                update={"optimization": m.config.optimization.model_copy(update={"max_grad_norm": 1e9})}
            ),
            m.seed,
        )
        for m in MEMBERS
    ]
    run = CohortRun(members, material, STEPS, 7)
    run.advance(1)
    for name, member in enumerate(members):
        solo = CohortRun([member], material, STEPS, 7)
        solo.advance(1)
        pairs = {
            n: (run.students.parameters[n].grad[name], p.grad)  # type: ignore[index]
            for n, p in solo.students.parameters.items()
            if "embedding" not in n
        }
        whole = math.sqrt(sum(float(g.square().sum()) for _, g in pairs.values()))  # type: ignore[union-attr]
        for key, (found, expected) in pairs.items():
            # A gradient that is zero but for rounding has no relative error: key biases, next to nothing.
            scale = max(float(expected.norm()), 1e-2 * whole)  # type: ignore[union-attr]
            assert float((found - expected).norm()) <= 1e-5 * scale, (name, key)


def test_compaction_changes_nothing_for_those_left(material: Material, solos: list[CohortRun]) -> None:
    run = CohortRun(MEMBERS, material, STEPS, 7, torch.float64)
    run.advance(6)
    run.keep([1, 3, 5, 6, 8])
    run.advance(12)
    run.keep([6, 3])
    run.advance(16)
    assert len(run.streams) == 2
    run.keep([3])
    (report,) = run.advance(STEPS)
    assert (report.member, report.step) == (3, STEPS)
    assert_same_member(run, 3, solos[3])
    assert report.metrics == pytest.approx(solos[3].reports[0].metrics, abs=1e-8)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="none of the members"):
        run.keep([1])


@pytest.mark.parametrize("poison", ["learning rate", "parameter", "projection"])
def test_a_diverged_member_leaves_its_neighbours_alone(
    material: Material, solos: list[CohortRun], poison: str
) -> None:
    members = [MEMBERS[0], MEMBERS[1], MEMBERS[3], MEMBERS[5]]
    run = CohortRun(members, material, STEPS, 7, torch.float64)
    if poison == "learning rate":
        run.advance(3)
        optimizer = run.optimizer
        step = optimizer.step
        optimizer.step = lambda rates: step([rates[0], 1e200, *rates[2:]])  # type: ignore[method-assign]
    elif poison == "parameter":
        with torch.no_grad():
            run.students.parameters["model.classifier.weight"][1] = math.nan
    else:
        group = next(g for g in run.terms if g.kind.objective == "mse" and len(g.members) == 2)
        with torch.no_grad():
            group.parameters["projection_weight"][1] = math.inf
    reports = run.advance(STEPS)
    assert [r.error is None for r in reports] == [True, False, True, True]
    assert "diverged" in str(reports[1].error)
    assert math.isnan(reports[1].score)
    for name, i in ((0, 0), (2, 3), (3, 5)):
        assert_same_member(run, name, solos[i])


def test_the_others_go_on_after_a_failure(material: Material, solos: list[CohortRun]) -> None:
    run = CohortRun(MEMBERS[:2], material, STEPS, 7, torch.float64)
    with torch.no_grad():
        run.students.parameters["model.classifier.weight"][1] = math.nan
    assert run.advance(2)[1].error
    run.keep([0])
    (report,) = run.advance(STEPS)
    assert report.step == STEPS
    assert_same_member(run, 0, solos[0])


def test_what_does_not_vmap_runs_member_by_member(
    material: Material,
    solos: list[CohortRun],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*args: Any, **options: Any) -> Any:
        raise RuntimeError("vmap: It looks like you're calling .item() on a Tensor")

    monkeypatch.setattr(stack, "vmap", refuse)
    order = [3, 0, 4]
    with caplog.at_level(logging.WARNING):
        run = CohortRun([MEMBERS[i] for i in order], material, STEPS, 7, torch.float64)
    assert not run.students.fused
    assert "BertForSequenceClassification does not go through vmap" in caplog.text
    assert ".item()" in caplog.text
    run.advance(12)
    run.keep([0, 2])
    run.advance(STEPS)
    assert_same_member(run, 0, solos[3])
    assert_same_member(run, 2, solos[4])


def test_an_architecture_that_vmap_changes_is_found_out(
    material: Material, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forward = stack.functional_call
    monkeypatch.setattr(stack, "functional_call", lambda *a: (lambda r: (r[0] + 1.0, r[1]))(forward(*a)))
    with caplog.at_level(logging.WARNING):
        run = CohortRun(MEMBERS[:2], material, STEPS, 7)
    assert not run.students.fused
    assert "other outputs" in caplog.text


@pytest.mark.parametrize("family", most_slow(FAMILIES, 4))
def test_families(folder_of: Callable[[str], Path], family: str) -> None:
    """Each family as teacher and student: fused, mixed, masked, equal to solo; segments where it has them."""
    pair = family in ("bert", "electra", "albert")
    material = make_material(folder_of(family), family, pair=pair)
    members, steps = [MEMBERS[i] for i in (1, 3, 5)], 6
    run, one_stream = trained(members, material, steps), trained([MEMBERS[5], MEMBERS[1]], material, steps)
    assert run.students.fused
    assert one_stream.students.fused
    for name, member in enumerate(members):
        solo = trained([member], material, steps)
        assert_same_member(run, name, solo)
        if name == 0:
            assert_same_member(one_stream, 1, solo)
    model = copy.deepcopy(run.student(0))
    assert model.config.vocab_size == 200
    assert model.config.pad_token_id == material.teacher.model.config.pad_token_id


def test_only_alike_members_share_a_cohort(material: Material) -> None:
    wide = config_of(student={"initialization": "svd", "layers": 2, "width": 32})
    others = (wide, config_of(prediction="labels"))
    for other in (*others, *(config_of(optimization=o) for o in ({"batch_size": 4}, {"dropout": 0.1}))):
        with pytest.raises(ValueError, match="one architecture"):
            CohortRun([MEMBERS[0], Member(other, 0)], material, STEPS, 0)


def test_own_width_and_teacher_layers_share_a_cohort(material: Material) -> None:
    """Both have the teacher's width: they must have its heads too, or stacking them would mix them up."""
    starts: list[dict[str, Any]] = [
        {"initialization": "teacher_layers", "layers": 2, "selection": s} for s in ("first", "even")
    ]
    starts.append({"initialization": "random", "layers": 2, "width": 32})
    members = [Member(config_of(student=s, intermediate=term("mse", projection="none")), 0) for s in starts]
    run = trained(members, material)
    assert not any(name for name in run.terms[0].parameters)
    for name, member in enumerate(members):
        assert_same_member(run, name, trained([member], material))


def test_adaptations_are_said(material: Material) -> None:
    mixup = {"method": "mixup"}
    config = config_of(intermediate=term("mse", projection="none"), augmentation=[mixup, mixup])
    first, second = adaptations(config, material)
    assert first == "intermediate 1: projected, as widths differ (16 and 32)"
    assert second.startswith("augmentation 2: unused")
    assert adaptations(CONFIGS[0], material) == []
    alone = config_of(prediction="labels", augmentation=[{"method": "random"}, mixup])
    (nobody,) = adaptations(alone, material)
    assert nobody == "augmentation 2: unused, as nothing labels mixtures without a teacher"
    (later,) = adaptations(handed_over(0.5, augmentation=mixup), material)
    assert (
        later
        == "augmentation 1: unused from 0.5 of the budget on, as nothing labels mixtures without a teacher"
    )


def test_without_a_teacher_nothing_is_mixed(material: Material) -> None:
    """Mixup makes no difference then, beside whatever else augments."""
    for others in ([], [{"method": "random", "strength": 0.3}]):
        mixing = config_of(prediction="labels", augmentation=[*others, {"method": "mixup"}])
        plain = config_of(prediction="labels", augmentation=others or "none")
        run = trained([Member(mixing, 0), Member(plain, 0)], material, 4)
        assert len(run.streams) == 1
        assert_same_member(run, 0, trained([Member(plain, 0)], material, 4))
