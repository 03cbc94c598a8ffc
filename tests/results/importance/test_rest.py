"""Variance beyond the terms: restricted maximum likelihood against closed forms, and what may enter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from distiller.results.design import Design, Question
from distiller.results.importance import importance
from distiller.results.importance import rest as beyond
from distiller.results.importance.basis import stage_blocks
from distiller.results.importance.linear import Basis, Linear
from distiller.results.importance.regression import fit
from distiller.results.importance.rest import Rest, rest, stage_kernel, within_kernel
from distiller.results.importance.rows import read_rows
from distiller.spaces.priors import Integers, Uniform
from tests.truth.small import small_design
from tests.truth.tables import distinct, table

WIDE = 1e6
"""Prior variance of a mean that is left free."""


def classes(count: int, size: int, variance: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Scores of a balanced one-way layout with a random effect, and its kernel."""
    member = np.repeat(np.arange(count), size)
    y = rng.normal(size=count)[member] * variance**0.5 + rng.normal(size=count * size)
    return member, y, (member[:, None] == member).astype(float)


def test_variances_are_those_of_the_analysis_of_variance():
    """Of a balanced one-way layout REML is (mean square between - within) / size, where that is positive."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        member, y, kernel = classes(12, 6, 0.5, rng)
        means = np.array([y[member == k].mean() for k in range(12)])
        between = 6 * ((means - y.mean()) ** 2).sum() / 11
        within = ((y - means[member]) ** 2).sum() / 60
        fixed = np.full((72, 72), WIDE)
        variance, noise, _ = beyond._likeliest(fixed, [kernel], y, np.array([0.1]), 0.5, float(y.var()))
        assert between > within
        assert variance[0] == pytest.approx((between - within) / 6, rel=1e-2)
        assert noise == pytest.approx(within, rel=1e-2)


def test_errors_are_those_of_the_analysis_of_variance():
    """Average information is in expectation the one whose inverse is the textbook variance of the estimate,
    2/size^2 (between^2 / (k - 1) + within^2 / (n - k)) (Searle, Casella & McCulloch 1992, section 3.6)."""
    rng = np.random.default_rng(1)
    found, expected = [], []
    for _ in range(30):
        _, y, kernel = classes(30, 5, 1.0, rng)
        variance, noise, precision = beyond._likeliest(
            np.full((150, 150), WIDE), [kernel], y, np.array([0.5]), 0.5, float(y.var())
        )
        between = noise + 5 * variance[0]
        found.append(np.linalg.inv(beyond._information([kernel], precision, y))[0, 0])
        expected.append(2 / 25 * (between**2 / 29 + noise**2 / 120))
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.05)


def test_chances_are_uniform_where_there_is_nothing():
    rng = np.random.default_rng(2)
    probes = rng.choice([-1.0, 1.0], (80, 30))
    found = []
    for _ in range(400):
        _, y, kernel = classes(16, 5, 0.0, rng)
        noise = float(y.var(ddof=1))
        precision = beyond._precision(np.full((80, 80), WIDE), [], np.zeros(0), noise)
        found.append(beyond._p_value(kernel, precision, noise, y, probes))
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_a_kernel_is_the_sum_over_sets_of_questions():
    """prod (1 + r K_q) - 1 is the sum over sets of questions of r^size prod K_q."""
    rng = np.random.default_rng(3)
    design = small_design()
    blocks = stage_blocks(design.stages["intermediate"], design.draw(40, rng))
    found = stage_kernel([block.matrix for block in blocks], blocks)
    single = []
    for block in blocks:
        if block.low:
            low, weight = block.matrix[:, : block.low], block.smoothness[: block.low] ** 2
            single.append(block.probability * sum(
                w / weight.sum() * np.outer(f, f) for f, w in zip(low.T, weight, strict=True)
            ))  # fmt: skip
    slow = sum(
        beyond.FURTHER**size * np.prod(some, axis=0)
        for size in range(1, len(single) + 1)
        for some in itertools.combinations(single, size)
    )
    np.testing.assert_allclose(found, slow * 40 / np.trace(slow), atol=1e-9)
    assert np.linalg.eigvalsh(found).min() > -1e-9
    slow -= beyond.FURTHER * sum(single)
    within = within_kernel([block.matrix for block in blocks], blocks)
    np.testing.assert_allclose(within, slow * 40 / np.trace(slow), atol=1e-9)
    alone = stage_blocks(design.stages["teacher"], design.draw(40, rng))
    assert within_kernel([block.matrix for block in alone], alone) is None
    # Shared by the stage's functions: their mean under the prior is 0.
    many = design.draw(4000, rng)
    wide = stage_blocks(design.stages["intermediate"], many)
    kernel = stage_kernel([block.matrix for block in wide], wide)
    assert abs(kernel.mean()) < 3 / 4000 * 4


def tangled(seed: int, weight: float, trials: int = 250, repeated: int = 1) -> tuple[Rest, list[str]]:
    """What is left beside main effects where two stages have a random function of both."""
    rng = np.random.default_rng(seed)
    design = small_design()
    drawn = distinct(design, trials, rng)
    drawn = drawn.loc[drawn.index.repeat(repeated)].reset_index(drop=True)
    blocks = {stage: stage_blocks(design.stages[stage], drawn) for stage in ("intermediate", "student")}
    one, other = (np.concatenate([b.matrix[:, : b.low] for b in some], axis=1) for some in blocks.values())
    products = (one[:, :, None] * other[:, None, :]).reshape(len(drawn), -1)
    together = products @ rng.normal(size=products.shape[1]) / products.shape[1] ** 0.5
    score = 2.0 * one[:, 0] + weight * together + rng.normal(size=len(drawn)) * 0.5
    rows = read_rows(table(drawn, 0.5 + 0.01 * score), design)
    basis = Basis.of(design, rows)
    mains = basis.mains()
    found, white = fit([part.term for part in mains], rows.score, rows.group)
    return rest(
        Linear(mains, 1, found, white), basis, rows.group, rows.prior, seed=0
    ), design.searched_stages()


@pytest.mark.parametrize("repeated", [1, 2])
def test_an_interaction_is_found_with_its_variance(repeated):
    shares = []
    for seed in range(4):
        found, stages = tangled(seed, 1.0, repeated=repeated)
        pair = frozenset({stages.index("intermediate"), stages.index("student")})
        assert found.stages[0] == pair
        assert found.p_value[0] < 1e-3
        shares.append(found.variance[0] / 1e-4)
    assert np.mean(shares) == pytest.approx(1.0, abs=0.3)  # random coefficients spread by a tenth


def test_nothing_enters_where_there_is_nothing():
    assert sum(bool(tangled(seed, 0.0)[0].stages) for seed in range(12)) <= 2  # 5% each: P(3 or more) = .02


def test_a_smooth_effect_counts_once():
    """A parabola is held by the surrogate's terms, though few of the functions that they allow for."""
    learning_rate = Question("optimization.rate", "rate", "optimization", Uniform(1e-5, 1e-1, log=True))
    layers = Question("student.layers", "layers", "student", Integers(1, 6))
    design = Design({"optimization": (learning_rate,), "student": (layers,)})
    curved, straight = 2.5**2 * 4 / 45 * 2.0**2, 0.2**2 * 35 / 12
    for seed in range(3):
        rng = np.random.default_rng(seed)
        drawn = design.draw(120, rng)
        place = (np.log10(drawn["rate"].astype(float)) + 3) / 2
        score = 2.5 * 2.0 * place**2 + 0.2 * drawn["layers"].astype(float) + 0.1 * rng.normal(size=120)
        found = {s.stage: s.main for s in importance(table(drawn, score.to_numpy()), design).stages}
        assert found["student"] == pytest.approx(straight / (curved + straight), abs=0.015)


def test_draws_have_the_errors_covariance():
    covariance = np.array([[0.04, -0.01], [-0.01, 0.02]])
    found = Rest((frozenset({0}), frozenset({1})), np.array([2.0, 0.1]), covariance, np.zeros(2))
    drawn = found.drawn(20000, np.random.default_rng(0))
    assert drawn[:, 0].std() == pytest.approx(0.2, rel=0.03)
    assert drawn[:, 0].mean() == pytest.approx(2.0, rel=0.01)
    assert drawn.min() == 0
    assert (drawn[:, 1] == 0).mean() == pytest.approx(stats.norm.cdf(-0.1 / 0.02**0.5), abs=0.02)
    assert Rest((), np.zeros(0), np.zeros((0, 0)), np.zeros(0)).drawn(3, np.random.default_rng(0)).shape == (
        3,
        0,
    )
