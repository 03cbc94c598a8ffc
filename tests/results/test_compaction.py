"""Compaction: every row readable exactly once, whatever else happens and wherever it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.results.compaction import compact
from distiller.results.fragments import encode, fragment_path
from distiller.results.sql import query
from distiller.results.store import Store
from distiller.spaces.errors import InputError
from tests.results.simulated import CHANGES, Killed, Server, SimulatedFiles, Turns, killed_at, row, trial

TABLES = ("trials", "attempts", "epochs")


def fill(store, names, score=0.5):
    """Trials that ended, each with its attempt and a curve of two points."""
    for name in names:
        assert store.write_attempt(row(name))
        store.write_epochs([row(name, step=step, score=score) for step in (1, 2)])
        assert store.write_trial(trial(name, score=score, x_p=1), {"x_p": pa.int64()})


def contents(store):
    """What counts, table by table."""
    columns = {"trials": ["attempt", "score"], "attempts": ["attempt"], "epochs": ["step"]}
    return {
        table: sorted(tuple(r[c] for c in ["config_id", *more]) for r in store.read(table).to_pylist())
        for table, more in columns.items()
    }


def expected(names, score=0.5):
    return {
        "trials": [(name, 1, score) for name in sorted(names)],
        "attempts": [(name, 1) for name in sorted(names)],
        "epochs": [(name, step) for name in sorted(names) for step in (1, 2)],
    }


@pytest.fixture
def server(monkeypatch):
    server = Server()
    server.install(monkeypatch)
    return server


def half_compacted(server):
    """Two trials in data files, two in fragments, and what an earlier compaction left behind."""
    store = Store(SimulatedFiles(server))
    fill(store, ["a", "b"])
    compact(store, settle=0)
    fill(store, ["c", "d"])
    return store


@pytest.mark.parametrize("url", ["local", "memory"])
def test_compacted_rows_are_there_for_every_reader(url, tmp_path):
    store = Store.create(str(tmp_path / 'it\'s "a" store') if url == "local" else f"memory://{tmp_path.name}")
    fill(store, ["a", "b", "c"])
    store.write_attempt(row("lost"))
    store.write_attempt(row("lost", 2))
    store.write_epochs([row("lost", 2, step=1)])
    before = {name: store.read(name) for name in TABLES}
    ends, open_attempts = store.finished("s"), store.unfinished_attempts("s")
    done = compact(store, settle=0)
    assert [(one.table, one.rows, one.files) for one in done] == [
        ("trials", 3, 1), ("attempts", 5, 1), ("epochs", 6, 1)]  # fmt: skip
    for name in TABLES:
        assert store.files.names(f"{name}/s") == (
            ["trec-lost-0-search.2.parquet"] if name == "epochs" else []
        )
        assert store.read(name).equals(before[name])
        assert query(store, f"SELECT count(*) n FROM {name}").to_pylist() == [{"n": before[name].num_rows}]
    assert (store.finished("s"), store.unfinished_attempts("s")) == (ends, open_attempts)
    assert store.read_with_report("epochs", committed=False)[0].num_rows == 7
    assert store.sweeps() == ["s"]
    assert all(one.rows == one.removed == 0 for one in compact(store, settle=0))
    assert not store.write_attempt(row("lost", 2))
    assert store.write_attempt(row("lost", 3))


def test_types_meet_across_data_files_and_fragments(tmp_path, caplog):
    store = Store.create(str(tmp_path))
    for number, (kind, value) in enumerate([(pa.int64(), 1), (pa.int64(), 2), (pa.float64(), 0.5)]):
        store.write_trial(trial(f"c{number}", x_p=value), {"x_p": kind})
        compact(store, settle=0) if number == 1 else None
    store.write_trial(trial("later", x_p="no"), {"x_p": pa.string()})
    store.write_trial(trial("more", x_q=True), {"x_q": pa.bool_()})
    for _ in range(2):
        assert store.read("trials").column("x_p").to_pylist() == [1.0, 2.0, 0.5, None]
        assert query(store, "SELECT sum(x_p) s, count(x_q) n FROM trials").to_pylist() == [{"s": 3.5, "n": 1}]
        assert "column x_p is string, elsewhere" in caplog.text
        compact(store, settle=0)
    assert store.files.names("trials/s") == ["trec-later-0-search.parquet"]  # reported, not lost


def test_killed_before_any_change_it_leaves_every_row_once(monkeypatch):
    prepared, whole = Server(), expected("abcd")
    half_compacted(prepared)
    for number in range(1000):
        server = prepared.copy()
        server.install(monkeypatch)
        store = Store(SimulatedFiles(server))
        victim = Store(SimulatedFiles(server, **killed_at(number)))
        try:
            compact(victim, settle=0)
        except Killed:
            assert contents(store) == whole, number
            assert not store.write_trial(trial("a", attempt=2, score=0.9))  # a zombie
            compact(store, settle=0)
            assert contents(store) == whole, number
            left = [path for path in server.paths() if not path.startswith("compacted/")]
            assert left == [], number
        else:
            assert number > 12
            return
    raise AssertionError("it never ends")


def test_readers_between_any_two_changes_see_every_row_once(server):
    store = half_compacted(server)
    reads = []

    def read(operation, _):
        if operation in CHANGES:
            reads.append(contents(store))

    compact(Store(SimulatedFiles(server, before=read)), settle=0)
    assert len(reads) > 12
    assert all(found == expected("abcd") for found in reads)


def test_a_reader_stopped_anywhere_outlives_a_compaction(monkeypatch):
    prepared = Server()
    half_compacted(prepared)
    for number in range(1000):
        server = prepared.copy()
        server.install(monkeypatch)
        count = iter(range(10**6))

        def compaction(*_, at=number, count=count, server=server):
            if next(count) == at:
                compact(Store(SimulatedFiles(server)), settle=0)

        reader = Store(SimulatedFiles(server, before=compaction))
        assert contents(reader) == expected("abcd"), number
        assert sorted(one.config_id for one in reader.finished("s")) == list("abcd"), number
        if next(count) < number:
            return
    raise AssertionError("it never ends")


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=60))
def test_compactions_writers_and_zombies_at_once(order):
    with pytest.MonkeyPatch.context() as patch:
        server = Server()
        server.install(patch)
        store = half_compacted(server)
        turns = Turns(order)
        clients = [
            Store(SimulatedFiles(server, before=turns.before(who), after=turns.after(who)))
            for who in range(4)
        ]
        first, second, *writes = turns.run(
            [
                lambda: compact(clients[0], settle=0),
                lambda: compact(clients[1], settle=0),
                lambda: [clients[2].write_trial(trial(name, 2, score=0.9)) for name in "ace"],
                lambda: [clients[3].write_trial(trial(name, 3, score=0.7)) for name in "bde"],
            ]
        )
        for done in (first, second):
            assert isinstance(done, list), done
        assert writes[0][:2] == writes[1][:2] == [False, False]
        assert writes[0][2] != writes[1][2]  # one of the two ended trial e
        whole = [*expected("abcd")["trials"], ("e", 2, 0.9) if writes[0][2] else ("e", 3, 0.7)]
        for _ in range(2):
            found = contents(store)
            assert found["trials"] == whole
            assert found["epochs"] == expected("abcd")["epochs"]
            compact(store, settle=0)


def test_a_winner_that_is_compacted_before_it_hears_so_has_won(server):
    def compaction(operation, path):
        if (operation, path) == ("put_new", fragment_path("trials", trial())):
            compact(Store(SimulatedFiles(server)), settle=0)

    assert Store(SimulatedFiles(server, after=compaction)).write_trial(trial()) is True
    assert not [path for path in server.paths() if path.startswith("trials/")]


def test_an_overtaken_compaction_takes_nothing_away(server):
    store = half_compacted(server)

    overtaken = []

    def overtake(operation, path):
        if operation == "put_new" and not overtaken:
            overtaken.append(path)
            fill(store, ["e"])
            compact(store, settle=0)

    compact(Store(SimulatedFiles(server, before=overtake)), settle=0)
    assert overtaken == ["compacted/trials/s/00000002.json"]
    assert contents(store) == expected("abcde")


def test_until_a_commit_has_settled_nothing_is_removed(server):
    store = half_compacted(server)
    done = compact(store, settle=60)
    assert [(one.rows, one.removed, one.waiting) for one in done] == [(2, 0, 2), (2, 0, 2), (0, 0, 0)]
    assert contents(store) == expected("abcd")
    server.clock += 61
    done = compact(store, settle=60)
    assert [one.waiting for one in done] == [0, 0, 2]  # the epochs are compacted only now
    assert [one.removed for one in done] == [3, 3, 0]  # with the data file that was merged into another
    assert contents(store) == expected("abcd")


def test_files_stay_few(server):
    store = Store(SimulatedFiles(server))
    for number in range(16):
        store.write_attempt(row(f"c{number}"))
        compact(store, settle=0)
    names = store.files.names("compacted/attempts/s")
    assert sum(name.endswith(".parquet") for name in names) <= 4
    assert store.read("attempts").num_rows == 16


def test_a_damaged_data_file_is_reported_and_the_rest_counts(tmp_path, caplog):
    store = Store.create(str(tmp_path))
    fill(store, "abcdefgh")
    compact(store, settle=0)
    (path,) = Path(store.url, "compacted/trials/s").glob("*.parquet")
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"trec-a-0-search")] ^= 0x40  # in a page, whose checksum then does not fit
    fill(store, ["later"])
    path.write_bytes(bytes(whole))
    got, bad = store.read_with_report("trials")
    assert got.column("config_id").to_pylist() == ["later"]
    assert [item.path for item in bad] == [f"compacted/trials/s/{path.name}"]
    assert query(store, "SELECT trial_id FROM trials").num_rows == 1
    assert f"skipped compacted/trials/s/{path.name}: damaged" in caplog.text
    path.write_bytes(bytes(whole[: len(whole) // 2]))
    assert [item.reason.split(" (")[0] for item in store.read_with_report("trials")[1]] == [
        "torn or not Parquet"]  # fmt: skip
    path.unlink()
    assert [item.reason for item in store.read_with_report("trials")[1]] == ["gone"]


@pytest.mark.parametrize("where", ["identity", "page", "footer"])
def test_nothing_is_removed_whose_copy_cannot_be_read(tmp_path, where):
    store = Store.create(str(tmp_path))
    fill(store, "abcdefgh")
    compact(store, settle=3600)
    (path,) = Path(store.url, "compacted/trials/s").glob("*.parquet")
    whole = bytearray(path.read_bytes())
    find, what = {"identity": (whole.index, b"trec-a-0-search"), "page": (whole.index, b"completed"),
                  "footer": (whole.rindex, b"completed")}[where]  # fmt: skip
    whole[find(what)] ^= 0x40
    path.write_bytes(bytes(whole))
    if where == "page":
        with pytest.raises(InputError, match=f"compacted/trials/s/{path.name}: damaged"):
            compact(store, settle=0)
    else:  # what it covers is known to nobody: compacted again
        compact(store, settle=3600)
        assert store.read("trials").num_rows == 8
    assert len(store.files.names("trials/s")) == 8


ELSEWHERE = {
    "table": "trials",
    "sweep": "s",
    "committed_at": "2026-01-01T00:00:00+00:00",
    "rows": {"../../x": 1},
}


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": {}}', json.dumps(ELSEWHERE)])
def test_a_manifest_that_is_none_is_one_clear_line(tmp_path, text):
    store = Store.create(str(tmp_path))
    fill(store, "ab")
    compact(store, settle=0)
    Path(store.url, "compacted/trials/s/00000001.json").write_text(text)
    with pytest.raises(InputError, match=r"compacted/trials/s/00000001.json: torn or no manifest .* backup"):
        store.read("trials")


def test_a_torn_row_written_again_is_compacted_once(tmp_path):
    store = Store.create(str(tmp_path))
    store.files.put(fragment_path("trials", trial()), encode("trials", [trial()])[:-9])
    assert store.write_trial(trial(attempt=2)) is True
    assert store.write_trial(trial(attempt=3)) is False
    for _ in range(2):
        assert store.read("trials").column("attempt").to_pylist() == [2]
        compact(store, settle=0)
    assert store.files.names("trials/s") == []
    assert store.write_trial(trial(attempt=4)) is False


def test_a_filesystem_without_exclusive_puts_is_not_compacted(server):
    files = SimulatedFiles(server)
    files.exclusive = False
    with pytest.raises(InputError, match="where there is none"):
        compact(Store(files))


COMPACT = """
import sys, time
from distiller.results.compaction import compact
from distiller.results.store import Store
store = Store.open(sys.argv[1])
print("ready", flush=True)
while True:
    compact(store, settle=0)
    time.sleep(0.05)
