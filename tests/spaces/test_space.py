import copy
import itertools
import json
import math
import pickle
from collections import Counter, defaultdict

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from distiller.spaces.catalog import column_types, full_space
from distiller.spaces.config import STAGES, PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import parse_space
from distiller.spaces.priors import Integers, OneOf

N = 2000
SMALL = {
    "augmentation": {"slots": [["none", {"random": {"strength": 0.1, "copies": [1, 2]}}], "none"]},
    "intermediate": {
        "none": None,
        "pkd": {
            "weight": [1, 3],
            "mapping": {"skip": {"embeddings": False}, "emd": {"temperature": [1, 2]}},
            "projection": "none",
            "schedule": "constant",
        },
    },
    "prediction": {"kl": {"hard_weight": 0.5, "temperature": {"loguniform": [1, 4]}}},
    "student": {"svd": {"layers": {"integers": [1, 6]}, "width": 128}},
    "teacher": {"checkpoint": "t"},
    "optimization": {
        "learning_rate": 1e-3,
        "warmup": 0,
        "weight_decay": 0,
        "schedule": "linear",
    },
}


@pytest.fixture(scope="module")
def draws():
    rng = np.random.default_rng(3)
    return [full_space().sample(rng).columns() for _ in range(N)]


def test_every_question_is_answered_by_its_prior():
    rng, answers = np.random.default_rng(4), defaultdict(list)

    def decide(decision):
        value = decision.prior.sample(rng)
        answers[decision].append(value)
        return value

    for _ in range(N):
        full_space().build(decide)
    assert set(answers) == set(full_space().questions())
    for decision, values in answers.items():
        if isinstance(decision.prior, OneOf):
            counts = Counter(values)
            assert set(counts) == set(decision.prior.values), decision.path
            assert len(counts) == 1 or stats.chisquare(list(counts.values())).pvalue > 1e-4, decision.path
        else:
            low, high, kind = decision.prior.low, decision.prior.high, decision.prior.log
            truth = stats.loguniform(low, high) if kind else stats.uniform(low, high - low)
            assert stats.kstest(values, truth.cdf).pvalue > 1e-4, decision.path


@pytest.mark.parametrize(
    ("column", "truth"),
    [
        ("optimization_learning_rate", stats.loguniform(2e-4, 4e-3)),
        ("optimization_warmup", stats.uniform(0, 0.2)),
        ("prediction_temperature", stats.loguniform(1, 8)),
        ("prediction_hard_weight", stats.uniform(0, 0.9)),
        ("intermediate_weight", stats.loguniform(0.01, 10)),
        ("intermediate_alpha", stats.uniform(0, 1)),
    ],
)
def test_ranges_follow_their_prior(draws, column, truth):
    drawn = [d[column] for d in draws if column in d]
    assert len(drawn) > 60
    assert stats.kstest(drawn, truth.cdf).pvalue > 1e-3


def test_stages_are_independent(draws):
    """Chi-square of the contingency table of each pair of stages, by one column each."""
    columns = [
        "augmentation_method",
        "intermediate_objective",
        "prediction_loss",
        "student_initialization",
        "optimization_schedule",
        "optimization_weight_decay",
    ]
    for one, other in itertools.combinations(columns, 2):
        table = Counter((d[one], d[other]) for d in draws)
        counts = [[table[a, b] for b in {k[1] for k in table}] for a in {k[0] for k in table}]
        assert stats.chi2_contingency(counts).pvalue > 1e-4, (one, other)


def test_a_conditional_parameter_exists_only_under_its_choice(draws):
    for d in draws:
        objective = d["intermediate_objective"]
        assert ("intermediate_alpha" in d) == (objective == "mi_alpha")
        assert ("intermediate_weight" in d) == (objective != "none")
        assert ("intermediate_heads" in d) == (objective == "minilm_v2")
        assert ("intermediate_schedule_share" in d) == (d.get("intermediate_schedule") == "first_stage")
        assert ("intermediate_mapping_temperature" in d) == (d.get("intermediate_mapping") == "emd")
        assert ("prediction_temperature" in d) == (d["prediction_loss"] not in ("mse", "l1"))
        assert ("student_width" in d) == (d["student_initialization"] != "teacher_layers")
        assert ("augmentation_copies" in d) == (d["augmentation_method"] not in ("none", "mixup"))
        assert d["prediction_loss"] != "labels"  # the baseline enters a space only by name


def test_a_grid_is_every_combination_once():
    space = parse_space(SMALL)
    augmentations = [("none", None), ("random", 1), ("random", 2)]
    terms = [("none", None, None, None)] + [
        ("pkd", w, m, t) for w in (1, 3) for m, t in (("skip", None), ("emd", 1), ("emd", 2))
    ]
    truth = {
        (*a, *i, temperature, layers)
        for a, i, temperature, layers in itertools.product(augmentations, terms, (1, 2, 4), (1, 4, 6))
    }
    names = [
        "augmentation_method",
        "augmentation_copies",
        "intermediate_objective",
        "intermediate_weight",
        "intermediate_mapping",
        "intermediate_mapping_temperature",
        "prediction_temperature",
        "student_layers",
    ]
    configs = list(space.grid(3))
    found = [tuple(c.columns().get(n) for n in names) for c in configs]
    assert len(found) == len(truth) == space.size(3)
    assert set(found) == truth
    assert all(map(space.contains, configs))


