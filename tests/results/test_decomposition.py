"""Variance shares of boxes against enumeration of the whole product space."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.results.design import Design
from distiller.results.importance.decomposition import Block, Interval, components, merged, variance
from distiller.results.importance.parameters import Tree
from distiller.results.importance.trees import Surrogate, component_functions, corrected, fixed
from distiller.spaces.config import PipelineConfig
from distiller.spaces.encoding import Encoding
from distiller.spaces.narrowing import parse_space

LEVELS = [np.nan, 0.0, 1.0, 2.0]


def value(boxes, values, point):
    """f(point), read off the boxes one condition at a time."""
    return sum(
        v
        for box, v in zip(boxes, values, strict=True)
        if all(
            (i.missing if np.isnan(x) else i.low < x <= i.high) for f, i in box.items() for x in [point[f]]
        )
    )


def sobol(f):
    """The variance of each set of axes of a full table `f`, by inclusion and exclusion of V(E[f | axes])."""
    axes = range(f.ndim)
    sets = [frozenset(s) for k in range(1, f.ndim + 1) for s in itertools.combinations(axes, k)]
    closed = {s: f.mean(axis=tuple(set(axes) - s)).var() for s in sets}
    return {s: sum((-1) ** (len(s) - len(t)) * closed[t] for t in sets if t <= s) for s in sets}


intervals = st.builds(
    Interval, st.sampled_from([-np.inf, -0.5, 0.5]), st.sampled_from([0.5, 1.5, np.inf]), st.booleans()
)
forests = st.lists(
    st.tuples(st.dictionaries(st.integers(0, 3), intervals, max_size=4), st.floats(-2, 2)),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=40)
@given(forests, st.permutations(range(4)))
def test_components_equal_enumeration_in_any_order_of_features(forest, order):
    boxes, values = [b for b, _ in forest], np.array([v for _, v in forest])
    blocks_of = [[0, 1], [2], [3]]
    points = list(itertools.product(LEVELS, repeat=4))
    table = np.array([value(boxes, values, p) for p in points]).reshape(16, 4, 4)
    boxes, values = merged(boxes, values, range(4))
    moved = [{order.index(f): i for f, i in box.items()} for box in boxes]
    matrix = np.array(points)[:, order]
    blocks = [Block(moved, matrix, [order.index(f) for f in block]) for block in blocks_of]
    found = components(values, blocks)
    for chosen, expected in sobol(table).items():
        assert found[chosen] == pytest.approx(expected, abs=1e-9)
    assert variance(values, blocks) == pytest.approx(table.var(), abs=1e-9)


def test_boxes_of_a_surrogate_add_up_to_its_predictions_missing_values_included():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(400, 4))
    train[rng.random(400) < 0.3, 0] = np.nan
    score = np.where(np.isnan(train[:, 0]), 1.0, train[:, 0]) + train[:, 1] * train[:, 2]
    model = Surrogate.fit(train, score, seed=0)
    new = rng.normal(size=(200, 4))
    new[rng.random((200, 4)) < 0.3] = np.nan
    boxes, values = model.leaves()
    assert [value(boxes, values, row) for row in new] == pytest.approx(model.predict(new), abs=1e-9)
    at_half = new.copy()
    at_half[:, 3] = 0.5
    boxes, values = fixed(boxes, values, 3, 0.5)
    assert all(3 not in box for box in boxes)
    assert [value(boxes, values, row) for row in new] == pytest.approx(model.predict(at_half), abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(forests)
def test_component_functions_add_up_and_have_the_components_variances(forest):
    boxes, values = merged([b for b, _ in forest], [v for _, v in forest], range(4))
    points = np.array(list(itertools.product(LEVELS, repeat=4)))
    stages = [[0, 1], [2], [3]]
    blocks = [Block(boxes, points, stage) for stage in stages]
    parts = component_functions(boxes, values, blocks, stages, points)
    whole = np.array([value(boxes, values, point) for point in points])
    assert sum(parts.values()) + whole.mean() == pytest.approx(whole, abs=1e-4)
    for chosen, share in components(values, blocks).items():
        assert (parts[chosen] ** 2).mean() == pytest.approx(share, abs=1e-4)


def test_one_step_takes_out_what_shrinkage_took():
    """Trees shrunk to half their size say a quarter of the variance; held-out scores bring back half of
    what is missing to first order: 1/4 + 2 * 1/2 * 1/2 = 3/4."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.integers(0, 2, size=(4000, 2)).astype(float), np.zeros(4000)])
    y = x[:, 0] - 0.5 + 0.5 * (x[:, 1] - 0.5)
    model = Surrogate.fit(x[:2000], y[:2000], seed=0)

    class Half:
        def predict(self, matrix, trees):
            return model.predict(matrix, trees) / 2

        def at_full_budget(self, features, trees):
            boxes, values = model.at_full_budget(features, trees)
            return boxes, values / 2

    reference = np.array(list(itertools.product([0.0, 1.0], repeat=2)))
    found, steps = corrected([(Half(), x[2000:], y[2000:])], None, [[0], [1]], reference)
    assert found[frozenset({0})] == pytest.approx(0.75 * 0.25, rel=0.05)
    assert found[frozenset({1})] == pytest.approx(0.75 * 0.0625, rel=0.05)
    assert len(steps[frozenset({0})]) == 2000