"""


def test_killed_for_real_while_rows_arrive(tmp_path):
    store = Store.create(str(tmp_path / 'it\'s "a" store'))
    names = [f"c{number:03d}" for number in range(24)]
    compactions = [
        subprocess.Popen([sys.executable, "-c", COMPACT, store.url], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in compactions:
        assert process.stdout.readline() == "ready\n"
    for number, name in enumerate(names):
        fill(store, [name])
        assert store.read("trials").column("config_id").to_pylist() == names[: number + 1]
        if number == 16:
            os.kill(compactions[0].pid, signal.SIGKILL)
    compactions[1].kill()
    for process in compactions:
        process.communicate()
    assert contents(store) == expected(names)
    compact(store, settle=0)
    assert contents(store) == expected(names)
    assert not any(store.files.names(f"{table}/s") for table in TABLES)


def test_the_command_says_what_it_did(tmp_path, capsys, monkeypatch):
    from distiller.search import cli

    store = Store.create(str(tmp_path / "store"))
    fill(store, "abc")
    for arguments in (["--settle", "3600"], ["--settle", "0", "--json"]):
        monkeypatch.setattr(sys, "argv", ["distiller", "compact", "--store", store.url, *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "s: trials: 3 rows compacted (3 in 1 file), 0 files removed; " \
        "3 small files go at a later `compact`"  # fmt: skip
    assert json.loads("".join(lines[3:]))[0]["removed"] == 3
