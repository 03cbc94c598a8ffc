"""What may be asked for, by its path, its stage or its column, and which rows were asked it."""

import pandas as pd
import pytest

from distiller.results.comparison.question import always_asked, asked, label
from distiller.results.design import Design
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import parse_space
from tests.results.comparison.planted import DESIGN, SPACE, table

TRIALS, DESIGNS = table(lambda frame, name: 0.0, ["a"], trials=200)


@pytest.mark.parametrize(
    ("what", "column", "choices"),
    [
        ("intermediate.objective", "intermediate_objective", ("none", "mse", "mi_alpha")),
        ("intermediate", "intermediate_objective", ("none", "mse", "mi_alpha")),
        ("student.layers", "student_layers", ("2", "4")),
        ("student.svd.layers", "student_layers", ("2", "4")),
        ("intermediate.mi_alpha.alpha", "intermediate_alpha", ("0.1", "0.5", "0.9")),
        ("student_layers", "student_layers", ("2", "4")),
        ("optimization.learning_rate", "optimization_learning_rate", ("0.0001 to 0.001", "0.001 to 0.01")),
        ("prediction.hard_weight", "prediction_hard_weight", ("0 to 0.3", "0.3 to 0.6")),
        ("metric", "metric", None),
        ("parameters", "parameters", ("2e+06", "4e+06")),
        ("score", "score", 2),
    ],
)
def test_names_of_questions(what, column, choices):
    if choices is None:
        with pytest.raises(InputError, match="metric: it is always matthews"):
            asked(what, DESIGNS, TRIALS)
        return
    found = asked(what, DESIGNS, TRIALS)
    assert found.column == column
    assert found.choices == choices or len(found.choices) == choices
    answers = found.answers(TRIALS)
    asked_of = TRIALS[column].notna()
    assert all((a is not None) == there for a, there in zip(answers, asked_of, strict=True))
    assert set(answers) - {None} == set(found.choices)


def test_a_range_is_cut_in_the_middle_of_its_prior():
    found = asked("optimization.learning_rate", DESIGNS, TRIALS)
    low = TRIALS["optimization_learning_rate"] <= 1e-3
    assert (pd.Series(found.answers(TRIALS)) == found.choices[0]).tolist() == low.tolist()


@pytest.mark.parametrize(
    ("prior", "choices"),
    [
        ({"loguniform": [2e-5, 7e-3]}, ("2e-05 to 0.000374", "0.000374 to 0.007")),
        ({"uniform": [0.1, 0.7]}, ("0.1 to 0.4", "0.4 to 0.7")),
        ({"uniform": [0.123412, 0.123418]}, ("0.123412 to 0.123415", "0.123415 to 0.123418")),
    ],
)
def test_ranges_have_names_of_three_digits_or_as_many_as_tell_them_apart(prior, choices):
    design = Design.of(parse_space({"optimization": {"learning_rate": prior}}))
    assert asked("optimization.learning_rate", {"a": design}, TRIALS).choices == choices


def test_measured_numbers_are_named_like_ranges():
    rows = pd.DataFrame({"parameters": [1_234_567 + i for i in range(60)] + [98_765_432] * 60, "steps": 0})
    assert asked("parameters", DESIGNS, rows).choices == ("1.23e+06 to 5e+07", "5e+07 to 9.88e+07")
    rows["steps"] = range(1200, 1320)
    assert asked("steps", DESIGNS, rows).choices == ("1200 to 1260", "1260 to 1320")
    rows["steps"] = [7] * 70 + list(range(8, 58))
    assert asked("steps", DESIGNS, rows).choices == ("7 to 7", "7 to 57")


def test_a_path_below_an_answer_is_asked_there_only():
    design = Design.of(
        parse_space({"intermediate": {"mse": {"weight": [0.1, 1]}, "rkd": {"weight": [1, 10]}}})
    )
    frame = pd.DataFrame(
        {"intermediate_objective": ["mse", "rkd", "rkd"], "intermediate_weight": [1.0, 1, 10]}
    )
    one = asked("intermediate.rkd.weight", {"a": design}, frame)
    assert list(one.answers(frame)) == [None, "1", "10"]
    shared = asked("intermediate.weight", {"a": design}, frame)
    assert shared.choices == ("0.1", "1", "10")
    assert list(shared.answers(frame)) == ["1", "1", "10"]


@pytest.mark.parametrize(
    ("what", "chosen", "said"),
    [
        ("intermediat.objective", (), "no such question, stage or column; did you mean 'intermediate"),
        ("intermediate", ("mse", "mi_alfa"), "'mi_alfa' is none of its choices; did you mean 'mi_alpha'"),
        ("intermediate", ("mse", "mse"), "name two, or none for all"),
        ("prediction.hard_weight", ("0.1", "0.2"), "a range is compared by halves; leave 0.1 0.2 out"),
        ("objective", (), "did you mean 'intermediate.objective'?"),
        ("teacher", (), "nothing is searched in this stage"),
        ("config_id", (), "200 distinct values are no choices"),
    ],
)
def test_what_cannot_be_asked(what, chosen, said):
    with pytest.raises(InputError, match=said):
        asked(what, DESIGNS, TRIALS, chosen)


def test_a_stage_that_one_dataset_searches_is_enough():
    fixed = Design.of(parse_space({**SPACE, "prediction": {"mse": {"hard_weight": 0.5}}}))
    for order in ({"b": fixed, "a": DESIGN}, {"a": DESIGN, "b": fixed}):
        assert set(asked("prediction", order, TRIALS).choices) == {"kl", "mse"}


def test_a_stage_of_several_questions_names_them():
    design = Design.of(parse_space({"optimization": {"warmup": [0.0, 0.1], "learning_rate": [1e-3, 1e-2]}}))
    with pytest.raises(InputError, match=r"name one of optimization.learning_rate, optimization.warmup"):
        asked("optimization", {"a": design}, TRIALS)
    assert [q.path for q in always_asked(DESIGN, "student")] == ["student.svd.layers"]


def test_labels_are_the_same_whatever_a_table_reads():
    frame = pd.DataFrame({"n": pd.array([2, None], dtype="Int64"), "f": [2.0, None], "b": [True, False]})
    assert [label(frame[c].iloc[0]) for c in ("n", "f", "b")] == ["2", "2", "true"]
    assert label("2.0") == "2.0"
