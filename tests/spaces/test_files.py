import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.files import parse_yaml, read_text, validated, write_yaml
from distiller.spaces.presets import PRESETS
from distiller.spaces.recipe import Recipe, parse_recipe
from distiller.spaces.sweep import SweepConfig

# PyYAML itself loses unusual line breaks (NEL and the like).
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], include_characters="\n\t"))
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    TEXT,
    st.sampled_from(
        ["1e-3", "1e5", ".5E+3", "no", "null", "~", "2024-01-01", "0x1", "1:30", "<<", "=", "- a", "a: b"]
    ),
)
DATA = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=12)


@given(DATA)
def test_what_is_written_is_read_back(data):
    found = parse_yaml(write_yaml(data), "file")
    assert found == data
    assert repr(found) == repr(data)  # 1 is not 1.0, True is not 1


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1e-3", {"a": 0.001}),
        ("a: [1E5, -2.5e+3, .5e1, 1.e2]", {"a": [1e5, -2500.0, 5.0, 100.0]}),
        ('a: "1e-3"', {"a": "1e-3"}),
        ("a: .inf", {"a": math.inf}),
        ("a: e-3", {"a": "e-3"}),
        ("", None),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("base: &b {x: 1, y: 2}\nc: {<<: *b, y: 3}", {"base": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}}),
        ("x: {y: &b {<<: &a {k: 1}, k: 2}}\nc: {<<: *b}", {"x": {"y": {"k": 2}}, "c": {"k": 2}}),
    ],
)
def test_yaml_reads_as_people_mean_it(text, data):
    assert parse_yaml(text, "f.yaml") == data


def laughs(depth):
    """Lists of nine aliases of the list before: 9 ** (depth + 1) values in a line for each level."""
    text = "&a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]"
    for level in range(1, depth + 1):
        text = f"&a{level} [{text}{f', *a{level - 1}' * 8}]"
    return text