def test_parameters_split_the_variance_down_the_tree():
    space = parse_space(
        {
            "intermediate": {
                "none": {},
                "mse": {
                    "weight": [0.1, 1.0],
                    "representation": ["cls", "mean"],
                    "projection": ["linear"],
                    "schedule": "constant",
                    "mapping": {"skip": {}, "emd": {"temperature": [1.0, 2.0]}},
                },
            }
        }
    )
    encoding = Encoding.of(space)
    column = {(f.column, f.value): j for j, f in enumerate(encoding.features)}
    weight, mean = column["intermediate_weight", None], column["intermediate_representation", "mean"]
    emd, hot = column["intermediate_mapping", "emd"], column["intermediate_mapping_temperature", None]
    mse = column["intermediate_objective", "mse"]

    one = heavy = Interval(low=0.5, missing=False)
    boxes = [
        {mse: one},
        {weight: heavy},
        {mean: one},
        {weight: heavy, mean: one},
        {emd: one},
        {hot: Interval(low=1.5, missing=False)},
    ]
    base, by_weight, by_mean, both, by_emd, by_heat = values = np.array([2.0, 3.0, 1.0, 4.0, 0.7, 1.9])

    def config(**mse):
        return {"objective": "mse", "projection": "linear", **mse}

    inner = [
        config(weight=w, representation=r, mapping=m)
        for w in (0.1, 1.0)
        for r in ("cls", "mean")
        for m in [{"kind": "skip"}] * 2 + [{"kind": "emd", "temperature": t} for t in (1.0, 2.0)]
    ]
    full = [PipelineConfig(intermediate=w) for w in inner] + [PipelineConfig()] * len(inner)
    reference = encoding.encode(full)
    g = np.array([value(boxes, values, row) for row in reference])
    tree = Tree(Design.of(space).stages["intermediate"], encoding, reference)
    found = {(p.path, p.kind): p for p in tree.shares(boxes, values, float(g.var()))}

    given_mse = base + by_weight / 2 + by_mean / 2 + both / 4 + by_emd / 2 + by_heat / 4
    expected = {  # p_c times the conditional variance, by hand
        ("intermediate.objective", "choice"): (given_mse / 2) ** 2,
        ("intermediate.mse.weight", "parameter"): 0.5 * ((by_weight + both / 2) / 2) ** 2,
        ("intermediate.mse.representation", "parameter"): 0.5 * ((by_mean + both / 2) / 2) ** 2,
        ("intermediate.mse.mapping", "choice"): 0.5 * ((by_emd + by_heat / 2) / 2) ** 2,
        ("intermediate.mse.mapping.emd.temperature", "parameter"): 0.25 * (by_heat / 2) ** 2,
        ("intermediate.mse", "interactions"): 0.5 * (both / 4) ** 2,
    }
    assert {where: part.share for where, part in found.items()} == pytest.approx(expected, abs=1e-9)
    assert found["intermediate.mse.mapping.emd.temperature", "parameter"].probability == 0.25
