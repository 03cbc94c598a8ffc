"""MI bounds on correlated Gaussians of known MI, against slow loops, and with a trained critic."""

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.pipelines import mutual_information as mi

ALPHAS = (0.0, 0.01, 0.3, 0.7, 1.0)
DIMENSIONS, RHO = 3, 0.75
TRUTH = -0.5 * DIMENSIONS * math.log(1 - RHO**2)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tensors this small only wait for each other's threads on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussians(batches: int, size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """x, y [batches, size, DIMENSIONS] of mutual information TRUTH."""
    x, noise = torch.randn(2, batches, size, DIMENSIONS, dtype=torch.float64, generator=rng(seed))
    return x, RHO * x + math.sqrt(1 - RHO**2) * noise


def log_ratio(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The best critic, log p(y | x) / p(y), for every pair: [..., i, j] of x_i and y_j."""
    x, y = x.unsqueeze(-2), y.unsqueeze(-3)
    spread = 1 - RHO**2
    return (-0.5 * math.log(spread) - (y - RHO * x).square() / (2 * spread) + y.square() / 2).sum(-1)


def slow_mi_alpha(scores: torch.Tensor, log_a: torch.Tensor, alpha: float) -> float:
    """Poole et al. section 2.4 with plain loops over floats."""
    size, f = len(scores), scores.exp().tolist()

    def marginal(j: int, without: int) -> float:
        mean = sum(f[i][j] for i in range(size) if i != without) / (size - 1)
        return alpha * mean + (1 - alpha) * math.exp(log_a[j].item())

    total = 0.0
    for j in range(size):
        for k in range(size):
            if k != j:
                total += math.log(f[j][j] / marginal(j, k)) - f[k][j] / marginal(j, j)
    return 1 + total / (size * (size - 1))


@settings(deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 6), st.floats(0.1, 5), st.sampled_from(ALPHAS))
def test_mi_alpha_equals_slow_loops(seed: int, size: int, scale: float, alpha: float) -> None:
    scores = scale * torch.randn(size, size, dtype=torch.float64, generator=rng(seed))
    log_a = torch.randn(size, dtype=torch.float64, generator=rng(seed + 1))
    expected = slow_mi_alpha(scores, log_a, alpha)
    assert mi.mi_alpha(scores, log_a, alpha).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 9))
def test_the_ends_are_tuba_and_leave_one_out_info_nce(seed: int, size: int) -> None:
    scores = 2 * torch.randn(size, size, dtype=torch.float64, generator=rng(seed))
    log_a = torch.randn(size, dtype=torch.float64, generator=rng(seed + 1))
    torch.testing.assert_close(mi.mi_alpha(scores, log_a, 0.0), mi.tuba(scores, log_a))
    rest = [[i for i in range(size) if i != out] for out in range(size)]
    smaller = torch.stack([mi.info_nce(scores[keep][:, keep]) for keep in rest])
    torch.testing.assert_close(mi.mi_alpha(scores, log_a, 1.0), smaller.mean())


def test_info_nce_is_cross_entropy_of_the_pairs() -> None:
    scores = torch.randn(6, 6, dtype=torch.float64, generator=rng(1))
    expected = math.log(6) - torch.nn.functional.cross_entropy(scores.T, torch.arange(6))
    torch.testing.assert_close(mi.info_nce(scores), expected)
    torch.testing.assert_close(mi.info_nce(100 * torch.eye(6)), torch.tensor(math.log(6)))


def test_bounds_on_gaussians_of_known_information() -> None:
    """Below the truth; from alpha = 1 to 0 the bias falls and the variance grows; TUBA is unbiased."""
    size = 8
    scores = log_ratio(*gaussians(10_000, size))
    zero = torch.zeros(size, dtype=torch.float64)
    means, deviations = [], []
    for alpha in (1.0, 0.7, 0.3, 0.01, 0.0):
        bounds = torch.func.vmap(lambda s, alpha=alpha: mi.mi_alpha(s, zero, alpha))(scores)
        error = bounds.std() / math.sqrt(len(bounds))
        assert bounds.mean() < TRUTH + 4 * error
        means.append(bounds.mean().item())
        deviations.append(bounds.std().item())
    assert means == sorted(means)
    assert deviations == sorted(deviations)
    assert means[-1] == pytest.approx(TRUTH, abs=4 * error.item())
    assert means[0] < TRUTH - 0.1
    contrastive = torch.func.vmap(mi.info_nce)(scores)
    assert means[0] < contrastive.mean() < TRUTH
    assert contrastive.max() <= math.log(size)


def test_a_wrong_critic_and_baseline_stay_below() -> None:
    scores = 1.5 * log_ratio(*gaussians(5_000, 8, seed=3)) + 1
    for alpha in ALPHAS:
        bounds = torch.func.vmap(lambda s, alpha=alpha: mi.mi_alpha(s, torch.full((8,), 0.5), alpha))(scores)
        assert bounds.mean() < TRUTH


@pytest.mark.parametrize("alpha", ALPHAS)
def test_gradients_are_finite_and_right_in_float32(alpha: float) -> None:
    """Scores 60 apart: subtraction in the leave-one-out mean would cancel to log 0."""
    scores = 5 * torch.randn(5, 5, generator=rng(4))
    scores[1, 3] += 60
    log_a = torch.tensor([0.0, 1.0, 0.0, 62.0, -1.0])
    value, gradients = {}, {}
    for dtype in (torch.float32, torch.float64):
        inputs = scores.to(dtype).requires_grad_(), log_a.to(dtype).requires_grad_()
        bound = mi.mi_alpha(*inputs, torch.tensor(alpha))
        value[dtype], gradients[dtype] = bound.double(), torch.autograd.grad(bound, inputs)
    torch.testing.assert_close(value[torch.float32], value[torch.float64], rtol=1e-5, atol=1e-5)
    for single, double in zip(gradients[torch.float32], gradients[torch.float64], strict=True):
        assert single.isfinite().all()
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_gradcheck(alpha: float) -> None:
    scores = torch.randn(4, 4, dtype=torch.float64, generator=rng(5), requires_grad=True)
    log_a = torch.randn(4, dtype=torch.float64, generator=rng(6), requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, b: mi.mi_alpha(s, b, alpha), (scores, log_a))


def test_vmap_over_members_with_gradients() -> None:
    members = [mi.critic_parameters(4, 6, 8, rng(seed)) for seed in range(3)]
    stacked = {name: torch.stack([m[name] for m in members]).double() for name in members[0]}
    student = torch.randn(3, 5, 4, dtype=torch.float64, generator=rng(7))
    teacher = torch.randn(5, 6, dtype=torch.float64, generator=rng(8))
    alphas = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    both = torch.func.grad_and_value(mi.mi_alpha_loss, argnums=(0, 2))
    fused_gradients, fused = torch.func.vmap(both, (0, None, 0, 0))(student, teacher, stacked, alphas)
    for k, alpha in enumerate(alphas.tolist()):
        parameters = {name: tensor[k] for name, tensor in stacked.items()}
        (of_student, of_parameters), loss = both(student[k], teacher, parameters, alpha)
        torch.testing.assert_close(fused[k], loss)
        torch.testing.assert_close(fused_gradients[0][k], of_student)
        for name, gradient in of_parameters.items():
            torch.testing.assert_close(fused_gradients[1][name][k], gradient)
        assert of_student.abs().max() > 0
        assert all(of_parameters[side].abs().max() > 0 for side in ("student_weight", "teacher_weight"))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_training_a_critic_raises_the_bound_towards_the_truth(alpha: float) -> None:
    parameters = {
        name: tensor.requires_grad_()
        for name, tensor in mi.critic_parameters(DIMENSIONS, DIMENSIONS, 16, rng(9)).items()
    }
    optimizer = torch.optim.Adam(list(parameters.values()), lr=3e-2)
    train_x, train_y = (x.float() for x in gaussians(150, 64, seed=10))
    held_x, held_y = (x.float() for x in gaussians(100, 64, seed=11))

    def held_out() -> float:
        with torch.no_grad():
            loss = torch.func.vmap(lambda x, y: mi.mi_alpha_loss(x, y, parameters, alpha))(held_x, held_y)
        return -loss.mean().item()

    start = held_out()
    for x, y in zip(train_x, train_y, strict=True):
        optimizer.zero_grad()
        mi.mi_alpha_loss(x, y, parameters, alpha).backward()
        optimizer.step()
    assert start < 0.2
    assert 0.5 * TRUTH < held_out() < 1.02 * TRUTH


def test_a_batch_of_one_says_nothing() -> None:
    parameters = mi.critic_parameters(3, 2, 4, rng(12))
    student = torch.randn(1, 3, generator=rng(13), requires_grad=True)
    loss = mi.mi_alpha_loss(student, torch.randn(1, 2, generator=rng(14)), parameters, 0.5)
    loss.backward()
    assert loss == 0
    assert (student.grad == 0).all()
    assert mi.tuba(torch.ones(1, 1), torch.zeros(1)) == 0
