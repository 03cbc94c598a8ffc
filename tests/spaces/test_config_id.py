import hashlib
import json
import os
import subprocess
import sys
from typing import Annotated, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from distiller.spaces.augmentation import Mixup, NoAugmentation, RandomWords
from distiller.spaces.catalog import full_space
from distiller.spaces.config import PipelineConfig
from distiller.spaces.intermediate import MiAlpha, Mse, NoIntermediate
from distiller.spaces.mapping import Emd, Mapping, Skip
from distiller.spaces.narrowing import parse_space
from distiller.spaces.optimization import Teacher
from distiller.spaces.prediction import Kl, LogitMse
from distiller.spaces.priors import Uniform

Config = PipelineConfig
THREE_TERMS = (Mse(weight=3), NoIntermediate(), MiAlpha(alpha=0.25, mapping=Emd(temperature=2)))


def independent_identity(config):
    """What makes a pipeline, said another way than `canonical()`: full dumps of the slots in use."""

    def dumps(slots):
        return [
            json.dumps(s.model_dump(), sort_keys=True)
            for s in slots
            if "none" not in list(s.model_dump().values())[:1]
        ]

    unordered = sorted(dumps(config.intermediate)), sorted(dumps(config.teacher))
    rest = dumps([config.prediction, config.student, config.optimization])
    return dumps(config.augmentation), unordered, rest


# The columns are written in full: an id must outlive a change of defaults too.
TAIL = {
    "optimization_batch_size": 32,
    "optimization_max_grad_norm": 1.0,
    "optimization_beta1": 0.9,
    "optimization_beta2": 0.999,
    "optimization_layer_decay": 1.0,
    "optimization_label_smoothing": 0.0,
    "optimization_dropout": 0.0,
    "teacher_checkpoint": "teacher",
}
BASE = {
    "augmentation_method": "none",
    "intermediate_objective": "none",
    "prediction_loss": "kl",
    "prediction_hard_weight": 0.5,
    "prediction_temperature": 2.0,
    "student_initialization": "svd",
    "student_layers": 2,
    "student_width": 128,
    "student_family": "teacher",
    "optimization_learning_rate": 1e-3,
    "optimization_warmup": 0.1,
    "optimization_weight_decay": 0.01,
    "optimization_schedule": "linear",
    **TAIL,
}
MSE = {
    "intermediate_objective": "mse",
    "intermediate_weight": 0.123457,
    "intermediate_representation": "cls",
    "intermediate_mapping": "emd",
    "intermediate_mapping_temperature": 1.0,
    "intermediate_projection": "none",
    "intermediate_schedule": "constant",
}
MI = {
    "intermediate_2_objective": "mi_alpha",
    "intermediate_2_alpha": 0.9,
    "intermediate_2_weight": 1e-2,
    "intermediate_2_representation": "mean",
    "intermediate_2_mapping": "skip",
    "intermediate_2_mapping_embeddings": False,
    "intermediate_2_schedule": "constant",
}
GOLDEN = {
    "default": ("aceb7078bb32", {}),
    "labels": ("701bdd238121", {"prediction_loss": "labels"}),
    "random words": (
        "2f34f4ac5b45",
        {
            "augmentation_method": "random",
            "augmentation_strength": 0.3,
            "augmentation_copies": 4,
            "augmentation_redraw": 0,
        },
    ),
    "mse": ("81c5aa2804dc", MSE),
    "two terms": ("44eb185e50b6", {**MSE, **MI}),
    "small numbers": (
        "5b063f857cbc",
        {"optimization_learning_rate": 2.00001e-4, "optimization_weight_decay": 0.0},
    ),
    "teacher layers": (
        "711418ef6e93",
        {
            "student_initialization": "teacher_layers",
            "student_selection": "last",
            "teacher_checkpoint": "größe",
        },
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_ids_never_change(name):
    golden, change = GOLDEN[name]
    config = Config.from_columns({**BASE, **change})
    assert config.config_id == golden
    assert config.config_id == hashlib.sha256(config.canonical().encode()).hexdigest()[:12]


def test_no_golden_relies_on_a_default():
    for _, change in GOLDEN.values():
        row = {**BASE, **change}
        assert set(Config.from_columns(row).columns()) <= set(row)


SAMPLER = """
import numpy as np
from distiller.spaces.catalog import full_space
rng = np.random.default_rng(7)
print(*(full_space().sample(rng).config_id for _ in range(20)))
"""


def test_ids_and_draws_are_the_same_in_every_process():
    rng = np.random.default_rng(7)
    here = " ".join(full_space().sample(rng).config_id for _ in range(20))
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        there = subprocess.run(
            [sys.executable, "-c", SAMPLER], env=env, capture_output=True, text=True, check=True
        )
        assert there.stdout.strip() == here


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (Config(intermediate=(Mse(), NoIntermediate())), Config(intermediate=(Mse(),))),
        (Config(intermediate=(NoIntermediate(), NoIntermediate())), Config()),
        (Config(augmentation=(NoAugmentation(), Mixup())), Config(augmentation=(Mixup(),))),
        (Config(intermediate=THREE_TERMS), Config(intermediate=THREE_TERMS[::-1])),
        (
            Config(teacher=(Teacher(checkpoint="a"), Teacher(checkpoint="b"))),
            Config(teacher=(Teacher(checkpoint="b"), Teacher(checkpoint="a"))),
        ),
        (Config(intermediate=(Mse(weight=3),)), Config(intermediate=(Mse(weight=3.0),))),
        (Config(intermediate=(Mse(mapping=Skip(), projection="linear"),)), Config(intermediate=(Mse(),))),
        (Config(prediction=LogitMse(hard_weight=-0.0)), Config(prediction=LogitMse(hard_weight=0.0))),
        (Config(prediction=Kl(hard_weight=0.5, temperature=2)), Config()),
        (
            Config.model_validate({"intermediate": "mse", "prediction": "kl", "student": "svd"}),
            Config(intermediate=(Mse(),)),
        ),
    ],
)
def test_equal_pipelines_have_one_id(one, same):
    assert one.config_id == same.config_id


