"""Commits on a folder, with hard links and without, by writers that die."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from distiller.results import local_files
from distiller.results.local_files import LocalFiles


@pytest.fixture
def files(tmp_path):
    return LocalFiles(str(tmp_path / 'it\'s "a" store'))


@pytest.fixture(params=[True, False], ids=["links", "no links"])
def either(request, files, monkeypatch):
    if not request.param:

        def link(*_):
            raise PermissionError(errno.EPERM, "no hard links")

        monkeypatch.setattr(os, "link", link)
    os.makedirs(files.url)
    return files


def test_the_first_stays_and_knows_that_it_won(either):
    assert either.put_new("a/b", b"one") is True
    assert either.put_new("a/b", b"two") is False
    assert either.put_new("a/b", b"one") is True
    assert either.read("a/b") == b"one"
    assert either.names("a") == ["b"]
    assert either.folders("a") == []
    either.remove("a/b")
    assert os.listdir(f"{either.url}/a") == []
    assert either.put_new("a/b", b"two") is True


def test_a_file_of_other_origin_is_not_replaced(either):
    either.put("a/b", b"one")
    assert either.put_new("a/b", b"two") is False
    assert either.read("a/b") == b"one"


DIES = """
import errno, os, signal, sys
from distiller.results.local_files import LocalFiles
def link(*_): raise PermissionError(errno.EPERM, "no hard links")
os.link = link
place, calls = sys.argv[1], {name: getattr(os, name) for name in ("rename", "replace")}
left = int(sys.argv[2])
def counted(name):
    def call(*paths):
        global left
        if left == 0: os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        calls[name](*paths)
    return call
os.rename, os.replace = counted("rename"), counted("replace")
LocalFiles(place).put_new("a/b", b"dead")
"""


@pytest.mark.parametrize(("moves", "winner"), [(0, b"alive"), (1, b"alive"), (2, b"dead")])
def test_without_links_what_a_dead_writer_committed_is_put_in_place(files, monkeypatch, moves, winner):
    os.makedirs(files.url)
    killed = subprocess.run([sys.executable, "-c", DIES, files.url, str(moves)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert files.read("a/b") is None

    def link(*_):
        raise PermissionError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", link)
    assert files.put_new("a/b", b"alive") is (winner == b"alive")
    assert files.read("a/b") == winner


def test_what_killed_writers_left_goes_when_it_is_a_day_old(files, monkeypatch):
    os.makedirs(files.url)
    for table in ("trials", "attempts"):
        files.put_new(f"{table}/s/row", b"whole")
        files.put_new(f"{table}/s/.looks.tmp", b"another's")
    half = [f"trials/s/.{uuid.uuid4().hex}.{kind}" for kind in ("tmp", "first", "gone")]
    half += [f"compacted/trials/s/.{uuid.uuid4().hex}.tmp", f".probe-{uuid.uuid4().hex}"]
    kept = "trials/s/.row.first"  # of a mount without hard links: it decides who won
    for path in (*half, kept):
        place = Path(files.url, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(("first", "gone")):
            place.mkdir()
            place = place / "data"
        place.write_bytes(b"half")
    (Path(files.url) / "elsewhere").symlink_to("/", target_is_directory=True)
    before = set(Path(files.url).rglob("*"))
    assert files.remove_abandoned(86_400) == 0
    assert set(Path(files.url).rglob("*")) == before
    later = time.time() + 86_410
    monkeypatch.setattr(local_files.time, "time", lambda: later)
    assert files.remove_abandoned(86_400) == len(half)
    gone = {Path(files.url, path) for path in half}
    left = {path for path in before if path not in gone and path.parent not in gone}
    assert set(Path(files.url).rglob("*")) == left
    assert files.remove_abandoned(86_400) == 0


def test_a_killed_writers_file_is_such_a_one(files):
    os.makedirs(files.url)
    subprocess.run([sys.executable, "-c", DIES, files.url, "0"], check=False)
    assert len(os.listdir(f"{files.url}/a")) == 2
    assert files.remove_abandoned(0) == 2
    assert os.listdir(f"{files.url}/a") == []


def test_no_lock_is_taken(either, monkeypatch):
    def lock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    import fcntl

    monkeypatch.setattr(fcntl, "flock", lock)
    monkeypatch.setattr(fcntl, "lockf", lock)
    assert [either.put_new("a/b", data) for data in (b"one", b"two")] == [True, False]
