"""Layer maps against the papers' tables, transport plans against linear programming."""

import builtins
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from distiller.pipelines import mapping


@pytest.mark.parametrize(
    ("kind", "student", "teacher", "expected"),
    [
        ("skip", 4, 12, [3, 6, 9, 12]),  # TinyBERT-4
        ("skip", 6, 12, [2, 4, 6, 8, 10, 12]),
        ("skip", 2, 6, [3, 6]),
        ("skip", 4, 6, [2, 3, 5, 6]),
        ("skip", 4, 2, [1, 1, 2, 2]),
        ("skip", 6, 24, [4, 8, 12, 16, 20, 24]),
        ("last", 6, 24, [19, 20, 21, 22, 23, 24]),
        ("last", 6, 12, [7, 8, 9, 10, 11, 12]),
        ("last", 4, 12, [9, 10, 11, 12]),
        ("last", 4, 2, [1, 1, 1, 2]),
        ("first", 4, 12, [1, 2, 3, 4]),
        ("first", 6, 24, [1, 2, 3, 4, 5, 6]),
        ("first", 4, 2, [1, 2, 2, 2]),
    ],
)
def test_static_maps(kind: str, student: int, teacher: int, expected: list[int]) -> None:
    assert mapping.pairs(kind, student, teacher) == tuple(enumerate(expected, start=1))


@pytest.mark.parametrize(
    ("student", "teacher", "below", "expected"),
    [(4, 12, 0, (4, 12)), (4, 12, 1, (4, 11)), (6, 24, 1, (6, 23)), (3, 1, 1, (3, 1))],
)
def test_the_top_alone(student: int, teacher: int, below: int, expected: tuple[int, int]) -> None:
    assert mapping.pairs("top", student, teacher, below=below) == (expected,)


def test_patient_kd_leaves_out_the_top() -> None:
    """Sun et al. 2019, section 3.2: from 12 to 6; the student's last layer answers to predictions alone."""
    for kind, published in (("skip", [2, 4, 6, 8, 10]), ("last", [7, 8, 9, 10, 11])):
        *patient, top = mapping.pairs(kind, 6, 12)
        assert patient == list(enumerate(published, start=1))
        assert top == (6, 12)


@settings(deadline=None)
@given(st.sampled_from(["skip", "last"]), st.integers(1, 30), st.integers(1, 30))
def test_static_maps_are_total_and_monotone(kind: str, student: int, teacher: int) -> None:
    layers = mapping.pairs(kind, student, teacher)
    assert [s for s, _ in layers] == list(range(1, student + 1))
    targets = [t for _, t in layers]
    assert targets == sorted(targets)
    assert targets[0] >= 1
    assert targets[-1] == teacher


def test_emd_takes_all_pairs_row_by_row() -> None:
    assert mapping.pairs("emd", 2, 3) == ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3))


def random_problem(
    seed: int, members: int, s: int, t: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = np.random.default_rng(seed)
    student, teacher = g.dirichlet(np.ones(s), members), g.dirichlet(np.ones(t), members)
    return tuple(torch.from_numpy(x) for x in (g.exponential(size=(members, s, t)), student, teacher))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), st.integers(1, 3), st.integers(1, 5), st.integers(1, 6))
def test_plan_is_optimal(seed: int, members: int, s: int, t: int) -> None:
    cost, student, teacher = random_problem(seed, members, s, t)
    flow = mapping.transport_plan(cost, student, teacher)
    assert (flow >= 0).all()
    torch.testing.assert_close(flow.sum(-1), student)
    torch.testing.assert_close(flow.sum(-2), teacher)
    marginals = np.concatenate([np.kron(np.eye(s), np.ones(t)), np.kron(np.ones(s), np.eye(t))])
    for k in range(members):
        supply = np.concatenate([student[k], teacher[k]])
        best = linprog(cost[k].numpy().ravel(), A_eq=marginals, b_eq=supply)
        assert (flow[k] * cost[k]).sum().item() == pytest.approx(best.fun, abs=1e-9)
    torch.testing.assert_close(mapping.transport_plan(cost[0], student[0], teacher[0]), flow[0])
    lower = mapping.transport_plan(cost - 7.0, student, teacher)
    torch.testing.assert_close((lower * cost).sum((-2, -1)), (flow * cost).sum((-2, -1)))


