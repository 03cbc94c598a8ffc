"""Parts of a user's own: registered, searched and read back like any other choice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from distiller.spaces.errors import InputError
from distiller.spaces.own import load_parts

HUBER = '''
from typing import Annotated, ClassVar, Literal
from pydantic import Field
from distiller.spaces.choice import Choice
from distiller.spaces.intermediate import AnyRepresentation, Term
from distiller.spaces.mapping import Mapping, Skip
from distiller.spaces.priors import OneOf

class Huber(Term):
    """Huber loss between hidden states."""

    citation: ClassVar[str] = "Huber 1964, Ann. Math. Stat. 35(1)"
    objective: Literal["huber"] = "huber"
    delta: Annotated[float, Field(gt=0), OneOf(0.5, 1.0)] = 1.0
    representation: AnyRepresentation = "tokens"
    mapping: Mapping = Skip()

    @staticmethod
    def function(student, teacher, mask, delta):
        raise AssertionError("spaces compute nothing")
'''
BRIER = '''
from typing import Literal
from distiller.spaces.choice import Choice
from distiller.spaces.prediction import HardWeight

class Brier(Choice):
    """Squared difference of probabilities."""

    loss: Literal["brier"] = "brier"
    hard_weight: HardWeight = 0.5

    @staticmethod
    def function(student, teacher, seen):
        raise AssertionError("spaces compute nothing")
'''
NESTED = '''class Shape(Choice):
    """How it ends."""

    kind: Literal["power"] = "power"
    power: int = 2

class Huber'''
USE = """
import json, sys
from pathlib import Path
import numpy as np
from distiller.spaces import recipe
from distiller.spaces.catalog import catalog, column_types, config_schema, full_space
from distiller.spaces.config import PipelineConfig
from distiller.spaces.own import load_parts
from distiller.spaces.sweep import parse_sweep

before = PipelineConfig().config_id
text = '''
name: own
parts: [mine.py]
datasets: {trec: {builtin: trec}}
teachers: {t: {model: m}}
space: {intermediate: {huber: {delta: [0.25, 0.5]}}}
'''
sweep = parse_sweep(text, "own.yaml", Path(sys.argv[1]))
load_parts(sweep.parts, Path(sys.argv[1]))  # again: changes nothing
space = sweep.space_of("trec")
config = space.sample(np.random.default_rng(0))
assert PipelineConfig.model_validate_json(config.model_dump_json()) == config
assert PipelineConfig.from_columns(config.columns()) == config
assert set(config.columns()) <= set(column_types())
assert PipelineConfig().config_id == before
whole = full_space()
assert any(d.path == "intermediate.huber.delta" for d in whole.questions())
assert "huber" in json.dumps(config_schema())
one = recipe.Recipe.model_validate(dict(
    name="trec", dataset={"builtin": "trec"}, teachers={"t": {"model": "m"}},
    budget={"steps": 9}, config=config,
))
assert recipe.parse_recipe(one.to_yaml(), "f").config == config
(entry,) = [e for e in catalog() if e["id"] == "huber"]
term = config.intermediate[0]
print(json.dumps([entry["stage"], entry["summary"], term.objective, type(term.delta).__name__]))
"""


def test_a_part_is_like_any_other_choice(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HUBER)
    command = [sys.executable, "-c", USE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["intermediate", "Huber loss between hidden states.", "huber", "float"]


TWICE = """
import sys
from pathlib import Path
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.own import load_parts

def term():
    return PipelineConfig.model_validate({"intermediate": "huber"}).intermediate[0]

load_parts(["one/mine.py"], Path(sys.argv[1]))
kept = type(term())
(Path(sys.argv[1]) / "one/mine.py").unlink()
load_parts(["copied/it.py"], Path(sys.argv[1]))
load_parts(["one/mine.py"], Path(sys.argv[1]), {"one/mine.py": open(sys.argv[1] + "/copied/it.py").read()})
assert type(term()) is kept
try:
    load_parts(["two/mine.py"], Path(sys.argv[1]))
