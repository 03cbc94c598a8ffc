"""Prediction losses of a cohort against loops over members, examples and positions, in every layout."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from scipy.special import expit, rel_entr
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.outputs import NO_LABEL, Layout, PredictionGroup, prediction_groups
from distiller.pipelines.prediction import SOFT
from distiller.spaces.choice import Choice
from distiller.spaces.config import PipelineConfig
from tests.pipelines.conftest import CPU, config_of

K, S, B, T, C = 4, 2, 6, 5, 3
STREAM = [0, 1, 1, 0]
LABELED = torch.tensor([[1, 1, 0, 1, 0, 1], [1, 0, 0, 0, 0, 1]]).bool()
LENGTHS = torch.tensor([[5, 3, 2, 4, 5, 1], [2, 2, 5, 3, 4, 5]])
MASK = torch.arange(T) < LENGTHS[..., None]
SMOOTHING = [0.0, 0.1, 0.2, 0.3]
LAYOUTS: dict[Layout, list[str]] = {
    "classes": ["labels", *SOFT],
    "scores": ["labels", "mse", "l1"],
    "labels": ["labels", *SOFT],
    "tokens": ["labels", *SOFT],
    "spans": ["labels", *SOFT],
}
CASES = [(layout, loss) for layout, losses in LAYOUTS.items() for loss in losses]


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return 2 * torch.randn(*shape, dtype=torch.float64, generator=generator)


def whole(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(len(shape)))


SHAPES: dict[Layout, tuple[int, ...]] = {
    "classes": (B, C),
    "scores": (B, 1),
    "labels": (B, C),
    "tokens": (B, T, C),
    "spans": (B, T, 2),
}


def labels_of(layout: Layout) -> Tensor:
    if layout == "classes":
        return whole(C, B)
    if layout == "scores":
        return random(B)
    if layout == "labels":
        return whole(2, B, C).double()
    if layout == "spans":
        return (whole(100, S, B, 2) % LENGTHS[..., None]).long()
    labels = whole(C, S, B, T)
    labels[:, :, 1] = NO_LABEL
    labels[~MASK] = NO_LABEL
    return labels


def config(loss: str, k: int, **more: Any) -> PipelineConfig:
    settings: dict[str, Any] = {} if loss == "labels" else {"hard_weight": k / 4}
    if loss not in ("labels", "mse", "l1"):
        settings["temperature"] = 1.0 + k
    if loss == "dkd":
        settings |= {"target_weight": 1.0 + k, "rest_weight": 0.5 * k}
    if loss == "dist":
        settings["batch_weight"] = 0.5 + k
    return config_of(prediction={"loss": loss, **settings}, **more)


def one_row(loss: str, choice: Any, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
    """A soft loss of one row [C]."""
    numbers = {
        n: getattr(choice, n)
        for n in ("temperature", "target_weight", "rest_weight", "batch_weight")
        if hasattr(choice, n)
    }
    more = {"target": target[None]} if loss == "dkd" else {}
    return SOFT[loss].loss(student[None], teacher[None], None, **numbers, **more)


def by_loops(
    layout: Layout, choice: Any, smoothing: float, k: int, logits: Tensor, said: Tensor, labels: Tensor
) -> tuple[float, float]:
    """Hard and soft loss of one member, unweighted."""
    loss, student, teacher, labeled = choice.loss, logits[k], said[STREAM[k]], LABELED[STREAM[k]]
    if layout in ("tokens", "spans"):
        labels = labels[STREAM[k]]
    hard: list[Tensor] = []
    soft: list[Tensor] = []

    def decide(own: Tensor, its: Tensor, label: Tensor, known: bool) -> None:
        if known:
            hard.append(F.cross_entropy(own, label, label_smoothing=smoothing))
        if loss != "labels":
            soft.append(one_row(loss, choice, own, its, label if known else its.argmax()))

    for b in range(B):
        known, real = bool(labeled[b]), int(LENGTHS[STREAM[k], b])
        if layout == "classes":
            decide(student[b], teacher[b], labels[b], known)
        elif layout == "tokens":
            for t in range(real):
                decide(student[b, t], teacher[b, t], labels[b, t], known and int(labels[b, t]) != NO_LABEL)
        elif layout == "spans":
            for end in (0, 1):
                decide(student[b, :real, end], teacher[b, :real, end], labels[b, end], known)
        elif layout == "scores":
            error = F.l1_loss if loss == "l1" else F.mse_loss
            hard += [error(student[b, 0], labels[b])] if known else []
            soft += [error(student[b, 0], teacher[b, 0])] if loss != "labels" else []
        else:
            for c in range(C):
                own, its, label = student[b, c], teacher[b, c], labels[b, c]
                if known:
                    drawn = label * (1 - smoothing) + smoothing / 2
                    hard.append(F.binary_cross_entropy_with_logits(own, drawn))
                if loss in ("mse", "l1"):
                    soft.append(one_row(loss, choice, own[None], its[None], label))
                elif loss != "labels":
                    target = label.long() if known else (its > 0).long()
                    pair = [torch.stack([torch.zeros_like(x), x]) for x in (own, its)]
                    soft.append(one_row(loss, choice, *pair, target))
    return float(torch.stack(hard).mean()), float(torch.stack(soft).mean()) if soft else 0.0


def by_hand_with_dist(layout: Layout, choice: Any, k: int, logits: Tensor, said: Tensor) -> float:
    """DIST correlates over a batch: numpy on the table of what is seen, unseen entries masked out."""
    student, teacher = logits[k].numpy(), said[STREAM[k]].numpy()
    mask = MASK[STREAM[k]].numpy()
    seen = np.ones(student.shape, bool)
    if layout == "tokens":
        student, teacher = student[mask], teacher[mask]
        seen = np.ones(student.shape, bool)
    if layout == "spans":
        student, teacher = (x.transpose(0, 2, 1).reshape(2 * B, T) for x in (student, teacher))
        seen = np.repeat(mask, 2, 0)

    def probabilities(x: Any) -> Any:
        if layout == "labels":
            return expit(x / choice.temperature)
        e = np.where(seen, np.exp(x / choice.temperature), 0)
        return e / e.sum(-1, keepdims=True)

    p, q = probabilities(student), probabilities(teacher)

    def decorrelation(p: Any, q: Any, seen: Any) -> float:
        rows = [(a[s], b[s]) for a, b, s in zip(p, q, seen, strict=True) if s.sum() > 1]
        return float(np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in rows]))

    return decorrelation(p, q, seen) + choice.batch_weight * decorrelation(p.T, q.T, seen.T)


def poisoned(layout: Layout, logits: Tensor) -> Tensor:
    """NaN where the layout's mask hides."""
    if layout not in ("tokens", "spans"):
        return logits
    mask = MASK[STREAM] if len(logits) == K else MASK
    return torch.where(mask[..., None], logits, math.nan)


