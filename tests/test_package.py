"""The package as a whole: what a wheel holds, which folder imports which, what the docs say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("spaces", "pipelines", "search", "results")
ALLOWED = {
    "spaces": {"spaces"},
    "pipelines": {"pipelines", "spaces"},
    "results": {"results", "spaces"},
    "search": set(FOLDERS),
}
FORBIDDEN = {
    "spaces": {"torch", "ray", "optuna", "transformers", "pandas"},
    "pipelines": {"ray", "optuna", "duckdb"},
    "results": {"torch", "ray", "transformers", "optuna"},
    "search": set(),
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        for name in imported(path):
            top, _, rest = name.partition(".")
            assert top not in FORBIDDEN[folder], f"{path} imports {name}"
            assert top not in FOLDERS, f"{path} imports {name}: write distiller.{name}"
            if top == "distiller":
                assert rest.split(".")[0] in ALLOWED[folder], f"{path} imports {name}"


def test_wheel_has_one_top_level_name_and_all_modules(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            tmp_path,
            ROOT,
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == {"distiller"}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".yaml", ".html", ".css", ".js"} and "data" not in path.parts:
                assert f"distiller/{path.relative_to(ROOT)}" in names, f"the wheel lacks {path}"


def test_links_of_the_docs_lead_somewhere() -> None:
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{document.name}: {target}"


def test_files_stay_small() -> None:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 400, f"{path} holds more than one idea"
