"""The Bayesian signed-rank test: how probable it is that one choice is better, or that the two are equal.

After Benavoli et al. 2014, "A Bayesian Wilcoxon signed-rank test based on the Dirichlet process" (ICML),
and with a region of practical equivalence (rope) Benavoli et al. 2017, "Time for a Change" (JMLR 18), 4.3.
"""

from __future__ import annotations

import numpy as np

from distiller.results.comparison.best_of_n import Floats

SAMPLES = 20_000
PRIOR = 0.5
"""Weight of the prior's one observation, of no difference; a dataset weighs 1."""


def signed_rank(
    differences: Floats, rope: float, rng: np.random.Generator, samples: int = SAMPLES
) -> tuple[float, float, float]:
    """Posterior probabilities that the differences are above `rope`, within it, and below it.

    Each draw weighs the differences z (a 0 before them) by w ~ Dirichlet(0.5, 1, ..., 1); above the rope is
    the sum of w_i w_j over all pairs whose mean (z_i + z_j) / 2 is. The answer is how often each of the three
    is the largest; equal ones share.
    """
    z = np.concatenate([[0.0], differences])
    means = (z[:, None] + z[None, :]) / 2
    weights = rng.dirichlet([PRIOR, *np.ones(len(differences))], size=samples)
    regions = (means > rope, np.abs(means) <= rope, means < -rope)
    mass = np.column_stack([((weights @ region) * weights).sum(axis=1) for region in regions])
    largest = mass >= mass.max(axis=1, keepdims=True) - 1e-12
    above, within, below = (largest / largest.sum(axis=1, keepdims=True)).mean(axis=0)
    return float(above), float(within), float(below)
