"""Prediction losses against scipy's and torch's definitions, closed forms, limits and torch.func.vmap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines import prediction
from distiller.pipelines.prediction import SOFT, ce, dist, dkd, js, kl, l1, mse, reverse_kl

TEMPERATURES = st.floats(0.5, 20)
SEEDS = st.integers(0, 2**16)
LABELS = torch.tensor([3, 0, 1, 2, 0, 3])
SETTINGS: dict[str, dict[str, float]] = {
    "ce": {"temperature": 2.0},
    "kl": {"temperature": 2.0},
    "reverse_kl": {"temperature": 2.0},
    "js": {"temperature": 2.0},
    "dkd": {"temperature": 2.0, "target_weight": 1.0, "rest_weight": 3.0},
    "dist": {"temperature": 2.0, "batch_weight": 0.7},
    "mse": {},
    "l1": {},
}


def logits(seed: int, *shape: int) -> Tensor:
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def soft(name: str, student: Tensor, teacher: Tensor, seen: Tensor | None = None, **more: Any) -> Tensor:
    given: dict[str, Any] = {**SETTINGS[name], **more}
    if SOFT[name].targeted:
        given.setdefault("target", LABELS[: len(student)])
    return SOFT[name].loss(student, teacher, seen, **given)


@settings(deadline=None)
@given(SEEDS, TEMPERATURES)
def test_divergences_are_scipys(seed: int, temperature: float) -> None:
    student, teacher = logits(seed, 5, 4), logits(seed + 1, 5, 4)
    p, q = (softmax(x.numpy() / temperature, axis=-1) for x in (teacher, student))
    scale = temperature**2
    forward, backward = (entropy(a, b, axis=-1).mean() for a, b in ((p, q), (q, p)))
    mixed = [entropy(x, (p + q) / 2, axis=-1).mean() for x in (p, q)]
    own = entropy(p, axis=-1).mean()
    wanted = {
        kl: forward,
        reverse_kl: backward,
        js: (mixed[0] + mixed[1]) / 2,
        ce: forward + own,
    }
    for loss, value in wanted.items():
        found = loss(student, teacher, None, temperature=temperature).item()
        assert found == pytest.approx(scale * value, rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(SEEDS, TEMPERATURES)
def test_how_divergences_relate(seed: int, temperature: float) -> None:
    student, teacher = logits(seed, 5, 4), logits(seed + 1, 5, 4)
    at = {"temperature": temperature}
    torch.testing.assert_close(reverse_kl(student, teacher, None, **at), kl(teacher, student, None, **at))
    torch.testing.assert_close(js(student, teacher, None, **at), js(teacher, student, None, **at))
    assert 0 <= js(student, teacher, None, **at) <= temperature**2 * math.log(2)


def test_js_reaches_log_2_where_both_exclude_each_other() -> None:
    student, teacher = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])
    assert js(student, teacher, None, temperature=1.0).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(("loss", "share"), [(kl, 0.5), (reverse_kl, 0.5), (js, 0.125)])
def test_at_high_temperature_they_are_the_mse_of_centred_logits(loss: Any, share: float) -> None:
    """Hinton et al. 2015, eq. 4: T^2 KL -> sum (z - v)^2 / 2C for centred logits; of JS, a quarter of it."""
    student, teacher = logits(0, 6, 3), logits(1, 6, 3)
    centred = [x - x.mean(-1, keepdim=True) for x in (student, teacher)]
    limit = share * (centred[0] - centred[1]).square().mean()
    assert loss(student, teacher, None, temperature=1e4).item() == pytest.approx(limit.item(), rel=1e-3)


def test_at_low_temperature_ce_is_the_margin_to_the_teachers_best_class() -> None:
    """T^2 CE -> T (max z - z of the teacher's best class) as T falls."""
    student, teacher = logits(0, 6, 3), logits(1, 6, 3)
    best = teacher.argmax(-1, keepdim=True)
    margin = (student.max(-1).values - student.gather(-1, best).squeeze(-1)).mean()
    assert margin > 0.1
    assert ce(student, teacher, None, temperature=1e-3).item() / 1e-3 == pytest.approx(
        margin.item(), rel=1e-2
    )


@settings(deadline=None)
@given(SEEDS, TEMPERATURES, st.floats(0, 5), st.floats(0, 5))
def test_dkd_is_its_two_parts_by_hand(
    seed: int, temperature: float, target_weight: float, rest_weight: float
) -> None:
    student, teacher = logits(seed, 5, 4), logits(seed + 1, 5, 4)
    p, q = (softmax(x.numpy() / temperature, axis=-1) for x in (teacher, student))
    rows = []
    for row, target in enumerate(LABELS[:5].tolist()):
        others = [c for c in range(4) if c != target]
        pt, qt = p[row, target], q[row, target]
        between = entropy([pt, 1 - pt], [qt, 1 - qt])
        among = entropy(p[row, others] / p[row, others].sum(), q[row, others] / q[row, others].sum())
        rows.append(target_weight * between + rest_weight * among)
    weights = {"target_weight": target_weight, "rest_weight": rest_weight}
    found = dkd(student, teacher, None, target=LABELS[:5], temperature=temperature, **weights)
    assert found.item() == pytest.approx(temperature**2 * np.mean(rows), rel=1e-7, abs=1e-9)


@settings(deadline=None)
@given(SEEDS, TEMPERATURES)
def test_dkd_recombines_to_kl(seed: int, temperature: float) -> None:
    """Zhao et al. 2022, eq. 6: KL = TCKD + (1 - p) NCKD, with each row's own p."""
    student, teacher = logits(seed, 5, 4), logits(seed + 1, 5, 4)
    target = LABELS[:5]
    for row in range(5):
        one = slice(row, row + 1)
        p = (teacher[row] / temperature).softmax(-1)[target[row]]
        whole = kl(student[one], teacher[one], None, temperature=temperature)
        parts = dkd(
            student[one],
            teacher[one],
            None,
            target=target[one],
            temperature=temperature,
            target_weight=1.0,
            rest_weight=1 - p,
        )
        torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-12)