except InputError as error:
    print(error)
"""


def test_a_module_is_its_content(tmp_path: Path) -> None:
    """A copy is the same module, wherever it is; files of one name that differ are two."""
    for path, text in {"one/mine": HUBER, "copied/it": HUBER, "two/mine": HUBER + "\n"}.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / f"{path}.py").write_text(text)
    command = [sys.executable, "-c", TWICE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("'huber' is a choice of intermediate already; take another name")


def test_a_module_finds_what_lies_beside_it_and_shows_its_source(tmp_path: Path) -> None:
    (tmp_path / "name.txt").write_text("beside")
    beside = "from pathlib import Path\nNAME = Path(__file__).with_name('name.txt').read_text()\n"
    (tmp_path / "mine.py").write_text(beside + HUBER)
    use = """
import inspect, sys
from pathlib import Path
from distiller.spaces.config import STAGES
from distiller.spaces.own import load_parts

path = Path(sys.argv[1]) / "mine.py"
load_parts(["gone/../mine.py"], path.parent, {"gone/../mine.py": path.read_text()})
model = STAGES["intermediate"].part.choices["huber"]
print(sys.modules[model.__module__].NAME, "class Huber(Term)" in inspect.getsource(model))
"""
    command = [sys.executable, "-c", use, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "beside True\n", done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such file; put it there"),
        ("import nothing_of_this_name", "does not run (ModuleNotFoundError"),
        ("x = 1", "no choice is defined in it"),
        (HUBER.replace("def function", "def loss"), "Huber has no function; give it a static method"),
        (HUBER.replace('"huber"', '"mse"'), "'mse' is a choice of intermediate already"),
        (HUBER.replace("objective:", "purpose:"), "Huber names no stage; give it one field of method"),
        (HUBER.replace("delta: Annotated[float,", "delta: Annotated[bytes,"), "is no parameter type"),
        (
            HUBER.replace("    mapping: Mapping = Skip()", ""),
            "give it mapping: Mapping = Skip(), of distiller",
        ),
        (HUBER.replace("Mapping = Skip()", "int = 1"), "Huber says not which layers it compares"),
        (
            HUBER.replace("(Term)", "(Choice)"),
            "from distiller.spaces.intermediate.Term",
        ),
        (
            BRIER.replace("hard_weight:", "share:"),
            "Brier has no weight beside the labels; give it hard_weight",
        ),
        (BRIER.replace("HardWeight = 0.5", "Literal[0, 1] = 1"), "give it hard_weight: HardWeight = 0.5"),
        (
            HUBER.replace("delta: Annotated[float, Field(gt=0), OneOf(0.5, 1.0)] = 1.0", "alpha: int = 1"),
            "Huber: parameter alpha is int, but float in another choice of the stage "
            "(column intermediate_alpha); rename it",
        ),
        (
            HUBER.replace("class Huber", NESTED).replace("delta:", "alpha: Shape = Shape()\n    delta:"),
            "Huber: parameter alpha is str, but float in another choice of the stage",
        ),
        (
            HUBER.replace("class Huber", NESTED).replace("delta:", "ends: Shape = Shape()\n    delta:")
            + "    ends_power: float = 1.0\n",
            "Huber: column intermediate_ends_power has two types, int and float; rename",
        ),
        (
            HUBER.replace("class Huber", NESTED.replace("int", "bytes")).replace(
                "delta:", "ends: Shape = Shape()\n    delta:"
            ),
            "power: <class 'bytes'> is no parameter type",
        ),
    ],
)
def test_what_is_no_part_is_refused_in_one_line(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "wrong.py").write_text(text)
    with pytest.raises(InputError, match="parts: ") as refused:
        load_parts(["wrong.py"], tmp_path)
    assert says in str(refused.value)
    assert str(refused.value).isprintable()
