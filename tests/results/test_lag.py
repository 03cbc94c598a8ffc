"""Storage that other machines see late, as over NFS: what still holds, and what the settling time is for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.results import compaction
from distiller.results.compaction import SETTLE_SECONDS, compact
from distiller.results.store import Store
from tests.results.simulated import Server, SimulatedFiles, row, trial

LAG = 60.0
"""NFS's default (acdirmax): the longest that a client goes without asking."""

actions = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "zombie", "compact", "compact", "read"]),
        st.integers(0, 2),  # which client
        st.integers(0, 5),  # which trial
        st.sampled_from([0.0, 1.0, 30.0, LAG + 1, SETTLE_SECONDS + 1]),  # how long until then
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None)
@given(actions, st.lists(st.floats(0, LAG), min_size=1, max_size=8))
def test_late_sight_loses_no_row_doubles_none_and_lets_no_zombie_win(taken, lags):
    with pytest.MonkeyPatch.context() as patch:
        server = Server()
        server.install(patch)
        draws = iter(lags * 1000)
        clients = [Store(SimulatedFiles(server, lag=lambda: next(draws))) for _ in range(3)]
        written: dict[str, tuple[float, float]] = {}
        for score, (action, who, which, wait) in enumerate(taken):
            server.clock += wait
            store, name = clients[who], f"c{which}"
            if action == "compact":
                compact(store)
            elif action == "read":
                found = {r["config_id"]: r["score"] for r in store.read("trials").to_pylist()}
                seen = server.clock - LAG
                assert store.read("trials").num_rows <= len(written)
                assert {n for n, (_, when) in written.items() if when < seen - 1} <= found.keys()
                assert all(found[n] == written[n][0] for n in found)
            else:
                won = store.write_trial(trial(name, attempt=score + 1, score=float(score)))
                assert won == (name not in written)
                written.setdefault(name, (float(score), server.clock))
        server.clock += LAG + 1
        for store in clients:
            rows = store.read("trials").to_pylist()
            assert [(r["config_id"], r["score"]) for r in rows] == sorted(
                (name, score) for name, (score, _) in written.items()
            )


def stale_reader(monkeypatch, settle):
    """A reader whose two folders are of different age, after a compaction with this settling time."""
    server = Server()
    server.install(monkeypatch)
    server.clock = 1000.0
    writer, reader = Store(SimulatedFiles(server)), SimulatedFiles(server)
    writer.write_trial(trial())
    server.clock += 10
    compact(writer, settle=settle)
    server.clock += 1
    # The fragments' folder is seen as it is, the manifests' as it was a minute ago.
    reader._view = lambda folder, path=None: server.clock - (LAG if folder.startswith("compacted/") else 0)
    return Store(reader).read("trials").num_rows


def test_without_settling_a_late_reader_would_miss_rows(monkeypatch):
    """The simulation can tell: this is the loss that the pause before deletion prevents."""
    assert stale_reader(monkeypatch, 0) == 0
    assert stale_reader(monkeypatch, SETTLE_SECONDS) == 1


def test_a_curve_that_may_be_seen_late_is_not_compacted_yet(monkeypatch):
    """The last curve of an attempt replaces earlier ones; a stale copy of it must never become final."""
    server = Server()
    server.install(monkeypatch)
    worker, other = Store(SimulatedFiles(server)), Store(SimulatedFiles(server))
    worker.write_epochs([row(step=1)])
    server.clock += 100
    worker.write_epochs([row(step=1), row(step=2)])
    worker.write_trial(trial(ended_at=compaction.now()))
    # It sees the terminal row at once, and the folder of the curves a minute late.
    other.files._view = lambda folder, path=None: server.clock - (LAG if folder.startswith("epochs/") else 0)
    for _ in range(4):
        compact(other)
        server.clock += LAG / 2
        assert worker.read("epochs").num_rows == 2
    server.clock += SETTLE_SECONDS
    compact(other)
    server.clock += SETTLE_SECONDS
    compact(other)
    assert worker.files.names("epochs/s") == []
    assert worker.read("epochs").num_rows == 2
