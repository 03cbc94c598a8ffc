"""What every recommender promises."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest

from distiller.results.recommendation import METHODS, Training, read_tried
from tests.truth.families import DESIGN, Family, deleted, spoiled
from tests.truth.tables import distinct, table

LEFT_OUT = "d03"
FAMILIES = {
    "own": Family(8, 24, noise=0.1, early="telling"),
    "shared": Family(8, 24, shared=True, noise=0.1, early="telling"),
    "probed": Family(8, 24, told=False, shared=True, early="telling"),
    "own, probed": Family(8, 24, told=False, early="telling"),
}

PAIRS = {
    f"{method.name}, {name}": (method, family)
    for method in METHODS
    for name, family in FAMILIES.items()
    if family.told or method.asks
}

pytestmark = pytest.mark.parametrize(("method", "family"), PAIRS.values(), ids=PAIRS)


@functools.cache
def new_configs():
    """Configs of which some ran before, if any are shared, and the meta-features of a dataset."""
    drawn = distinct(DESIGN, 15, np.random.default_rng(9))
    known = FAMILIES["shared"].tried().configs.head(5)
    columns = list(known.columns)
    new = table(drawn, np.zeros(len(drawn))).set_index("config_id")[columns]
    return pd.concat([new, known]), {"s": 0.5, "t": -0.5, "irrelevant_0": 0.0}


def fitted(method, searched, *, seed=0):
    tried = read_tried([searched], {name: [name] for name in searched.designs})
    rest = tried.without(LEFT_OUT) if LEFT_OUT in tried.groups else tried
    return method.fit(Training(rest, seed))


def answer(recommender, candidates=None, target=None):
    """Config ids in order, and the predicted regret of each; probes score as on the first dataset."""
    configs, known = new_configs()
    candidates = configs if candidates is None else candidates
    target = known if target is None else target
    early = np.full(len(candidates), np.nan)
    probes = recommender.probes(candidates, target)
    early[probes] = FAMILIES["own"].worth(candidates.iloc[probes], 0)
    ranking = recommender.rank(candidates, target, early)
    ids = candidates.index[ranking.order]
    return list(ids), pd.Series(ranking.regret, candidates.index).loc[ids].tolist()


@functools.cache
def usual(method, family):
    return fitted(method, family.searched())


def test_promises_are_made_by_trees_with_meta_features_and_with_probes(method, family):
    """Else the promises below would say nothing of them."""
    if method.name == "learned":
        assert (usual(method, family).variant[0] == "trees with meta-features") == family.told
    if method.name == "curve":
        assert usual(method, family).listens == (not family.told)


def test_probes_are_some_of_the_candidates(method, family):
    configs, known = new_configs()
    for candidates in (configs, configs.head(3), configs.head(1)):
        probes = usual(method, family).probes(candidates, known).tolist()
        assert len(set(probes)) == len(probes) <= len(candidates)
        assert set(probes) <= set(range(len(candidates)))
        assert bool(probes) == (method.asks and not family.told)
        ids = list(candidates.index[probes])
        again = usual(method, family).probes(candidates[::-1], None)
        assert list(candidates.index[::-1][again]) == ids


def test_any_early_scores_will_do(method, family):
    configs, known = new_configs()
    silent = usual(method, family).rank(configs, known)
    early = np.full(len(configs), np.nan)
    for scores in ([], [0.3], [0.3, 0.3, 0.3], [0.3, 0.1], [-1e9, 0.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0]):
        early[: len(scores)] = scores
        ranking = usual(method, family).rank(configs, known, early)
        assert sorted(ranking.order) == list(range(len(configs)))
        assert np.isfinite(ranking.regret).all()
        if len(set(scores)) < 2 or not len(usual(method, family).probes(configs, known)):
            assert ranking.order.tolist() == silent.order.tolist()


def test_every_candidate_is_ranked_once(method, family):
    configs, _ = new_configs()
    for target in (None, {}, {"s": float("nan"), "t": 0.1}, {"s": 0.4, "unheard_of": 1.0}):
        ranking = usual(method, family).rank(configs, target)
        assert sorted(ranking.order) == list(range(len(configs)))
        assert np.isfinite(ranking.regret).all()
        assert len(ranking.regret) == len(configs)
        assert 0 <= ranking.predicted <= 1
    one = configs.head(1)
    assert usual(method, family).rank(one, None).order.tolist() == [0]


def test_same_input_same_answer(method, family):
    assert answer(fitted(method, family.searched())) == answer(usual(method, family))


def test_the_order_of_candidates_does_not_count(method, family):
    configs, _ = new_configs()
    shuffled = configs.sample(frac=1, random_state=3)
    assert list(shuffled.index) != list(configs.index)
    assert answer(usual(method, family), shuffled) == answer(usual(method, family))


def test_the_order_of_rows_does_not_count(method, family):
    searched = family.searched()
    shuffled = dataclasses.replace(
        searched,
        trials=searched.trials.sample(frac=1, random_state=3),
        designs=dict(reversed(searched.designs.items())),
        datasets=searched.datasets.sample(frac=1, random_state=3),
        epochs=searched.epochs.sample(frac=1, random_state=3),
    )
    assert answer(fitted(method, shuffled)) == answer(usual(method, family))


@pytest.mark.parametrize("change", [spoiled, deleted], ids=["changed", "deleted"])
def test_nothing_of_the_dataset_left_out_is_learned(method, family, change):
    assert answer(fitted(method, change(family.searched(), LEFT_OUT))) == answer(usual(method, family))


def test_units_do_not_count(method, family):
    """A power of two: the scores of one dataset in another unit, to the last bit."""
    searched = family.searched()
    trials = searched.trials.copy()
    trials.loc[trials["dataset"] == "d01", "score"] *= 1024.0
    epochs = searched.epochs.copy()
    epochs.loc[epochs["dataset"] == "d01", "score"] *= 1024.0
    scaled = dataclasses.replace(searched, trials=trials, epochs=epochs)
    assert answer(fitted(method, scaled)) == answer(usual(method, family))


def test_what_helps_everywhere_is_found(method, family):
    """The rate counts alike on every dataset; random knows nothing of it."""
    alike = dataclasses.replace(family, own=0.0)
    tried = alike.tried()
    recommender = method.fit(Training(tried.without(LEFT_OUT)))
    candidates = tried.configs.iloc[tried.of(3)]
    worth = alike.worth(candidates, 3)
    early, probes = np.full(len(worth), np.nan), recommender.probes(candidates, tried.target(3))
    early[probes] = tried.early[tried.of(3)[probes], 3]
    first = worth[recommender.rank(candidates, tried.target(3), early).order[:5]]
    if method.name == "random":
        assert first.mean() < np.quantile(worth, 0.75)
    else:
        assert first.mean() > np.quantile(worth, 0.75)


def test_another_fit_is_no_accident(method, family):
    """The promises above are worth something: other rows do change the answer."""
    order, _ = answer(fitted(method, dataclasses.replace(family, seed=1, common=0.2).searched()))
    usually, _ = answer(usual(method, family))
    assert (order == usually) == (method.name == "random")
