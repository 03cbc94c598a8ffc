"""`distiller train`: the exported config becomes an ordinary Hugging Face student."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.search.conftest import ENVIRONMENT

LOAD = """
import json, sys
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
logits = model(**tokenizer(["wing beak", "gill reef"], padding=True, return_tensors="pt")).logits
assert not any(name.split(".")[0] == "distiller" for name in sys.modules)
print(json.dumps({"labels": model.config.id2label, "layers": model.config.num_hidden_layers,
                  "shape": list(logits.shape)}))
"""


@pytest.fixture(scope="module")
def trained(finished):
    done = finished.place.run(
        "train", "best/animals.yaml", "--out", "student", "--seeds", "2", "--first-seed", "1"
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done


def test_the_student_loads_without_distiller(finished, trained):
    folder = finished.place.folder / "student"
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", LOAD, str(folder)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {"labels": {"0": "bird", "1": "fish", "2": "horse"}, "layers": 1, "shape": [2, 3]}
    assert "animals" in (folder / "README.md").read_text()
    assert "distiller" not in (folder / "config.json").read_text()


def test_the_same_seeds_give_the_tables_scores(finished, trained, command):
    """Trained again on the finalist's own seeds, the scores are the finalist's."""
    status = json.loads(command(finished.place.folder, "status", "--json").stdout)
    board = next(board for board in status["datasets"] if board["dataset"] == "animals")
    scores = [float(s) for s in re.findall(r"seed \d: matthews (\S+) on validation", trained.stdout)]
    assert scores == pytest.approx(board["winner"]["validation"]["scores"], abs=2e-4)
    assert "agrees with" in trained.stdout
    assert "SD" in trained.stdout


def test_it_is_not_written_over_anything(finished, trained, refused):
    before = (finished.place.folder / "student/config.json").read_bytes()
    line = refused(finished.place.folder, "train", "best/animals.yaml", "--out", "student")
    assert "student" in line
    assert "empty" in line
    assert (finished.place.folder / "student/config.json").read_bytes() == before
