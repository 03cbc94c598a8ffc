"""The store against its promises: nothing lost, nothing twice, nothing torn trusted."""

import json
import math
import os
import pickle
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.results import frames
from distiller.results.fragments import encode, fragment_path
from distiller.results.schema import IDENTITY, TABLES, Identity, check_name, core_schema, trial_id
from distiller.results.store import Store
from distiller.spaces.errors import InputError

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def row(dataset="trec", config_id="abc123", seed=0, role="search", sweep="s", attempt=1, **more):
    identity = {"sweep": sweep, "dataset": dataset, "config_id": config_id, "seed": seed, "role": role}
    return {**identity, "trial_id": trial_id(dataset, config_id, seed, role), "attempt": attempt, **more}


def trial(**more):
    return row(**{"status": "completed", "ended_at": WHEN, **more})


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    local = tmp_path / 'it\'s "a" store'
    return Store.create(str(local) if request.param == "local" else f"memory://{uuid.uuid4().hex}/deep")


@pytest.fixture
def local(tmp_path):
    return Store.create(str(tmp_path / 'it\'s "a" store'))


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = {pa.float64(): st.floats(), pa.int64(): st.integers(-(2**63), 2**63 - 1), pa.string(): text,
          pa.bool_(): st.booleans()}  # fmt: skip
whens = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))


@st.composite
def terminal_rows(draw):
    space = draw(st.dictionaries(st.from_regex(r"x_[a-z0-9_]{1,9}", fullmatch=True),
                                 st.sampled_from(list(values)), max_size=4))  # fmt: skip
    keys = st.tuples(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,8}", fullmatch=True),
                     st.from_regex(r"[a-f0-9]{4}", fullmatch=True), st.integers(0, 2**31))  # fmt: skip
    rows = []
    for dataset, config_id, seed in draw(st.lists(keys, min_size=1, max_size=4, unique=True)):
        more = {f.name: draw(st.none() | values.get(f.type, whens)) for f in core_schema("trials")
                if f.name not in IDENTITY["trials"]}  # fmt: skip
        more |= {name: draw(st.none() | values[kind]) for name, kind in space.items()}
        rows.append(
            row(dataset, config_id, seed, **{**more, "status": draw(st.sampled_from(["stopped", "failed"]))})
        )
    return rows, space


@settings(max_examples=30, deadline=None)
@given(terminal_rows())
def test_rows_come_back_as_they_went(drawn):
    rows, space = drawn
    store = Store.create(f"memory://{uuid.uuid4().hex}")
    assert all(store.write_trial(one, space) for one in rows)
    got, bad = store.read_with_report("trials")
    assert bad == []
    assert set(got.column_names) == {*core_schema("trials").names, *space}
    clean = [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in one.items()} for one in rows
    ]
    assert got.to_pylist() == sorted(clean, key=lambda one: one["trial_id"])
    assert store.finished("s") == {
        ("s", one["dataset"], one["config_id"], one["seed"], one["role"]): one["status"] for one in rows
    }


def test_the_first_terminal_row_stays(store):
    assert store.write_trial(trial(score=0.5)) is True
    assert store.write_trial(trial(score=0.9, attempt=2)) is False
    assert store.read("trials").select(["score", "attempt"]).to_pylist() == [{"score": 0.5, "attempt": 1}]


RACER = """
import errno, json, os, sys, time
from distiller.results.store import Store
url, attempt, links, rows = json.loads(sys.argv[1])
if not links:
    def link(*_): raise PermissionError(errno.EPERM, "no hard links")
    os.link = link
store = Store.open(url)
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([store.write_trial({**row, "attempt": attempt}) for row in rows]))
"""


@pytest.mark.parametrize("links", [True, False])
def test_of_many_writers_exactly_one_wins(local, links):
    rows = [row(config_id=f"c{n}", status="completed") for n in range(20)]
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, json.dumps([local.url, attempt, links, rows])],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for attempt in (1, 2, 3)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    wins = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    assert [sum(column) for column in zip(*wins, strict=True)] == [1] * 20
    assert local.read("trials").column("attempt").to_pylist() == [
        1 + [won[int(name[1:])] for won in wins].index(True)
        for name in local.read("trials").column("config_id").to_pylist()
    ]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: local.write_trial(trial(config_id="t", attempt=n)), range(1, 9)))
    assert won.count(True) == 1
    assert local.read("trials").num_rows == 21


