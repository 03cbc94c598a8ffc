"""A launch's own compaction: in the background, beside writers, and never in the way of the sweep."""

from __future__ import annotations

import time

import pytest

from distiller.results.store import Store
from distiller.search import upkeep
from distiller.search.upkeep import kept_compact
from tests.results.simulated import trial


def until(condition):
    """Waits for it; ten seconds is a failure."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_small_files_are_gathered_while_rows_arrive(tmp_path):
    store, said = Store.create(str(tmp_path / 'it\'s "a" store')), []
    with kept_compact(store, "s", said.append, raw=5, every=0.01, settle=0):
        for number in range(4):
            assert store.write_trial(trial(f"c{number}"))
        time.sleep(0.1)
        assert store.files.folders("compacted") == []  # too few
        for number in range(4, 20):
            assert store.write_trial(trial(f"c{number}"))
        until(lambda: len(store.files.names("trials/s")) < 5)
        assert not store.write_trial(trial("c3", attempt=2))
    assert store.read("trials").num_rows == 20
    assert said == []


def test_what_goes_wrong_is_said_once_and_the_sweep_goes_on(tmp_path, monkeypatch):
    store, said, calls = Store.create(str(tmp_path)), [], []

    def fails(*given):
        calls.append(given)
        raise OSError(28, "No space left\non device")

    monkeypatch.setattr(upkeep, "compact", fails)
    with kept_compact(store, "s", said.append, raw=0, every=0.01):
        until(lambda: said)
        time.sleep(0.05)
    assert said == [
        "not compacted: OSError: [Errno 28] No space left on device; the sweep goes on, "
        "`distiller compact` does it later"
    ]
    assert len(calls) == 1


def test_a_filesystem_on_which_none_compacts_is_left_alone(tmp_path, monkeypatch):
    store = Store.create(str(tmp_path))
    monkeypatch.setattr(type(store.files), "exclusive", False)
    monkeypatch.setattr(upkeep.threading, "Thread", None)
    with kept_compact(store, "s", pytest.fail, raw=0):
        assert store.write_trial(trial())
