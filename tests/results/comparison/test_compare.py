"""Comparisons of planted tables: what is there is found, what is not is not, and what is unequal is said."""

import json

import numpy as np
import pandas as pd
import pytest

from distiller.results.comparison.best_of_n import expected_best
from distiller.results.comparison.compare import compare
from distiller.results.design import Design, Question
from distiller.spaces.errors import InputError
from distiller.spaces.priors import OneOf
from tests.results.comparison.planted import augmented, chose, layers, quickly, table


def planted(frame, name):
    return 0.04 * chose(frame, "mi_alpha") + 0.1 * layers(frame, 4) + 0.02 * augmented(frame)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        quickly(patch)
        yield


@pytest.fixture(scope="module")
def four():
    return table(planted)


@pytest.fixture(scope="module")
def found(four):
    return compare(*four, "intermediate.objective")


def pair(among, one, other):
    (it,) = [d for d in among if (d.one, d.other) == (one, other)]
    return it


def test_a_better_choice_is_found_over_datasets(found):
    it = pair(found.overall, "mse", "mi_alpha")
    for estimate in (it.best, it.mean, it.adjusted):
        assert estimate.low <= -0.04 <= estimate.high
        assert estimate.high < 0
    assert it.best.p_holm < 0.05
    assert pair(found.overall, "none", "mse").best.p_holm > 0.05
    assert found.ranks.choices[0] == "mi_alpha"
    assert found.ranks.ranks[0] == 1
    (signed,) = [s for s in found.signed_rank if (s.one, s.other) == ("mse", "mi_alpha")]
    assert signed.p_other > 0.9


def test_the_adjusted_mean_is_the_more_certain(found):
    for dataset in found.datasets:
        for one in dataset.differences:
            assert one.adjusted.high - one.adjusted.low < 0.8 * (one.mean.high - one.mean.low)


def test_best_is_of_n_that_both_have(four, found):
    trials, _ = four
    here = trials[trials["dataset"] == "b"]
    one = pair(found.datasets[1].differences, "none", "mi_alpha")
    scores = [here.loc[here["intermediate_objective"] == c, "score"].to_numpy() for c in ("none", "mi_alpha")]
    assert one.trials == tuple(map(len, scores))
    assert one.n == min(one.trials) // 4
    truth = expected_best(scores[0], one.n) - expected_best(scores[1], one.n)
    assert one.best.value == pytest.approx(truth)


def test_more_trials_alone_make_no_choice_better():
    """1 of 13 trials has mse: its maximum is lower, its best of n is not."""
    trials, designs = table(lambda frame, name: 0.0, ["a"], trials=400, noise=0.05)
    mse = trials["intermediate_objective"] == "mse"
    trials = trials[~mse | (np.cumsum(mse) <= 12)]
    found = compare(trials, designs, "intermediate", ["mse", "none"])
    (one,) = found.datasets[0].differences
    assert one.trials[0] == 12
    assert one.best.low < 0 < one.best.high


def test_stopped_trials_are_counted_and_never_compared(four):
    trials, designs = four[0], {"a": four[1]["a"]}
    mine = (trials["intermediate_objective"] == "mi_alpha") & (trials.index % 5 != 0)
    trials = trials.assign(
        status=trials["status"].where(~mine, "stopped"),
        fidelity=trials["fidelity"].where(~mine, 0.3),
        score=trials["score"].where(~mine, 9.0),
    )
    found = compare(trials, designs, "intermediate", ["mi_alpha", "mse"])
    one = found.datasets[0]
    stopped = next(c for c in one.choices if c.choice == "mi_alpha")
    assert stopped.stopped == int((mine & (trials["dataset"] == "a")).sum())
    assert stopped.through == stopped.completed / (stopped.completed + stopped.stopped)
    assert stopped.mean < 1
    assert "most of mi_alpha were" in one.notes[0]
    assert one.differences[0].through.high < 0
    assert one.differences[0].through.p < 0.001
    assert one.differences[0].adjusted is None


def test_a_samplers_trail_is_left_out_where_enough_was_drawn(four):
    trials, designs = four[0], {name: four[1][name] for name in ("a", "b")}
    steered = trials.assign(origin="model", score=0.9, config_id="m" + trials["config_id"])
    own = compare(trials, designs, "intermediate", ["mse", "mi_alpha"])
    warm = trials.assign(origin="warm", score=0.9, config_id="w" + trials["config_id"])
    both = compare(pd.concat([trials, steered, warm]), designs, "intermediate", ["mse", "mi_alpha"])
    assert both.datasets[0].basis == "full runs drawn from the prior"
    assert both.overall == own.overall
    few = pd.concat([trials.groupby("dataset").head(9), steered], ignore_index=True)
    one = compare(few, {"a": designs["a"]}, "intermediate", ["mse", "mi_alpha"]).datasets[0]
    assert one.basis == "all full runs"
    assert "runs were chosen by a sampler" in one.notes[0]


