import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.spaces.catalog import full_space
from distiller.spaces.config import STAGES, PipelineConfig
from distiller.spaces.encoding import Encoding, Feature
from distiller.spaces.narrowing import parse_space

MSE = PipelineConfig.model_validate(
    {
        "intermediate": {"objective": "mse", "weight": 0.1, "mapping": "emd"},
        "prediction": {"loss": "kl", "temperature": 4, "hard_weight": 0},
        "student": {"initialization": "svd", "width": 256},
    }
)
PLAIN = PipelineConfig.model_validate({"prediction": "mse", "student": "teacher_layers"})


def encoded(config, *spaces):
    encoding = Encoding.of(*(spaces or [full_space()]))
    return dict(zip([f.name for f in encoding.features], encoding.encode([config])[0], strict=True))


def test_values():
    row = encoded(MSE)
    assert row["intermediate_weight"] == np.log(0.1)  # drawn on a log scale
    assert row["prediction_temperature"] == np.log(4)
    assert row["prediction_hard_weight"] == 0
    assert row["student_width"] == 256
    assert row["intermediate_objective=mse"] == 1
    assert row["intermediate_objective=none"] == 0
    assert row["intermediate_mapping=emd"] == 1


def test_what_is_inactive():
    row = encoded(PLAIN)
    for number in ("intermediate_weight", "intermediate_alpha", "prediction_temperature", "student_width"):
        assert np.isnan(row[number]), number
    for value in ("intermediate_mapping=skip", "intermediate_mapping=emd", "intermediate_projection=none"):
        assert row[value] == 0, value


def test_a_choice_outside_the_space_is_no_known_value():
    row = encoded(PipelineConfig.model_validate({"prediction": "labels"}))
    assert [row[f"prediction_loss={v}"] for v in ("ce", "kl", "mse")] == [0, 0, 0]


def test_constants_are_left_out_and_the_rest_stands_in_the_order_of_the_questions():
    space = parse_space(
        {
            "augmentation": "none",
            "intermediate": "none",
            "prediction": {
                "kl": {"temperature": [1, 2], "hard_weight": {"uniform": [0.5, 0.5]}},
                "mse": {"hard_weight": 0.5},
            },
            "student": {"svd": {"layers": {"integers": [1, 4]}, "width": 128}},
            "optimization": {"warmup": 0, "weight_decay": 0, "schedule": ["cosine", "linear"]},
        }
    )
    assert Encoding.of(space).features == (
        Feature("prediction_loss=kl", "prediction_loss", "prediction", "kl"),
        Feature("prediction_loss=mse", "prediction_loss", "prediction", "mse"),
        Feature("prediction_temperature", "prediction_temperature", "prediction"),
        Feature("student_layers", "student_layers", "student"),
        Feature("optimization_learning_rate", "optimization_learning_rate", "optimization", log=True),
        Feature("optimization_schedule=cosine", "optimization_schedule", "optimization", "cosine"),
        Feature("optimization_schedule=linear", "optimization_schedule", "optimization", "linear"),
    )


def test_several_spaces_share_their_columns():
    low, high = ({"student": {"svd": {"layers": n, "width": 128}}} for n in (2, 4))
    names = [f.name for f in Encoding.of(parse_space(low), parse_space(high)).features]
    assert "student_layers" in names  # constant in each, not in both together
    assert "student_width" not in names


@pytest.mark.parametrize("prior", [[0.0, 1.0], {"uniform": [0, 1]}])
def test_a_log_scale_is_not_taken_of_zero(prior):
    one = parse_space({"optimization": {"weight_decay": prior}})
    other = parse_space({"optimization": {"weight_decay": {"loguniform": [0.01, 1]}}})
    config = PipelineConfig.model_validate({"optimization": {"weight_decay": 0}})
    assert encoded(config, one, other)["optimization_weight_decay"] == 0


@settings(max_examples=25)
@given(st.data(), st.integers(0, 2**32))
def test_nothing_is_lost_and_nothing_is_constant(narrowings, data, seed):
    space = parse_space(data.draw(narrowings))
    rng = np.random.default_rng(seed)
    configs = [space.sample(rng) for _ in range(80)]
    encoding = Encoding.of(space)
    matrix = encoding.encode(configs)
    assert matrix.shape == (80, len(encoding.features))
    assert not np.isinf(matrix).any()
    assert len({f.name for f in encoding.features}) == len(encoding.features)
    order = list(STAGES)
    assert [f.stage for f in encoding.features] == sorted(
        (f.stage for f in encoding.features), key=order.index
    )
    # Equal rows of features are equal configs: all that is searched can be told apart.
    assert len(np.unique(matrix, axis=0, equal_nan=True)) == len({str(c.columns()) for c in configs})


def test_no_feature_of_the_full_space_is_constant():
    rng = np.random.default_rng(0)
    matrix = Encoding.of(full_space()).encode([full_space().sample(rng) for _ in range(500)])
    assert all(len(np.unique(column[~np.isnan(column)])) > 1 for column in matrix.T)