@pytest.mark.parametrize(("layout", "loss"), CASES)
def test_every_member_is_a_loop_over_rows(layout: Layout, loss: str) -> None:
    logits, said = random(K, *SHAPES[layout]), random(S, *SHAPES[layout], seed=5)
    labels = labels_of(layout)
    configs = [config(loss, k, optimization={"label_smoothing": SMOOTHING[k]}) for k in range(K)]
    for members in ([0, 1, 2, 3], [2]):
        group = PredictionGroup(members, [configs[k] for k in members], layout, CPU, torch.float64)
        own = poisoned(layout, logits).clone().requires_grad_()
        found = group.losses(own, poisoned(layout, said), labels, LABELED, STREAM, MASK)
        for row, k in enumerate(members):
            choice = configs[k].prediction
            smoothing = 0.0 if layout == "scores" else SMOOTHING[k]
            hard, soft = by_loops(layout, choice, smoothing, k, logits, said, labels)
            if loss == "dist":
                soft = by_hand_with_dist(layout, choice, k, logits, said)
            weight = 1.0 if loss == "labels" else k / 4
            assert found[0][row].item() == pytest.approx(weight * hard, rel=1e-9)
            assert found[1][row].item() == pytest.approx((1 - weight) * soft, rel=1e-7, abs=1e-12)
        (gradient,) = torch.autograd.grad(sum(found).sum(), own)
        assert gradient.isfinite().all()
        assert (gradient[own.isnan()] == 0).all()
        assert (gradient[[k for k in range(K) if k not in members]] == 0).all()


def test_kl_of_several_labels_is_bernoullis() -> None:
    logits, said, labels = random(1, B, C), random(1, B, C, seed=1), labels_of("labels")
    choice = config_of(prediction={"loss": "kl", "hard_weight": 0.0, "temperature": 3.0})
    group = PredictionGroup([0], [choice], "labels", CPU, torch.float64)
    _, soft = group.losses(logits, said, labels, LABELED[:1], [0])
    p, q = expit(said[0].numpy() / 3), expit(logits[0].numpy() / 3)
    assert soft.item() == pytest.approx(9 * (rel_entr(p, q) + rel_entr(1 - p, 1 - q)).mean(), rel=1e-9)


def test_what_moves_with_the_words_comes_with_a_mask() -> None:
    for layout in ("tokens", "spans"):
        group = PredictionGroup([0], [config("kl", 0)], layout, CPU, torch.float64)
        logits = random(1, *SHAPES[layout])
        with pytest.raises(ValueError, match=f"'{layout}' need a mask"):
            group.losses(logits, logits, labels_of(layout), LABELED, [0])


def test_smoothing_costs_nothing_where_nobody_smooths() -> None:
    (plain,) = prediction_groups([config("kl", 1), config("kl", 2)], "classes", CPU, torch.float64)
    assert set(plain.settings) == {"hard_weight", "temperature"}
    smooth = config("kl", 2, optimization={"label_smoothing": 0.1})
    (group,) = prediction_groups([config("kl", 1), smooth], "classes", CPU, torch.float64)
    assert group.settings["label_smoothing"].tolist() == [0.0, 0.1]


def test_members_are_grouped_by_loss_and_kept() -> None:
    configs = [config_of(prediction=p) for p in ("kl", "mse", "kl", "labels")]
    groups = prediction_groups(configs, "classes", CPU, torch.float64)
    assert [(g.loss, g.members) for g in groups] == [("kl", [0, 2]), ("mse", [1]), ("labels", [3])]
    assert [g.keep([2, 3]) for g in groups] == [True, False, True]
    assert [g.members for g in groups if g.members] == [[0], [1]]
    assert groups[0].settings["temperature"].shape == (1,)


class Unweighted(Choice):
    """A loss against the teacher that says nothing of labels."""

    loss: Literal["mse"] = "mse"


def test_only_labels_alone_count_in_full_without_a_weight() -> None:
    student, teacher = random(1, B, C), random(1, B, C, seed=1)
    labels, labeled = whole(C, B), torch.ones(1, B)
    for choice, weights in ((Unweighted(), (0.0, 1.0)), (config("labels", 0).prediction, (1.0, 0.0))):
        said = config("labels", 0).model_copy(update={"prediction": choice})
        (group,) = prediction_groups([said], "classes", CPU, torch.float64)
        hard, soft = group.losses(student, teacher, labels, labeled, [0])
        expected = F.cross_entropy(student[0], labels), F.mse_loss(student[0], teacher[0])
        assert float(hard) == pytest.approx(weights[0] * float(expected[0]))
        assert float(soft) == pytest.approx(weights[1] * float(expected[1]))
