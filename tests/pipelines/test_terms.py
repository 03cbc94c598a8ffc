"""A group of terms against the plain formula, one member and one layer pair at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distiller.pipelines.mapping import emd_weights, pairs, transport_plan
from distiller.pipelines.objectives import OBJECTIVES, reduce_representation
from distiller.pipelines.objectives.mutual_information import mi_alpha_loss
from distiller.pipelines.term_kind import Sizes
from distiller.pipelines.terms import TermGroup, term_groups
from tests.pipelines.conftest import CPU, config_of

K, B, T, WIDE, NARROW, LAYERS, DEEP = 4, 6, 5, 12, 8, 2, 3
STREAM = [0, 1, 1, 0]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64
    )


def groups_of(terms: list[Any], width: int = NARROW) -> list[TermGroup]:
    configs = [config_of(intermediate=t) for t in terms]
    sizes = Sizes(LAYERS, DEEP, width, WIDE, student_heads=2, teacher_heads=3, rows=20)
    return term_groups(configs, list(range(K)), sizes, CPU, torch.float64)


HIDDEN = [random(K, B, T, NARROW, seed=i) for i in range(LAYERS + 1)]
STATES = {"hidden": HIDDEN}
MASK = torch.arange(T) < torch.tensor([[5, 3, 2, 4, 5, 1], [2, 2, 5, 3, 4, 5]])[..., None]
TEACHER = {n: random(2, B, T, WIDE, seed=10 + n) for n in range(1, DEEP + 1)}


def teacher_hidden(representation: str) -> dict[tuple[int, str], Tensor]:
    return {
        (n, representation): torch.stack(
            [reduce_representation(h[s], MASK[s], representation) for s in range(2)]
        )
        for n, h in TEACHER.items()
    }


def slowly(group: TermGroup, row: int, emd_state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Any]:
    member, kind = group.members[row], group.kind
    mask = MASK[STREAM[member]]
    costs = []
    for p, (s, t) in enumerate(group.pairs):
        (state,) = kind.reads
        student = reduce_representation(HIDDEN[s][member], mask, state.name)
        teacher = teacher_hidden(state.name)[t, state.name][STREAM[member]]
        own = {n: v[row, p] for n, v in group.parameters.items()}
        if kind.objective == "mi_alpha":
            alpha = group.vectors["alpha"][row]
            costs.append(mi_alpha_loss(student, teacher, None, parameters=own, alpha=alpha))
        else:
            student = nn.functional.linear(student, own["projection_weight"], own["projection_bias"])
            seen = mask if state.name == "tokens" else torch.ones(B)
            costs.append(OBJECTIVES[kind.objective].loss(student, teacher, seen))
    cost = torch.stack(costs)
    if emd_state is None:
        return group.weight[row] * cost.mean(), None
    matrix = cost.detach().reshape(LAYERS, DEEP)
    flow = transport_plan(matrix, *emd_state)
    new = emd_weights(matrix[None], flow[None], *(w[None] for w in emd_state), group.temperature[row])
    return group.weight[row] * (flow.flatten() * cost).sum(), tuple(w[0] for w in new)


@pytest.mark.parametrize("kind", ["skip", "last", "emd"])
@pytest.mark.parametrize(
    ("objective", "representation"),
    [
        ("mse", "tokens"),
        ("mse", "cls"),
        ("cosine", "mean"),
        ("pkd", "cls"),
        ("mi_alpha", "mean"),
        ("mi_alpha", "cls"),
    ],
)
def test_a_group_is_its_members_formulas(kind: str, objective: str, representation: str) -> None:
    def term(weight: float) -> dict[str, Any]:
        more = {} if objective == "pkd" else {"representation": representation}
        if objective == "mi_alpha":
            more["alpha"] = weight / 4  # type: ignore[assignment]
        mapping = {"kind": kind, "temperature": weight} if kind == "emd" else {"kind": kind}
        return {"objective": objective, "weight": weight, "mapping": mapping, **more}

    for members in ([0, 1, 2, 3], [1, 2], [3]):
        (group,) = groups_of([term(1.0 + k) if k in members else "none" for k in range(K)])
        assert group.members == members
        assert group.pairs == pairs(kind, LAYERS, DEEP)
        states: list[Any] = [
            (torch.full((LAYERS,), 1 / LAYERS).double(), torch.full((DEEP,), 1 / DEEP).double())
            if kind == "emd"
            else None
            for _ in members
        ]
        for _ in range(3):
            found = group.losses(STATES, MASK, teacher_hidden(representation), STREAM)
            for row in range(len(members)):
                expected, states[row] = slowly(group, row, states[row])
                assert found[row].item() == pytest.approx(expected.item(), rel=1e-10)


def test_starts_are_each_members_own() -> None:
    (projected,) = groups_of([{"objective": "mse"}] * K)
    weight, bias = (projected.parameters[f"projection_{name}"] for name in ("weight", "bias"))
    assert weight.shape == (K, LAYERS, WIDE, NARROW)
    assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not bias.any()
    assert len({tuple(w.flatten()[:5].tolist()) for k in weight for w in k}) == K * LAYERS
    (alone,) = groups_of(["none", "none", {"objective": "mse"}, "none"])
    assert torch.equal(alone.parameters["projection_weight"][0], weight[2])
    (critics,) = groups_of([{"objective": "mi_alpha"}] * K)
    assert critics.parameters["student_weight"].shape == (K, LAYERS, 128, NARROW)


def test_projection_only_where_asked_or_needed() -> None:
    plain = {"objective": "mse", "projection": "none"}
    (needed,) = groups_of([plain] * K)
    assert needed.kind.projection == "linear"
    one, other = groups_of([plain, plain, {"objective": "mse"}, "none"], width=WIDE)
    assert (one.kind.projection, one.parameters, one.members) == ("none", {}, [0, 1])
    assert (other.kind.projection, other.members) == ("linear", [2])


def test_two_slots_have_parameters_of_their_own() -> None:
    first, second = groups_of([[{"objective": "mse"}, {"objective": "mse"}], "none", "none", "none"])
    assert not torch.equal(first.parameters["projection_weight"], second.parameters["projection_weight"])


def test_keeping_members() -> None:
    emd = {"objective": "mse", "mapping": {"kind": "emd"}}
    (group,) = groups_of([emd, "none", {**emd, "weight": 2.0}, {**emd, "weight": 3.0}])
    group.losses(STATES, MASK, teacher_hidden("tokens"), STREAM)
    weight, state = group.parameters["projection_weight"].detach().clone(), dict(group.state or {})
    assert group.keep([1, 3])
    assert (group.members, group.weight.tolist()) == ([1], [3.0])
    assert torch.equal(group.parameters["projection_weight"][0], weight[2])
    assert group.state is not None
    assert torch.equal(group.state["student"][0], state["student"][2])
    assert group.parameters["projection_weight"].requires_grad
    assert not group.keep([0])


def test_mixtures_are_not_remembered() -> None:
    (group,) = groups_of([{"objective": "crd", "negatives": 4}] * K)
    assert group.memory is not None
    before = group.memory.sides["student"].clone()
    rows = torch.tensor([3, 5, 7, 11, 13, 19])
    whole = torch.tensor([[True, True, True, False, False, False], [True] * 6])
    group.losses(STATES, MASK, teacher_hidden("cls"), STREAM, rows=rows, whole=whole)
    after = group.memory.sides["student"]
    for member in range(K):
        changed = set((after[member] != before[member]).any(-1).any(0).nonzero().flatten().tolist())
        assert changed == set(rows[whole[STREAM[member]]].tolist())
