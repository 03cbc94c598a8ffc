"""The mean over datasets against the single ones, and against a simulation of its interval."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from distiller.results.design import Design
from distiller.results.importance import ALL, importance, over_datasets
from distiller.results.importance.estimate import no_lower
from distiller.results.importance.over import more_than_half, partial_conjunction
from distiller.results.importance.text import render_importance
from distiller.spaces.narrowing import parse_space

DESIGN = Design.of(
    parse_space(
        {"augmentation": ["none", "mixup"], "intermediate": "none", "prediction": ["ce", "kl", "mse"]}
    )
)


def planted(seed, augmentation):
    """The prediction loss decides, with the augmentation to some share."""
    table = DESIGN.draw(150, np.random.default_rng(seed))
    loss = table["prediction_loss"].map({"ce": 0.0, "kl": 1.0, "mse": 2.0}) / np.sqrt(2 / 3)
    mixed = (table["augmentation_method"] == "mixup") * 2.0
    score = np.sqrt(1 - augmentation) * loss + np.sqrt(augmentation) * mixed
    noise = 0.3 * np.random.default_rng(seed + 1).normal(size=150)
    return table.assign(
        role="search", origin="prior", status="completed", fidelity=1.0, seed=0, score=score + noise
    )


def test_the_mean_of_two_datasets_and_its_interval():
    found = {
        name: importance(planted(seed, share), DESIGN) for name, seed, share in (("a", 0, 0.1), ("b", 5, 0.3))
    }
    mean = over_datasets(found)
    assert (mean.verdict, mean.trials, mean.r2) == (
        "ok",
        300,
        pytest.approx((found["a"].r2 + found["b"].r2) / 2),
    )
    for stage in mean.stages:
        single = [next(s for s in one.stages if s.stage == stage.stage) for one in found.values()]
        assert stage.main == pytest.approx(sum(s.main for s in single) / 2)
        low, high = stage.main_interval
        assert low <= stage.main <= high
        for one in (stage, *single):
            assert all(t >= m for t, m in zip(one.total_interval, one.main_interval, strict=True))
        # Errors of two independent shares: the mean's interval is narrower than theirs on average.
        assert high - low <= sum(s.main_interval[1] - s.main_interval[0] for s in single) / 2 + 1e-12
    of = {stage.stage: stage for stage in mean.stages}
    assert of["augmentation"].main == pytest.approx(0.2, abs=0.06)
    assert sum(s.share for s in mean.subsets) == pytest.approx(1)
    assert "(a) to" in mean.caution[0]
    assert mean.to_dict()["stages"].keys() == found["a"].to_dict()["stages"].keys()
    render_importance(ALL, mean)


def test_the_means_interval_holds_the_truth():
    held = 0
    for seed in range(6):
        pair = {
            name: importance(planted(20 * seed + first, share), DESIGN)
            for name, first, share in (("a", 0, 0.1), ("b", 5, 0.3))
        }
        stages = {stage.stage: stage for stage in over_datasets(pair).stages}
        low, high = stages["augmentation"].main_interval
        held += low <= 0.2 <= high
    assert held >= 4  # of 95% each: P(3 or fewer) = .002


def test_a_total_interval_is_nowhere_below_the_main_one():
    assert no_lower((0.0, 0.4), (0.1, 0.3)) == (0.1, 0.4)
    assert no_lower((0.2, 0.25), (0.1, 0.3)) == (0.2, 0.3)
    assert no_lower(None, (0.1, 0.3)) is None


def test_one_dataset_has_no_mean_and_unsure_ones_do_not_count():
    sure = importance(planted(0, 0.1), DESIGN)
    noise = planted(1, 0.2).assign(score=np.random.default_rng(0).normal(size=150))
    unsure = importance(pd.DataFrame(noise), DESIGN)
    assert unsure.verdict == "cannot tell"
    assert over_datasets({"a": sure}) is None
    mean = over_datasets({"a": sure, "b": unsure})
    assert mean is None or (mean.verdict == "cannot tell" and not any(s.influential for s in mean.stages))


def test_partial_conjunction_is_the_worst_of_bonferronis_over_all_sets_that_must_hold_an_effect():
    """Fewer than u of n have an effect where some n - u + 1 all have none: each such set must be refused."""
    rng = np.random.default_rng(0)
    for n in range(1, 7):
        for u in range(1, n + 1):
            p = (rng.random(n) ** 3).tolist()
            size = n - u + 1
            truth = max(min(1.0, size * min(some)) for some in combinations(p, size))
            assert partial_conjunction(p, u) == pytest.approx(truth)
    assert [more_than_half(n) for n in (1, 2, 3, 4, 5, 6)] == [1, 2, 2, 3, 3, 4]
    with pytest.raises(ValueError, match="needed 3 is not between 1 and 2"):
        partial_conjunction([0.1, 0.2], 3)


@pytest.mark.parametrize("n", [2, 3, 4, 7])
@pytest.mark.parametrize("shared", [0.0, 0.7, 1.0])
def test_an_effect_on_half_of_the_datasets_is_called_one_on_most_at_most_at_the_level(n, shared):
    """The hardest case of the null: as many effects as it allows, beyond doubt; the rest none, dependent."""
    rng, draws, level = np.random.default_rng(n), 20_000, 0.05
    none = n - more_than_half(n) + 1
    normal = np.sqrt(shared) * rng.normal(size=(draws, 1)) + np.sqrt(1 - shared) * rng.normal(
        size=(draws, none)
    )
    p = np.hstack([np.zeros((draws, n - none)), ndtr(normal)])
    wrong = np.mean([partial_conjunction(row, more_than_half(n)) < level for row in p.tolist()])
    assert wrong <= level + 3 * np.sqrt(level * (1 - level) / draws)


def influential(found):
    return {stage.stage for stage in over_datasets(found).stages if stage.influential}


def test_one_dataset_alone_does_not_make_a_stage_influential_over_all():
    sure = {name: importance(planted(seed, 0.2), DESIGN) for name, seed in (("a", 0), ("b", 5), ("c", 9))}

    def doubt(one):
        stages = [replace(s, p_value=0.4) if s.stage == "augmentation" else s for s in one.stages]
        return replace(one, stages=tuple(stages))

    unsure = {name: doubt(one) for name, one in sure.items()}
    assert influential(sure) == {"augmentation", "prediction"}
    assert influential({**sure, "c": unsure["c"]}) == {"augmentation", "prediction"}
    assert influential({**unsure, "a": sure["a"]}) == {"prediction"}
    stages = {stage.stage: stage for stage in over_datasets({**unsure, "a": sure["a"]}).stages}
    assert stages["augmentation"].p_value == pytest.approx(0.8)


def test_p_values_from_a_samplers_choices_count_a_hundredfold():
    """Where hardly any draws from the prior are there to confirm them."""
    drawn = planted(0, 0.2)
    chosen = drawn.assign(origin=["prior"] * 5 + ["model"] * (len(drawn) - 5))
    free, steered = ({s.stage: s.p_value for s in importance(one, DESIGN).stages} for one in (drawn, chosen))
    for stage, p_value in free.items():
        if p_value > 0.05:
            assert steered[stage] == 1
    assert min(steered.values()) < 1e-4
