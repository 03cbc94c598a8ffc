"""Which configs of earlier sweeps a dataset has a place for, and what is asked of their students."""

from __future__ import annotations

import pandas as pd
import pytest

from distiller.search.candidates import Place, Wanted, fitting
from distiller.search.plan import OneTokenizer, Tokenizers
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import parse_space
from distiller.spaces.prediction import LogitMse

TEACHERS = {"teacher": {"checkpoint": "bert"}}
CONFIGS = {
    "kl": PipelineConfig.model_validate({"prediction": "kl", "teacher": {"checkpoint": "old"}}),
    "mse": PipelineConfig.model_validate(
        {"prediction": "mse", "student": {"initialization": "svd", "layers": 1}}
    ),
    "random": PipelineConfig.model_validate({"student": "random"}),
    "copied": PipelineConfig.model_validate({"student": {"initialization": "teacher_layers", "layers": 4}}),
    "pair": PipelineConfig.model_validate({"teacher": [{"checkpoint": "a"}, {"checkpoint": "b"}]}),
}
COSTS = pd.DataFrame(
    {"parameters": [5e6, 4e6, 5e6, 2e7], "latency_ms": [2.0, 1.0, 2.0, float("nan")]},
    index=["kl", "mse", "random", "copied"],
)


def place(kind="classification", space=TEACHERS, narrowed=False, **more):
    return Place(parse_space(space), narrowed, kind, more.pop("tokenizers", OneTokenizer), **more)


def found(where=None, **asked):
    return fitting(CONFIGS, COSTS, where or place(), Wanted.of(asked.pop("student", None), **asked))


def test_earlier_teachers_are_replaced_by_the_datasets_own():
    configs, notes = found()
    assert list(configs) == list(CONFIGS)
    assert {config.teacher_name for config in configs.values()} == {"bert"}
    assert configs["kl"].student == CONFIGS["kl"].student
    assert notes == []
    two = place(space={"teacher": {"slots": [{"checkpoint": "a"}, {"checkpoint": "b"}]}})
    assert found(two)[0]["pair"] == CONFIGS["pair"]
    assert found(two)[0]["kl"].teacher_name == "a+b"


def test_something_stands_in_for_what_a_task_has_no_place_for():
    configs, notes = found(place("regression"))
    assert list(configs) == list(CONFIGS)
    assert configs["kl"].prediction == LogitMse(hard_weight=CONFIGS["kl"].prediction.hard_weight)
    assert configs["mse"].prediction == CONFIGS["mse"].prediction
    assert len(notes) == 1
    assert notes[0].startswith("4 of 5 configs have parts that a task of regression has no place for")
    mixed = PipelineConfig.model_validate({"augmentation": [{"method": "mixup"}, {"method": "random"}]})
    assert [slot.method for slot in place("qa").fit(mixed).augmentation] == ["random"]


def test_a_student_has_no_more_layers_than_its_teacher():
    assert "copied" not in found(place(teacher_layers=3))[0]
    assert "copied" in found(place(teacher_layers=4))[0]


def test_what_compares_tokens_that_are_cut_differently_has_no_place():
    small = {"initialization": "pretrained", "checkpoint": "small"}
    terms = {"objective": "mse", "representation": "tokens"}
    config = PipelineConfig.model_validate({"student": small, "intermediate": terms})
    apart = Tokenizers(students=("small",))
    space = {**TEACHERS, "student": {"pretrained": {"checkpoint": "small"}}}
    with pytest.raises(InputError, match="cut differently"):
        place(space=space, tokenizers=apart).fit(config)
    assert place(space=space).fit(config).student == config.student
    with pytest.raises(InputError, match="student small: not in the space"):
        place().fit(config)


def test_a_file_that_says_what_to_search_is_kept_to():
    narrow = {**TEACHERS, "student": {"svd": {"layers": [1, 2], "width": 128}}}
    configs, notes = found(place(space=narrow, narrowed=True))
    assert set(configs) == {"kl", "mse", "pair"}
    assert len(notes) == 2


def test_limits_hold_for_what_was_measured():
    assert list(found(parameters=5_000_000)[0]) == ["kl", "mse", "random"]
    configs, notes = found(latency=1.5)
    assert list(configs) == ["mse"]
    assert notes == ["4 of 5 configs left out: latency_ms above 1.5, or not measured"]


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("svd", ["kl", "mse", "pair"]),
        ("layers=1", ["mse"]),
        ("svd,layers=2, width=128", ["kl", "pair"]),
        ("initialization=random", ["random"]),
    ],
)
def test_only_the_students_that_are_asked_for(written, names):
    configs, notes = found(student=written)
    assert list(configs) == names
    assert notes == []


def test_a_student_that_nobody_tried_takes_the_place_of_theirs():
    configs, notes = found(student="svd,layers=7")
    assert {(c.student.initialization, c.student.layers) for c in configs.values()} == {("svd", 7)}
    assert {name: c.prediction for name, c in configs.items()} == {
        n: c.prediction for n, c in CONFIGS.items()
    }
    assert "no earlier config has this student" in notes[0]
    with pytest.raises(InputError, match="its cost is unknown"):
        found(student="svd,layers=7", parameters=10)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("svdd", "--student svdd: unknown; did you mean 'svd'"),
        ("svd,layer=2", "--student layer: no such parameter; did you mean 'layers'"),
        ("teacher_layers,width=2", "--student width: no such parameter"),
        ("svd,layers=", "--student svd,layers=: write svd, layers=2 or"),
        (",", "--student ,: write svd"),
    ],
)
def test_students_that_are_none_are_refused(written, said):
    with pytest.raises(InputError) as refused:
        Wanted.of(written)
    assert str(refused.value).startswith(said)


def test_a_student_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="--student"):
        found(student="svd,layers=-1")


def test_presets_start_with_svd_embeddings_and_the_middle_of_the_optimization():
    where = place(space={**TEACHERS, "student": {"random": {}, "svd": {"layers": 3, "width": 64}}})
    assert where.start.student.initialization == "svd"
    assert where.start.student.layers == 3
    assert where.start.teacher_name == "bert"
