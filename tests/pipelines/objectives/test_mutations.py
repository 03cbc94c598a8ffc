"""Objectives that are wrong in one way each: the contract, or a named test of truth, must refuse them.

What the contract cannot see, because a loss with that fault keeps every promise, stands at the end, each
with the comparison that sees it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.contract import ContractError, check_objective
from distiller.pipelines.objectives import OBJECTIVES, Objective, attention, gram, hidden
from distiller.pipelines.objectives import mutual_information as mi
from distiller.pipelines.objectives.masking import comparable, mean_over_real, visible

Settings = dict[str, tuple[Any, ...]]

TEMPERATURE: Settings = {"temperature": (1.0, 2.0)}
ALPHA: Settings = {"alpha": (0.3, 1.0)}


def distance(loss: Callable[..., Tensor]) -> Objective:
    return Objective(loss, same_width=True, at_equal="zero")


def between_vectors(loss: Callable[..., Tensor], baseline: bool = False) -> Objective:
    return Objective(loss, start=mi.start_critic_and_baseline if baseline else mi.start_critic)


def sign_flipped(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    return -hidden.mse(student, teacher, mask)


def wrong_side_detached(
    student: Tensor, teacher: Tensor, mask: Tensor | None, *, temperature: Tensor
) -> Tensor:
    return hidden.kl(teacher, student, mask, temperature=temperature)


def mask_ignored(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    return hidden.mse(student, teacher, None)


def mask_multiplied(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    student, teacher = comparable(student, teacher, None)
    return mean_over_real((student - teacher).square().mean(-1), mask)


def mean_over_padding(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    student, teacher = comparable(student, teacher, mask)
    return (student - teacher).square().mean()


def sum_over_the_batch(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    student, teacher = comparable(student, teacher, mask)
    return (student - teacher).square().mean(-1).sum()


def mean_of_examples_means(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Short texts count more than long ones: not what packed tokens give."""
    student, teacher = comparable(student, teacher, mask)
    losses = (student - teacher).square().mean(-1)
    return losses.mean() if mask is None else (losses.sum(-1) / mask.sum(-1).clamp_min(1)).mean()


