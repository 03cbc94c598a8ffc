"""MI bounds on correlated Gaussians of known MI, against slow loops, and with a trained critic."""

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.pipelines.objectives import OBJECTIVES
from distiller.pipelines.objectives import mutual_information as mi

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


def gaussians(
    batches: int, size: int, seed: int = 0, dimensions: int = DIMENSIONS, rho: float = RHO
) -> tuple[torch.Tensor, torch.Tensor]:
    """x, y [batches, size, dimensions], correlated rho in each: of mutual information -d/2 log(1 - rho^2)."""
    x, noise = torch.randn(2, batches, size, dimensions, dtype=torch.float64, generator=rng(seed))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def log_ratio(x: torch.Tensor, y: torch.Tensor, rho: float = RHO) -> torch.Tensor:
    """The best critic, log p(y | x) / p(y), for every pair: [..., i, j] of x_i and y_j."""
    # -(y - rho x)^2 / 2 v + y^2 / 2 multiplied out, so that no [..., i, j, d] is made; v = 1 - rho^2.
    variance = 1 - rho**2
    lengths = rho**2 * (x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2))
    products = rho * x @ y.transpose(-1, -2)
    return (products - lengths / 2) / variance - x.shape[-1] / 2 * math.log(variance)


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


TWENTY = 20
NATS = (1.0, 2.0, 4.0)


@pytest.fixture(scope="module", params=NATS)
def known(request: pytest.FixtureRequest) -> tuple[float, torch.Tensor]:
    """The truth in nats, and the best critic's scores on 300 batches of 64 in 20 dimensions."""
    rho = math.sqrt(1 - math.exp(-2 * request.param / TWENTY))
    return request.param, log_ratio(*gaussians(300, 64, 21, TWENTY, rho), rho)


def test_the_critic_of_these_tests_is_the_log_density_ratio() -> None:
    x, y = gaussians(1, 4, 20)
    normal = torch.distributions.Normal
    ratio = normal(RHO * x[0, :, None], math.sqrt(1 - RHO**2)).log_prob(y[0]) - normal(0, 1).log_prob(y[0])
    torch.testing.assert_close(log_ratio(x, y)[0], ratio.sum(-1))


def test_every_bound_stays_below_the_truth(known: tuple[float, torch.Tensor]) -> None:
    """At the best critic, in 20 dimensions, batch 64."""
    truth, scores = known
    ones, zeros = torch.ones(64).double(), torch.zeros(64).double()
    bounds = {
        "info_nce": mi.info_nce,
        "tuba": lambda s: mi.tuba(s, zeros),
        "nwj": lambda s: mi.nwj(s + 1),
        "tuba with another baseline": lambda s: mi.tuba(s, ones),
        "nwj without its constant": mi.nwj,
        **{f"alpha {a}": lambda s, a=a: mi.mi_alpha(s, zeros, a) for a in ALPHAS},
    }
    for name, bound in bounds.items():
        found = torch.func.vmap(bound)(scores)
        noise = found.std().item() / math.sqrt(len(found))
        assert found.mean().item() < truth + 4 * noise, name
        if name in ("tuba", "nwj", "alpha 0.0"):
            assert found.mean().item() == pytest.approx(truth, abs=max(4 * noise, 0.02)), name
    contrastive = torch.func.vmap(mi.info_nce)(scores)
    assert contrastive.max() <= math.log(64)
    assert contrastive.mean() > 0.75 * truth


def test_alpha_trades_bias_for_variance(known: tuple[float, torch.Tensor]) -> None:
    """Poole et al. figures 2 and 3: from alpha = 1 to 0 the bias falls and the variance grows."""
    truth, scores = known
    zeros = torch.zeros(64).double()
    found = [torch.func.vmap(lambda s, a=a: mi.mi_alpha(s, zeros, a))(scores) for a in (1.0, 0.5, 0.1, 0.0)]
    biases = [truth - f.mean().item() for f in found]
    deviations = [f.std().item() for f in found]
    assert biases == sorted(biases, reverse=True)
    assert deviations == sorted(deviations)
    assert biases[0] > abs(biases[-1])
    assert deviations[-1] > 1.05 * deviations[0]


def test_info_nce_saturates_at_the_log_of_the_batch() -> None:
    """At 12 nats of information a batch of 32 can show log 32 = 3.47 at most."""
    rho = math.sqrt(1 - math.exp(-2 * 12 / TWENTY))
    found = torch.func.vmap(mi.info_nce)(log_ratio(*gaussians(100, 32, 22, TWENTY, rho), rho))
    assert 0.98 * math.log(32) < found.mean() <= math.log(32)


def test_nwj_is_tuba_with_the_baseline_e() -> None:
    scores = torch.randn(6, 6, dtype=torch.float64, generator=rng(15))
    off = [scores[i, j].item() for i in range(6) for j in range(6) if i != j]
    expected = scores.diagonal().mean().item() - sum(math.exp(s - 1) for s in off) / 30
    assert mi.nwj(scores).item() == pytest.approx(expected)
    torch.testing.assert_close(mi.nwj(scores), mi.tuba(scores, torch.ones(6).double()))


def test_js_equals_loops_and_binary_cross_entropy() -> None:
    scores = 3 * torch.randn(5, 5, dtype=torch.float64, generator=rng(16))
    off = [scores[i, j].item() for i in range(5) for j in range(5) if i != j]
    negatives = sum(math.log1p(math.exp(s)) for s in off) / len(off)
    positives = sum(math.log1p(math.exp(-scores[j, j].item())) for j in range(5)) / 5
    assert mi.jensen_shannon(scores).item() == pytest.approx(-positives - negatives)
    same = torch.eye(5, dtype=torch.bool)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = bce(scores[same], torch.ones(5).double()) + bce(scores[~same], torch.zeros(20).double())
    torch.testing.assert_close(mi.jensen_shannon(scores), -expected)


