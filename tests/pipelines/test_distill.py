"""The one entry, and what its inputs are made of: streams, views, labels, mixtures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from distiller.pipelines.cohort import CohortRun, Member, Progress
from distiller.pipelines.demand import Demand
from distiller.pipelines.distill import Cohort, Distillation, distill
from distiller.pipelines.material import Material
from distiller.pipelines.metrics import score
from distiller.pipelines.streams import Stream, views_of
from distiller.pipelines.tokens import training_batches
from tests.pipelines.conftest import config_of

KL = Member(config_of(prediction={"loss": "kl", "hard_weight": 0.2}), 0)
MSE = Member(config_of(intermediate={"objective": "mse"}, optimization={"learning_rate": 1e-2}), 1)
WANTED = Demand.grid((2, 3), ("cls", "tokens"))
MIXUP = {"method": "mixup"}
TWICE = {"method": "random", "copies": 2}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_evaluations_and_rungs() -> None:
    assert Cohort((), 100, 0, evaluations=4).stops() == [25, 50, 75, 100]
    assert Cohort((), 100, 0, evaluations=1, rungs=(11, 33, 100)).stops() == [11, 33, 100]
    assert Cohort((), 3, 0, evaluations=8).stops() == [1, 2, 3]


def test_one_result_per_member_in_order(material: Material) -> None:
    results = distill(Cohort((KL, MSE), 6, 0, evaluations=3), material, test=True, keep_students=True)
    assert [r.member for r in results] == [KL, MSE]
    for result in results:
        assert [p.step for p in result.curve] == [2, 4, 6]
        assert result.completed
        assert result.error is None
        assert result.last is result.curve[-1]
        assert result.best.score == max(p.score for p in result.curve)
        assert set(result.test_metrics) == {"matthews", "accuracy", "macro_f1"}
        assert result.student is not None
    assert "intermediate_1_mse" in results[1].last.losses
    again = distill(Cohort((KL, MSE), 6, 0, evaluations=3), material)
    assert [[p.losses for p in r.curve] for r in again] == [[p.losses for p in r.curve] for r in results]
    assert [r.student for r in again] == [None, None]


def test_test_scores_are_the_kept_students(regression: Material) -> None:
    member = Member(config_of(prediction="mse"), 0)
    (result,) = distill(Cohort((member,), 6, 0), regression, test=True, keep_students=True)
    model, tokens = result.student, regression.held_out["test"]
    assert model is not None
    batch = tokens.padded(np.arange(30), 0)
    with torch.no_grad():
        logits = model(
            input_ids=batch.ids, token_type_ids=batch.types, attention_mask=batch.mask.long()
        ).logits
    mean, deviation = regression.scale
    labels = regression.dataset.splits["test"].labels
    assert labels is not None
    expected = score(regression.dataset.task, logits.numpy() * deviation + mean, labels)
    assert result.test_metrics == pytest.approx(expected, rel=1e-4)


def test_training_learns(material: Material) -> None:
    """A student of all the teacher's layers but with another head learns to agree with its teacher."""
    config = config_of(prediction={"loss": "kl", "hard_weight": 0.0}, optimization={"learning_rate": 5e-3})
    (result,) = distill(Cohort((Member(config, 0),), 150, 0, evaluations=3), material)
    soft = [p.losses["soft"] for p in result.curve]
    assert soft[-1] < 0.5 * soft[0]


def test_rungs_decide_who_goes_on(material: Material) -> None:
    asked: list[tuple[int, list[int]]] = []

    def halve(step: int, reports: Sequence[Progress]) -> list[int]:
        asked.append((step, [r.member for r in reports]))
        return [r.member for r in reports][-1:] if step == 4 else [r.member for r in reports][1:]

    cohort = Cohort((KL, MSE, KL, MSE), 8, 0, evaluations=2, rungs=(2, 4, 8))
    results = distill(cohort, material, on_rung=halve, keep_students=True, test=True)
    assert asked == [(2, [0, 1, 2, 3]), (4, [1, 2, 3])]
    assert [len(r.curve) for r in results] == [1, 2, 2, 3]
    assert [r.completed for r in results] == [False, False, False, True]
    assert [r.student is not None for r in results] == [False, False, False, True]
    assert [bool(r.test_metrics) for r in results] == [False, False, False, True]
    assert not any(r.completed for r in distill(cohort, material, on_rung=lambda step, reports: []))


