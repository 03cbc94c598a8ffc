"""Storage that fails for a while: nothing lost, nothing torn, said once; and one line if it does not pass."""

from __future__ import annotations

import errno
import os
import pickle
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.results.compaction import compact
from distiller.results.local_files import LocalFiles
from distiller.results.patience import LONGEST_PAUSE, PATIENCE_SECONDS, PatientFiles, StorageError
from distiller.results.store import Store
from distiller.spaces.errors import InputError
from tests.results.simulated import Server, SimulatedFiles, row, trial

PASSING = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT]


class Clock:
    """Time that passes by sleeping."""

    def __init__(self):
        self.time, self.pauses = 0.0, []

    def sleep(self, seconds):
        self.time += seconds
        self.pauses.append(seconds)

    def patient(self, files):
        return Store(PatientFiles(files, sleep=self.sleep, clock=lambda: self.time))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([None, None, *PASSING]), max_size=40), st.booleans())
def test_rows_survive_any_sequence_of_failures(failures, late):
    """An operation may fail before it does anything, or (`late`) after it did all: its writer cannot know."""
    left = iter(failures)

    def fail(*_):
        code = next(left, None)
        if code is not None:
            raise OSError(code, os.strerror(code))

    server = Server()
    plain = Store(SimulatedFiles(server))
    store = Clock().patient(SimulatedFiles(server, **{"after" if late else "before": fail}))
    for name in "abc":
        assert store.write_attempt(row(name)) is True
        store.write_epochs([row(name, step=1)])
        assert store.write_trial(trial(name)) is True
        assert plain.write_trial(trial(name, attempt=2)) is False
    for table in ("trials", "attempts", "epochs"):
        assert store.read(table).equals(plain.read(table))
        assert plain.read(table).column("attempt").to_pylist() == [1, 1, 1]


def failing(count, error=None):
    files, left = SimulatedFiles(Server()), iter(range(count))

    def fail(*_):
        if next(left, None) is not None:
            raise error or OSError(errno.EROFS, os.strerror(errno.EROFS))

    files.before = fail
    return files


def test_pauses_grow_and_it_is_said_once(caplog):
    clock = Clock()
    assert clock.patient(failing(10)).write_trial(trial())
    assert clock.pauses[:8] == [0.5, 1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "Read-only file system); trying again for up to 900 s" in said[0]
    assert said[1] == "simulated: answers again after 152 s"


def test_the_end_of_patience_is_one_line():
    clock = Clock()
    with pytest.raises(StorageError) as caught:
        clock.patient(failing(10**6)).write_trial(trial())
    assert isinstance(caught.value, InputError)
    assert str(caught.value) == (
        "--store simulated: trials/s/trec-abc123-0-search.parquet failed for 900 s (OSError: [Errno 30] "
        "Read-only file system); mend the storage and launch again: nothing finished is lost"
    )
    assert clock.time == PATIENCE_SECONDS


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError("x"), OSError(errno.ENAMETOOLONG, "x")])
def test_what_does_not_pass_is_not_waited_for(error):
    clock = Clock()
    with pytest.raises(type(error)):
        clock.patient(failing(1, error)).write_trial(trial())
    assert clock.pauses == []


def test_one_unreadable_file_is_soon_reported_and_the_rest_counts(tmp_path, monkeypatch):
    store = Store.create(str(tmp_path))
    for name in "ab":
        store.write_trial(trial(name))
    read = LocalFiles._read

    def broken(files, path):
        if "trec-a-" in path:
            raise OSError(errno.EIO, "Input/output error")
        return read(files, path)

    monkeypatch.setattr(LocalFiles, "_read", broken)
    clock = Clock()
    got, bad = clock.patient(store.files).read_with_report("trials")
    assert (got.num_rows, len(bad)) == (1, 1)
    assert 10 < clock.time < 60


def test_a_patient_store_is_the_same_store(tmp_path):
    store = Store.create(str(tmp_path)).patient()
    assert store.patient() is store
    again = pickle.loads(pickle.dumps(store))
    assert again.write_trial(trial())
    assert compact(again, settle=0)[0].rows == 1


def test_a_store_that_is_away_is_no_empty_store(tmp_path):
    store = Store.create(str(tmp_path / "share" / "store"))
    store.write_trial(trial())
    os.rename(tmp_path / "share", tmp_path / "away")
    for work in (lambda: store.finished("s"), lambda: store.write_trial(trial("b"))):
        with pytest.raises(OSError, match="the store's folder is gone"):
            work()
    assert not (tmp_path / "share").exists()
    os.rename(tmp_path / "away", tmp_path / "share")
    assert store.write_trial(trial("b"))


FULL = """
import logging, resource, signal, sys, threading
from distiller.results.store import Store
from tests.results.simulated import trial
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(sys.argv[1]).patient()
whole = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (700, whole[1]))
threading.Timer(0.7, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, whole)).start()
print(store.write_trial(trial(traceback="x" * 5000)))
"""


def test_a_file_that_may_not_grow_for_a_while_is_written_whole(tmp_path):
    store = Store.create(str(tmp_path / "store"))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FULL, store.url], capture_output=True, text=True, cwd=root, check=True
    )
    lines = done.stdout.splitlines()
    assert "File too large" in lines[0]
    assert "answers again" in lines[1]
    assert lines[2] == "True"
    got, bad = store.read_with_report("trials")
    assert (got.num_rows, bad, len(got.column("traceback")[0].as_py())) == (1, [], 5000)
    assert os.listdir(f"{store.url}/trials/s") == ["trec-abc123-0-search.parquet"]  # no temporary file


@pytest.fixture
def tiny_disk(tmp_path):
    """A real filesystem of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("only root may mount a filesystem that is full")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_waited_for(tiny_disk, caplog):
    store = Store.create(str(tiny_disk / "store"))
    (tiny_disk / "ballast").write_bytes(bytes(40_000))
    files = PatientFiles(store.files)
    threading.Timer(0.6, (tiny_disk / "ballast").unlink).start()
    assert Store(files).write_trial(trial(traceback="x" * 15_000))  # which a file has twice
    assert "No space left on device" in caplog.text
    got, bad = store.read_with_report("trials")
    assert (got.num_rows, bad) == (1, [])


def test_a_read_only_disk_is_waited_for(tiny_disk, caplog):
    store = Store.create(str(tiny_disk / "store"))

    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", str(tiny_disk)], check=True)

    remount("ro")
    threading.Timer(0.6, lambda: remount("rw")).start()
    assert store.patient().write_trial(trial())
    assert "Read-only file system" in caplog.text
    assert store.read("trials").num_rows == 1


def test_an_answer_that_got_lost_is_found_again(tmp_path, monkeypatch):
    """The link is made, then something fails: whoever asks again learns that the file is its own."""
    store, fsync = Store.create(str(tmp_path)), os.fsync
    failed = []

    def fail(handle):
        linked = os.path.exists(f"{tmp_path}/trials/s/{NAME}")
        if linked and not failed and stat.S_ISDIR(os.fstat(handle).st_mode):
            failed.append(True)
            raise OSError(errno.EIO, "Input/output error")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fail)
    assert Clock().patient(store.files).write_trial(trial()) is True
    assert failed
    assert store.write_trial(trial(attempt=2)) is False


NAME = "trec-abc123-0-search.parquet"
