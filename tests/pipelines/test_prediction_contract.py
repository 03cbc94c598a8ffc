"""The contract of prediction losses holds for all of them, and finds out every way to get one wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.prediction import SOFT, SoftLoss, dist, kl, mse
from distiller.pipelines.prediction_contract import Setting, Truth, check_soft_loss
from distiller.spaces.errors import InputError
from tests.pipelines.test_prediction import SETTINGS


def kl_by_scipy(student: Tensor, teacher: Tensor, settings: Mapping[str, Setting]) -> float:
    temperature = float(settings["temperature"])
    p, q = (softmax(x.numpy() / temperature, axis=-1) for x in (teacher, student))
    return float(temperature**2 * entropy(p, q, axis=-1).mean())


@pytest.mark.parametrize("name", SOFT)
def test_holds_for_every_loss(name: str) -> None:
    check_soft_loss(name, SOFT[name], SETTINGS[name], kl_by_scipy if name == "kl" else None)


def softened(
    wrong: Callable[[Tensor, Tensor, Any], Tensor], scale: bool = True, detach: bool = True
) -> Callable[..., Tensor]:
    """KL with `wrong` in place of the sum over classes and the mean over rows; otherwise right."""

    def loss(student: Tensor, teacher: Tensor, seen: Tensor | None, *, temperature: Any) -> Tensor:
        logits = [x.to(torch.promote_types(x.dtype, torch.float32)) for x in (student, teacher)]
        if detach:
            logits[1] = logits[1].detach()
        if seen is not None:
            logits = [torch.where(seen, x, -1e30) for x in logits]
        said, wanted = (F.log_softmax(x / temperature, -1) for x in logits)
        value = wrong(said, wanted, seen)
        return value * temperature**2 if scale else value

    return loss


def rows(said: Tensor, wanted: Tensor) -> Tensor:
    return (wanted.exp() * (wanted - said)).sum(-1)


def mean(losses: Tensor, seen: Tensor | None) -> Tensor:
    if seen is None:
        return losses.mean()
    counts = seen.any(-1).to(losses.dtype)
    return (losses * counts).sum() / counts.sum().clamp_min(1)


def right(said: Tensor, wanted: Tensor, seen: Tensor | None) -> Tensor:
    return mean(rows(said, wanted), seen)


def unseen_ignored(student: Tensor, teacher: Tensor, seen: Tensor | None, *, temperature: Any) -> Tensor:
    return kl(student, teacher, None, temperature=temperature)


def zeroed(student: Tensor, teacher: Tensor, seen: Tensor | None) -> Tensor:
    """The mask as a product: 0 * NaN is NaN."""
    if seen is None:
        return mse(student, teacher, None)
    squares = (student - teacher.detach()).square() * seen
    return mean(squares.sum(-1) / seen.sum(-1).clamp_min(1), seen)


def looks(student: Tensor, teacher: Tensor, seen: Tensor | None, *, temperature: Any) -> Tensor:
    loss = kl(student, teacher, seen, temperature=temperature)
    return loss if loss.item() >= 0 else -loss


def half(student: Tensor, teacher: Tensor, seen: Tensor | None, *, temperature: Any) -> Tensor:
    return kl(student, teacher, seen, temperature=temperature).to(student.dtype)


def rooted(student: Tensor, teacher: Tensor, seen: Tensor | None) -> Tensor:
    return mse(student, teacher, seen).sqrt()


def exponential(student: Tensor, teacher: Tensor, seen: Tensor | None, *, temperature: Any) -> Tensor:
    """Probabilities without the maximum taken out first."""
    p, q = ((x.float() / temperature).exp() for x in (teacher.detach(), student))
    p, q = p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)
    return (p * (p.log() - q.log())).sum(-1).mean() * temperature**2


def dist_over_all_rows(student: Tensor, teacher: Tensor, seen: Tensor | None, **given: Any) -> Tensor:
    return dist(student, teacher, seen, **{**given, "batch_weight": 1.0})


TEMPERATURE = {"temperature": 2.0}
MUTANTS: dict[str, tuple[SoftLoss, Mapping[str, float], Truth | None, str]] = {
    "sign flipped": (SoftLoss(softened(lambda s, t, m: -right(s, t, m))), TEMPERATURE, None, "not least"),
    "T^2 missing": (SoftLoss(softened(right, scale=False)), TEMPERATURE, None, "temperature squared"),
    "temperature ignored": (
        SoftLoss(lambda s, t, m, *, temperature: kl(s, t, m, temperature=1.0)),
        TEMPERATURE,
        None,
        "temperature changes nothing",
    ),
    "T^2 and nothing else": (
        SoftLoss(lambda s, t, m, *, temperature: kl(s, t, m, temperature=1.0) * temperature**2),
        TEMPERATURE,
        None,
        "temperature squared",
    ),
    "teacher not detached": (
        SoftLoss(softened(right, detach=False)),
        TEMPERATURE,
        None,
        "reaches the teacher",
    ),
    "student detached": (
        SoftLoss(lambda s, t, m, *, temperature: kl(s.detach(), t, m, temperature=temperature)),
        TEMPERATURE,
        None,
        "does not reach the student",
    ),
    "sum over the batch": (
        SoftLoss(softened(lambda s, t, m: (rows(s, t) * (1 if m is None else m.any(-1))).sum())),
        TEMPERATURE,
        None,
        "take the mean over rows",
    ),
    "softmax over the batch": (
        SoftLoss(
            lambda s, t, m, *, temperature: kl(
                s.mT, t.mT, None if m is None else m.mT, temperature=temperature
            )
        ),
        TEMPERATURE,
        None,
        "compare classes, not rows",
    ),
    "rows weighted by place": (
        SoftLoss(softened(lambda s, t, m: mean(rows(s, t) * (1 + torch.arange(len(s)).remainder(3)), m))),
        TEMPERATURE,
        None,
        "order of rows",
    ),
    "seen ignored": (SoftLoss(unseen_ignored), TEMPERATURE, None, "heed `seen`"),
    "seen ignored in the mean": (
        SoftLoss(softened(lambda s, t, m: rows(s, t).mean())),
        TEMPERATURE,
        None,
        "heed `seen`",
    ),
    "seen as a product": (
        SoftLoss(lambda s, t, m: zeroed(s.float() if s.dtype.itemsize == 2 else s, t, m)),
        {},
        None,
        "heed `seen`",
    ),
    "arguments swapped": (
        SoftLoss(lambda s, t, m, *, temperature: kl(t, s, m, temperature=temperature)),
        TEMPERATURE,
        None,
        "does not reach the student",
    ),
    "probabilities swapped": (SOFT["reverse_kl"], TEMPERATURE, kl_by_scipy, "is .*, not "),
    "batch weight ignored": (
        replace(SOFT["dist"], loss=dist_over_all_rows),
        SETTINGS["dist"],
        None,
        "batch_weight changes nothing",
    ),
    "a look at the value": (SoftLoss(looks), TEMPERATURE, None, "torch.func.vmap"),
    "half precision": (SoftLoss(half), TEMPERATURE, None, "widen"),
    "a root without a floor": (SoftLoss(rooted), {}, None, "not finite .* equal"),
    "a softmax that overflows": (SoftLoss(exponential), TEMPERATURE, None, "not finite|returns"),
    "no scalar": (
        SoftLoss(lambda s, t, m: (s - t.detach()).square()),
        {},
        None,
        "not a scalar",
    ),
    "not 0 where it says so": (replace(SOFT["ce"], zero_at_equal=True), TEMPERATURE, None, "equal, not 0"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_finds_out(mutant: str) -> None:
    loss, settings, truth, complaint = MUTANTS[mutant]
    with pytest.raises(InputError, match=complaint) as caught:
        check_soft_loss("mine", loss, settings, truth)
    assert str(caught.value).startswith("prediction loss 'mine': ")
    assert "\n" not in str(caught.value)


def test_what_the_mutants_start_from_is_right() -> None:
    """Or they would fail for another reason."""
    check_soft_loss("mine", SoftLoss(softened(right)), TEMPERATURE, kl_by_scipy)