@settings(max_examples=30)
@given(st.data(), st.integers(1, 3))
def test_a_grid_is_as_long_as_its_size(narrowings, data, levels):
    space = parse_space(data.draw(narrowings))
    head = list(itertools.islice(space.grid(levels), 150))
    assert len(head) == min(space.size(levels), 150)
    assert len({json.dumps(c.columns()) for c in head}) == len(head)
    assert all(map(space.contains, head[:20]))


def test_sizes():
    fixed = {**SMALL, "prediction": {"kl": {"hard_weight": 0.5, "temperature": [1, 2]}}}
    assert parse_space(fixed).size() == 3 * 7 * 2 * 6
    assert parse_space({**fixed, "prediction": {"kl": {"hard_weight": 0.5}}}).size() == math.inf
    assert full_space().size() == math.inf
    assert parse_space({"prediction": {"mse": {"hard_weight": {"uniform": [0, 1]}}}}).size() == math.inf


def test_a_grid_is_lazy():
    assert full_space().size(50) > 1e12
    assert next(full_space().grid(50)).augmentation[0].method == "none"


@settings(max_examples=25)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_optuna_suggests_and_decisions_say_the_same(narrowings, data, seed):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = parse_space(data.draw(narrowings))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(2):
        trial = study.ask()
        config = space.suggest(trial)
        decisions = space.decisions(config)
        searched = {d.path for d in space.searched()}
        answered = {d.path: v for d, v in decisions if d.path in searched}
        assert answered.keys() == trial.params.keys()
        for path, value in trial.params.items():
            assert answered[path] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value)
            assert trial.distributions[path]._contains(
                trial.distributions[path].to_internal_repr(answered[path])
            )
        assert {d.column: v for d, v in decisions} == config.columns()
        study.tell(trial, 0.0)


@settings(max_examples=60)
@given(st.data(), st.integers(0, 2**32))
def test_questions_have_their_own_path_and_a_known_column(narrowings, data, seed):
    space = parse_space(data.draw(narrowings))
    questions = space.questions()
    assert len({q.path for q in questions}) == len(questions)
    assert {q.column for q in questions} <= set(column_types())
    asked = [d for d, _ in space.decisions(space.sample(np.random.default_rng(seed)))]
    assert [q for q in questions if q in asked] == asked
    assert {q.stage for q in questions} == set(STAGES)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (PipelineConfig(prediction={"loss": "mse"}), "prediction.loss: 'mse' is not in the space (kl)"),
        (
            PipelineConfig(prediction={"loss": "kl", "temperature": 9}),
            "prediction.kl.temperature: 9.0 is not in",
        ),
        (
            PipelineConfig(intermediate=["mse", "none"]),
            "intermediate: the config fills 2 slots, the space has 1",
        ),
        (
            PipelineConfig(intermediate={"objective": "mse", "mapping": "emd"}),
            "intermediate.mse.mapping: 'emd' is",
        ),
    ],
)
def test_a_config_from_elsewhere_is_named(config, says):
    space = parse_space(
        {"prediction": "kl", "intermediate": {"none": {}, "mse": {"mapping": ["skip", "last"]}}}
    )
    assert not space.contains(config)
    with pytest.raises(InputError) as refused:
        space.decisions(config)
    assert str(refused.value).startswith(says)


def test_slots_have_their_own_paths_and_columns():
    space = parse_space({"intermediate": {"slots": ["mse", {"mi_alpha": {"alpha": 0.5}}]}})
    columns = {d.path: d.column for d in space.questions()}
    assert columns["intermediate.mse.weight"] == "intermediate_weight"
    assert columns["intermediate.2.mi_alpha.alpha"] == "intermediate_2_alpha"
    assert columns["intermediate.2.mi_alpha.mapping.emd.temperature"] == "intermediate_2_mapping_temperature"
    assert columns["intermediate.2.mi_alpha.mapping"] == "intermediate_2_mapping"


def test_without_a_choice():
    space = parse_space({"augmentation": {"slots": [["none", "mixup"], ["mixup", "random"]]}})
    less = space.without("augmentation", "mixup")
    assert [list(node.choices) for node in less.stages["augmentation"]] == [["none"], ["random"]]
    assert less.without("augmentation", "mixup") == less
    with pytest.raises(InputError, match=r"^space.augmentation: nothing is left without none"):
        less.without("augmentation", "none")


@settings(max_examples=20)
@given(st.data())
def test_a_space_travels_to_other_processes(narrowings, data):
    space = parse_space(data.draw(narrowings))
    for twin in (pickle.loads(pickle.dumps(space)), copy.deepcopy(space)):
        assert twin == space
        one, other = twin.sample(np.random.default_rng(1)), space.sample(np.random.default_rng(1))
        assert one == other


def test_every_default_prior_and_default_is_legal():
    """Each default prior's ends, and each default, pass the field's own range."""
    for end in (0, -1):

        def extreme(decision, end=end):
            prior = decision.prior
            return prior.values[end] if isinstance(prior, OneOf) else (prior.low, prior.high)[end]

        for name, part in STAGES.items():
            for choice in getattr(part.part, "choices", {"": None}):
                written = {name: choice} if choice else {}
                parse_space(written).build(extreme)
    assert not any(
        isinstance(q.prior, Integers) and q.column == "student_width" for q in full_space().questions()
    )