@pytest.mark.parametrize("table", ["trials", "epochs"])
def test_a_writer_killed_before_its_rename_leaves_nothing(local, table):
    code = f"""
import os, signal
os.link = os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from distiller.results.store import Store
row = {row()!r}
store = Store.open({local.url!r})
store.write_epochs([row]) if {table == "epochs"} else store.write_trial({{**row, "status": "stopped"}})
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [name[0] for name in os.listdir(f"{local.url}/{table}/s")] == ["."]  # the temp file is there
    got, bad = local.read_with_report(table, committed=False)
    assert (got.num_rows, bad, local.finished("s")) == (0, [], {})
    local.write_epochs([row(step=1)])
    assert local.write_trial(trial()) is True
    assert local.read(table).num_rows == 1


def test_a_torn_terminal_row_is_replaced_by_the_retry(store, caplog):
    path = fragment_path("trials", trial())
    store.files.put(path, encode("trials", [trial()])[:-9])
    assert store.finished("s") == {}
    assert store.write_trial(trial(attempt=2)) is True
    assert "torn" in caplog.text
    assert store.finished("s") == {Identity("s", "trec", "abc123", 0, "search"): "completed"}


def test_only_the_terminal_attempts_epochs_count(store):
    store.write_epochs([row(attempt=1, step=n, score=0.1) for n in (1, 2)])
    store.write_epochs([row(attempt=2, step=1, score=0.2)])
    store.write_epochs([row(config_id="running", step=1)])
    assert store.read("epochs").num_rows == 0
    assert store.write_trial(trial(attempt=2))
    store.write_epochs([row(attempt=1, step=n, score=0.1) for n in (1, 2, 3)])  # the zombie goes on
    assert not store.write_trial(trial(attempt=1))
    assert store.read("epochs").select(["attempt", "score"]).to_pylist() == [{"attempt": 2, "score": 0.2}]
    assert store.read_with_report("epochs", committed=False)[0].num_rows == 5


def test_unfinished_attempts_are_the_latest_of_trials_without_end(store):
    for config_id, attempt in (("done", 1), ("lost", 1), ("lost", 2), ("run", 1)):
        assert store.write_attempt(row(config_id=config_id, attempt=attempt, started_at=WHEN)) is True
    assert store.write_attempt(row(config_id="run")) is False
    store.write_trial(trial(config_id="done", status="failed"))
    store.write_attempt(row(sweep="other", config_id="x"))
    left = store.unfinished_attempts("s")
    assert [(one["config_id"], one["attempt"]) for one in left] == [("lost", 2), ("run", 1)]
    assert store.sweeps() == ["other", "s"]
    assert store.finished("never") == {}


def test_datasets_are_replaced_and_files_kept(store):
    for length in (1.5, 2.5):
        store.write_dataset({"sweep": "s", "dataset": "trec", "train_rows": 7, "mean_length": length},
                            {"mean_length": pa.float64()})  # fmt: skip
    assert store.read("datasets", "s").select(["train_rows", "mean_length"]).to_pylist() == [
        {"train_rows": 7, "mean_length": 2.5}]  # fmt: skip
    store.write_text("s", "sweep.yaml", "ä: 1\n")
    assert (store.read_text("s", "sweep.yaml"), store.read_text("s", "none.yaml")) == ("ä: 1\n", None)
    assert pickle.loads(pickle.dumps(store)).read_text("s", "sweep.yaml") == "ä: 1\n"


def test_an_empty_store_has_every_core_column(store):
    for table in TABLES:
        assert store.read(table).schema.equals(core_schema(table), check_metadata=True)
        assert all(field.metadata[b"comment"] for field in core_schema(table))


def test_frames_keep_whole_numbers_whole(local):
    local.write_trial(trial(steps=250, x_layers=2), {"x_layers": pa.int64()})
    local.write_trial(trial(config_id="b", x_layers=None), {"x_layers": pa.int64()})
    frame = frames.load(local.url)
    assert frame["x_layers"].dtype == pd.Int64Dtype()
    assert frame["steps"].tolist() == [250, pd.NA]
    assert frames.columns("epochs")[0] == ("sweep", "string", "name of the launch")


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "a/b", "../x", "a\\b", "a\n", "a b", "x" * 101, "ä", "a\0"]
)
def test_names_cannot_leave_the_store(local, name):
    with pytest.raises(InputError) as caught:
        check_name("sweep", name)
    assert "\n" not in str(caught.value)
    for write in (lambda: local.write_trial(trial(sweep=name)), lambda: local.write_text("s", name, ""),
                  lambda: local.write_dataset({"sweep": "s", "dataset": name})):  # fmt: skip
        with pytest.raises(InputError):
            write()


def one_line(call, *parts):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


def test_bad_stores_are_refused_in_one_line(tmp_path, local):
    (tmp_path / "file").write_text("x")
    (tmp_path / "plain").mkdir()
    remedy = (
        "not a Distiller store (no store.json); pass --store PATH of a folder that `distiller launch` "
        "or `distiller import` wrote"
    )
    one_line(lambda: Store.open(str(tmp_path / "plain")), remedy)
    one_line(lambda: Store.open(str(tmp_path / "none")), remedy)
    one_line(lambda: Store.open("memory://nowhere"), remedy)
    one_line(lambda: Store.create(str(tmp_path / "file" / "below")), "not writable", "--store")
    one_line(lambda: Store.create("/proc/nothing/here"), "not writable")
    one_line(lambda: Store.create("nosuchscheme://x"), "nosuchscheme")
    one_line(lambda: Store.create(""), "--store")
    for text, part in (
        ("{", "not JSON"),
        ("[]", "not Distiller's"),
        ('{"kind": "distiller results", "format": 9}', "9"),
    ):
        (tmp_path / "plain" / "store.json").write_text(text)
        one_line(lambda: Store.open(str(tmp_path / "plain")), part)
    one_line(lambda: local.read("trails"), "'trials'")
    local.write_text("quick", "a.yaml", "")
    one_line(lambda: local.read("trials", "quikc"), "'quick'")
    assert not Path("/proc/nothing").exists()


def test_checkpoints_come_and_go_and_no_reader_lists_them(store):
    store.write_trial(trial())
    before = store.sweeps(), [store.read(table).num_rows for table in TABLES]
    assert store.read_checkpoint("s", "c1") is None
    for name, data in (("c1", b"old"), ("c1", b"new"), ("c2", b"x" * 100_000)):
        store.write_checkpoint("s", name, data)
    store.write_checkpoint("another", "c1", b"another")
    assert store.read_checkpoint("s", "c1") == b"new"
    assert (store.sweeps(), [store.read(table).num_rows for table in TABLES]) == before
    for _ in "12":  # the second has nothing left to do
        store.remove_checkpoint("s", "c1")
    assert store.read_checkpoint("s", "c1") is None
    assert store.read_checkpoint("s", "c2") == b"x" * 100_000
    for _ in "12":
        store.remove_checkpoints("s")
    assert store.read_checkpoint("s", "c2") is None
    assert store.read_checkpoint("another", "c1") == b"another"
    for sweep, cohort in (("..", "c1"), ("s", "../c1"), ("s", "/etc")):
        with pytest.raises(InputError, match="not a usable name"):
            store.write_checkpoint(sweep, cohort, b"")


def test_checkpoints_of_killed_writers_go_too_and_what_will_not_go_is_said(local, monkeypatch, caplog):
    local.write_checkpoint("s", "c1", b"whole")
    folder = Path(local.url) / "checkpoints" / "s"
    (folder / ".half.tmp").write_bytes(b"half")

    def refuse(*given, **more):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        local.remove_checkpoint("s", "c1")
    assert "checkpoints/s/c1.safetensors: not removed (OSError: [Errno 30]" in caplog.text
    assert (folder / "c1.safetensors").exists()
    local.remove_checkpoints("s")
    assert not folder.exists()
