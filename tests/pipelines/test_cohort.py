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
from torch import Tensor

from distiller.pipelines import stack
from distiller.pipelines.cohort import CohortRun, Member, Progress, adaptations, cohort_key
from distiller.pipelines.material import Material
from distiller.pipelines.optimizer import SoloAdamW
from distiller.spaces.config import STAGES, PipelineConfig
from tests.pipelines.conftest import FAMILIES, config_of, make_material

STEPS = 20
EMD = {"kind": "emd", "temperature": 0.7}
ALP = {"kind": "attention_weighted"}


def term(objective: str, **more: Any) -> dict[str, Any]:
    return {"objective": objective, **more}


def optimization(**more: Any) -> dict[str, Any]:
    return {"learning_rate": 2e-3, "warmup": 0.2, **more}


# Every objective, mapping, representation, projection, prediction loss and augmentation, each with
# neighbours that share its kind and neighbours that do not.
CONFIGS = [
    config_of(intermediate=term("mse", weight=0.5), optimization=optimization(learning_rate=5e-3)),
    config_of(
        intermediate=term("mse", weight=2.0),
        prediction={"loss": "kl", "temperature": 5.0, "hard_weight": 0.1},
        optimization=optimization(schedule="cosine", weight_decay=0.1),
    ),
    config_of(
        intermediate=term("cosine", representation="mean", mapping={"kind": "last"}),
        prediction={"loss": "ce", "hard_weight": 0.0, "temperature": 1.5},
        optimization=optimization(schedule="constant", warmup=0.0, max_grad_norm=0.05),
        augmentation={"method": "random", "copies": 2},
    ),
    config_of(
        intermediate=[term("pkd", weight=3.0), term("mse", representation="mean", mapping=EMD)],
        prediction={"loss": "mse", "hard_weight": 0.3},
        augmentation=[{"method": "random", "strength": 0.3}, {"method": "mixup"}],
    ),
    config_of(intermediate=term("mi_alpha", alpha=0.3, weight=0.2), augmentation={"method": "mixup"}),
    config_of(
        intermediate=[term("mi_alpha", alpha=0.8, representation="mean", mapping=EMD), term("mi_alpha")],
        prediction={"loss": "kl", "hard_weight": 0.9},
        optimization=optimization(weight_decay=0.0),
    ),
    config_of(
        intermediate=term("cosine", mapping=EMD), augmentation={"method": "mixup", "concentration": 1.0}
    ),
    config_of(prediction="labels", intermediate=term("mse", representation="cls", mapping={"kind": "last"})),
    config_of(student={"initialization": "random", "layers": 2, "width": 16}, intermediate=term("mse")),
    config_of(
        prediction={"loss": "dkd", "hard_weight": 0.4, "target_weight": 2.0},
        intermediate=term("mse"),
        optimization=optimization(beta1=0.8, beta2=0.98, layer_decay=0.7, label_smoothing=0.1),
    ),
    config_of(
        prediction={"loss": "dkd", "temperature": 4.0, "rest_weight": 8.0},
        optimization=optimization(layer_decay=0.9),
    ),
    config_of(prediction={"loss": "dist", "batch_weight": 2.0}, optimization=optimization(beta2=0.99)),
    config_of(prediction="js", optimization=optimization(label_smoothing=0.2)),
    config_of(
        prediction="reverse_kl",
        augmentation=[
            {"method": "embedding", "strength": 0.3, "copies": 2, "redraw": 1},
            {"method": "random"},
        ],
    ),
    config_of(prediction="l1"),
]
MEMBERS = [Member(config, seed=i % 3) for i, config in enumerate(CONFIGS)]
LABELS_ONLY = [
    Member(config_of(prediction="labels", optimization=optimization(learning_rate=rate), **more), seed)
    for rate, seed, more in [
        (1e-3, 0, {}),
        (4e-3, 1, {"augmentation": {"method": "mixup"}}),
        (2e-3, 2, {"augmentation": {"method": "random"}}),
    ]
]