def test_failures_are_results(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Distillation(Cohort((KL, MSE), 6, 0, evaluations=3), material)
    with torch.no_grad():
        work.run.students.parameters["model.classifier.bias"][0] = math.inf
    work.advance()
    assert work.run.names == [1]
    while not work.finished:
        work.advance()
    work.test()
    failed, fine = work.results
    assert "diverged" in str(failed.error)
    assert not failed.completed
    assert not failed.test_metrics
    assert math.isnan(failed.last.score)
    assert fine.completed
    assert len(fine.curve) == 3
    alone = Distillation(Cohort((KL,), 6, 0, evaluations=3), material)
    with torch.no_grad():
        alone.run.students.parameters["model.classifier.bias"][0] = math.nan
    alone.advance()
    assert alone.finished
    assert "diverged" in str(alone.results[0].error)


def test_policies_list_their_views() -> None:
    policy = config_of(augmentation=[TWICE, MIXUP, {"method": "random", "strength": 0.2}]).augmentation
    keys = [v.key for v in views_of(policy)]
    assert keys[0] == "original"
    assert len(set(keys)) == 4
    assert [v.key for v in views_of(config_of().augmentation)] == ["original"]


def test_rows_go_through_their_views_in_turn(material: Material) -> None:
    stream = Stream(config_of(augmentation=TWICE).augmentation, material, None)
    tokens = [material.tokens(view) for view in stream.views]
    rows = np.arange(101)
    drawn = []
    for round_ in range(4):
        batch = stream.batch(rows, np.full(101, round_), rng()).inputs
        again = stream.batch(rows, np.full(101, round_), rng(9)).inputs
        assert torch.equal(batch.ids, again.ids)
        which = []
        for row in rows:
            ids = batch.ids[row][batch.mask[row]]
            own = [t.ids[t.offsets[row] : t.offsets[row + 1]] for t in tokens]
            which.append({v for v, o in enumerate(own) if torch.equal(ids, o)})
            assert which[-1]
        drawn.append(which)
    for row in rows:
        turn = [drawn[r][row] for r in range(3)]
        assert set().union(*turn) == {0, 1, 2}
        assert turn[0] == drawn[3][row]
    sizes = np.bincount([min(w) for w in drawn[0]], minlength=3)
    assert sizes.min() > 20


def test_copies_are_drawn_anew_after_so_many_passes(material: Material) -> None:
    """Each round of a row is that of the views that its pass says, the original's share as ever."""
    twice = {**TWICE, "redraw": 2}
    stream = Stream(config_of(augmentation=twice).augmentation, material, WANTED, passes=6)
    assert [view.round for view in stream.views] == list(range(7))
    once = Stream(config_of(augmentation=TWICE).augmentation, material, WANTED)
    rows = np.arange(101)
    for pass_ in range(6):
        found = stream.batch(rows, np.full(101, pass_), rng())
        before = once.draws.views_in(rows, np.full(101, pass_))
        for row in rows:
            number = 0 if before[row] == 0 else before[row] + 2 * (pass_ // 2)
            tokens, outputs = material.tokens(stream.views[number]), material.outputs(stream.views[number])
            own = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]]
            assert torch.equal(found.inputs.ids[row][found.inputs.mask[row]], own)
            assert found.targets is not None
            assert torch.equal(found.targets.logits[row], outputs.logits[row])