def test_the_order_of_augmentations_matters():
    there, back = (RandomWords(), Mixup()), (Mixup(), RandomWords())
    assert Config(augmentation=there).config_id != Config(augmentation=back).config_id


@settings(max_examples=40)
@given(st.data(), st.integers(0, 2**32))
def test_ids_differ_exactly_where_pipelines_do(narrowings, data, seed):
    space = parse_space(data.draw(narrowings))
    rng = np.random.default_rng(seed)
    configs = [space.sample(rng) for _ in range(12)]
    assert len({c.config_id for c in configs}) == len({json.dumps(independent_identity(c)) for c in configs})


@settings(max_examples=40)
@given(st.data(), st.integers(0, 2**32))
def test_one_other_active_value_is_another_id(narrowings, data, seed):
    space = parse_space(data.draw(narrowings))
    rng = np.random.default_rng(seed)
    config = space.sample(rng)
    for decision, value in space.decisions(config):
        other = decision.prior.sample(rng)
        is_parameter = decision.column.split("_")[-1] not in ("method", "objective", "loss", "initialization")
        inner = decision.column.endswith(("_mapping", "_schedule", "_projection"))
        if is_parameter and not inner and other != value:
            changed = Config.from_columns({**config.columns(), decision.column: other})
            assert changed.config_id != config.config_id, decision.path


class GrownMse(Mse):
    """Mse after a release that gave it a parameter, and a choice, of their own."""

    citation: ClassVar[str] = "none"
    objective: Literal["mse"] = "mse"
    margin: Annotated[float, Field(ge=0), Uniform(0, 1)] = 0.25
    second_mapping: Mapping = Skip()


def test_a_parameter_added_at_its_default_renames_nothing():
    old = Config(intermediate=(Mse(weight=3),))
    grown = old.model_copy(update={"intermediate": (GrownMse(weight=3),)})
    assert "intermediate_margin" in grown.columns()
    assert grown.config_id == old.config_id
    for other in (GrownMse(weight=3, margin=0.5), GrownMse(weight=3, second_mapping=Emd())):
        assert old.model_copy(update={"intermediate": (other,)}).config_id != old.config_id