def test_js_is_largest_at_the_log_density_ratio(known: tuple[float, torch.Tensor]) -> None:
    truth, scores = known
    best = torch.func.vmap(mi.jensen_shannon)(scores)
    assert -math.log(4) < best.mean() < 0
    for wrong in (scores + 0.5, scores - 0.5, 0.5 * scores, 1.5 * scores, scores + scores.sin()):
        less = best - torch.func.vmap(mi.jensen_shannon)(wrong)
        assert less.mean() > 3 * less.std() / math.sqrt(len(less))
    assert best.mean() > torch.func.vmap(mi.jensen_shannon)(torch.zeros_like(scores)).mean() + 0.05 * truth


@pytest.mark.parametrize("name", ["mi_alpha", "info_nce", "tuba", "nwj", "js"])
def test_the_registered_losses_are_minus_their_bounds(name: str) -> None:
    objective = OBJECTIVES[name]
    assert objective.start is not None
    parameters = {n: p.double() for n, p in objective.start(4, 6, rng(17)).items()}
    for key in parameters:
        if key.startswith("baseline_output"):
            parameters[key] = parameters[key] + 0.3
    student = torch.randn(5, 4, dtype=torch.float64, generator=rng(18))
    teacher = torch.randn(5, 6, dtype=torch.float64, generator=rng(19))
    scores = (student @ parameters["student_weight"].T) @ (teacher @ parameters["teacher_weight"].T).T
    scores = scores / math.sqrt(mi.CRITIC_WIDTH)
    bounds = {"info_nce": mi.info_nce, "nwj": mi.nwj, "js": mi.jensen_shannon}
    if name in bounds:
        expected = bounds[name](scores)
        found = objective.loss(student, teacher, None, parameters=parameters)
    else:
        hidden = teacher @ parameters["baseline_hidden_weight"].T + parameters["baseline_hidden_bias"]
        log_a = (hidden.tanh() @ parameters["baseline_output_weight"].T).squeeze(-1) + 0.3
        more = {"alpha": torch.tensor(0.3)} if name == "mi_alpha" else {}
        expected = mi.mi_alpha(scores, log_a, 0.3) if more else mi.tuba(scores, log_a)
        found = objective.loss(student, teacher, None, parameters=parameters, **more)
    torch.testing.assert_close(found, -expected, rtol=1e-6, atol=1e-7)


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
    members = [mi.start_critic_and_baseline(4, 6, rng(seed)) for seed in range(3)]
    stacked = {name: torch.stack([m[name] for m in members]).double() for name in members[0]}
    student = torch.randn(3, 5, 4, dtype=torch.float64, generator=rng(7))
    teacher = torch.randn(5, 6, dtype=torch.float64, generator=rng(8))
    alphas = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)

    def loss(student: torch.Tensor, parameters: dict[str, torch.Tensor], alpha: torch.Tensor) -> torch.Tensor:
        return mi.mi_alpha_loss(student, teacher, None, parameters=parameters, alpha=alpha)

    both = torch.func.grad_and_value(loss, argnums=(0, 1))
    fused_gradients, fused = torch.func.vmap(both)(student, stacked, alphas)
    for k, alpha in enumerate(alphas.tolist()):
        parameters = {name: tensor[k] for name, tensor in stacked.items()}
        (of_student, of_parameters), solo = both(student[k], parameters, alpha)
        torch.testing.assert_close(fused[k], solo)
        torch.testing.assert_close(fused_gradients[0][k], of_student)
        for name, gradient in of_parameters.items():
            torch.testing.assert_close(fused_gradients[1][name][k], gradient)
        assert of_student.abs().max() > 0
        assert all(of_parameters[side].abs().max() > 0 for side in ("student_weight", "teacher_weight"))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_training_a_critic_raises_the_bound_towards_the_truth(alpha: float) -> None:
    parameters = {
        name: tensor.requires_grad_()
        for name, tensor in mi.start_critic_and_baseline(DIMENSIONS, DIMENSIONS, rng(9)).items()
    }
    optimizer = torch.optim.Adam(list(parameters.values()), lr=3e-2)
    train_x, train_y = (x.float() for x in gaussians(150, 64, seed=10))
    held_x, held_y = (x.float() for x in gaussians(100, 64, seed=11))

    def held_out() -> float:
        with torch.no_grad():
            loss = torch.func.vmap(
                lambda x, y: mi.mi_alpha_loss(x, y, None, parameters=parameters, alpha=alpha)
            )(held_x, held_y)
        return -loss.mean().item()

    start = held_out()
    for x, y in zip(train_x, train_y, strict=True):
        optimizer.zero_grad()
        mi.mi_alpha_loss(x, y, None, parameters=parameters, alpha=alpha).backward()
        optimizer.step()
    assert start < 0.2
    assert 0.5 * TRUTH < held_out() < 1.02 * TRUTH


@pytest.mark.parametrize("name", ["mi_alpha", "info_nce", "tuba", "nwj", "js"])
def test_a_batch_of_one_says_nothing(name: str) -> None:
    objective = OBJECTIVES[name]
    assert objective.start is not None
    student = torch.randn(1, 3, generator=rng(13), requires_grad=True)
    more = {"alpha": 0.5} if name == "mi_alpha" else {}
    loss = objective.loss(
        student,
        torch.randn(1, 2, generator=rng(14)),
        None,
        parameters=objective.start(3, 2, rng(12)),
        **more,
    )
    loss.backward()
    assert loss == 0
    assert (student.grad == 0).all()