def test_a_cohort_knows_all_the_views_of_its_steps(material: Material) -> None:
    """101 rows, batches of 8: 30 steps begin a third pass; the labelled 60 rows, a fourth."""
    drawn = {"method": "random", "redraw": 1}
    for prediction, passes in (("kl", 3), ("labels", 4)):
        config = config_of(augmentation=drawn, prediction=prediction)
        run = CohortRun([Member(config, 0)], material, 30, 0)
        assert [view.round for view in run.streams[0].views] == list(range(passes + 1))
        seen = torch.zeros(200, dtype=torch.bool)
        for view in run.streams[0].views:
            seen[material.tokens(view).ids] = True
        assert bool((run.new_ids[seen] >= 0).all())
        (report,) = run.advance(30)
        assert report.error is None
        assert math.isfinite(report.losses["hard"])


def test_targets_belong_to_the_view_that_is_drawn(material: Material) -> None:
    stream = Stream(config_of(augmentation=TWICE).augmentation, material, WANTED)
    rows, rounds = np.array([4, 70, 33, 12]), np.array([0, 1, 2, 0])
    batch = stream.batch(rows, rounds, rng())
    assert batch.targets is not None
    model = material.teacher.model
    with torch.no_grad():
        live = model(
            input_ids=batch.inputs.ids, attention_mask=batch.inputs.mask.long(), output_hidden_states=True
        )
    torch.testing.assert_close(batch.targets.logits, live.logits, rtol=1e-4, atol=1e-5)
    for layer in (2, 3):
        cls = batch.targets.hidden[layer, "cls"]
        torch.testing.assert_close(cls, live.hidden_states[layer][:, 0], rtol=2e-3, atol=2e-3)
        mask = batch.inputs.mask
        found = batch.targets.hidden[layer, "tokens"][mask]
        torch.testing.assert_close(found, live.hidden_states[layer][mask], rtol=2e-3, atol=2e-3)


