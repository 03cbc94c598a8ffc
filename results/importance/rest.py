"""Variance that no term of the linear surrogate holds: components of variance on kernels of sets of stages.

What a wide interaction does at each config takes more trials to learn than how much it varies: configs alike
in its stages have scores alike. Each set of up to three stages has a kernel, the product over its stages of

    K_s(x, x') = prod_q (1 + r K_q(x, x')) - 1,    K_q = b_q(x)' b_q(x')

over the questions q of the stage (the ANOVA kernel, Stitson et al. 1999, with r for each further question
that takes part), scaled to a prior variance of 1; of a stage alone only what its questions do together. Sets
enter one after another, each if the score test says so (Bonferroni over all sets), and their variances are
those of restricted maximum likelihood beside all terms of the surrogate, by average information (Gilmour,
Thompson & Cullis 1995, Biometrics 51(4)) and, where that step leaves the positive numbers, by the
multiplicative step of Zhou et al. 2019 (JCGS 28(2)). Where trials were stopped, the same kernels of what
shows early stand beside them; those have no share.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, special

from distiller.results.importance.basis import Block
from distiller.results.importance.decomposition import Floats
from distiller.results.importance.linear import Basis, Linear

FEWEST_ROWS, MOST_ROWS = 50, 1000
"""That variances are estimated from; the rest of more is left out."""
LARGE, MOST_OF_LARGE = 2000, 600
"""Of a table of more rows than the one, the other number is enough: its surrogate has learnt most itself."""
LARGEST_SET = 3
SIGNIFICANCE = 0.05
"""Chance that any set enters where there is none."""
FURTHER = 0.2
"""Variance that one more question is given to bring, beside the others' own."""
PROBES = 30
ITERATIONS, SETTLED, START = 30, 1e-4, 0.02
LEAST_NOISE = 1e-12
"""Over the sum of the scores' variances: with less, rounding leaves a covariance that has no inverse."""


@dataclass(frozen=True)
class Rest:
    """Attributes:
    stages: the sets of stages that entered, by number.
    variance: [sets] in squared units of the score.
    covariance: [sets, sets] of the estimation errors.
    p_value: [sets] of "there is nothing of it", at the set's entry, times the number of sets.
    """

    stages: tuple[frozenset[int], ...]
    variance: Floats
    covariance: Floats
    p_value: Floats

    def drawn(self, count: int, rng: np.random.Generator) -> Floats:
        """[count, sets] variances under the errors' normal approximation, cut at 0."""
        values, vectors = np.linalg.eigh(self.covariance)
        errors = rng.standard_normal((count, len(values))) * np.sqrt(np.maximum(values, 0)) @ vectors.T
        return np.asarray(np.maximum(self.variance + errors, 0.0), dtype=np.float64)


def rest(
    model: Linear, basis: Basis, group: npt.NDArray[np.intp], prior: npt.NDArray[np.bool_], *, seed: int
) -> Rest:
    """What the model's terms do not hold of the variance of sets of stages, as rows from the prior show it.

    Where a sampler crowds its trials, what the terms got wrong there looks like an interaction.

    Args:
        basis: of the rows that the model was fitted to.
        group: [rows] which rows belong together.
        prior: [rows] which were drawn from the prior.
        seed: of the rows that are taken where there are many, and of the probes.
    """
    rng = np.random.default_rng(seed)
    rows = _some(group, prior, rng)
    if len(rows) < FEWEST_ROWS:
        return Rest((), np.zeros(0), np.zeros((0, 0)), np.zeros(0))
    weights = {"full": basis.late[rows], "early": basis.early[rows]} if basis.rungs else {"full": None}
    features = [[block.matrix[rows] for block in blocks] for blocks in basis.blocks]
    kernels = [stage_kernel(*both) for both in zip(features, basis.blocks, strict=True)]
    within = {s: within_kernel(*both) for s, both in enumerate(zip(features, basis.blocks, strict=True))}
    several = [
        c for size in range(2, LARGEST_SET + 1) for c in itertools.combinations(range(len(kernels)), size)
    ]
    sets = [*((s,) for s, kernel in within.items() if kernel is not None), *several]
    asked = list(itertools.product(sets, weights))

    def kernel(one: tuple[tuple[int, ...], str]) -> Floats:
        chosen, at = one
        alone = within[chosen[0]] if len(chosen) == 1 else None
        product = np.prod([kernels[s] for s in chosen], axis=0) if alone is None else alone
        weight = weights[at]
        return model.white.kernel(product if weight is None else product * (weight @ weight.T), rows)

    y, fixed = model.white.y[rows], model.covariance(rows)
    scale, noise = float(model.white.scale), model.found.noise
    probes = rng.choice([-1.0, 1.0], (len(y), PROBES))
    entered: list[tuple[tuple[int, ...], str]] = []
    held: list[Floats] = []
    chances: list[float] = []
    variance: Floats = np.zeros(0)
    precision: Floats = _precision(fixed, [], variance, noise)
    while len(entered) < len(asked):
        left = [one for one in asked if one not in entered]
        found = [_p_value(kernel(one), precision, noise, y, probes) for one in left]
        best = int(np.argmin(found))
        if found[best] > SIGNIFICANCE / len(asked):
            break
        entered.append(left[best])
        held.append(kernel(left[best]))
        chances.append(found[best] * len(asked))
        start = np.append(variance, START * scale)
        variance, noise, precision = _likeliest(fixed, held, y, start, noise, scale)
    errors: Floats = np.linalg.inv(_information(held, precision, y))[:-1, :-1].astype(np.float64)
    told = np.array([at == "full" for _, at in entered], dtype=bool)
    stages = tuple(frozenset(chosen) for chosen, at in entered if at == "full")
    return Rest(stages, variance[told], errors[np.ix_(told, told)], np.minimum(chances, 1.0)[told])