def trained(members: list[Member], material: Material, steps: int = STEPS) -> CohortRun:
    run = CohortRun(members, material, steps, 7, torch.float64)
    run.reports = run.advance(steps)  # type: ignore[attr-defined]
    return run


def state_of(run: CohortRun, name: int) -> dict[str, Tensor]:
    """All that a member learned; its word table by the teacher's ids (0 where it has no row)."""
    member = run.names.index(name)
    stacked = run.students.stacked
    own = {n: (p[member] if stacked else p).detach() for n, p in run.students.parameters.items()}
    words = next(n for n in own if "word_embeddings" in n or "tok_embeddings" in n)
    full = torch.zeros(len(run.vocabulary.new_ids), own[words].shape[1], dtype=own[words].dtype)
    own[words] = full.index_copy(0, run.vocabulary.kept, own[words])
    for group in run.terms:
        if member in group.members:
            row = group.members.index(member)
            learned = {**group.parameters, **(group.state or {})}
            own |= {f"{group.kind}.{n}": p[row].detach() for n, p in learned.items()}
    return own


def assert_same_member(run: CohortRun, name: int, solo: CohortRun, tolerance: float = 1e-8) -> None:
    found, expected = state_of(run, name), state_of(solo, 0)
    assert found.keys() == expected.keys()
    known = torch.zeros(200, dtype=torch.bool).index_fill(0, solo.vocabulary.kept, True)
    for key, tensor in expected.items():
        here = found[key]
        if tensor.shape[0] == 200:  # a neighbour's view may bring in words that the member never meets
            here, tensor = here[known], tensor[known]
        assert torch.allclose(here, tensor, rtol=0, atol=tolerance), (key, (here - tensor).abs().max())


def assert_same_report(found: Progress, expected: Progress) -> None:
    assert found.losses == pytest.approx(expected.losses, abs=1e-8)
    assert found.metrics == pytest.approx(expected.metrics, abs=1e-8)
    assert (found.step, found.learning_rate) == (expected.step, expected.learning_rate)


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


def test_a_first_stage_leaves_predictions_for_later(material: Material) -> None:
    staged = config_of(intermediate=term("mse", schedule={"kind": "first_stage", "share": 0.5}))
    run = CohortRun([Member(staged, 0), Member(CONFIGS[0], 0)], material, 8, 7, torch.float64)
    first = run.advance(4)
    assert first[0].losses.keys() == {"intermediate_1_mse"}
    assert first[1].losses.keys() == {"hard", "soft", "intermediate_1_mse"}
    assert run.advance(8)[0].losses.keys() == {"hard", "soft"}


def test_members_that_switch_at_different_times_are_those_trained_alone(material: Material) -> None:
    """Each forgets its moments when its prediction starts: at step 3, 6 and 5 of 12, and one never."""
    shares = [[0.25], [0.5], [0.25, 0.4], []]
    terms = [
        [
            term("mse" if i == 0 else "cosine", schedule={"kind": "first_stage", "share": s})
            for i, s in enumerate(own)
        ]
        for own in shares
    ]
    members = [
        Member(config_of(intermediate=own or "none", optimization=optimization(beta2=beta2)), seed)
        for seed, (own, beta2) in enumerate(zip(terms, [0.999, 0.999, 0.99, 0.999], strict=True))
    ]
    solos = [trained([member], material, 12) for member in members]
    for order in ([0, 1, 2, 3], [3, 1, 0]):
        run = CohortRun([members[i] for i in order], material, 12, 7, torch.float64)
        assert run.prediction_starts == [[3, 6, 5, 0][i] for i in order]
        run.advance(4)
        if len(order) == 3:
            run.keep([1, 2])
        run.advance(12)
        for name in run.names:
            assert_same_member(run, name, solos[order[name]])


@pytest.mark.parametrize("alone", [True, False])
def test_the_first_step_of_a_prediction_is_no_longer_than_its_learning_rate(
    material: Material, alone: bool
) -> None:
    staged = config_of(
        intermediate=term("mse", schedule={"kind": "first_stage", "share": 0.5}),
        optimization=optimization(learning_rate=1e-3, schedule="constant", weight_decay=0.0),
    )
    members = [Member(staged, 0)] if alone else [Member(staged, 0), Member(CONFIGS[0], 0)]
    run = CohortRun(members, material, 80, 7, torch.float64)
    run.advance(40)
    before = state_of(run, 0)["model.classifier.bias"].clone()
    run.advance(41)
    moved = (state_of(run, 0)["model.classifier.bias"] - before).abs()
    assert float(moved.max()) == pytest.approx(1e-3, rel=1e-3)


