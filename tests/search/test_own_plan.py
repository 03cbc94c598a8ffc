"""Parts of a user's own leave the spaces in which they would mean nothing, as built-in choices do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PARTS = '''
from typing import ClassVar, Literal
from distiller.spaces.choice import Choice
from distiller.spaces.intermediate import Term
from distiller.spaces.mapping import Mapping, Skip
from distiller.spaces.prediction import HardWeight

class Grid(Term):
    """Compares tokens."""

    tokenwise: ClassVar[bool] = True
    objective: Literal["grid"] = "grid"
    mapping: Mapping = Skip()

    @staticmethod
    def function(student, teacher, mask):
        raise AssertionError("a plan computes nothing")

class Brier(Choice):
    """Squared difference of probabilities."""

    needs_classes: ClassVar[bool] = True
    loss: Literal["brier"] = "brier"
    hard_weight: HardWeight = 0.5

    @staticmethod
    def function(student, teacher, seen):
        raise AssertionError("a plan computes nothing")
'''
USE = """
import json, sys
from pathlib import Path
from distiller.search.plan import Tokenizers, cuts_alike, planned_space
from distiller.spaces.config import PipelineConfig
from distiller.spaces.sweep import parse_sweep

text = '''
name: own
parts: [mine.py]
datasets:
  classes: {train: a.csv, text: t, label: l}
  scores: {train: a.csv, text: t, score: s}
teachers: {t: {model: m}}
space:
  augmentation: none
  intermediate: [none, grid]
  prediction: [brier, mse]
  student: {pretrained: {checkpoint: own}}
'''
sweep = parse_sweep(text, "own.yaml", Path(sys.argv[1]))
foreign = Tokenizers(students=("own",))
found = {}
for dataset in sweep.datasets:
    space, said = planned_space(sweep, dataset, tokenizers=foreign)
    found[dataset] = [[*space.stages[s][0].choices] for s in ("intermediate", "prediction")] + said
config = PipelineConfig.model_validate(
    {"student": {"initialization": "pretrained", "checkpoint": "own"}, "intermediate": "grid"}
)
print(json.dumps([found, cuts_alike(config, foreign)]))
"""


@pytest.mark.parametrize("said", [True, False])
def test_own_parts_say_where_they_mean_nothing(tmp_path: Path, said: bool) -> None:
    """In a process of its own: parts stay registered; the plan is imported before they are."""
    (tmp_path / "mine.py").write_text(PARTS if said else PARTS.replace("[bool] = True", "[bool] = False"))
    command = [sys.executable, "-c", USE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, alike = json.loads(done.stdout)
    assert alike is not said
    if not said:
        whole = [["none", "grid"], ["brier", "mse"]]
        assert found == {"classes": whole, "scores": whole}
        return
    away = "intermediate.grid left out (student own has another tokenizer than a teacher)"
    assert found == {
        "classes": [["none"], ["brier", "mse"], f"classes: {away}"],
        "scores": [
            ["none"],
            ["mse"],
            f"scores: {away}",
            "scores: prediction brier left out (a regression has no class probabilities)",
        ],
    }
