"""The basis against enumeration: orthonormal under the prior, down every tree of conditions."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate

from distiller.results.design import Design, Question
from distiller.results.importance.basis import contrasts, discrete, levels, polynomials, stage_blocks
from distiller.spaces.narrowing import parse_space
from distiller.spaces.priors import Integers, LogUniform, OneOf, Uniform


def joined(blocks):
    return np.concatenate([block.matrix for block in blocks], axis=1)


def test_a_tree_of_conditions_is_orthonormal_exactly():
    """Every config of a finite design, each as often as the prior has it."""
    space = parse_space(
        {
            "intermediate": {
                "none": {},
                "mse": {
                    "weight": [0.1, 1.0, 10.0],
                    "representation": ["cls", "mean"],
                    "projection": ["none", "linear"],
                    "schedule": "constant",
                    "mapping": {"skip": {}, "emd": {"temperature": [1.0, 2.0]}},
                },
            }
        }
    )
    design = Design.of(space)
    rows, weights = [{}], [1.0]
    for question in design.stages["intermediate"]:
        rows, weights = answered(question, rows, weights)
    assert sum(weights) == pytest.approx(1)
    table = pd.DataFrame(rows)
    blocks = stage_blocks(design.stages["intermediate"], table)
    features = joined(blocks)
    weights = np.array(weights)
    np.testing.assert_allclose(weights @ features, 0, atol=1e-12)
    np.testing.assert_allclose(
        features.T @ (features * weights[:, None]), np.eye(features.shape[1]), atol=1e-12
    )
    paths = {block.path for block in blocks if block.kind != "interactions"}
    assert paths == {q.path for q in design.searched() if q.stage == "intermediate"}
    main = np.arange(len(table)) % 7 + 3.0 * (table["intermediate_objective"] == "mse")
    mse = next(b for b in blocks if b.path == "intermediate.objective").matrix
    share = (weights * main.to_numpy()) @ mse
    by_hand = 0.25 * (np.average(main[mse[:, 0] > 0], weights=weights[mse[:, 0] > 0])
                      - np.average(main[mse[:, 0] < 0], weights=weights[mse[:, 0] < 0])) ** 2  # fmt: skip
    assert float(share @ share) == pytest.approx(by_hand)


def answered(question, rows, weights):
    """Every way to answer a question and what is below it, after each of the rows so far."""
    found, chances = [], []
    for answer in question.prior.values:
        some, chance = rows, [weight / len(question.prior.values) for weight in weights]
        some = [{**row, question.column: answer} for row in some]
        for inner in question.below.get(answer, ()):
            some, chance = answered(inner, some, chance)
        found, chances = found + some, chances + chance
    return found, chances


def test_functions_of_ranges_are_orthonormal():
    def product(i, j):
        return integrate.quad(lambda x: (polynomials(np.array([x]), 5)[0, [i, j]]).prod() / 2, -1, 1)[0]

    for i in range(5):
        for j in range(i + 1):
            assert product(i, j) == pytest.approx(float(i == j), abs=1e-9)
    for low, high in ((1, 2), (2, 6), (-3, 40)):
        degree = min(5, high - low)
        grid = discrete(low, high, np.arange(low, high + 1.0), degree)
        np.testing.assert_allclose(grid.T @ grid / len(grid), np.eye(degree), atol=1e-9)
        np.testing.assert_allclose(grid.mean(axis=0), 0, atol=1e-9)
    for count in (2, 3, 7):
        np.testing.assert_allclose(
            contrasts(count).T @ contrasts(count) / count, np.eye(count - 1), atol=1e-12
        )


def test_values_are_told_as_tables_hold_them():
    assert levels(OneOf(2, 4), pd.Series([2.0, 4.0, None, 3.0])).tolist() == [0, 1, -1, -1]
    assert levels(OneOf(2, 4), pd.Series([4, 2, None], dtype="Int64")).tolist() == [1, 0, -1]
    assert levels(OneOf(True, False), pd.Series([False, True, None], dtype="boolean")).tolist() == [1, 0, -1]
    assert levels(OneOf("auto", 3), pd.Series(["3", "auto"])).tolist() == [-1, 0]
    assert levels(OneOf("1e-3", "big"), pd.Series(["big", "1e-3", np.nan])).tolist() == [1, 0, -1]


@pytest.mark.parametrize("prior", [Uniform(-1, 3), LogUniform(1e-4, 1.0), Integers(2, 9)])
def test_a_range_is_read_in_its_own_scale(prior):
    rng = np.random.default_rng(0)
    values = [prior.sample(rng) for _ in range(20000)]
    (block,) = stage_blocks([Question("s.x", "x", "s", prior)], pd.DataFrame({"x": values}))
    gram = block.matrix.T @ block.matrix / len(values)
    assert np.abs(gram - np.eye(5)).max() < 0.06
    assert np.abs(block.matrix.mean(axis=0)).max() < 0.03
