"""pipelines/ needs neither ray nor optuna nor duckdb nor datasets, and POT only for the emd mapping."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.pipelines.conftest import save_rows, save_teacher

RUN = """
import sys
BARRED = {"ray", "optuna", "duckdb", "datasets", "ot"}
class Blocked:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in BARRED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import importlib, pkgutil
from pathlib import Path
import torch
import distiller.pipelines
torch.set_num_threads(1)
for found in pkgutil.iter_modules(distiller.pipelines.__path__):
    importlib.import_module("distiller.pipelines." + found.name)
assert not BARRED & set(sys.modules)
assert not [name for name in sys.modules if name.startswith(("distiller.search", "distiller.results"))]
from distiller.pipelines.cohort import Member
from distiller.pipelines.distill import Cohort, distill
from distiller.pipelines.material import prepare_material
from distiller.spaces.config import PipelineConfig
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.sweep import CacheConfig, TeacherConfig
teacher, rows, folder = sys.argv[1:]
dataset = DatasetConfig.model_validate_json(rows)
device = torch.device("cpu")
cache = CacheConfig(path=folder)
teachers = {"t": TeacherConfig(model=teacher)}
material = prepare_material("x", dataset, ["t"], teachers, cache, Path("."), device)
def member(mapping):
    student = {"initialization": "svd", "layers": 2, "width": 16}
    term = {"objective": "mse", "mapping": {"kind": mapping}}
    stages = {"student": student, "intermediate": term, "augmentation": "random"}
    return Member(PipelineConfig.model_validate(stages), 0)
(result,) = distill(Cohort((member("last"),), 3, 0, evaluations=1), material)
assert result.completed, result.error
try:
    distill(Cohort((member("emd"),), 3, 0), material)
except ImportError as error:
    print(error)
"""


def test_runs_without_what_it_does_not_need(tmp_path: Path) -> None:
    rows = save_rows(tmp_path / "rows").model_dump_json(exclude_none=True, exclude_defaults=True)
    teacher = save_teacher(tmp_path / "teacher")
    command = [sys.executable, "-c", RUN, str(teacher), rows, str(tmp_path / "cache")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "the emd layer mapping needs POT: pip install POT"
