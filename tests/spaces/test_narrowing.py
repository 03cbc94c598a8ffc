import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.spaces.catalog import full_space
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.files import parse_yaml, write_yaml
from distiller.spaces.narrowing import concise, narrowed_to, nearest, parse_space, write_space
from distiller.spaces.priors import Integers, LogUniform, OneOf, Uniform

NAN, INF = math.nan, math.inf


@settings(max_examples=25)
@given(st.data())
def test_a_written_space_is_read_back(narrowings, data):
    space = parse_space(data.draw(narrowings))
    assert parse_space(parse_yaml(write_yaml(write_space(space)), "space")) == space


@settings(max_examples=25)
@given(st.data(), st.integers(0, 2**32))
def test_a_space_can_hold_one_config_alone(narrowings, data, seed):
    config = parse_space(data.draw(narrowings)).sample(np.random.default_rng(seed))
    written = parse_yaml(write_yaml(narrowed_to(config)), "space")
    assert [one.config_id for one in parse_space(written).grid()] == [config.config_id]
    short = parse_yaml(write_yaml(concise(config)), "config")
    assert PipelineConfig.model_validate(short) == config
    assert len(write_yaml(short)) <= len(write_yaml(config.model_dump(mode="json")))


def test_what_is_not_named_keeps_its_defaults():
    assert (
        parse_space(None) == parse_space({}) == parse_space({"student": None, "teacher": {}}) == full_space()
    )
    assert (
        parse_space({"prediction": "kl"})
        == parse_space({"prediction": ["kl"]})
        == parse_space({"prediction": {"kl": {}}})
    )
    kl = parse_space({"prediction": {"kl": {"temperature": 2}}}).stages["prediction"][0].choices["kl"]
    assert kl.children == {"hard_weight": Uniform(0, 0.9), "temperature": OneOf(2.0)}
    mixed = parse_space({"prediction": ["mse", {"kl": {"temperature": 2}}]}).stages["prediction"][0]
    assert list(mixed.choices) == ["mse", "kl"]


def test_a_choice_that_is_not_searched_by_default_enters_by_name():
    assert "labels" not in full_space().stages["prediction"][0].choices
    assert list(parse_space({"prediction": "labels"}).stages["prediction"][0].choices) == ["labels"]


@pytest.mark.parametrize(
    ("parameter", "written", "prior"),
    [
        ("learning_rate", 1, OneOf(1.0)),
        ("learning_rate", [0.1, 1], OneOf(0.1, 1.0)),
        ("learning_rate", {"uniform": [0.5, 1]}, Uniform(0.5, 1)),
        ("learning_rate", {"loguniform": [1e-5, 1e-2]}, LogUniform(1e-5, 1e-2)),
        ("batch_size", {"integers": [16, 64]}, Integers(16, 64)),
        ("schedule", ["cosine", "linear"], OneOf("cosine", "linear")),
    ],
)
def test_priors_take_the_type_of_their_parameter(parameter, written, prior):
    found = parse_space({"optimization": {parameter: written}}).stages["optimization"][0].children[parameter]
    assert found == prior
    assert [type(v) for v in getattr(found, "values", ())] == [type(v) for v in getattr(prior, "values", ())]


def kl(**temperature):
    return {"prediction": {"kl": temperature}}


def alpha(prior):
    return {"intermediate": {"mi_alpha": {"alpha": prior}}}


def layers(prior):
    return {"student": {"svd": {"layers": prior}}}


