"""Warm starts from stores and recipes: what fits is tried, what does not is said, what compares teaches."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.results.store import Store
from distiller.search.in_space import fitted
from distiller.search.rows import space_columns
from distiller.search.warm import Warm, check_warm, warm_start
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import parse_space
from distiller.spaces.recipe import Recipe
from distiller.spaces.sweep import parse_sweep
from tests.search.trials import BUDGET, SMALL, WIDE, make

TEXT = """\
name: {name}
datasets: {{animals: {{train: a.csv, text: t, label: l}}, opinions: {{train: o.csv, text: t, score: s}}}}
teachers: {{bert: {{model: m}}}}
budget: {{steps: {steps}}}
search: {{trials: 9, warm_start: {warm}}}
"""
FACTS = {"fingerprint": "f1", "metric": "matthews"}


def sweep_of(warm="[]", name="new", steps=BUDGET):
    return parse_sweep(TEXT.format(name=name, warm=warm, steps=steps), "s.yaml")


def earlier(folder, configs, scores, dataset="animals", facts=FACTS, steps=BUDGET, statuses=None):
    """A store with a sweep `old` of these trials."""
    store = Store.create(str(folder))
    store.write_text("old", "sweep.yaml", TEXT.format(name="old", warm="[]", steps=steps))
    store.write_dataset({"sweep": "old", "dataset": dataset, **facts})
    for number, (config, score) in enumerate(zip(configs, scores, strict=True)):
        status = (statuses or {}).get(number, "completed")
        name = f"{dataset}-{config.config_id}-0-search"
        identity = {"sweep": "old", "dataset": dataset, "config_id": config.config_id, "seed": 0,
                    "attempt": 1, "role": "search", "trial_id": name}  # fmt: skip
        row = {**identity, **config.columns(), "origin": "prior", "status": status, "score": score,
               "config": config.model_dump_json(), "steps": steps, "budget_steps": steps,
               "fidelity": 1.0}  # fmt: skip
        store.write_epochs([{**identity, "step": steps, "score": score}])
        store.write_trial(row, space_columns(config))
    return store


def drawn(count, written=SMALL, seed=0):
    sampler, found = make(written, sampler="random", seed=seed), {}
    while len(found) < count:
        config = sampler.propose()[0]
        found[config.config_id] = config
    return list(found.values())


@pytest.fixture
def new(tmp_path):
    store = Store.create(str(tmp_path / "new"))
    store.write_text("new", "sweep.yaml", "")
    return store


def started(new, sweep, tmp_path, written=SMALL, dataset="animals", facts=FACTS):
    return warm_start(new, sweep, dataset, parse_space(written), facts, tmp_path)


def test_the_best_of_another_sweep_come_first(tmp_path, new):
    configs = drawn(5)
    old = earlier(tmp_path / 'an "old" store', configs, [0.1, 0.9, 0.5, 0.7, 0.99], statuses={4: "stopped"})
    sweep = sweep_of("""[tinybert, {store: 'an "old" store', sweep: old, top: 3}]""")
    check_warm(sweep, tmp_path)
    warm = started(new, sweep, tmp_path)
    assert warm.configs == [configs[1], configs[3], configs[2]]
    assert (warm.outcomes, warm.notes) == ([], [])
    assert started(new, sweep, tmp_path, dataset="opinions").notes == [
        f"opinions: sweep old of {old.url}: it has no trials of this dataset"
    ]


def test_a_relaunch_starts_with_what_the_launch_found(tmp_path, new):
    configs = drawn(3)
    old = earlier(tmp_path / "old", configs[:2], [0.1, 0.9])
    sweep = sweep_of("{store: old, sweep: old, learn: true}")
    first = started(new, sweep, tmp_path)
    earlier(tmp_path / "old", configs[2:], [0.99])
    again = started(new, sweep, tmp_path)
    assert again == first
    assert Warm.from_json(first.to_json()) == first
    assert len(first.outcomes) == 2
    assert old.read("trials", "old").num_rows == 3


def test_a_sampler_learns_from_trials_that_compare(tmp_path, new):
    """Those in the space, with their scores and stops; none of them is a trial of this sweep."""
    inside, outside = drawn(6), drawn(2, WIDE)
    earlier(tmp_path / "old", [*inside, *outside], [0.1 * i for i in range(8)], statuses={0: "failed"})
    warm = started(new, sweep_of("{store: old, sweep: old, top: 0, learn: true}"), tmp_path)
    assert {o.config.config_id for o in warm.outcomes} == {c.config_id for c in inside}
    assert {o.status for o in warm.outcomes} == {"completed", "failed"}
    assert warm.configs == []
    assert warm.notes[-1].endswith("learned from 6 of its 8 trials, those in the space")
    sampler = make(SMALL, startup=6, prior_share=0)
    assert sampler.propose()[1] == "prior"
    for outcome in warm.outcomes:
        sampler.tell(outcome)
    assert sampler.propose()[1] == "model"


@pytest.mark.parametrize(
    ("facts", "steps", "says"),
    [
        ({"fingerprint": "f2", "metric": "matthews"}, BUDGET, "its rows are others"),
        ({"metric": "matthews"}, BUDGET, "its rows are others"),
        ({"fingerprint": "f1", "metric": "accuracy"}, BUDGET, "its metric is accuracy, here it is matthews"),
        (FACTS, 24, "its budget is 24 steps, here it is 12"),
    ],
)
def test_scores_that_do_not_compare_teach_nothing(tmp_path, new, facts, steps, says):
    configs = drawn(2)
    earlier(tmp_path / "old", configs, [0.1, 0.9], facts=facts, steps=steps)
    warm = started(new, sweep_of("{store: old, sweep: old, learn: true}"), tmp_path)
    assert (len(warm.configs), warm.outcomes) == (2, [])
    assert warm.notes[-1].endswith(f"nothing learned from its trials: {says}")


def test_recipes_and_what_has_no_place(tmp_path, new):
    (config,) = drawn(1)
    other = config.model_copy(update={"student": config.student.model_copy(update={"layers": 7})})
    sweep = sweep_of("[{configs: good.yaml}, {configs: other.yaml}]")
    for name, one in (("good", config), ("other", other)):
        recipe = Recipe(name="animals", dataset=sweep.datasets["animals"], teachers=sweep.teachers,
                        budget=sweep.budget, config=one)  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(recipe.to_yaml())
    check_warm(sweep, tmp_path)
    warm = started(new, sweep, tmp_path)
    assert warm.configs == [config]
    assert warm.notes == [
        f"animals: other.yaml: {other.config_id} left out: student.svd.layers: 7 is not in the space (1 | 2)"
    ]


@pytest.mark.parametrize(
    ("warm", "says"),
    [
        ("[pkd, {store: none, sweep: old}]", "search.warm_start.1: --store .*none: not a Distiller store"),
        (
            "{store: old, sweep: odl}",
            "search.warm_start.0: --sweep 'odl': .* did you mean 'old'",
        ),
        ("{configs: gone.yaml}", "search.warm_start.0: .*gone.yaml: no such file"),
        ("{configs: bad.yaml}", "search.warm_start.0: .*bad.yaml: .*missing"),
    ],
)
def test_what_is_not_there_is_said_before_anything_runs(tmp_path, warm, says):
    earlier(tmp_path / "old", drawn(1), [0.5])
    (tmp_path / "bad.yaml").write_text("name: x\n")
    with pytest.raises(InputError, match=says):
        check_warm(sweep_of(warm), tmp_path)


def test_constants_are_taken_from_the_space():
    """A constant stage, and numbers that are not searched; words and searched values must be right."""
    config = drawn(1)[0]
    bigger = config.model_copy(
        update={
            "student": config.student.model_copy(update={"width": 64}),
            "intermediate": PipelineConfig.model_validate({"intermediate": "cosine"}).intermediate,
            "teacher": PipelineConfig.model_validate({"teacher": {"checkpoint": "other"}}).teacher,
        }
    )
    fit, changed = fitted(parse_space(SMALL), bigger)
    assert fit == config
    assert changed == ["intermediate_objective none", "student_width 16", "teacher_checkpoint bert"]
    assert fitted(parse_space(SMALL), config) == (config, [])
    slow = config.model_copy(
        update={"optimization": config.optimization.model_copy(update={"schedule": "constant"})}
    )
    with pytest.raises(InputError, match=r"optimization.schedule: 'constant' is not in the space \(linear\)"):
        fitted(parse_space(SMALL), slow)
    two = PipelineConfig.model_validate({**config.model_dump(), "intermediate": ["mse", "cosine"]})
    with pytest.raises(InputError, match="intermediate: it fills 2 slots, the space has 1"):
        fitted(parse_space(WIDE), two)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_what_is_in_a_conditional_space_stays_as_it_is(seed):
    space = parse_space(WIDE)
    (config,) = drawn(1, WIDE, seed)
    assert fitted(space, config) == (config, [])
    (narrow,) = drawn(1, SMALL, seed)
    try:
        fit, _ = fitted(parse_space(SMALL), config)
    except InputError:
        return
    assert parse_space(SMALL).contains(fit)
    assert parse_space(SMALL).contains(narrow)
