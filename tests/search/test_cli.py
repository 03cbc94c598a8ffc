"""The command line by itself: it is quick, and it says what it can do."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

LIGHT = """
import sys
from distiller.search import cli
sys.argv = ["distiller", *{arguments!r}]
try:
    cli.main()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {{"torch", "ray", "transformers", "optuna"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("arguments", [["query", "--help"], ["--help"], ["space"], ["launch", "--help"]])
def test_help_is_quick_and_light(arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(arguments=arguments)], capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout or "mi_alpha" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.5  # idle: about 0.5 s


def test_queries_load_neither_torch_nor_ray(finished):
    store = str(finished.place.folder / "results/data")
    for arguments in (
        ["query", "SELECT count(*) FROM trials", "--store", store],
        ["status", "--store", store],
    ):
        done = subprocess.run(
            [sys.executable, "-c", LIGHT.format(arguments=arguments)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_space_for_programs_and_people(command, tmp_path):
    out = command(tmp_path, "space", "--json").stdout
    assert {entry["id"] for entry in json.loads(out) if entry["stage"] == "prediction"} >= {"kl", "ce", "mse"}
    assert "properties" in json.loads(command(tmp_path, "space", "--schema").stdout)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "the same command goes on from here"),
        (ZeroDivisionError("a\nb"), 1, "ZeroDivisionError: a b (--debug shows the traceback)"),
    ],
)
def test_an_end_that_is_no_answer_is_one_line(monkeypatch, command, tmp_path, error, code, said):
    def explode(*_):
        raise error

    monkeypatch.setattr("distiller.results.store.Store.open", explode)
    done = command(tmp_path, "status")
    (line,) = done.stderr.splitlines()
    assert (done.returncode, said in line) == (code, True)
    if code == 1:
        assert "Traceback" in command(tmp_path, "--debug", "status").stderr
