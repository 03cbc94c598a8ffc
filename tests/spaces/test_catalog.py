import inspect
import json
import re
import subprocess
import sys
from typing import get_args

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.spaces.catalog import catalog, column_types, config_schema, full_space, preset_entries
from distiller.spaces.choice import Choice, Parameter, Union, id_of, parts, tag_of, union_of
from distiller.spaces.config import STAGES, PipelineConfig
from distiller.spaces.narrowing import parse_space
from distiller.spaces.presets import BASELINES, PRESETS, preset_of

SCHEMA = jsonschema.Draft202012Validator(config_schema())


def flat(entries):
    for entry in entries:
        yield entry
        yield from flat(entry["choices"])


def all_choices(model=Choice):
    """Every choice that is defined, whether or not a stage lists it."""
    for sub in model.__subclasses__():
        if sub.__module__.startswith("distiller.spaces"):
            if tag_of(sub) is not None or not sub.__subclasses__():  # else what several choices share
                yield sub
            yield from all_choices(sub)


def test_every_choice_is_in_the_catalog_with_its_docs():
    entries = list(flat(catalog()))
    summaries = {model.summary() for model in all_choices()}
    assert {entry["summary"] for entry in entries} == summaries
    for model in all_choices():
        assert vars(model).get("__doc__"), model
        assert re.fullmatch(r"\S.*\.", model.summary()), model
    assert json.loads(json.dumps(entries)) == entries
    assert {e["stage"] for e in entries} == set(STAGES)


UNPUBLISHED = {
    ("augmentation", "none"),
    ("intermediate", "none"),
    ("mapping", "all_pairs"),
    ("prediction", "labels"),
    ("projection", "none"),
    ("schedule", "constant"),
    ("schedule", "linear"),
    ("student", "random"),
    ("teacher", "teacher"),
}


def test_every_published_method_is_cited():
    for entry in flat(catalog()):
        unpublished = (entry["at"].split(".")[-1], entry["id"]) in UNPUBLISHED
        assert bool(entry["citation"]) != unpublished, entry["id"]
        if entry["citation"]:
            assert re.search(r"(19|20)\d\d", entry["citation"]), entry["citation"]
            source = r"arXiv \d{4}\.\d{4,5}|\d+\(\d+\)|doi 10\.\d+/"
            assert re.search(source, entry["citation"]), entry["citation"]


def test_ids_are_the_literals_of_the_models():
    for entry in catalog():
        part = STAGES[entry["stage"]].part
        if isinstance(part, Union):
            model = part.choices[entry["id"]]
            assert get_args(model.model_fields[part.tag].annotation) == (entry["id"],)
            assert model.model_fields[part.tag].default == entry["id"] == id_of(model)
            parameters = [n for n, p in parts(model).items() if isinstance(p, Parameter)]
            assert [p["name"] for p in entry["parameters"]] == parameters


def test_a_stages_union_is_the_configs_own():
    """STAGES and the annotations of PipelineConfig list the same models."""
    for name, stage in STAGES.items():
        annotation = PipelineConfig.model_fields[name].annotation
        inner = get_args(annotation)[0] if stage.slots > 1 else annotation
        members = (
            get_args(get_args(inner)[0]) if hasattr(inner, "__metadata__") else get_args(inner) or (inner,)
        )
        listed = tuple(stage.part.choices.values()) if isinstance(stage.part, Union) else (stage.part,)
        assert members == listed, name


def test_names_are_one_string_in_snake_case():
    for entry in flat(catalog()):
        for name in [entry["id"], *(p["name"] for p in entry["parameters"])]:
            assert re.fullmatch(r"[a-z][a-z0-9_]*", name)


def test_one_column_has_one_type():
    types = column_types()
    assert set(types.values()) == {str, int, float, bool}
    assert types["intermediate_3_mapping_temperature"] is float
    assert types["augmentation_2_copies"] is int
    assert types["teacher_3_checkpoint"] is str
    assert types["intermediate_mapping"] is types["prediction_loss"] is str
    assert "intermediate_mapping_kind" not in types
    assert len(types) == len({c.lower() for c in types})


def test_wrong_unions_are_refused():
    with pytest.raises(TypeError, match="need one tag"):
        union_of(*STAGES["student"].part.choices.values(), *STAGES["prediction"].part.choices.values())
    with pytest.raises(TypeError, match="stands alone"):
        id_of(STAGES["optimization"].part)
    assert tag_of(STAGES["optimization"].part) is None


