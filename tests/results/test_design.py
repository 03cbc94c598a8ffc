"""A design against the space that it comes from, drawn one config at a time."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from distiller.results.design import Design
from distiller.spaces.narrowing import parse_space

SPACES = [
    {},
    {"intermediate": {"mse": {"weight": [0.1, 1, 10], "mapping": ["skip", "emd"]}, "none": {}}},
    {"student": {"svd": {"layers": {"integers": [2, 6]}, "width": [64, 128]}}, "augmentation": "none"},
]
SLOTS = {
    "augmentation": {"slots": [["none", "random"], {"synonym": {}, "mixup": {}}]},
    "intermediate": {"slots": [{"mse": {}, "rkd": {}}, {"mi_alpha": {"alpha": [0.1, 0.5]}}]},
}


@pytest.mark.parametrize("written", [*SPACES, SLOTS])
def test_it_asks_what_the_space_asks(written):
    space = parse_space(written)
    design = Design.of(space)
    for mine, theirs in ((design.questions(), space.questions()), (design.searched(), space.searched())):
        assert [(q.path, q.column, q.stage, q.prior) for q in mine] == [
            (d.path, d.column, d.stage, d.prior) for d in theirs
        ]
    assert design.columns() == [c for stage in design.searched_stages() for c in design.columns(stage)]


@pytest.mark.parametrize("written", SPACES)
def test_it_draws_what_the_space_draws(written):
    """Every column: how often it is active, and the distribution of its values, by two-sample tests."""
    space = parse_space(written)
    rng = np.random.default_rng(0)
    theirs = pd.DataFrame([space.sample(rng).columns() for _ in range(1500)])
    mine = Design.of(space).draw(6000, rng)
    assert set(mine) >= set(Design.of(space).columns())
    for column in Design.of(space).columns():
        one, other = (table[column].dropna().astype(object) for table in (mine, theirs))
        counts = [[len(one), len(mine) - len(one)], [len(other), len(theirs) - len(other)]]
        if min(counts[0]) > 0:
            assert stats.fisher_exact(counts).pvalue > 1e-4, column
        assert bool(len(one)) == bool(len(other))
        if len(set(one)) > 30:
            assert stats.ks_2samp(one.to_numpy(float), other.to_numpy(float)).pvalue > 1e-4, column
        else:
            table = pd.DataFrame({"mine": one.value_counts(), "theirs": other.value_counts()}).fillna(0)
            assert len(table) < 2 or stats.chi2_contingency(table).pvalue > 1e-4, column


def test_what_is_not_asked_is_null_and_the_draw_repeats():
    design = Design.of(parse_space(SPACES[1]))
    drawn = design.draw(400, np.random.default_rng(3))
    off = drawn["intermediate_objective"] == "none"
    assert 0.4 < off.mean() < 0.6
    assert drawn.loc[off, ["intermediate_weight", "intermediate_mapping"]].isna().all(axis=None)
    assert drawn.loc[~off, ["intermediate_weight", "intermediate_mapping"]].notna().all(axis=None)
    pd.testing.assert_frame_equal(drawn, design.draw(400, np.random.default_rng(3)))