ERRORS = [
    (["kl"], "space: ['kl'] is no mapping of stages"),
    ({"predicton": None}, "space.predicton: unknown stage; did you mean 'prediction'?"),
    ({"zzz": None}, "space.zzz: unknown stage; known: augmentation, intermediate"),
    ({7: None}, "space.7: unknown stage; known:"),
    ({"two\nlines": None}, "space.two lines: unknown stage"),
    ({"prediction": "kll"}, "space.prediction.kll: unknown choice; did you mean 'kl'?"),
    ({"prediction": ["kl", "msee"]}, "space.prediction.msee: unknown choice; did you mean 'mse'?"),
    ({"prediction": ["kl", {"kl": None}]}, "space.prediction.kl: named twice"),
    ({"prediction": 3}, "space.prediction: 3 is no mapping of choices"),
    ({"prediction": []}, "space.prediction: no choice is named; known: labels, ce, kl,"),
    ({"prediction": {}}, "space.prediction: no choice is named"),
    ({"prediction": {"kl": 2}}, "space.prediction.kl: 2 is no mapping of parameters"),
    ({"optimization": []}, "space.optimization: [] is no mapping of parameters"),
    (kl(temprature=2), "space.prediction.kl.temprature: unknown parameter; did you mean 'temperature'?"),
    (
        {"prediction": {"mse": {"temperature": 2}}},
        "space.prediction.mse.temperature: unknown parameter; known: hard",
    ),
    (alpha(1.4), "space.intermediate.mi_alpha.alpha: 1.4 is above 1"),
    (alpha(-1), "space.intermediate.mi_alpha.alpha: -1 is below 0"),
    (alpha([0.5, 2]), "space.intermediate.mi_alpha.alpha: 2 is above 1"),
    (alpha({"uniform": [0, 2]}), "space.intermediate.mi_alpha.alpha: 2.0 is above 1"),
    (alpha({"uniform": [1, 0]}), "space.intermediate.mi_alpha.alpha.uniform: 1 is above 0"),
    (
        alpha({"integers": [0, 1]}),
        "space.intermediate.mi_alpha.alpha: takes any number; write {uniform: [a, b]}",
    ),
    (alpha("0.5"), "space.intermediate.mi_alpha.alpha: '0.5' is no number; write a number"),
    (alpha("high"), "space.intermediate.mi_alpha.alpha: 'high' is not right: input should be a valid number"),
    (alpha(True), "space.intermediate.mi_alpha.alpha: True is no number; write a number"),
    (alpha([0.5, True]), "space.intermediate.mi_alpha.alpha: True is no number"),
    (alpha(NAN), "space.intermediate.mi_alpha.alpha: nan holds a number that is not finite"),
    (alpha([0.1, 0.1]), "space.intermediate.mi_alpha.alpha: [0.1, 0.1] names a value twice"),
    (alpha([]), "space.intermediate.mi_alpha.alpha: [] is no list of values"),
    (alpha(None), "space.intermediate.mi_alpha.alpha: None is no prior"),
    (
        alpha({"uniform": [0, NAN]}),
        "space.intermediate.mi_alpha.alpha.uniform: [0, nan] is not two finite numbers",
    ),
    (
        {"optimization": {"max_grad_norm": INF}},
        "space.optimization.max_grad_norm: inf holds a number that is not finite",
    ),
    (kl(temperature=0), "space.prediction.kl.temperature: 0 is not above 0"),
    (kl(temperature={"loguniform": [0, 1]}), "space.prediction.kl.temperature.loguniform: 0 is not above 0"),
    (layers(2.0), "space.student.svd.layers: 2.0 is not right: input should be a valid integer"),
    (layers(True), "space.student.svd.layers: True is not right: input should be a valid integer"),
    (layers("2"), "space.student.svd.layers: '2' is not right: input should be a valid integer"),
    (layers(0), "space.student.svd.layers: 0 is below 1"),
    (layers({"uniform": [1, 4]}), "space.student.svd.layers: needs integers; write {integers: [a, b]}"),
    (layers({"integers": [1, 99]}), "space.student.svd.layers: 99 is above 48"),
    ({"student": {"svd": {"width": 100}}}, "space.student.svd.width: 100 is no multiple of 16"),
    (
        {"student": {"svd": {"width": {"integers": [128, 256]}}}},
        "space.student.svd.width: takes multiples of 16",
    ),
    (
        {"optimization": {"schedule": "cosin"}},
        "space.optimization.schedule: 'cosin' is none of 'linear', 'cosine'",
    ),
    ({"optimization": {"schedule": {"uniform": [0, 1]}}}, "space.optimization.schedule: takes no range"),
    (
        {"teacher": {"checkpoint": 3}},
        "space.teacher.checkpoint: 3 is not right: input should be a valid string",
    ),
    (
        {"teacher": {"checkpoint": ""}},
        "space.teacher.checkpoint: '' is not right: string should have at least 1",
    ),
    (
        {"intermediate": {"mse": {"mapping": "emdd"}}},
        "space.intermediate.mse.mapping.emdd: unknown choice; did you",
    ),
    (
        {"intermediate": {"mse": {"mapping": {"emd": {"temperature": -1}}}}},
        "space.intermediate.mse.mapping.emd.temperature: -1 is not above 0",
    ),
    ({"intermediate": {"slots": []}}, "space.intermediate.slots: needs a list of 1 to 3 slots"),
    ({"intermediate": {"slots": ["mse"] * 4}}, "space.intermediate.slots: needs a list of 1 to 3 slots"),
    ({"intermediate": {"slots": 2}}, "space.intermediate.slots: needs a list"),
    ({"intermediate": {"slots": ["mse"], "mse": {}}}, "space.intermediate.slots: needs a list"),
    ({"prediction": {"slots": ["kl", "mse"]}}, "space.prediction.slots: needs a list of 1 to 1 slots"),
    (
        {"intermediate": {"slots": ["mse", {"mse": {"weight": 0}}]}},
        "space.intermediate.2.mse.weight: 0 is not above 0",
    ),
]


@pytest.mark.parametrize(("written", "says"), ERRORS, ids=[re.sub(r"\W+", "-", e[1])[:60] for e in ERRORS])
def test_a_wrong_narrowing_is_named_in_one_line(written, says):
    with pytest.raises(InputError) as refused:
        parse_space(written)
    assert str(refused.value).startswith(says)
    assert str(refused.value).isprintable()


def test_nearest():
    assert nearest("tempratur", ["temperature", "weight"]) == "did you mean 'temperature'?"
    assert nearest("zzz", ["a", "b"]) == "known: a, b"
