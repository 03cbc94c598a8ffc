"""The second view against the divergence by hand, and against chance."""

import numpy as np
import pandas as pd
import pytest

from distiller.results.design import Design, Question
from distiller.results.importance.top import top_share
from distiller.spaces.priors import Integers, LogUniform, OneOf

WEIGHT = Question("b.on.weight", "b_weight", "b", LogUniform(0.01, 1.0))
DESIGN = Design(
    {
        "a": (Question("a", "a", "a", OneOf("x", "y", "z", "w")),),
        "b": (Question("b", "b", "b", OneOf("off", "on"), {"on": (WEIGHT,)}),),
        "c": (Question("c.layers", "c_layers", "c", Integers(1, 12)),),
    }
)


def test_divergences_are_those_by_hand():
    """The best tenth of 200 runs: a is always x; b is on in half of them, and then its weight is in the
    lowest fifth of its range; c goes through all its values."""
    rows = DESIGN.draw(200, np.random.default_rng(0)).astype(object)
    score = np.zeros(200)
    score[:20] = 1.0
    rows.loc[:19, "a"] = "x"
    rows.loc[:19, "b"] = ["on", "off"] * 10
    rows.loc[:19, "b_weight"] = [0.011, None] * 10
    rows.loc[:19, "c_layers"] = [1 + i % 12 for i in range(20)]
    found = top_share(rows, score, DESIGN)
    assert (found.runs, found.quantile) == (20, 0.1)
    a = 4 * 0.25 * 0 + 0.25 * 3**2 + 0.75 * 1 - 3 / 20
    weight = (0.2 * 4**2 + 0.8 - 4 / 10) * 10 / 20
    layers = found.parameters[-1].share
    total = (a + weight) / (1 - layers)
    shares = {parameter.path: parameter.share for parameter in found.parameters}
    assert shares["a"] == pytest.approx(a / total)
    assert shares["b.on.weight"] == pytest.approx(weight / total)
    assert shares["b"] == 0
    assert found.stages["b"] == pytest.approx(shares["b"] + shares["b.on.weight"])
    assert sum(found.stages.values()) == pytest.approx(1)
    favourites = {parameter.path: parameter.favourite for parameter in found.parameters}
    assert (favourites["a"], favourites["b.on.weight"]) == ("x", "lowest fifth")


def test_chance_is_taken_off():
    """Divergences of runs that differ in nothing are 0 on average, but for being cut at 0."""
    raw = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        place = rng.integers(0, 4, size=30)
        share = np.bincount(place, minlength=4) / 30
        raw.append((0.25 * (share / 0.25 - 1) ** 2).sum() - 3 / 30)
    assert np.mean(raw) == pytest.approx(0, abs=0.03)


def test_few_runs_say_nothing():
    rows = DESIGN.draw(80, np.random.default_rng(0))
    assert top_share(rows, np.arange(80.0), DESIGN) is None
    assert top_share(pd.concat([rows] * 2), np.arange(160.0), DESIGN) is not None