def test_aliases_that_stand_for_too_much_are_refused_at_once():
    assert len(parse_yaml(f"space: {laughs(3)}", "f.yaml")["space"]) == 9
    for text in (f"space: {laughs(40)}", "space: &a [*a]", "space: &a {x: {y: *a}}"):
        with pytest.raises(InputError, match=r"^f\.yaml: line 1, column 1: its aliases stand for more than"):
            parse_yaml(text, "f.yaml")
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a}\nc: *a", "f.yaml")["b"] == {"x": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml: line 3, column 1: key 'a' is written twice"),
        ("s:\n  k: {t: 1, t: 1}", "f.yaml: line 2, column 13: key 't' is written twice"),
        ("a: [1,\nb: }", "f.yaml: line 2, column 4: expected the node content"),
        ("a: 'x", "f.yaml: line 1, column 6: found unexpected end of stream"),
        ("a:\n\t- b", "f.yaml: line 2, column 1: found character '\\t'"),
        ("a: *x", "f.yaml: line 1, column 4: found undefined alias 'x'"),
        ("? [1, 2]\n: 3", "f.yaml: line 1, column 3: a key must be plain text"),
        ("a: 1\n---\nb: 2", "f.yaml: line 2, column 1: but found another document"),
        (
            "!!python/object/apply:os.system ['touch pwned']",
            "f.yaml: line 1, column 1: could not determine a constr",
        ),
        ("a: !!python/name:os.system", "f.yaml: line 1, column 4: could not determine a constructor"),
        ("a: 2024-99-99", "f.yaml: line 1, column 4: '2024-99-99' is no timestamp; quote it if it is text"),
        ("a: !!int x", "f.yaml: line 1, column 4: 'x' is no int"),
        ("b: 1\na: !!bool maybe", "f.yaml: line 2, column 4: 'maybe' is no bool"),
        ("a: \x00", "f.yaml: unacceptable character #x0000"),
        ("[" * 999, "f.yaml: is nested too deeply"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_place(text, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        parse_yaml(text, "f.yaml")
    assert str(refused.value).startswith(says)
    assert str(refused.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_written_yaml_has_no_anchors():
    shared = [1, 2]
    assert write_yaml({"a": shared, "b": shared}) == "a:\n- 1\n- 2\nb:\n- 1\n- 2\n"


SWEEP = {"name": "s", "datasets": {"trec": {"builtin": "trec"}}, "teachers": {"t": {"model": "m"}}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"serch": {}}, "f: serch: unknown key; did you mean 'search'?"),
        ({"search": {"trails": 3}}, "f: search.trails: unknown key; did you mean 'trials'?"),
        (
            {"search": {"finalists": {"sedes": 3}}},
            "f: search.finalists.sedes: unknown key; did you mean 'seeds'?",
        ),
        (
            {"search": {"scheduler": {"asha": {"reductoin": 3}}}},
            "f: search.scheduler.asha.reductoin: unknown key; did you",
        ),
        (
            {"datasets": {"trec": {"builtin": "trec", "metrc": "accuracy"}}},
            "f: datasets.trec.metrc: unknown key; did",
        ),
        (
            {"datasets": {"search": {"builtin": "trec", "metrc": "accuracy"}}},
            "f: datasets.search.metrc: unknown key; d",
        ),
        (
            {"datasets": {"splits": {"builtin": "trec", "metrc": "accuracy"}}},
            "f: datasets.splits.metrc: unknown key; d",
        ),
        (
            {"teachers": {"t": {"model": "m", "fine_tune": {"epoch": 1}}}},
            "f: teachers.t.fine_tune.epoch: unknown key; d",
        ),
        ({"teachers": {"t": {}}}, "f: teachers.t.model: missing; write it"),
        ({"search": {"trials": 0}}, "f: search.trials: 0: Input should be greater than or equal to 1"),
        ({"search": {"trials": "many"}}, "f: search.trials: 'many': Input should be a valid integer"),
        ({"budget": {"steps": math.inf}}, "f: budget.steps: inf: Input should be a finite number"),
        ({"datasets": {}}, "f: datasets: Dictionary should have at least 1 item"),
        ({"space_for": {"trek": {}}}, "f: space_for.trek: no such dataset; did you mean 'trec'?"),
        (
            {"budget": {"step": 1}, "serch": {}},
            "f: budget.step: unknown key; did you mean 'steps'? (and 1 more)",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_path(change, says):
    with pytest.raises(InputError) as refused:
        validated(SweepConfig, {**SWEEP, **change}, "f")
    assert str(refused.value).startswith(says)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_a_file_that_is_no_mapping(data):
    with pytest.raises(InputError, match=r"^f: holds no mapping; write `key: value` lines$"):
        validated(SweepConfig, data, "f")


def test_a_missing_and_an_unreadable_file(tmp_path):
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    for path, says in [(folder / "none.yaml", "no such file; check the path"), (folder, "cannot be read")]:
        with pytest.raises(InputError) as refused:
            read_text(path)
        assert str(refused.value).startswith(f"{path}: {says}")
    (folder / "latin.yaml").write_bytes("é".encode("latin-1"))
    with pytest.raises(InputError, match="cannot be read"):
        read_text(folder / "latin.yaml")


def test_an_error_is_one_line():
    assert str(InputError("a\nb: is\r\n  wrong")) == "a b: is wrong"


def recipe(config):
    return Recipe(
        name="trec",
        dataset={"builtin": "trec"},
        teachers={"teacher": {"model": "m"}},
        budget={"steps": 9},
        config=config,
    )


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_recipe_is_read_back_and_says_every_parameter(preset, kind):
    one = recipe(PRESETS[preset].applied(PipelineConfig(), kind))
    text = one.to_yaml()
    assert parse_recipe(text, "f").config == one.config
    assert parse_recipe(text, "f").dataset == one.dataset
    for column, value in one.config.columns().items():
        assert (str(value).lower() if isinstance(value, bool) else f"{value}") in text, column


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            {"prediction": {"loss": "mse", "temperature": 2}},
            "f: config.prediction.mse.temperature: unknown key; known: loss, hard_weight",
        ),
        (
            {"prediction": {"loss": "kl", "temprature": 2}},
            "f: config.prediction.kl.temprature: unknown key; did you mean 'temperature'?",
        ),
        (
            {"intermediate": [{"objective": "mse", "mapping": {"kind": "emd", "temprature": 2}}]},
            "f: config.intermediate.0.mse.mapping.emd.temprature: unknown key; did you mean 'temperature'?",
        ),
        (
            {"teacher": {"checkpoint": "techer"}},
            "f: config.teacher.checkpoint: 'techer' is not under teachers:; did you mean 'teacher'?",
        ),
        (
            {"prediction": {"loss": "kll"}},
            "f: config.prediction: Input tag 'kll' found using 'loss' does not match",
        ),
    ],
)
def test_a_wrong_recipe_is_named_in_one_line(config, says):
    data = {**recipe(PipelineConfig()).model_dump(mode="json", exclude_unset=True), "config": config}
    with pytest.raises(InputError) as refused:
        parse_recipe(write_yaml(data), "f")
    assert str(refused.value).startswith(says)
    assert str(refused.value).isprintable()


def test_models_of_others_are_validated_too():
    class Point(BaseModel, extra="forbid"):
        x: int

    assert validated(Point, {"x": 1}, "f") == Point(x=1)
    with pytest.raises(InputError, match=r"^f: y: unknown key; known: x$"):
        validated(Point, {"x": 1, "y": 2}, "f")