def stage_kernel(features: Sequence[Floats], blocks: Sequence[Block]) -> Floats:
    """[rows, rows] of one stage, 1 on average over the diagonal.

    Args:
        features: [rows, features] of each of the blocks on these rows; those of interactions have no part.
    """
    return _scaled(np.prod([1 + part for part in _questions(features, blocks)], axis=0) - 1)


def within_kernel(features: Sequence[Floats], blocks: Sequence[Block]) -> Floats | None:
    """The same of what the stage's questions do together; None where no two are ever asked at once.

    What each does alone the surrogate's terms hold: counted here it would be counted twice.
    """
    parts = _questions(features, blocks)
    kernel = np.prod([1 + part for part in parts], axis=0) - 1 - np.sum(parts, axis=0)
    return _scaled(kernel) if np.trace(kernel) > 1e-9 * len(kernel) else None


def _questions(features: Sequence[Floats], blocks: Sequence[Block]) -> list[Floats]:
    parts = []
    for matrix, block in zip(features, blocks, strict=True):
        if block.low:
            weight = block.smoothness[: block.low] ** 2
            low = matrix[:, : block.low]
            parts.append(FURTHER * block.probability * (low * (weight / weight.sum())) @ low.T)
    return parts


def _scaled(kernel: Floats) -> Floats:
    return np.asarray(kernel * (len(kernel) / np.trace(kernel)), dtype=np.float64)


def _some(
    group: npt.NDArray[np.intp], prior: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Rows of whole groups from the prior, `MOST_ROWS` at most, fewer of large tables."""
    most = MOST_ROWS if len(group) <= LARGE else MOST_OF_LARGE
    usable = np.setdiff1d(group[prior], group[~prior])
    size = np.bincount(group)[usable]
    order = rng.permutation(len(usable))
    kept = usable[order[np.cumsum(size[order]) <= most]]
    return np.flatnonzero(np.isin(group, kept))


def _precision(fixed: Floats, held: Sequence[Floats], variance: Floats, noise: float) -> Floats:
    """[rows, rows] inverse covariance of the scores."""
    covariance = fixed.copy()
    for kernel, v in zip(held, variance, strict=True):
        covariance += v * kernel
    covariance[np.diag_indices(len(covariance))] += max(noise, LEAST_NOISE * float(np.trace(covariance)))
    factor = linalg.cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    inverse, _ = linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    return np.asarray(np.tril(inverse) + np.tril(inverse, -1).T, dtype=np.float64)


def _p_value(kernel: Floats, precision: Floats, noise: float, y: Floats, probes: Floats) -> float:
    """Of "the variance on this kernel is 0": a score test whose distribution is matched in two moments, the
    second from random probes (Hutchinson 1990), with the tails of F: the noise is an estimate too."""
    at = precision @ y
    first = float((precision * kernel).sum())
    second = (
        float(((precision @ (kernel @ (precision @ probes))) * (kernel @ probes)).sum()) / probes.shape[1]
    )
    if second <= 0:
        return 1.0
    freedom = noise * float(np.trace(precision))
    return float(special.fdtrc(first**2 / second, freedom, float(at @ kernel @ at) / first))


def _likeliest(
    fixed: Floats, held: Sequence[Floats], y: Floats, variance: Floats, noise: float, scale: float
) -> tuple[Floats, float, Floats]:
    """Variances of the kernels and the noise that make the scores most likely; the precision at them."""
    now = np.append(variance, noise)
    for step in range(ITERATIONS):
        precision = _precision(fixed, held, now[:-1], now[-1])
        at = precision @ y
        seen = np.array([*(at @ kernel @ at for kernel in held), at @ at])
        expected = np.array([*((precision * kernel).sum() for kernel in held), np.trace(precision)])
        new = now * np.sqrt(seen / expected)
        if step >= 2:
            newton = now + np.linalg.solve(_information(held, precision, y), (seen - expected) / 2)
            new = np.where(newton > 0, np.clip(newton, now / 4, now * 4), new / 2)
        moved = np.abs(new - now).max() / scale
        now = new
        if moved < SETTLED:
            break
    return now[:-1], float(now[-1]), _precision(fixed, held, now[:-1], now[-1])


def _information(held: Sequence[Floats], precision: Floats, y: Floats) -> Floats:
    """[sets + 1, sets + 1] average information of the variances and the noise."""
    at = precision @ y
    columns = np.column_stack([*(kernel @ at for kernel in held), at])
    return np.asarray(columns.T @ precision @ columns / 2, dtype=np.float64)