def test_cost_attention_by_hand() -> None:
    """u = (1, 3) and sum / u = (4, 4/3) for the student; the teacher has one layer."""
    cost = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)
    flow = torch.full((1, 2, 1), 0.5, dtype=torch.float64)
    uniform = torch.full((1, 2), 0.5, dtype=torch.float64)
    student, teacher = mapping.emd_weights(cost, flow, uniform, torch.ones(1, 1), 2.0)
    expected = torch.softmax(torch.tensor([[2.0, 2 / 3]], dtype=torch.float64), -1)
    torch.testing.assert_close(student, expected)
    assert teacher.tolist() == [[1.0]]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**16), st.sampled_from([0.0, 1e-9, 1.0, 1e6]), st.sampled_from([0.01, 1.0, 100.0]))
def test_emd_state_stays_a_distribution(seed: int, scale: float, temperature: float) -> None:
    g = torch.Generator().manual_seed(seed)
    state = mapping.start_state("emd", 2, 3, members=4)
    for _ in range(10):
        costs = scale * torch.rand(4, 6, generator=g)
        costs[:, 0] = 0.0
        weights, state = mapping.pair_weights("emd", costs, state, torch.full((4,), temperature))
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(4))
        for side in ("student", "teacher"):
            assert (state[side] > 0).all()
            torch.testing.assert_close(state[side].sum(-1), torch.ones(4, dtype=torch.float64))


def test_cheap_layers_gain_weight_and_temperature_flattens() -> None:
    costs = torch.tensor([[0.1, 1.0, 1.0, 0.9], [0.1, 1.0, 1.0, 0.9]], requires_grad=True)
    start = mapping.start_state("emd", 2, 2, members=2)
    weights, state = mapping.pair_weights("emd", costs, start, torch.tensor([1.0, 10.0]))
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.0, 0.0, 0.5]] * 2))
    assert not weights.requires_grad
    for side in ("student", "teacher"):
        sharp, flat = state[side]
        assert sharp[0] > flat[0] > 0.5
    assert (start["student"] == 0.5).all()


def test_negative_costs_are_shifted() -> None:
    """As bounds on mutual information are: the least counts as the spread, and a constant changes nothing."""
    costs = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    low, high = costs.amin(-1, keepdim=True), costs.amax(-1, keepdim=True)
    plain, shifted, lower = (mapping.start_state("emd", 2, 3, members=3) for _ in range(3))
    for _ in range(5):
        weights, plain = mapping.pair_weights("emd", costs + high - 2 * low, plain, 1.0)
        for number, state in ((4.0, shifted), (9.0, lower)):
            found, new = mapping.pair_weights("emd", costs - number, state, 1.0)
            torch.testing.assert_close(found, weights, rtol=0, atol=1e-4)
            state.update(new)
    for side in ("student", "teacher"):
        torch.testing.assert_close(shifted[side], plain[side], rtol=0, atol=1e-4)
        assert (plain[side].amax(-1) < 0.9).all()  # no layer takes all


def test_a_diverged_member_leaves_its_neighbours_alone() -> None:
    costs = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.1, torch.nan, 0.3, 0.2]])
    start = mapping.start_state("emd", 2, 2, members=2)
    weights, state = mapping.pair_weights("emd", costs, start, 1.0)
    alone, alone_state = mapping.pair_weights(
        "emd", costs[:1], mapping.start_state("emd", 2, 2, members=1), 1.0
    )
    assert weights[:1].equal(alone)
    assert state["student"][:1].equal(alone_state["student"])
    assert (weights * costs).sum(-1).isnan().tolist() == [False, True]


@pytest.mark.parametrize("kind", ["skip", "last"])
def test_static_weights_are_equal(kind: str) -> None:
    assert mapping.start_state(kind, 3, 6, members=2) is None
    costs = torch.rand(2, 3, requires_grad=True)
    weights, state = mapping.pair_weights(kind, costs, None, 1.0)
    torch.testing.assert_close(weights, torch.full((2, 3), 1 / 3))
    assert state is None
    assert not weights.requires_grad


def test_missing_pot_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_pot(name: str, *args: object, **kwargs: object) -> object:
        if name == "ot":
            raise ModuleNotFoundError("No module named 'ot'")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "ot", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_pot)
    with pytest.raises(ImportError, match="pip install POT"):
        mapping.transport_plan(torch.ones(1, 1), torch.ones(1), torch.ones(1))