def test_presets_are_points_of_the_pipeline():
    for preset in PRESETS.values():
        for kind in ("classification", "regression"):
            config = preset.applied(PipelineConfig(), kind)
            assert PipelineConfig.from_columns(config.columns()) == config
            assert preset.citation or preset is PRESETS["no_teacher"]
    for name in BASELINES:
        config = PRESETS[name].applied(PipelineConfig(), "classification")
        assert config.intermediate[0].objective == config.augmentation[0].method == "none"
    baseline = PRESETS["no_teacher"].applied(PipelineConfig(), "classification")
    assert not full_space().contains(baseline)
    assert PRESETS["hinton"].applied(baseline, "regression").prediction.loss == "mse"


@pytest.mark.parametrize("kind", ["classification", "regression", "qa", "multi_label"])
def test_a_config_says_which_preset_it_is(kind):
    named = {name: preset.applied(PipelineConfig(), kind) for name, preset in PRESETS.items()}
    assert {name: preset_of(config, kind) for name, config in named.items()} == {n: n for n in PRESETS}
    other = PipelineConfig.model_validate({"student": {"initialization": "random", "layers": 2}})
    assert preset_of(PRESETS["pkd"].applied(other, kind), kind) == "pkd"
    changed = named["pkd"].model_copy(update={"prediction": PRESETS["no_teacher"].prediction})
    assert preset_of(changed, kind) is None


def test_a_preset_says_what_a_task_has_no_place_for():
    assert not any(preset.departures("classification") for preset in PRESETS.values())
    (said,) = PRESETS["hinton"].departures("regression")
    assert said == "prediction: scores have no classes, so mse stands in for kl"
    assert PRESETS["mixkd"].departures("regression") == PRESETS["minilm"].departures("regression") == []
    (said,) = PRESETS["mixkd"].departures("qa")
    assert said == "augmentation: without mixup, as labels belong to single words"
    assert PRESETS["tinybert"].departures("token_classification") == []
    for kind in ("regression", "qa"):
        for preset in PRESETS.values():
            config = preset.applied(PipelineConfig(), kind)
            found, published = ((p.augmentation, p.prediction) for p in (config, preset))
            assert bool(preset.departures(kind)) == (found != published)


def test_presets_are_entries_too():
    entries = {entry["id"]: entry for entry in preset_entries()}
    assert entries.keys() == PRESETS.keys()
    assert entries["pkd"]["sets"]["intermediate"][0]["weight"] == 10.0
    assert json.loads(json.dumps([*catalog(), *preset_entries()], allow_nan=False))


@settings(max_examples=30)
@given(st.data(), st.integers(0, 2**32))
def test_the_schema_takes_every_written_config(narrowings, data, seed):
    config = parse_space(data.draw(narrowings)).sample(np.random.default_rng(seed))
    SCHEMA.validate(config.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("written", "valid"),
    [
        ({"prediction": "kl", "student": "svd", "augmentation": "random"}, True),
        ({"augmentation": ["random", {"method": "mixup"}]}, True),
        ({"intermediate": {"objective": "mse", "mapping": "emd"}}, True),
        ({"prediction": "kll"}, False),
        ({"augmentation": []}, False),
        ({"intermediate": ["mse"] * 4}, False),
        ({"intermediate": {"objective": "mse", "mapping": "emdd"}}, False),
        ({"prediction": {"loss": "kl", "temperature": 0}}, False),
        ({"predictions": "kl"}, False),
    ],
)
def test_the_schema_agrees_with_the_models(written, valid):
    assert SCHEMA.is_valid(written) == valid
    try:
        PipelineConfig.model_validate(written)
    except ValueError:
        assert not valid
    else:
        assert valid


IMPORTS = """
import importlib, pkgutil, sys
import distiller.spaces
for module in pkgutil.iter_modules(distiller.spaces.__path__):
    importlib.import_module(f"distiller.spaces.{module.name}")
heavy = {"torch", "transformers", "ray", "optuna", "pandas", "pyarrow", "scipy", "sklearn", "datasets"}
print(sorted(heavy & set(sys.modules)), len(sys.modules))
"""


def test_the_spaces_import_nothing_heavy():
    command = [sys.executable, "-c", IMPORTS]
    heavy, modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rsplit(" ", 1)
    assert heavy == "[]"
    assert int(modules) < 900


def test_every_module_says_what_it_is():
    for model in all_choices():
        assert (inspect.getmodule(model).__doc__ or "").strip()
