"""From rows of the trials table to configs x datasets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from distiller.results.design import Design
from distiller.results.recommendation import Searched, Training, read_tried
from distiller.results.recommendation.groups import grouped
from distiller.results.recommendation.meta import MetaFeatures
from distiller.spaces.errors import InputError
from tests.truth.families import DESIGN, Family
from tests.truth.tables import distinct, table

SMALL = Family(3, 8)


def rows(scores, dataset="a", **more):
    """Runs of the same configs, one for each score."""
    drawn = distinct(DESIGN, len(scores), np.random.default_rng(5))
    return table(drawn, np.array(scores, dtype=float), **more).assign(dataset=dataset)


def searched(*parts, datasets=None, name="sweep"):
    trials = pd.concat(parts, ignore_index=True)
    return Searched(name, trials, dict.fromkeys(dict.fromkeys(trials["dataset"]), DESIGN), datasets)


def test_only_full_search_runs_count_and_finalists_are_repeats():
    found = rows([0.1, 0.2, 0.3, 0.4, 0.5])
    other = rows([0.9] * 7).tail(1)  # a config that the search has not run
    tried = read_tried(
        [
            searched(
                found,
                found.tail(1).assign(role="finalist", seed=1, score=0.7),
                found.tail(1).assign(role="finalist", seed=2, score=0.9),
                other.assign(role="finalist"),
                other.assign(role="baseline", origin="warm"),
                other.assign(role="ablation"),
                other.assign(status="stopped", fidelity=0.5),
                other.assign(status="failed", score=np.nan),
            )
        ]
    )
    assert sorted(tried.score[:, 0]) == pytest.approx([0.1, 0.2, 0.3, 0.4, (0.5 + 0.7 + 0.9) / 3])
    assert sorted(tried.repeats[:, 0]) == [1, 1, 1, 1, 3]
    assert tried.trials == 7


def test_configs_need_not_be_tried_everywhere():
    both = rows([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    tried = read_tried([searched(both.head(5), both.tail(5).assign(dataset="b", origin="model"))])
    assert tried.score.shape == (7, 2)
    assert np.isnan(tried.score).sum() == 4
    assert tried.tried.sum(axis=0).tolist() == [5, 5]
    assert tried.steered.tolist() == [0, 5]
    rest = tried.without("b")
    assert rest.datasets == ("a",)
    assert set(rest.configs.index) == set(both.head(5)["config_id"])
    assert rest.configs.columns.tolist() == [q.column for q in DESIGN.questions()]


def test_scores_are_put_on_each_dataset_s_own_scale():
    training = Training(
        read_tried([searched(rows([1, 2, 3, 4, 5]), rows([-1000, 20, 30, 40, 50], "b"), rows([7] * 5, "c"))])
    )
    by_score = np.argsort(training.tried.score[:, 0])
    assert training.rank[by_score, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert training.share[by_score, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert training.share[by_score, 1].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert set(training.rank[:, 2]) == {0.5}
    assert set(training.share[:, 2]) == {0}


def test_a_dataset_of_two_sweeps_counts_for_each_and_stays_one_group():
    one, other = searched(rows([1, 2, 3, 4, 5])), searched(rows([5, 4, 3, 2, 1]), name="other")
    tried = read_tried([one, other])
    assert tried.datasets == ("other/a", "sweep/a")
    assert tried.groups == ("a", "a")
    assert (tried.score.sum(axis=1) == 6).all()


def test_sweeps_need_not_search_the_same():
    """A column that the one never asked, or only had null, is text in the other."""
    one, other = rows([1, 2, 3, 4, 5]), rows([1, 2, 3, 4, 5], "b", seed=3)
    bare = {stage: asked for stage, asked in DESIGN.stages.items() if stage != "objective"}
    never = one.drop(columns=["objective_kind", "objective_weight"]).assign(config_id=list("vwxyz"))
    null = one.assign(objective_kind=None, config_id=list("abcde"))
    for plain in (never, null):
        tried = read_tried(
            [
                Searched("plain", plain, {"a": Design(bare)}),
                Searched("whole", other, {"b": DESIGN}),
            ]
        )
        training = Training(tried)
        names = sorted(feature.name for feature in training.encoding.features)
        kind = [name.startswith("objective_kind=") for name in names]
        assert training.features.shape == (10, len(names))
        assert training.features[:, kind].sum() == 5  # the configs that were asked


def test_meta_features_are_numbers_and_none_is_of_the_test_split():
    described = pd.DataFrame(
        {
            "dataset": ["a", "b"], "metric": ["f1", "f1"], "labels": [2, 6], "teacher_score": [0.8, None],
            "test_rows": [100, 200], "teacher_test_score": [0.9, 0.9],
        }
    ).astype({"labels": "Int64"})  # fmt: skip
    tried = read_tried([searched(rows([1, 2, 3, 4, 5]), rows([1, 2, 3, 4, 5], "b"), datasets=described)])
    assert tried.meta.columns.tolist() == ["labels", "teacher_score"]
    assert tried.target(0) == {"labels": 2, "teacher_score": 0.8}
    assert np.isnan(tried.teacher[1])


@pytest.mark.parametrize("kind", ["bool", "boolean", "object"])
def test_truth_values_are_meta_features(kind):
    described = pd.DataFrame(
        {"dataset": ["a", "b"], "pair": [True, False], "labels": [2, 6], "source": ["x", "y"]}
    )
    parts = [rows([1, 2, 3, 4, 5], name) for name in ("a", "b")]
    tried = read_tried([searched(*parts, datasets=described.astype({"pair": kind}))])
    assert tried.meta["pair"].tolist() == [1.0, 0.0]
    assert MetaFeatures(Training(tried)).matrix[:, 0].tolist() == [1.0, -1.0]
    unknown = described.astype({"pair": "boolean"})
    unknown.loc[1, "pair"] = pd.NA
    tried = read_tried([searched(*parts, datasets=unknown)])
    assert tried.target(0)["pair"] == 1.0
    assert np.isnan(tried.target(1)["pair"])


def test_datasets_of_one_source_are_one_group():
    names = ["trec-500", "trec-2000", "trec", "ag-news", "sst2"]
    assert grouped(names) == ("trec", "trec", "trec", "ag-news", "sst2")
    assert grouped(names, {"sst2": "movies"}, {"news": ["ag-news"]})[3:] == ("news", "movies")
    with pytest.raises(InputError, match="group g: there is no dataset 'trecc'; did you mean 'trec'"):
        grouped(names, groups={"g": ["trecc"]})
    with pytest.raises(InputError, match="group h: trec is in g too"):
        grouped(names, groups={"g": ["trec"], "h": ["trec"]})
    described = pd.DataFrame({"dataset": ["a", "b"], "source": ["one", "one"]})
    parts = [rows([1, 2, 3, 4, 5], name) for name in ("a", "b")]
    assert read_tried([searched(*parts, datasets=described)]).groups == ("one", "one")


def test_teachers_near_zero_are_no_measure():
    family = Family(3, 6)
    taught = family.meta.assign(teacher_score=[0.9, 0.099, -2.0])
    tried = read_tried([dataclasses.replace(family.searched(), datasets=taught)])
    assert tried.teacher[0] == 0.9
    assert np.isnan(tried.teacher[1:]).all()
    said = "not counted in shares of the teacher's score, which is below 0.1 there: d01, d02"
    assert tried.left_out == (said,)


def test_what_says_too_little_is_left_out_or_refused():
    tried = read_tried([searched(rows([1, 2, 3, 4, 5]), rows([1, 2], "b"))])
    assert tried.datasets == ("a",)
    assert tried.left_out == ("left out, as fewer than 5 configs ran in full: b (2)",)
    with pytest.raises(InputError, match="nothing to learn from: no dataset has 5 full search runs"):
        read_tried([searched(rows([1, 2], "b"))])
    bare = dataclasses.replace(SMALL.searched(), trials=SMALL.trials.drop(columns="fidelity"))
    with pytest.raises(InputError, match=r"trials\.fidelity: no such column"):
        read_tried([bare])
