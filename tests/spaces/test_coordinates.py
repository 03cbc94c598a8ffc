"""A space as a cube: quantiles are the prior's, and questions of one config have coordinates of their own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from distiller.spaces.coordinates import coordinates, depth, quantile
from distiller.spaces.narrowing import parse_space
from distiller.spaces.priors import Integers, LogUniform, OneOf, Uniform

TWO = {"intermediate": {"slots": [["none", "mse"], {"cosine": {"weight": {"loguniform": [0.1, 10]}}}]}}
FIXED = {"student": {"svd": {"layers": 2, "width": 64}}, "augmentation": "none", "intermediate": "none",
         "prediction": {"mse": {"hard_weight": 0.5}}, "teacher": {"checkpoint": "a"},
         "optimization": {"learning_rate": 0.1, "warmup": 0, "weight_decay": 0,
                          "schedule": "linear"}}  # fmt: skip


@pytest.mark.parametrize(
    "prior", [Uniform(-1, 3), LogUniform(0.01, 100), Integers(2, 6), OneOf("a", "b", "c"), Uniform(2, 2)]
)
def test_quantiles_are_the_priors(prior):
    """Evenly spaced shares give the distribution that the prior's own draws have."""
    rng = np.random.default_rng(0)
    drawn = [prior.sample(rng) for _ in range(4000)]
    found = [quantile(prior, (i + 0.5) / 4000) for i in range(4000)]
    assert all(prior.contains(value) for value in (*found, quantile(prior, 0.0), quantile(prior, 1 - 1e-12)))
    if isinstance(prior, OneOf):
        assert [found.count(v) / 4000 for v in prior.values] == pytest.approx([1 / 3] * 3, abs=0.001)
    elif prior.low < prior.high:
        assert ks_2samp(found, drawn).statistic < 0.04


@pytest.mark.parametrize("written", [{}, TWO, {**FIXED, "prediction": ["mse", "kl"]}])
def test_every_config_answers_with_coordinates_of_its_own(written):
    """No two questions of one config share a coordinate, and no coordinate is idle."""
    space = parse_space(written)
    places, rng, used = dict(coordinates(space)), np.random.default_rng(0), set()
    for _ in range(50):
        asked = [d.path for d, _ in space.decisions(space.sample(rng)) if d.path in places]
        assert len({places[path] for path in asked}) == len(asked)
        used |= {places[path] for path in asked}
    assert used == set(range(depth(space)))
    assert set(places) == {decision.path for decision in space.searched()}


def test_a_space_of_one_config_has_no_coordinates():
    assert (depth(parse_space(FIXED)), dict(coordinates(parse_space(FIXED)))) == (0, {})
