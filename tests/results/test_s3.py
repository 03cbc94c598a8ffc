"""A real S3 API server on loopback: the store, its commits, many writers and compaction through it."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import replace

import pytest

from distiller.results.compaction import compact
from distiller.results.files import open_files
from distiller.results.sql import query
from distiller.results.store import Store
from distiller.spaces.errors import InputError
from tests.results.simulated import row, trial

pytest.importorskip("s3fs", reason="S3 needs the extra s3-test")
moto = pytest.importorskip("moto.server", reason="the S3 server of these tests is in the extra s3-test")


@pytest.fixture(scope="module")
def endpoint():
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def url(endpoint, monkeypatch):
    """A fresh bucket; where the server is comes from the environment, as a user gives it."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"b{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}/deep/store"


def test_rows_commits_and_compaction(url):
    store = Store.create(url)
    for number in range(5):
        assert store.write_attempt(row(f"c{number}"))
        store.write_epochs([row(f"c{number}", step=1, score=0.5)])
        assert store.write_trial(trial(f"c{number}", score=number / 10))
    assert store.write_trial(trial("c0", attempt=2, score=0.9)) is False
    store.write_text("s", "sweep.yaml", "ä: 1\n")
    other = Store.open(url)
    before = {table: other.read(table) for table in ("trials", "attempts", "epochs")}
    assert [rows.num_rows for rows in before.values()] == [5, 5, 5]
    assert [(one.rows, one.removed) for one in compact(store, settle=0)] == [(5, 5)] * 3
    for table, rows in before.items():
        assert other.read(table).equals(rows)
        assert store.files.names(f"{table}/s") == []
    assert query(other, "SELECT max(score) m FROM trials").to_pylist() == [{"m": 0.4}]
    assert store.write_trial(trial("c1", attempt=2, score=0.9)) is False
    assert store.write_trial(trial("c9")) is True
    assert len(other.finished("s")) == 6
    assert (other.sweeps(), other.read_text("s", "sweep.yaml")) == (["s"], "ä: 1\n")


RACER = """
import json, sys
from distiller.results.store import Store
from tests.results.simulated import trial
url, attempt = sys.argv[1], int(sys.argv[2])
store = Store.open(url)
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([store.write_trial(trial(f"c{n:02d}", attempt)) for n in range(12)]))
"""


def test_of_many_writers_exactly_one_wins_while_others_compact(url):
    store = Store.create(url)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, url, str(attempt)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for attempt in (1, 2, 3)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    while any(racer.poll() is None for racer in racers):
        compact(store, settle=0)
    wins = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    assert [sum(column) for column in zip(*wins, strict=True)] == [1] * 12
    compact(store, settle=0)
    assert store.read("trials").column("attempt").to_pylist() == [
        1 + column.index(True) for column in zip(*wins, strict=True)
    ]


def test_puts_are_conditional_and_listings_fresh(url):
    ours, theirs = open_files(url), open_files(url)
    theirs = replace(theirs, filesystem=type(ours.filesystem)(skip_instance_cache=True))
    assert ours.exclusive
    assert ours.names("a") == theirs.names("a") == []
    assert ours.put_new("a/b", b"one") is True
    assert theirs.names("a") == ["b"]
    assert theirs.put_new("a/b", b"two") is False
    assert ours.put_new("a/b", b"one") is True  # the same bytes: its own answer got lost
    assert theirs.put_new("a/c", b"2") is True
    assert ours.names("a") == ["b", "c"]
    assert bytes(ours.open("a/c").read()) == b"2"
    with pytest.raises(FileNotFoundError):
        ours.open("a/none")
    ours.remove("a/b")
    assert theirs.names("a") == ["c"]
    assert isinstance(theirs.read_many(["a/b"])[0], FileNotFoundError)


def test_a_bucket_that_is_not_there_is_one_line(url):
    with pytest.raises(InputError, match="--store s3://no-such-bucket/x"):
        Store.create("s3://no-such-bucket/x")