def test_pairs_differ_in_the_stage_only(four):
    trials, designs = four[0], {name: four[1][name] for name in ("a", "b")}
    own = trials[(trials["dataset"] == "a") & (trials["intermediate_objective"] == "none")]
    changed = own.assign(
        intermediate_objective="mi_alpha", intermediate_alpha=0.5, score=own["score"] + 0.03,
        config_id="p" + own["config_id"],
    )  # fmt: skip
    other_seed = changed.assign(seed=7, score=0.0, config_id="q" + own["config_id"])
    found = compare(pd.concat([trials, changed, other_seed]), designs, "intermediate")
    one = pair(found.datasets[0].differences, "none", "mi_alpha")
    assert one.paired.pairs == len(own)
    assert one.paired.difference.value == pytest.approx(-0.03)
    assert one.paired.difference.p < 0.01
    assert all(d.paired.pairs == 0 for d in found.datasets[1].differences)
    assert "nothing is paired" in " ".join(found.datasets[1].notes)


def test_seeds_of_one_config_count_once_and_give_the_noise(four):
    trials, designs = four[0], {"a": four[1]["a"]}
    rng = np.random.default_rng(0)
    again = [
        trials.assign(seed=s, score=trials["score"] + rng.normal(0, 0.01, len(trials))) for s in (1, 2, 3)
    ]
    found = compare(pd.concat(again), designs, "intermediate").datasets[0]
    assert sum(c.used for c in found.choices) == 60
    assert found.noise_repeats == 120
    assert found.noise_sd == pytest.approx(0.01, abs=0.002)
    assert "count once" in " ".join(found.notes)
    steps = [
        again[0].assign(role="ablation", seed=s, score=rng.normal(0.5, 0.3, len(trials))) for s in (4, 5)
    ]
    more = compare(pd.concat([*again, *steps]), designs, "intermediate").datasets[0]
    assert (more.noise_sd, more.noise_repeats) == (found.noise_sd, found.noise_repeats)


def test_shares_of_the_teacher_only_far_from_zero(four):
    trials, designs = four[0], {"a": four[1]["a"]}
    first = compare(trials, designs, "student.layers").datasets[0].choices[0]
    assert first.of_teacher == pytest.approx(first.mean / 0.9)
    for low in ({"teacher_score": 0.1}, {"score": trials["score"] - 0.65}, {"teacher_score": None}):
        assert (
            compare(trials.assign(**low), designs, "student.layers").datasets[0].choices[0].of_teacher is None
        )


def test_the_order_of_rows_and_of_choices_does_not_matter(four, found):
    trials, designs = four
    shuffled = compare(trials.sample(frac=1, random_state=1), designs, "intermediate", ["mi_alpha", "mse"])
    one, other = pair(shuffled.overall, "mi_alpha", "mse"), pair(found.overall, "mse", "mi_alpha")
    assert one.mean.value == pytest.approx(-other.mean.value)
    assert (one.mean.low, one.mean.high) == pytest.approx((-other.mean.high, -other.mean.low))


def test_what_is_missing_is_said(four):
    trials, designs = four[0], {name: four[1][name] for name in ("a", "b")}
    with pytest.raises(InputError, match=r"trials.origin: no such column"):
        compare(trials.drop(columns="origin"), designs, "intermediate")
    with pytest.raises(InputError, match="no dataset has full search runs of two choices"):
        compare(trials.assign(fidelity=0.5), designs, "intermediate")
    one = trials[(trials["dataset"] == "a") & (trials["intermediate_objective"] == "mse")]
    with pytest.raises(InputError, match=rf"nothing compares \(a: {len(one)} of mse\); name other choices"):
        compare(one, designs, "intermediate")
    mixed = trials.assign(metric=np.where(trials["dataset"] == "a", "pearson", "matthews"))
    assert "metrics differ (pearson, matthews)" in " ".join(compare(mixed, designs, "student.layers").notes)
    found = compare(trials, designs, "student.layers")
    assert found.ranks is None
    assert found.signed_rank == ()
    assert found.overall[0].mean.low < found.overall[0].mean.value
    gone = trials[(trials["dataset"] != "a") | (trials["student_layers"] == 2)]
    assert "a: fewer than two choices have full runs" in " ".join(
        compare(gone, designs, "student.layers").notes
    )


def test_somebody_elses_table_compares_too():
    """Stages, columns and metric of its own, no teacher, no parameters, no config_id."""
    below = Question("model.forest.depth", "depth", "model", OneOf(3, 9))
    model = Question("model", "model", "model", OneOf("forest", "svm"), {"forest": (below,)})
    design = Design(
        {"model": (model,), "data": (Question("data.scaled", "scaled", "data", OneOf(True, False)),)}
    )
    rng = np.random.default_rng(0)
    trials = design.draw(80, rng)
    score = 70 + 5 * (trials["model"] == "svm") + 3 * trials["scaled"].astype(float) + rng.normal(0, 2, 80)
    trials = trials.assign(
        score=score, dataset="iris", role="search", origin="prior", status="completed", fidelity=1.0
    )
    found = compare(trials, {"iris": design}, "model")
    (one,) = found.datasets[0].differences
    assert one.adjusted.low <= -5 <= one.adjusted.high
    assert one.mean.p_holm < 0.001
    assert compare(trials, {"iris": design}, "data.scaled").choices == ("true", "false")
    assert compare(trials, {"iris": design}, "depth").datasets[0].choices[0].choice == "3"


def test_json_is_strict(found):
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert list(data) == [
        "what", "column", "choices", "datasets", "overall", "ranks", "signed_rank", "notes", "rules",
    ]  # fmt: skip
    assert data["overall"][0]["best"]["p_holm"] == found.overall[0].best.p_holm
    assert data["ranks"]["p_values"][0].keys() == {"one", "other", "p"}
