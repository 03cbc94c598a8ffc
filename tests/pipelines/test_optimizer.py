"""Stacked AdamW against torch's own, member by member; learning rates against transformers'."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from distiller.pipelines.optimizer import (
    Settings,
    Solo,
    SoloAdamW,
    Stacked,
    StackedAdamW,
    depths,
    gradient_norms,
    learning_rates,
)
from distiller.pipelines.student import Student
from tests.pipelines.conftest import FAMILIES, SIZES

SHAPES = {"weight": (3, 4), "norm": (5,), "only_some": (2, 2, 2), "unreached": (3,)}
SOME = [0, 2, 3]  # the members that have the third parameter
DEPTH = {"weight": 0, "norm": 2, "only_some": 1, "unreached": 3}
DECAY, NORM = [0.0, 0.1, 0.3, 0.01], [0.1, 1.0, 1e9, 0.5]
ALIKE = [Settings(decay, norm) for decay, norm in zip(DECAY, NORM, strict=True)]
OTHERWISE = [
    Settings(decay, norm, beta1, beta2, layer_decay)
    for decay, norm, beta1, beta2, layer_decay in zip(
        DECAY, NORM, [0.9, 0.0, 0.8, 0.95], [0.999, 0.98, 0.999, 0.0], [1.0, 0.9, 0.5, 0.75], strict=True
    )
]
BOTH = pytest.mark.parametrize("settings", [ALIKE, OTHERWISE], ids=["alike", "otherwise"])


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
        index = torch.tensor([members.index(m) for m in own])
        made.append(Stacked(tensor, index, name in ("weight", "only_some"), DEPTH[name]))
    return made


def reference(member: int, steps: int, settings: Settings, restart: int = 0) -> dict[str, Tensor]:
    """torch's AdamW with a group for every parameter, which forgets all before step `restart`."""
    names = [n for n in SHAPES if n != "only_some" or member in SOME]
    own = {n: nn.Parameter(start(n, member)) for n in names}
    decay = {n: settings.weight_decay if n in ("weight", "only_some") else 0.0 for n in names}
    optimizer = torch.optim.AdamW(
        [{"params": [own[n]], "weight_decay": decay[n]} for n in names],
        lr=1.0,
        betas=(settings.beta1, settings.beta2),
    )
    for step in range(steps):
        if step == restart:
            optimizer.state.clear()
        for name, parameter in own.items():
            parameter.grad = None if name == "unreached" else gradient(name, member, step)
        nn.utils.clip_grad_norm_(own.values(), settings.max_norm)
        for name, group in zip(names, optimizer.param_groups, strict=True):
            group["lr"] = rates(step)[member] * settings.layer_decay ** DEPTH[name]
        optimizer.step()
    return {n: p.detach() for n, p in own.items()}