def test_mixtures_are_labelled_by_the_teacher_itself(material: Material) -> None:
    stream = Stream(config_of(augmentation=MIXUP).augmentation, material, WANTED)
    rows = np.array([4, 70, 33, 12, 9, 8, 55])
    batch = stream.batch(rows, np.zeros(7, np.int64), rng(3))
    partner, share, targets = batch.partner, batch.share, batch.targets
    assert partner is not None
    assert share is not None
    assert targets is not None
    assert share[:3].tolist() == [1.0] * 3
    assert partner[:3].tolist() == [0, 1, 2]
    assert sorted(partner[3:].tolist()) == [3, 4, 5, 6]
    assert bool(((share[3:] > 0) & (share[3:] < 1)).all())
    model, own = material.teacher.model, material.tokens().padded(rows, 0)
    for i in range(7):
        words = model.get_input_embeddings()(own.ids)
        mixture = share[i] * words[i] + (1 - share[i]) * words[int(partner[i])]
        seen = own.mask[i] | own.mask[int(partner[i])]
        assert torch.equal(batch.inputs.mask[i], seen)
        with torch.no_grad():
            live = model(
                inputs_embeds=mixture[None], attention_mask=seen[None].long(), output_hidden_states=True
            )
        torch.testing.assert_close(targets.logits[i], live.logits[0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            targets.hidden[2, "tokens"][i][seen], live.hidden_states[2][0][seen], rtol=3e-3, atol=3e-3
        )


class Shares:
    """Stands in for a generator of random numbers: the partners in turn, all with one share."""

    def __init__(self, share: float):
        self.share = share

    def permutation(self, mixed: Any) -> Any:
        return np.roll(mixed, 1)

    def beta(self, a: float, b: float, size: int) -> Any:
        return np.full(size, self.share)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_mixtures_of_one_text_are_that_text(material: Material, share: float) -> None:
    """Share 1 is the row itself, share 0 its partner: for the student's inputs and the teacher's targets."""
    policy = config_of(augmentation=MIXUP).augmentation
    stream, plain = Stream(policy, material, WANTED), Stream((), material, WANTED)
    rows, rounds = np.array([4, 70, 33, 12, 9, 8, 55, 21]), np.zeros(8, np.int64)
    batch = stream.batch(rows, rounds, Shares(share))  # type: ignore[arg-type]
    assert batch.partner is not None
    assert batch.share is not None
    assert batch.targets is not None
    of = np.where(np.arange(8) < 4, np.arange(8), np.arange(8) if share == 1 else batch.partner.numpy())
    assert share == 1 or (of[4:] != np.arange(4, 8)).all()
    same = plain.batch(rows[of], rounds, rng())
    assert same.targets is not None
    own = same.inputs.mask
    embed = material.teacher.model.get_input_embeddings()
    words = embed(batch.inputs.ids)
    mixed = batch.share[:, None, None] * words + (1 - batch.share[:, None, None]) * words[batch.partner]
    assert torch.equal(mixed[own], embed(same.inputs.ids)[own])
    if share == 1:
        assert torch.equal(batch.inputs.mask, own)
    lone = own == batch.inputs.mask
    alike = lone.all(1)  # a longer row itself stays in sight of its mixture with a shorter partner
    assert alike[:4].all()
    assert alike[4:].any()
    model = material.teacher.model
    with torch.no_grad():
        live = model(
            input_ids=same.inputs.ids, attention_mask=batch.inputs.mask.long(), output_hidden_states=True
        )
    torch.testing.assert_close(batch.targets.logits[alike], same.targets.logits[alike], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(batch.targets.logits[alike], live.logits[alike], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("concentration", [0.2, 0.4, 1.0, 5.0])
def test_shares_are_beta_distributed(material: Material, concentration: float) -> None:
    """Mean 1/2, variance 1 / (4 (2a + 1)), fourth central moment 3 / (16 (2a + 1) (2a + 3))."""
    policy = config_of(augmentation={**MIXUP, "concentration": concentration}).augmentation
    stream = Stream(policy, material, None)
    _, share = stream._mixing(40_000, rng(5))
    assert share is not None
    drawn = share[20_000:].double() - 0.5
    assert abs(float(drawn.mean())) < 0.015
    wider = 2 * concentration + 1
    assert float(drawn.square().mean()) == pytest.approx(1 / (4 * wider), rel=0.03)
    assert float(drawn.pow(4).mean()) == pytest.approx(3 / (16 * wider * (wider + 2)), rel=0.05)


def labels_seen(
    material: Material, config: Any, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Any, Any, Any]]:
    """(rows, labels, labeled) of ten training steps."""
    run = CohortRun([Member(config, 0)], material, 10, 0)
    (group,), seen = run.predictions, []
    losses, rows = (
        group.losses,
        [r for r, _ in islice(training_batches(run_lengths(run, material), 8, 0), 10)],
    )

    def spied(logits: Any, teacher: Any, labels: Any, labeled: Any, *more: Any) -> Any:
        seen.append((rows[len(seen)], labels.numpy(), labeled[0].numpy()))
        return losses(logits, teacher, labels, labeled, *more)

    monkeypatch.setattr(group, "losses", spied)
    run.advance(10)
    return seen


def run_lengths(run: CohortRun, material: Material) -> Any:
    lengths = material.tokens().lengths
    labels_only = run.streams[0].wanted is None
    return lengths[:60] if labels_only else lengths


@pytest.mark.parametrize("augmentation", ["none", "random", "mixup"])
@pytest.mark.parametrize("prediction", ["kl", "labels"])
def test_only_labelled_unmixed_rows_carry_hard_labels(
    material: Material, monkeypatch: pytest.MonkeyPatch, augmentation: str, prediction: str
) -> None:
    config = config_of(prediction=prediction, augmentation=augmentation)
    truth = material.dataset.splits["train"].labels
    assert truth is not None
    unlabeled = 0
    for rows, labels, labeled in labels_seen(material, config, monkeypatch):
        # Without a teacher nothing is mixed: every row of the batch has its label.
        mixed = (np.arange(8) >= 4) & (augmentation == "mixup") & (prediction != "labels")
        assert (labeled == ((rows < 60) & ~mixed)).all()
        assert (labels[labeled] == truth[rows[labeled]]).all()
        unlabeled += int((rows >= 60).sum())
    assert (unlabeled == 0) == (prediction == "labels")
