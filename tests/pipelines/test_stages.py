"""Recipes in stages: what the first leaves for the second, and what is done once the teacher is left."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from distiller.pipelines.cohort import CohortRun, Member, cohort_key
from distiller.pipelines.material import Material
from tests.pipelines.cohorts import (
    CONFIGS,
    assert_same_member,
    handed_over,
    optimization,
    state_of,
    term,
    trained,
)
from tests.pipelines.conftest import config_of


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
    first = term("minilm", schedule={"kind": "first_stage", "share": 0.5})
    always = config_of(prediction="labels", intermediate=[first, term("mse")])
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