def test_dkd_of_two_classes_has_no_rest() -> None:
    student, teacher, target = logits(0, 6, 2), logits(1, 6, 2), LABELS % 2
    common = {"target": target, "temperature": 2.0}
    assert dkd(student, teacher, None, target_weight=0.0, rest_weight=5.0, **common) == 0
    whole = dkd(student, teacher, None, target_weight=1.0, rest_weight=5.0, **common)
    torch.testing.assert_close(whole, kl(student, teacher, None, temperature=2.0))


@settings(deadline=None)
@given(SEEDS, TEMPERATURES, st.booleans())
def test_dist_is_numpys_correlation(seed: int, temperature: float, binary: bool) -> None:
    student, teacher = logits(seed, 6, 4), logits(seed + 1, 6, 4)

    def probabilities(x: Tensor) -> Any:
        scaled = x.numpy() / temperature
        return 1 / (1 + np.exp(-scaled)) if binary else softmax(scaled, axis=-1)

    s, t = probabilities(student), probabilities(teacher)
    rows = np.mean([1 - np.corrcoef(s[i], t[i])[0, 1] for i in range(6)])
    columns = np.mean([1 - np.corrcoef(s[:, j], t[:, j])[0, 1] for j in range(4)])
    found = dist(student, teacher, None, temperature=temperature, batch_weight=0.6, binary=binary)
    assert found.item() == pytest.approx(rows + 0.6 * columns, rel=1e-6)


@settings(deadline=None)
@given(SEEDS, st.floats(0.01, 1.0))
def test_dist_is_blind_to_positive_affine_maps_of_a_rows_probabilities(seed: int, share: float) -> None:
    """share * p + (1 - share) / C are probabilities again, with the same correlation over classes."""
    student, teacher = logits(seed, 6, 4), logits(seed + 1, 6, 4)
    mapped = (share * student.softmax(-1) + (1 - share) / 4).log()
    given = {"temperature": 1.0, "batch_weight": 0.0}
    torch.testing.assert_close(
        dist(mapped, teacher, None, **given), dist(student, teacher, None, **given), rtol=1e-5, atol=1e-9
    )
    assert dist(mapped, student, None, **given).abs() < 1e-6


