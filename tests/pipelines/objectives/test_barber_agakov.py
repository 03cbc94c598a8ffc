"""The Gaussian decoder, and the unification: which objectives are Barber-Agakov bounds, and which are not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, laplace, multivariate_normal, norm, vonmises_fisher
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.objectives.attention import attention
from distiller.pipelines.objectives.barber_agakov import barber_agakov
from distiller.pipelines.objectives.gram import cka, fsp, nst
from distiller.pipelines.objectives.hidden import ce, cosine, kl, l1, mse, pkd
from distiller.pipelines.objectives.rkd import rkd

SEEDS = st.integers(0, 2**16)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(SEEDS, st.integers(1, 5))
def test_the_loss_is_a_gaussian_log_density(seed: int, size: int) -> None:
    student, teacher = normal(seed, size, 4), normal(seed + 1, size, 3)
    parameters = {
        "mean_weight": normal(seed + 2, 3, 4),
        "mean_bias": normal(seed + 3, 3),
        "log_variance": normal(seed + 4, 3),
    }
    mean = student @ parameters["mean_weight"].T + parameters["mean_bias"]
    deviation = (parameters["log_variance"] / 2).exp()
    densities = norm(mean, deviation).logpdf(teacher)
    found = barber_agakov(student, teacher, None, parameters=parameters).item()
    assert found == pytest.approx(-densities.mean() - math.log(2 * math.pi) / 2, rel=1e-9)


@pytest.mark.parametrize("nats", [1.0, 4.0])
def test_at_its_best_decoder_the_bound_is_the_truth(nats: float) -> None:
    """Correlated Gaussians of 20 dimensions: mean rho x, variance 1 - rho^2."""
    dimensions, size = 20, 100_000
    rho = math.sqrt(1 - math.exp(-2 * nats / dimensions))
    x, noise = normal(0, size, dimensions), normal(1, size, dimensions)
    y = rho * x + math.sqrt(1 - rho**2) * noise
    eye, zeros = torch.eye(dimensions, dtype=torch.float64), torch.zeros(dimensions, dtype=torch.float64)
    best = {"mean_weight": rho * eye, "mean_bias": zeros, "log_variance": zeros + math.log(1 - rho**2)}
    teacher_entropy = multivariate_normal(np.zeros(dimensions)).entropy()

    def bound(parameters: dict[str, Tensor]) -> float:
        loss = barber_agakov(x, y, None, parameters=parameters).item()
        return float(teacher_entropy - dimensions * (loss + math.log(2 * math.pi) / 2))

    assert bound(best) == pytest.approx(nats, abs=0.04)
    for worse in (
        {**best, "mean_weight": 0.5 * rho * eye},
        {**best, "log_variance": zeros + 0.5},
        {**best, "mean_bias": zeros + 0.1},
    ):
        assert bound(worse) < bound(best) - 0.05


@settings(deadline=None)
@given(SEEDS)
def test_mse_is_the_bound_with_a_gaussian_of_unit_variance(seed: int) -> None:
    x, y = normal(seed, 7, 5), normal(seed + 1, 7, 5)
    minus_log = -norm(x, 1).logpdf(y).sum(-1).mean()
    assert mse(x, y, None).item() == pytest.approx(2 / 5 * minus_log - math.log(2 * math.pi))
    fixed = {
        "mean_weight": torch.eye(5).double(),
        "mean_bias": torch.zeros(5),
        "log_variance": torch.zeros(5),
    }
    decoded = barber_agakov(x, y, None, parameters={n: p.double() for n, p in fixed.items()})
    torch.testing.assert_close(mse(x, y, None), 2 * decoded)


@settings(deadline=None)
@given(SEEDS)
def test_l1_is_the_bound_with_a_laplace_density(seed: int) -> None:
    x, y = normal(seed, 7, 5), normal(seed + 1, 7, 5)
    minus_log = -laplace(x, 1).logpdf(y).sum(-1).mean()
    assert l1(x, y, None).item() == pytest.approx(minus_log / 5 - math.log(2))


@settings(deadline=None)
@given(SEEDS, st.sampled_from([0.5, 3.0, 20.0]))
def test_cosine_and_pkd_are_the_bound_with_von_mises_and_fisher(seed: int, concentration: float) -> None:
    """Differences between batches, as the constant depends on the concentration."""

    def minus_log(x: Tensor, y: Tensor) -> float:
        return -float(
            np.mean(
                [
                    vonmises_fisher(direction, concentration).logpdf(point)
                    for direction, point in zip(F.normalize(x).numpy(), F.normalize(y).numpy(), strict=True)
                ]
            )
        )

    one, other = [(normal(seed + n, 4, 5), normal(seed + n + 1, 4, 5)) for n in (0, 2)]
    expected = (minus_log(*one) - minus_log(*other)) / concentration
    assert (cosine(*one, None) - cosine(*other, None)).item() == pytest.approx(expected, abs=1e-9)
    assert (pkd(*one, None) - pkd(*other, None)).item() == pytest.approx(2 * expected, abs=1e-9)


def test_mse_is_tight_where_the_teacher_is_the_student_plus_unit_noise() -> None:
    """Y = X + N(0, 1), X of variance 3: I = H/2 log 4, and H(Y) is known."""
    width, size = 6, 200_000
    x = math.sqrt(3) * normal(0, size, width)
    y = x + normal(1, size, width)
    teacher_entropy = width / 2 * math.log(2 * math.pi * math.e * 4)
    truth = width / 2 * math.log(4)

    def bound(student: Tensor) -> float:
        return teacher_entropy - width / 2 * (mse(student, y, None).item() + math.log(2 * math.pi))

    assert bound(x) == pytest.approx(truth, abs=0.02)
    assert bound(0.9 * x) < truth - 0.05
    assert bound(x + 0.3) < truth - 0.05


@settings(deadline=None)
@given(SEEDS, st.floats(0.2, 5))
def test_ce_bounds_the_information_of_a_drawn_neuron(seed: int, temperature: float) -> None:
    """Discrete X and Y, by enumeration: H(Z) - ce <= I(X; Z) <= I(X; Y), Z drawn from softmax(y / T)."""
    generator = np.random.default_rng(seed)
    joint = generator.dirichlet(np.full(12, 0.3)).reshape(3, 4)  # of 3 student and 4 teacher states
    students, teachers = 2 * normal(seed, 3, 5), 2 * normal(seed + 1, 4, 5)
    of_neuron = F.softmax(teachers / temperature, -1).numpy()

    def information(table: np.ndarray) -> float:
        return float(entropy(table.sum(0)) + entropy(table.sum(1)) - entropy(table.ravel()))

    cross = sum(
        joint[i, j] * ce(students[i][None], teachers[j][None], None, temperature=temperature).item()
        for i, j in itertools.product(range(3), range(4))
    )
    drawn = joint @ of_neuron
    bound = entropy(drawn.sum(0)) - cross
    assert bound <= information(drawn) + 1e-9
    assert information(drawn) <= information(joint) + 1e-9
    # Tight at the student whose softmax is p(z | x).
    ideal = temperature * torch.from_numpy(drawn / drawn.sum(1, keepdims=True)).log()
    best = sum(
        joint[i, j] * ce(ideal[i][None], teachers[j][None], None, temperature=temperature).item()
        for i, j in itertools.product(range(3), range(4))
    )
    assert entropy(drawn.sum(0)) - best == pytest.approx(information(drawn), abs=1e-9)


def two_halves(states: Tensor, scale: float) -> Tensor:
    first, second = states.chunk(2, -1)
    return torch.cat([first * scale, second / scale], -1)


MASK = torch.ones(3, 4)
TOKENS, OTHER_TOKENS = normal(2, 3, 4, 6), normal(3, 3, 4, 6)
VECTORS, OTHER_VECTORS = normal(4, 5, 6), normal(5, 5, 6)


def heads(target: str) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, y: attention(x, y, MASK, student_heads=1, teacher_heads=1, target=target)


@pytest.mark.parametrize(
    ("loss", "student", "moved"),
    [
        (lambda x, y: cka(x, y, None), VECTORS, lambda s: OTHER_VECTORS * s),
        (lambda x, y: rkd(x, y, None, angle_weight=2.0), VECTORS, lambda s: OTHER_VECTORS * s),
        (lambda x, y: nst(x, y, MASK), TOKENS, lambda s: OTHER_TOKENS * s),
        (lambda x, y: fsp(x, y, MASK), TOKENS, lambda s: two_halves(OTHER_TOKENS, s)),
        (heads("scores"), TOKENS, lambda s: two_halves(OTHER_TOKENS, s)),
        (heads("maps"), TOKENS, lambda s: two_halves(OTHER_TOKENS, s)),
    ],
    ids=["cka", "rkd", "nst", "fsp", "attention scores", "attention maps"],
)
def test_no_density_is_constant_towards_infinity(
    loss: Callable[[Tensor, Tensor], Tensor], student: Tensor, moved: Callable[[float], Tensor]
) -> None:
    """exp(-loss) of these does not fall on the way to infinity: it is no q(y | x), at whatever scale."""
    for scale in (10.0, 1e3, 1e5):
        torch.testing.assert_close(loss(student, moved(scale)), loss(student, moved(1.0)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("distance", [mse, l1])
def test_densities_fall_towards_infinity(distance: Callable[..., Tensor]) -> None:
    assert distance(VECTORS, 1e3 * OTHER_VECTORS, None) > 100 * distance(VECTORS, OTHER_VECTORS, None)


@pytest.mark.parametrize(
    ("loss", "additive"),
    [
        (lambda x, y: mse(x, y, None), True),
        (lambda x, y: kl(x, y, None, temperature=1.0), True),
        (lambda x, y: cka(x, y, None), False),
        (lambda x, y: rkd(x, y, None, angle_weight=2.0), False),
    ],
    ids=["mse", "kl", "cka", "rkd"],
)
def test_log_densities_are_means_over_examples(
    loss: Callable[[Tensor, Tensor], Tensor], additive: bool
) -> None:
    x, y = normal(6, 10, 6), normal(7, 10, 6)
    halves = (loss(x[:5], y[:5]) + loss(x[5:], y[5:])) / 2
    assert torch.isclose(loss(x, y), halves) == additive


def test_cka_is_not_what_information_is_invariant_to() -> None:
    """An invertible map of the student leaves I(X; Y) alone, and noise takes from it; cka says otherwise."""
    y = normal(8, 4000, 6)
    noise = 0.3 * normal(9, 4000, 6)
    stretch = torch.tensor([1.0, 1, 1, 1, 1, 30]).double()

    def gaussian_information(x: Tensor) -> float:
        """I(X; Y) of jointly Gaussian X and Y, from their covariance."""
        covariance = torch.cov(torch.cat([x, y], -1).T)
        parts = torch.logdet(covariance[:6, :6]) + torch.logdet(covariance[6:, 6:])
        return 0.5 * (parts - torch.logdet(covariance)).item()

    noisy, stretched = y + noise, (y + 0.1 * noise) * stretch
    assert gaussian_information(noisy) == pytest.approx(gaussian_information(noisy * stretch), rel=1e-9)
    assert cka(noisy * stretch, y, None) > 5 * cka(noisy, y, None)
    assert gaussian_information(stretched) > gaussian_information(noisy) + 5
    assert cka(stretched, y, None) > cka(noisy, y, None)
