import io
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from distiller.spaces.augmentation import Mixup, RandomWords
from distiller.spaces.catalog import column_types, full_space
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.files import parse_yaml, write_yaml
from distiller.spaces.intermediate import L1, Cosine, FirstStage, MiAlpha, Mse, NoIntermediate
from distiller.spaces.mapping import Emd
from distiller.spaces.narrowing import parse_space
from distiller.spaces.optimization import Optimization
from distiller.spaces.prediction import Kl, LabelsOnly
from distiller.spaces.student import RandomStart, SvdEmbeddings, TeacherLayers

Config = PipelineConfig
THREE_TERMS = (Mse(weight=3), NoIntermediate(), MiAlpha(alpha=0.25, mapping=Emd(temperature=2)))


def reread(config):
    return Config.model_validate(parse_yaml(write_yaml(config.model_dump(mode="json")), "config"))


@given(st.integers(1, 200), st.sampled_from([0.07, 0.1, 0.25, 0.29, 0.5]), st.booleans())
def test_a_config_predicts_once_a_step_had_its_prediction_loss(steps, share, staged):
    terms = (Cosine(), Mse(schedule=FirstStage(share=share / 2)), L1(schedule=FirstStage(share=share)))
    config = Config(intermediate=terms if staged else Cosine())
    assert config.prediction_starts == (share if staged else 0.0)
    had = [done / steps >= config.prediction_starts for done in range(steps)]  # as training goes
    for step in range(1, steps + 1):
        assert config.predicts(step, steps) == any(had[:step])


@settings(max_examples=60)
@given(st.data(), st.integers(0, 2**32))
def test_every_draw_is_a_config_that_survives_every_form(narrowings, data, seed):
    space = parse_space(data.draw(narrowings))
    config = space.sample(np.random.default_rng(seed))
    assert space.contains(config)
    assert Config.model_validate(config.model_dump()) == config
    assert reread(config) == config
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert Config.from_columns(config.columns()) == config
    assert set(config.columns()) <= set(column_types())
    assert {type(v) is column_types()[c] for c, v in config.columns().items()} == {True}
    assert reread(config).config_id == config.config_id


def as_parquet(configs):
    """The configs' columns as results stores them: one typed table, null where a parameter is inactive."""
    arrow = {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}
    rows = [c.columns() for c in configs]
    table = {c: pa.array([r.get(c) for r in rows], arrow[t]) for c, t in column_types().items()}
    table["teacher_score"] = pa.array([0.5] * len(rows))
    table["metrics"] = pa.array([[0.1, 0.2]] * len(rows))
    file = io.BytesIO()
    pq.write_table(pa.table(table), file)
    return file


@settings(max_examples=15)
@given(st.data(), st.integers(0, 2**32))
def test_a_parquet_table_gives_the_configs_back(narrowings, data, seed):
    spaces = [full_space(), *map(parse_space, data.draw(st.lists(narrowings, min_size=1, max_size=3)))]
    rng = np.random.default_rng(seed)
    configs = [space.sample(rng) for space in spaces for _ in range(2)]
    file = as_parquet(configs)
    forms = {
        "arrow": pq.read_table(file).to_pylist(),
        "pandas": pd.read_parquet(file).to_dict("records"),
        "nullable pandas": pd.read_parquet(file, dtype_backend="numpy_nullable").to_dict("records"),
        "arrow pandas": pd.read_parquet(file, dtype_backend="pyarrow").to_dict("records"),
        "series": [row for _, row in pd.read_parquet(file).iterrows()],
    }
    for form, rows in forms.items():
        assert [Config.from_columns(row) for row in rows] == configs, form


def test_integers_beside_nulls_come_back_from_floats():
    frame = pd.read_parquet(as_parquet([Config(), Config(student=TeacherLayers(layers=3))]))
    assert frame["student_width"].dtype == np.float64
    assert Config.from_columns(frame.iloc[0]).student == SvdEmbeddings(width=128)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prediction_loss": None}, "column prediction_loss: missing or null"),
        ({"prediction_loss": float("nan")}, "column prediction_loss: missing or null"),
        ({"prediction_loss": "kll"}, "column prediction_loss: 'kll' is none of labels, ce, kl,"),
        ({"student_layers": 2.5}, "column student_layers: 2.5 is no int"),
        ({"student_layers": "two"}, "column student_layers: 'two' is no int"),
        ({"student_layers": float("inf")}, "column student_layers: inf is no int"),
        ({"prediction_temperature": "hot"}, "column prediction_temperature: 'hot' is no float"),
        (
            {"prediction_temperature": 1e9},
            "columns of prediction.kl.temperature: 1000000000.0: Input should be",
        ),
        ({"teacher_checkpoint": 7}, "column teacher_checkpoint: 7 is no str"),
    ],
)
def test_a_row_that_is_no_config_is_refused_in_one_line(change, says):
    with pytest.raises(InputError, match="column") as refused:
        Config.from_columns({**Config().columns(), **change})
    assert str(refused.value).startswith(says)
    assert str(refused.value).isprintable()


def test_a_row_from_before_a_parameter_existed_reads_as_its_default():
    config = Config(intermediate=(Mse(weight=3),), prediction=Kl(hard_weight=0.25))
    row = config.columns()
    for column in ("intermediate_mapping", "intermediate_projection", "prediction_temperature"):
        del row[column]
    assert Config.from_columns(row) == config


def test_one_slot_is_written_without_a_list():
    assert write_yaml(Config().model_dump(mode="json")).startswith(
        "augmentation:\n  method: none\nintermediate:\n"
    )
    several = Config(intermediate=THREE_TERMS).model_dump(mode="json")["intermediate"]
    assert [term["objective"] for term in several] == ["mse", "none", "mi_alpha"]


def test_short_forms_read_as_the_long_ones():
    short: dict[str, Any] = {
        "augmentation": ["random", "mixup"],
        "intermediate": {"objective": "cosine", "mapping": "emd"},
        "prediction": "labels",
        "student": "random",
    }
    assert Config.model_validate(short) == Config(
        augmentation=(RandomWords(), Mixup()),
        intermediate=(Cosine(mapping=Emd()),),
        prediction=LabelsOnly(),
        student=RandomStart(),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"augmentation": []},
        {"intermediate": ["mse"] * 4},
        {"prediction": {"loss": "kl", "temperature": 0}},
        {"prediction": {"loss": "kl", "temperature": float("nan")}},
        {"optimization": {"max_grad_norm": float("inf")}},
        {"prediction": {"loss": "mse", "temperature": 2}},
        {"student": {"initialization": "svd", "width": 130}},
        {"predictions": "kl"},
    ],
)
def test_what_is_no_config_is_refused(wrong):
    with pytest.raises(ValidationError):
        Config.model_validate(wrong)


def test_configs_are_values():
    config = Config(optimization=Optimization(learning_rate=2e-3))
    assert hash(config) == hash(reread(config))
    with pytest.raises(ValidationError, match="frozen"):
        config.optimization.learning_rate = 1.0