@BOTH
def test_equals_torch_for_every_member_also_after_compaction(settings: list[Settings]) -> None:
    members = [0, 1, 2, 3]
    parameters = stacked(members)
    optimizer = StackedAdamW(parameters, settings)
    for step in range(9):
        if step == 5:
            left = [1, 3]
            rows = [[m in left for m in members if n != "only_some" or m in SOME] for n in SHAPES]
            parameters = [
                Stacked(p.tensor.detach()[r].requires_grad_(), torch.tensor(new), p.decays, p.depth)
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
        for name, expected in reference(member, 9, settings[member]).items():
            parameter = parameters[list(SHAPES).index(name)]
            found = parameter.tensor[parameter.members.tolist().index(row)]
            assert torch.allclose(found, expected, rtol=0, atol=1e-12), (member, name)


RESTARTS = [0, 3, 5, 0]
"""The steps before which the members forget; the first and last never do."""


@BOTH
def test_each_member_restarts_on_its_own(settings: list[Settings]) -> None:
    """As torch's does that is made anew on the same parameters; also solo, and for those who never do."""
    parameters = stacked([0, 1, 2, 3])
    optimizer = StackedAdamW(parameters, settings)
    alone = [
        {n: nn.Parameter(start(n, m)) for n in SHAPES if n != "only_some" or m in SOME} for m in range(4)
    ]
    solos = [
        SoloAdamW([Solo(p, n in ("weight", "only_some"), DEPTH[n]) for n, p in own.items()], settings[m])
        for m, own in enumerate(alone)
    ]
    for step in range(8):
        restarting = [m for m, first in enumerate(RESTARTS) if first == step > 0]
        if restarting:
            optimizer.restart(restarting)
        optimizer.zero_grad()
        for name, parameter in zip(SHAPES, parameters, strict=True):
            if name != "unreached":
                own = [int(i) for i in parameter.members]
                parameter.tensor.grad = torch.stack([gradient(name, m, step) for m in own])
        optimizer.step(rates(step))
        for member, solo in enumerate(solos):
            if member in restarting:
                solo.restart([0])
            solo.zero_grad()
            for name, tensor in alone[member].items():
                tensor.grad = None if name == "unreached" else gradient(name, member, step)
            solo.step([rates(step)[member]])
    for member in range(4):
        for name, expected in reference(member, 8, settings[member], RESTARTS[member]).items():
            parameter = parameters[list(SHAPES).index(name)]
            found = parameter.tensor[parameter.members.tolist().index(member)]
            assert torch.allclose(found, expected, rtol=0, atol=1e-12), (member, name)
            assert torch.allclose(alone[member][name], expected, rtol=0, atol=1e-12), (member, name)


def test_a_late_head_starts_at_its_learning_rate() -> None:
    """Not at several times that, as where zeros have counted for its moments."""
    for late in (True, False):
        head = nn.Parameter(torch.zeros(4, dtype=torch.float64))
        optimizer = SoloAdamW([Solo(head, False)], Settings(0.0, 1e9))
        for step in range(101):
            head.grad = torch.zeros_like(head) if step < 100 else torch.ones_like(head)
            if step == 100 and late:
                optimizer.restart([0])
            optimizer.step([1e-3])
        assert (float(-head.detach()[0]) == pytest.approx(1e-3, rel=1e-6)) == late
    with pytest.raises(ValueError, match="no members"):
        optimizer.restart([1])


def test_state_that_does_not_fit_is_refused() -> None:
    optimizer = StackedAdamW(stacked([0, 1]), ALIKE[:2])
    with pytest.raises(ValueError, match="do not fit"):
        optimizer.keep([0], stacked([0, 1]))


@BOTH
@pytest.mark.parametrize("member", SOME)
def test_solo_is_torch_with_clipping(settings: list[Settings], member: int) -> None:
    own = {n: nn.Parameter(start(n, member)) for n in SHAPES}
    parameters = [Solo(p, n in ("weight", "only_some"), DEPTH[n]) for n, p in own.items()]
    optimizer = SoloAdamW(parameters, settings[member])
    for step in range(4):
        optimizer.zero_grad()
        for name in ("weight", "norm", "only_some"):
            own[name].grad = gradient(name, member, step)
        optimizer.step([rates(step)[member]])
    for name, expected in reference(member, 4, settings[member]).items():
        assert torch.allclose(own[name].detach(), expected, rtol=0, atol=1e-12), name


def test_solo_passes_over_few_tensors() -> None:
    for settings, passes in ((ALIKE[0], 1), (ALIKE[1], 2), (OTHERWISE[2], 3)):
        parameters = [Solo(nn.Parameter(start(n, 0)), n != "norm", DEPTH[n]) for n in ("weight", "norm")]
        parameters += [Solo(nn.Parameter(start("only_some", 0)), True, DEPTH["only_some"])]
        for parameter in parameters:
            parameter.tensor.grad = torch.ones_like(parameter.tensor)
        optimizer = SoloAdamW(parameters, settings)
        optimizer.step([1e-3])
        assert len(optimizer.flats) == passes


@pytest.mark.parametrize("family", list(FAMILIES))
def test_depths_of_every_family(family: str) -> None:
    """Embeddings at the bottom, layers in order, the head on top; every parameter in its place."""
    config = AutoConfig.for_model(family, **{**SIZES, **FAMILIES[family]})
    found = depths(Student(AutoModelForSequenceClassification.from_config(config)))
    layers = 1 if family == "albert" else 3
    assert set(found.values()) == set(range(layers + 2))
    for name, depth in found.items():
        number = re.search(r"\.(?:layers?|albert_layer_groups)\.(\d+)\.", name)
        if number is not None:
            assert depth == layers - int(number[1]), name
        else:
            embeds = "embedding" in name or name.startswith("model.deberta.encoder.LayerNorm")
            assert depth == (layers + 1 if embeds else 0), name
    heads = [n for n in found if "classifier" in n or "pooler" in n or "head" in n or "final_norm" in n]
    assert heads
    assert all(found[n] == 0 for n in heads)


@pytest.mark.parametrize("most", [1e-3, 1e9])
def test_sparse_gradients_equal_dense_ones(most: float) -> None:
    """Also where a word occurs twice, where words come and go, and where no word comes at all."""
    generator = torch.Generator().manual_seed(0)
    table, head = torch.randn(7, 5, generator=generator), torch.randn(3, 5, generator=generator)
    ended = []
    for sparse in (True, False):
        words, linear = nn.Parameter(table.double()), nn.Parameter(head.double())
        ours = SoloAdamW([Solo(words, True), Solo(linear, True)], Settings(0.1, most))
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