def handed_over(share: float, **more: Any) -> PipelineConfig:
    """Labels alone after a first stage, as in MiniLM's recipe."""
    return config_of(
        prediction="labels",
        intermediate=term("minilm", schedule={"kind": "first_stage", "share": share}),
        **more,
    )


def rows_drawn(run: CohortRun, monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[int], bool]]:
    """Of each step to the end: its rows, and whether the teacher said anything."""
    drawn, losses = [], run._losses

    def spied(rows: Any, batches: Any, *more: Any) -> Any:
        drawn.append((set(rows.tolist()), batches[0].targets is not None))
        return losses(rows, batches, *more)

    monkeypatch.setattr(run, "_losses", spied)
    run.reports = run.advance(run.steps)  # type: ignore[attr-defined]
    return drawn


def test_once_no_part_reads_the_teacher_all_rows_are_labelled(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows from 60 on are unlabelled; mixing ends with the teacher, and views are drawn to the end."""
    redrawn = {"method": "random", "redraw": 1, "strength": 0.3}
    run = CohortRun(
        [Member(handed_over(0.25, augmentation=[redrawn, {"method": "mixup"}]), 0)], material, 40, 7
    )
    assert run.streams[0].mixes
    drawn = rows_drawn(run, monkeypatch)
    assert [told for _, told in drawn] == [True] * 10 + [False] * 30
    assert any(max(rows) >= 60 for rows, _ in drawn[:10])
    assert all(max(rows) < 60 for rows, _ in drawn[10:])
    assert set().union(*(rows for rows, _ in drawn[10:18])) == set(range(60))
    assert not run.streams[0].mixes
    assert run.reports[0].error is None  # type: ignore[attr-defined]
    always = config_of(prediction="labels", intermediate=[*MORE[3], term("mse")])
    drawn = rows_drawn(CohortRun([Member(always, 0)], material, 20, 7), monkeypatch)
    assert any(max(rows) >= 60 for rows, _ in drawn[10:])
    assert all(told for _, told in drawn)


def test_fused_equals_solo_where_the_teacher_is_left(material: Material) -> None:
    """With compaction on either side of the switch, at step 6 of 12."""
    members = [
        Member(handed_over(0.5), 0),
        Member(handed_over(0.5, augmentation={"method": "mixup"}, optimization=optimization()), 1),
        Member(handed_over(0.5, augmentation={"method": "random", "redraw": 1}), 2),
        Member(
            config_of(
                prediction="labels",
                intermediate=[
                    term("mse", schedule={"kind": "first_stage", "share": 0.5}),
                    term("crd", negatives=16, schedule={"kind": "first_stage", "share": 0.25}),
                ],
                augmentation={"method": "random", "redraw": 1},
            ),
            3,
        ),
    ]
    solos = [trained([member], material, 12) for member in members]
    for dropped in (3, 6, 9):
        run = CohortRun(members, material, 12, 7, torch.float64)
        run.advance(dropped)
        run.keep([0, 1, 3])
        run.advance(12)
        for name in run.names:
            assert_same_member(run, name, solos[name])


def test_only_those_share_a_cohort_who_leave_the_teacher_together(material: Material) -> None:
    kept = [handed_over(0.5), handed_over(0.25), config_of(prediction="labels"), config_of(), config_of()]
    assert [config.teacher_ends for config in kept] == [0.5, 0.25, 0.0, 1.0, 1.0]
    for i, one in enumerate(kept):
        for other in kept[:i]:
            alike = one.teacher_ends == other.teacher_ends
            assert (cohort_key(one, material) == cohort_key(other, material)) == alike


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


@pytest.mark.parametrize("family", list(FAMILIES))
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