def test_dist_leaves_out_what_does_not_vary() -> None:
    teacher, student = logits(0, 6, 4), logits(1, 6, 4)
    teacher[2] = 1.7
    keep = [0, 1, 3, 4, 5]
    given = {"temperature": 1.0, "batch_weight": 0.0}
    torch.testing.assert_close(
        dist(student, teacher, None, **given), dist(student[keep], teacher[keep], None, **given)
    )
    alone = dist(student[:1], teacher[:1], None, temperature=1.0, batch_weight=9.0)
    torch.testing.assert_close(alone, dist(student[:1], teacher[:1], None, **given))


def test_errors_are_means_by_hand() -> None:
    student, teacher = torch.tensor([[1.0, 2.0], [3.0, -4.0]]), torch.tensor([[0.0, 4.0], [3.0, 0.0]])
    assert mse(student, teacher, None).item() == pytest.approx((1 + 4 + 0 + 16) / 4)
    assert l1(student, teacher, None).item() == pytest.approx((1 + 2 + 0 + 4) / 4)
    seen = torch.tensor([[True, False], [True, True]])
    assert mse(student, teacher, seen).item() == pytest.approx((1 / 1 + 16 / 2) / 2)
    assert l1(student, teacher, seen).item() == pytest.approx((1 / 1 + 4 / 2) / 2)


@pytest.mark.parametrize("name", SOFT)
def test_soft_losses_are_least_at_the_teacher(name: str) -> None:
    teacher = logits(2, 6, 5)
    student = teacher.clone().requires_grad_()
    loss = soft(name, student, teacher)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.abs().max() < 1e-12
    assert loss < soft(name, teacher + 0.1 * logits(3, 6, 5), teacher)


@pytest.mark.parametrize("name", SOFT)
def test_soft_losses_vmap_over_students_and_settings(name: str) -> None:
    students, teacher = logits(4, 3, 6, 5), logits(5, 6, 5)
    vectors = {n: v * torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64) for n, v in SETTINGS[name].items()}
    seen = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.7
    seen[torch.arange(6), LABELS] = True
    seen[5] = False
    for mask in (None, seen):
        fused = torch.func.vmap(
            lambda s, v, mask=mask: soft(name, s, teacher, mask, **v), (0, 0 if vectors else None)
        )(students, vectors)
        solo = [
            soft(name, s, teacher, mask, **{n: float(v[k]) for n, v in vectors.items()})
            for k, s in enumerate(students)
        ]
        torch.testing.assert_close(fused, torch.stack(solo))


@settings(deadline=None)
@given(st.sampled_from(sorted(set(SOFT) - {"dist"})), SEEDS)
def test_rows_of_any_width_are_the_mean_of_rows_alone(name: str, seed: int) -> None:
    """Whatever each row sees: a loop over rows, cut to what they see. (A batch has dist's correlations.)"""
    student, teacher = logits(seed, 6, 5), logits(seed + 1, 6, 5)
    seen = torch.rand(6, 5, generator=torch.Generator().manual_seed(seed)) < 0.5
    seen[torch.arange(6), LABELS] = True
    seen[seed % 6] = False
    rows = []
    for row, kept in enumerate(seen):
        if kept.any():
            target = {"target": kept[: LABELS[row]].sum()[None]} if SOFT[name].targeted else {}
            rows.append(soft(name, student[row, kept][None], teacher[row, kept][None], **target))
    hidden = [torch.where(seen, x, math.nan) for x in (student, teacher)]
    torch.testing.assert_close(soft(name, *hidden, seen), torch.stack(rows).mean())


@pytest.mark.parametrize("smoothing", [None, 0.0, 0.3])
def test_hard_losses_are_torchs_on_labelled_rows(smoothing: float | None) -> None:
    labeled = torch.tensor([1.0, 0.0, 1.0, 0.0])
    keep = labeled.bool()
    classes, wide = torch.tensor([2, -100, 0, 10**6]), logits(6, 4, 3).requires_grad_()
    yes, several = (logits(9, 4, 3) > 0).double(), logits(10, 4, 3).requires_grad_()
    yes[~keep] = math.nan
    amount = smoothing or 0.0
    crossed = prediction.hard_cross_entropy(wide, classes, labeled, None, smoothing)
    torch.testing.assert_close(crossed, F.cross_entropy(wide[keep], classes[keep], label_smoothing=amount))
    binary = prediction.hard_binary_cross_entropy(several, yes, labeled, None, smoothing)
    wanted = yes[keep] * (1 - amount) + amount / 2
    torch.testing.assert_close(binary, F.binary_cross_entropy_with_logits(several[keep], wanted))
    for loss, values in ((crossed, wide), (binary, several)):
        (gradient,) = torch.autograd.grad(loss, values)
        assert (gradient[~keep] == 0).all()
        assert (gradient[keep] != 0).any(-1).all()


