"""Folders built once: killed writers, damaged files and simultaneous builders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller.pipelines.content import DONE, built_once, content_key, file_digest, is_complete

BUILDER = """
import sys, time
from pathlib import Path
from distiller.pipelines.content import built_once
folder, calls, hang = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "hang"
def build(part):
    with calls.open("a") as file:
        file.write("built\\n")
    (part / "data.bin").write_bytes(b"x" * 1000)
    (part / "inner").mkdir()
    (part / "inner" / "more.bin").write_bytes(b"y")
    while hang:
        time.sleep(0.05)
    time.sleep(0.3)
print(len((built_once(folder, build) / "data.bin").read_bytes()))
"""


def start(folder: Path, calls: Path, mode: str = "go") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(folder), str(calls), mode]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / 'o\'clock "x"' / "outputs" / "abc"


def test_processes_at_once_build_once(place: Path, tmp_path: Path) -> None:
    processes = [start(place, tmp_path / "calls") for _ in range(3)]
    assert [p.communicate(timeout=60)[0].strip() for p in processes] == ["1000"] * 3
    assert (tmp_path / "calls").read_text() == "built\n"


def test_a_killed_builder_leaves_nothing_to_trust(place: Path, tmp_path: Path) -> None:
    process = start(place, tmp_path / "calls", "hang")
    deadline = time.monotonic() + 60
    while not list(place.parent.glob(".abc.*.part/inner/more.bin")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert list(place.parent.glob(".abc.*.part"))
    assert not is_complete(place)
    assert start(place, tmp_path / "calls").communicate(timeout=60)[0].strip() == "1000"
    assert is_complete(place)
    assert not list(place.parent.glob(".abc.*.part"))


def fill(part: Path) -> None:
    (part / "data.bin").write_bytes(b"x" * 100)


@pytest.mark.parametrize(
    "damage", ["truncated", "missing", "no record", "torn record", "foreign record", "file"]
)
def test_a_damaged_folder_is_built_again(place: Path, damage: str) -> None:
    built_once(place, fill)
    data, record = place / "data.bin", place / DONE
    if damage == "truncated":
        data.write_bytes(b"x" * 99)
    elif damage == "missing":
        data.unlink()
    elif damage == "no record":
        record.unlink()
    else:
        record.write_bytes({"torn record": b'{"data', "foreign record": b"[1]", "file": b"\xff\xfe"}[damage])
    assert not is_complete(place)
    built_once(place, fill)
    assert data.read_bytes() == b"x" * 100
    built_once(place, lambda part: pytest.fail("built although complete"))


def test_a_failed_build_is_the_callers_and_leaves_nothing(place: Path) -> None:
    def fail(part: Path) -> None:
        fill(part)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        built_once(place, fail)
    assert [p.name for p in place.parent.iterdir() if not p.name.endswith(".lock")] == []
    built_once(place, fill)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)


@given(JSON, JSON)
def test_keys_differ_where_content_does(one: Any, other: Any) -> None:
    same = json.dumps(one) == json.dumps(other)
    assert (content_key(a=one, b=1) == content_key(b=1, a=other)) == same
    assert len(content_key(a=one)) == 16


def test_file_digest(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x").startswith("ba7816bf8f01cfea414140de5dae2223")