def teacher_not_detached(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    return mean_over_real((visible(student, mask) - visible(teacher, mask)).square().mean(-1), mask)


def temperature_ignored(
    student: Tensor, teacher: Tensor, mask: Tensor | None, *, temperature: Tensor
) -> Tensor:
    return hidden.kl(student, teacher, mask, temperature=1.0)


def softmax_over_the_batch(
    student: Tensor, teacher: Tensor, mask: Tensor | None, *, temperature: Tensor
) -> Tensor:
    student, teacher = comparable(student, teacher, mask)
    own, said = F.log_softmax(student / temperature, 0), F.log_softmax(teacher / temperature, 0)
    return mean_over_real((said.exp() * (said - own)).sum(-1), mask)


def half_precision_kept(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    difference = student - teacher.detach()
    if mask is not None:
        difference = torch.where(mask.unsqueeze(-1) > 0, difference, torch.zeros_like(difference))
    return mean_over_real(difference.square().mean(-1), mask)


def length_without_a_floor(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    student, teacher = comparable(student, teacher, mask)
    return mean_over_real((student - teacher).square().sum(-1).sqrt(), mask)


def branch_on_a_value(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    loss = hidden.mse(student, teacher, mask)
    return loss if loss.item() < 100 else loss * 0.5


def write_in_place(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    teacher.mul_(0.5)
    return hidden.mse(student, teacher, mask)


def noise_from_nowhere(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    return hidden.mse(student, teacher, mask) * (1 + 0.01 * torch.rand(()))


def teacher_of_the_next_example(
    student: Tensor, teacher: Tensor, mask: None, *, parameters: dict[str, Tensor]
) -> Tensor:
    """The diagonal wrong: S[j, j + 1] for the pair."""
    return -mi.info_nce(mi.critic_scores(parameters, student, teacher).roll(1, 1))


def no_pairs(student: Tensor, teacher: Tensor, mask: None, *, parameters: dict[str, Tensor]) -> Tensor:
    """The diagonal forgotten: every example as good as its own."""
    scores = mi.critic_scores(parameters, student, teacher)
    return -(scores.mean() - scores.logsumexp((0, 1)))


def positions_for_negatives(
    student: Tensor, teacher: Tensor, mask: Tensor | None, *, parameters: dict[str, Tensor]
) -> Tensor:
    """Scores between the positions of one text, as in earlier code; padding included."""
    scores = mi.critic_scores(parameters, student, teacher)
    pairs = scores.diagonal(dim1=-2, dim2=-1)
    return -(pairs - scores.logsumexp(-2)).mean() - math.log(scores.shape[-1])


def baseline_without_gradient(
    student: Tensor, teacher: Tensor, mask: None, *, parameters: dict[str, Tensor]
) -> Tensor:
    log_a = mi.log_baseline(parameters, teacher).detach()
    return -mi.tuba(mi.critic_scores(parameters, student, teacher), log_a)


def keys_forgotten(
    student: Tensor, teacher: Tensor, mask: Tensor, *, student_heads: int, teacher_heads: int
) -> Tensor:
    """Relations of queries with queries, where queries with keys were asked for."""
    queries, said = student.chunk(2, -1)[0], teacher.chunk(2, -1)[0]
    return attention.attention(
        torch.cat([queries, queries], -1),
        torch.cat([said, said], -1),
        mask,
        student_heads=student_heads,
        teacher_heads=teacher_heads,
        target="maps",
    )


def padded_keys_attended(
    student: Tensor, teacher: Tensor, mask: Tensor, *, student_heads: int, teacher_heads: int
) -> Tensor:
    """Softmax over padding too: as long as it is 0, values agree; with more of it they do not."""
    student, teacher = comparable(student, teacher, mask)
    own, said = (states[..., :1] @ states[..., :1].transpose(-1, -2) for states in (student, teacher))
    losses = (own.softmax(-1) - said.softmax(-1)).square().mean(-1)
    return mean_over_real(losses, mask)


def swapped_axes(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Alignment of features over the width, not of examples: rotations of the student would be seen."""
    student, teacher = comparable(student, teacher, mask)
    return gram.cka(student.transpose(-1, -2), teacher.transpose(-1, -2), None)


def frozen_student(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    return hidden.mse(student.detach(), teacher, mask)


def first_examples_only(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    return hidden.mse(student[:2], teacher[:2], None if mask is None else mask[:2])


def one_vector_for_all(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """Means over the batch are compared, so that the teachers' order does not matter."""
    student, teacher = comparable(student, teacher, mask)
    gap = student.flatten(0, -2).mean(0) - teacher.flatten(0, -2).mean(0)
    return gap.square().mean()


QUERIES_AND_KEYS = OBJECTIVES["attention"].reads

CASES: dict[str, tuple[Objective, Settings, bool, str]] = {
    # what is wrong: objective, settings, takes tokens, what the contract says
    "sign flipped": (distance(sign_flipped), {}, True, "student 0.01 from the teacher"),
    "wrong side detached": (distance(wrong_side_detached), TEMPERATURE, True, "no gradient reaches"),
    "mask ignored": (distance(mask_ignored), {}, True, "padding gets|in the padding"),
    "mask multiplied": (distance(mask_multiplied), {}, True, "(inf|nan) in the padding"),
    "mean over padding": (distance(mean_over_padding), {}, True, "more padding changes"),
    "sum over the batch": (distance(sum_over_the_batch), {}, True, "take the mean"),
    "mean of means": (distance(mean_of_examples_means), {}, True, "packed tokens"),
    "teacher not detached": (distance(teacher_not_detached), {}, True, "detach it"),
    "temperature ignored": (distance(temperature_ignored), TEMPERATURE, True, "temperature changes nothing"),
    "batch axis for width": (distance(softmax_over_the_batch), TEMPERATURE, True, "from the teacher|packed"),
    "half precision kept": (distance(half_precision_kept), {}, True, "widen them|in float32"),
    "length without a floor": (distance(length_without_a_floor), {}, True, "not finite with student equal"),
    "branch on a value": (distance(branch_on_a_value), {}, True, "vmap equals a loop, raises"),
    "written in place": (distance(write_in_place), {}, True, "two values|writes into"),
    "noise": (distance(noise_from_nowhere), {}, True, "two values|global generator"),
    "wrong diagonal": (between_vectors(teacher_of_the_next_example), {}, False, "in another order"),
    "no diagonal": (between_vectors(no_pairs), {}, False, "teachers of other examples"),
    "positions for negatives": (
        between_vectors(positions_for_negatives),
        {},
        True,
        "in the padding|not finite",
    ),
    "fixed baseline": (between_vectors(baseline_without_gradient, True), {}, False, "never gets a gradient"),
    "keys forgotten": (
        Objective(keys_forgotten, reads=QUERIES_AND_KEYS, at_equal="zero"),
        {},
        True,
        "keys.* is read and gets no gradient",
    ),
    "padded keys": (
        Objective(padded_keys_attended, reads=QUERIES_AND_KEYS, at_equal="zero"),
        {},
        True,
        "no gradient|more padding changes",
    ),
    "axes swapped": (Objective(swapped_axes, at_equal="zero"), {}, False, "raises RuntimeError"),
    "frozen student": (distance(frozen_student), {}, True, "no gradient reaches"),
    "some examples": (distance(first_examples_only), {}, True, "real vectors get no gradient"),
    "order of teachers": (distance(one_vector_for_all), {}, False, "teachers of other examples"),
}


@pytest.mark.parametrize("fault", CASES)
def test_the_contract_refuses(fault: str) -> None:
    objective, settings, tokens, says = CASES[fault]
    with pytest.raises(ContractError, match=says):
        check_objective("mutant", objective, settings, tokens)


def alpha_reversed(
    student: Tensor, teacher: Tensor, mask: None, *, parameters: dict[str, Tensor], alpha: Tensor
) -> Tensor:
    return mi.mi_alpha_loss(student, teacher, mask, parameters=parameters, alpha=1 - alpha)


def bound_minimised(student: Tensor, teacher: Tensor, mask: None, *, parameters: dict[str, Tensor]) -> Tensor:
    return -mi.info_nce_loss(student, teacher, mask, parameters=parameters)


def pairs_among_the_negatives(
    student: Tensor, teacher: Tensor, mask: None, *, parameters: dict[str, Tensor]
) -> Tensor:
    ratio = mi.critic_scores(parameters, student, teacher) - mi.log_baseline(parameters, teacher)
    return -(1 + ratio.diagonal().mean() - ratio.exp().mean())


def temperature_squared(
    student: Tensor, teacher: Tensor, mask: Tensor | None, *, temperature: Tensor
) -> Tensor:
    return temperature**2 * hidden.kl(student, teacher, mask, temperature=temperature)


def not_centred(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    student, teacher = comparable(student, teacher, mask)
    x, y = student.flatten(0, -2), teacher.flatten(0, -2)
    sizes = (x.T @ x).square().sum() * (y.T @ y).square().sum()
    return (1 - (x.T @ y).square().sum() * sizes.clamp_min(1e-30).rsqrt()) * (sizes > 0)


def parameters_of(start: Callable[..., dict[str, Tensor]]) -> dict[str, Tensor]:
    drawn = start(4, 4, torch.Generator().manual_seed(0))
    return {
        name: p.double() + (0.5 if name.startswith("baseline_output") else 0.0) for name, p in drawn.items()
    }


GENERATOR = torch.Generator().manual_seed(1)
X, Y = torch.randn(2, 6, 4, dtype=torch.float64, generator=GENERATOR)
LEARNED = parameters_of(mi.start_critic_and_baseline)
SCORES, LOG_A = mi.critic_scores(LEARNED, X, Y), mi.log_baseline(LEARNED, Y)
OFF = ~torch.eye(6, dtype=torch.bool)


def kl_by_torch() -> Tensor:
    return F.kl_div(F.log_softmax(X / 2, -1), F.softmax(Y / 2, -1), reduction="batchmean")


def cka_of_shifted() -> Tensor:
    return gram.cka(X, Y, None)


UNSEEN: dict[str, tuple[str, Objective, Settings, dict[str, Any], tuple[Tensor, Tensor], Tensor]] = {
    # what is wrong: the objective that is right, the wrong one, its settings, a call, states, the truth
    "alpha reversed: at alpha = 0 it is TUBA": (
        "mi_alpha",
        between_vectors(alpha_reversed, True),
        ALPHA,
        {"parameters": LEARNED, "alpha": 0.0},
        (X, Y),
        -(1 + (SCORES - LOG_A).diagonal().mean() - (SCORES - LOG_A).exp()[OFF].mean()),
    ),
    "the bound minimised: InfoNCE is a cross-entropy": (
        "info_nce",
        between_vectors(bound_minimised),
        {},
        {"parameters": LEARNED},
        (X, Y),
        F.cross_entropy(SCORES.T, torch.arange(6)) - math.log(6),
    ),
    "pairs among the negatives: TUBA's are all i != j": (
        "tuba",
        between_vectors(pairs_among_the_negatives, True),
        {},
        {"parameters": LEARNED},
        (X, Y),
        -(1 + (SCORES - LOG_A).diagonal().mean() - (SCORES - LOG_A).exp()[OFF].mean()),
    ),
    "temperature squared: kl is torch's": (
        "kl",
        distance(temperature_squared),
        TEMPERATURE,
        {"temperature": 2.0},
        (X, Y),
        kl_by_torch(),
    ),
    "not centred: cka is blind to a shift": (
        "cka",
        Objective(not_centred, at_equal="zero"),
        {},
        {},
        (X + 3, Y),
        cka_of_shifted(),
    ),
}


@pytest.mark.parametrize("fault", UNSEEN)
def test_what_the_contract_cannot_see_the_truth_refuses(fault: str) -> None:
    name, wrong, settings, call, states, truth = UNSEEN[fault]
    check_objective("mutant", wrong, settings, tokens=name == "kl")
    assert torch.isclose(OBJECTIVES[name].loss(*states, None, **call), truth)
    assert not torch.isclose(wrong.loss(*states, None, **call), truth)