def test_errors_of_scores_are_torchs_on_labelled_rows() -> None:
    labeled = torch.tensor([True, False, True, False])
    scores, narrow = torch.tensor([0.5, math.nan, -1.0, math.inf]).double(), logits(7, 4, 1).requires_grad_()
    pairs = [(prediction.hard_mse, F.mse_loss), (prediction.hard_l1, F.l1_loss)]
    for ours, theirs in pairs:
        loss = ours(narrow, scores, labeled)
        torch.testing.assert_close(loss, theirs(narrow[labeled, 0], scores[labeled]))
        (gradient,) = torch.autograd.grad(loss, narrow)
        assert (gradient[~labeled] == 0).all()
        assert (gradient[labeled] != 0).all()


@settings(deadline=None)
@given(SEEDS, st.floats(0, 0.9))
def test_hard_losses_see_only_what_a_row_has(seed: int, smoothing: float) -> None:
    """Equal to torch row by row, cut to the classes that are seen; unseen labels and rows do not count."""
    wide, labeled = logits(seed, 6, 4), torch.tensor([1, 1, 0, 1, 1, 1]).bool()
    yes = (logits(seed + 1, 6, 4) > 0).double()
    seen = torch.rand(6, 4, generator=torch.Generator().manual_seed(seed)) < 0.6
    seen[0], seen[1] = True, False
    crossed, binary = [], []
    for row in range(6):
        kept = seen[row]
        if labeled[row] and kept.any():
            own = yes[row, kept] * (1 - smoothing) + smoothing / 2
            binary.append(F.binary_cross_entropy_with_logits(wide[row, kept], own))
        if labeled[row] and kept[LABELS[row]]:
            place = kept[: LABELS[row]].sum()
            crossed.append(F.cross_entropy(wide[row, kept], place, label_smoothing=smoothing))
    hidden = torch.where(seen, wide, math.nan).requires_grad_()
    amount = torch.tensor(smoothing, dtype=torch.float64)
    pairs = [
        (prediction.hard_cross_entropy(hidden, LABELS, labeled, seen, amount), crossed),
        (prediction.hard_binary_cross_entropy(hidden, yes, labeled, seen, amount), binary),
    ]
    for found, rows in pairs:
        torch.testing.assert_close(found, torch.stack(rows).mean())
        (gradient,) = torch.autograd.grad(found, hidden)
        assert gradient.isfinite().all()
        assert (gradient[~seen] == 0).all()


@pytest.mark.parametrize(
    ("loss", "width", "labels"),
    [
        (prediction.hard_cross_entropy, 3, torch.tensor([1, -100, 2])),
        (prediction.hard_binary_cross_entropy, 2, torch.tensor([[0.0, 1.0], [math.nan] * 2, [1.0, 1.0]])),
        (prediction.hard_mse, 1, torch.tensor([0.5, math.nan, -1.0])),
        (prediction.hard_l1, 1, torch.tensor([0.5, math.nan, -1.0])),
    ],
)
def test_hard_losses_vmap_and_survive_no_label(loss: Any, width: int, labels: Tensor) -> None:
    students = logits(8, 2, 3, width)
    labeled = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    fused, gradients = torch.func.vmap(torch.func.grad_and_value(loss), (0, None, 0))(
        students, labels, labeled
    )[::-1]
    assert fused[0] == loss(students[0], labels, labeled[0])
    assert fused[1] == 0
    assert (gradients[1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", SOFT)
def test_half_precision_is_widened(name: str, dtype: torch.dtype) -> None:
    student, teacher = ((30 * logits(seed, 6, 4)).to(dtype) for seed in (0, 1))
    found = soft(name, student, teacher)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, soft(name, student.float(), teacher.float()))
