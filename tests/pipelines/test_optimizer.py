"""Stacked AdamW against torch's own, member by member; learning rates against transformers'."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from distiller.pipelines.optimizer import SoloAdamW, Stacked, StackedAdamW, gradient_norms, learning_rates

SHAPES = {"weight": (3, 4), "norm": (5,), "only_some": (2, 2, 2), "unreached": (3,)}
SOME = [0, 2, 3]  # the members that have the third parameter
DECAY, NORM = [0.0, 0.1, 0.3, 0.01], [0.1, 1.0, 1e9, 0.5]


def gradient(name: str, member: int, step: int) -> Tensor:
    seed = hash((len(name), member, step)) % 2**31
    return torch.randn(SHAPES[name], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def start(name: str, member: int) -> Tensor:
    return gradient(name, member, 999)


def rates(step: int) -> list[float]:
    return [1e-2 / (step + 1), 3e-3, 0.0 if step == 2 else 1e-1, 2e-2]


def stacked(members: list[int]) -> list[Stacked]:
    made = []
    for name in SHAPES:
        own = [m for m in members if name != "only_some" or m in SOME]
        tensor = torch.stack([start(name, m) for m in own]).requires_grad_()
        made.append(
            Stacked(tensor, torch.tensor([members.index(m) for m in own]), name in ("weight", "only_some"))
        )
    return made


def reference(member: int, steps: int) -> dict[str, Tensor]:
    names = [n for n in SHAPES if n != "only_some" or member in SOME]
    own = {n: nn.Parameter(start(n, member)) for n in names}
    groups = [
        {"params": [own[n] for n in names if n in ("weight", "only_some")], "weight_decay": DECAY[member]},
        {"params": [own[n] for n in names if n not in ("weight", "only_some")], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    for step in range(steps):
        for name, parameter in own.items():
            parameter.grad = None if name == "unreached" else gradient(name, member, step)
        nn.utils.clip_grad_norm_(own.values(), NORM[member])
        for group in optimizer.param_groups:
            group["lr"] = rates(step)[member]
        optimizer.step()
    return {n: p.detach() for n, p in own.items()}


def test_equals_torch_for_every_member_also_after_compaction() -> None:
    members = [0, 1, 2, 3]
    parameters = stacked(members)
    optimizer = StackedAdamW(
        parameters, torch.tensor(DECAY, dtype=torch.float64), torch.tensor(NORM, dtype=torch.float64)
    )
    for step in range(9):
        if step == 5:
            left = [1, 3]
            rows = [[m in left for m in members if n != "only_some" or m in SOME] for n in SHAPES]
            parameters = [
                Stacked(p.tensor.detach()[r].requires_grad_(), torch.tensor(new), p.decays)
                for p, r, new in zip(parameters, rows, [[0, 1], [0, 1], [1], [0, 1]], strict=True)
            ]
            optimizer.keep(left, parameters)
            members = left
        optimizer.zero_grad()
        for name, parameter in zip(SHAPES, parameters, strict=True):
            if name != "unreached":
                own = [members[int(i)] for i in parameter.members]
                parameter.tensor.grad = torch.stack([gradient(name, m, step) for m in own])
        if step == 3:
            norms = gradient_norms(parameters, 4)
            for member in members:
                own_names = [n for n in ("weight", "norm", "only_some") if n != "only_some" or member in SOME]
                expected = torch.cat([gradient(n, member, step).flatten() for n in own_names]).norm()
                assert float(norms[member]) == pytest.approx(float(expected), rel=1e-12)
        optimizer.step([rates(step)[m] for m in members])
    for row, member in enumerate(members):
        for name, expected in reference(member, 9).items():
            parameter = parameters[list(SHAPES).index(name)]
            found = parameter.tensor[parameter.members.tolist().index(row)]
            assert torch.allclose(found, expected, rtol=0, atol=1e-12), (member, name)


def test_state_that_does_not_fit_is_refused() -> None:
    optimizer = StackedAdamW(stacked([0, 1]), torch.zeros(2), torch.ones(2))
    with pytest.raises(ValueError, match="do not fit"):
        optimizer.keep([0], stacked([0, 1]))


def test_solo_is_torch_with_clipping() -> None:
    own = {n: nn.Parameter(start(n, 0)) for n in ("weight", "norm", "only_some", "unreached")}
    optimizer = SoloAdamW(
        [own["weight"], own["only_some"]], [own["norm"], own["unreached"]], DECAY[0], NORM[0]
    )
    for step in range(4):
        optimizer.zero_grad()
        for name in ("weight", "norm", "only_some"):
            own[name].grad = gradient(name, 0, step)
        optimizer.step(rates(step))
    for name, expected in reference(0, 4).items():
        assert torch.allclose(own[name].detach(), expected, atol=1e-12), name


@pytest.mark.parametrize("most", [1e-3, 1e9])
def test_sparse_gradients_equal_dense_ones(most: float) -> None:
    """Also where a word occurs twice, where words come and go, and where no word comes at all."""
    generator = torch.Generator().manual_seed(0)
    table, head = torch.randn(7, 5, generator=generator), torch.randn(3, 5, generator=generator)
    ended = []
    for sparse in (True, False):
        words, linear = nn.Parameter(table.double()), nn.Parameter(head.double())
        ours = SoloAdamW([words, linear], [], 0.1, most)
        theirs = torch.optim.AdamW([words, linear], lr=3e-2, weight_decay=0.1)
        for ids in ([3, 1, 3], [0, 4], None, [4, 4], [2]):
            theirs.zero_grad()
            loss = linear.square().sum()
            if ids is not None:
                picked = nn.functional.embedding(torch.tensor(ids), words, sparse=sparse)
                loss = loss + (picked @ linear.T).square().sum()
            loss.backward()
            if sparse:
                ours.step([3e-2])
                continue
            words.grad = torch.zeros_like(words) if words.grad is None else words.grad
            nn.utils.clip_grad_norm_([words, linear], most)
            theirs.step()
        ended.append((words.detach(), linear.detach()))
    torch.testing.assert_close(*ended, rtol=0, atol=1e-12)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.25, 1.0])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_learning_rates(schedule: str, warmup: float) -> None:
    """Ours rises from 1/rise rather than from 0, so that no step of the warm-up is lost: one step ahead of
    transformers while it rises, the same from the peak on."""
    steps, peak = 40, 0.3
    rise = round(warmup * steps)
    make = {"linear": get_linear_schedule_with_warmup, "cosine": get_cosine_schedule_with_warmup}.get(
        schedule
    )
    expected = [peak] * steps
    if make is not None:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
        scheduler = make(optimizer, rise, steps)
        for step in range(steps):
            expected[step] = scheduler.get_last_lr()[0]
            optimizer.step()
            scheduler.step()
    for step in range(steps):
        (found,) = learning_rates(step, steps, [peak], [warmup], [schedule])
        assert 0 < found <= peak
        if step < rise - 1:
            assert found == pytest.approx(peak * (step + 1) / rise)
        elif step >= rise:
            assert found == pytest.approx(expected[step])
        else:
            assert found == pytest.approx(peak)


def test_learning_rates_are_each_members_own() -> None:
    found = learning_rates(30, 40, [1.0, 2.0, 3.0], [0.0, 0.5, 0.5], ["linear", "cosine", "constant"])
    assert found == pytest.approx([0.25, 2.0 * 0.5 * (1 + math.cos(math.pi / 2)), 3.0])
