"""Fragments: what a reader trusts, what it skips with a reason, and how types meet."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distiller.results.fragments import BadFragmentError, decode, encode, fragment_path
from distiller.results.schema import SCHEMA_VERSION, core_schema, trial_id
from distiller.results.store import Store

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def row(dataset="trec", config_id="abc123", seed=0, role="search", sweep="s", attempt=1, **more):
    identity = {"sweep": sweep, "dataset": dataset, "config_id": config_id, "seed": seed, "role": role}
    return {**identity, "trial_id": trial_id(dataset, config_id, seed, role), "attempt": attempt, **more}


def trial(**more):
    return row(**{"status": "completed", "ended_at": WHEN, **more})


@pytest.fixture
def local(tmp_path):
    return Store.create(str(tmp_path / 'it\'s "a" store'))


def plant(store: Store, path: str, data: bytes) -> Path:
    place = Path(store.url, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


def test_every_truncation_is_skipped_and_reported(local):
    assert local.write_trial(trial(config_id="good", score=0.25))
    path = fragment_path("trials", trial())
    whole = encode("trials", [trial()])
    decode("trials", path, whole)
    for length in range(len(whole)):
        with pytest.raises(BadFragmentError):
            decode("trials", path, whole[:length])
    for length in (0, 1, 4, 8, len(whole) // 2, len(whole) - 1):
        plant(local, path, whole[:length])
        got, bad = local.read_with_report("trials")
        assert [item.path for item in bad] == [path]
        assert "\n" not in bad[0].reason
        assert got.column("score").to_pylist() == [0.25]


def test_flipped_bytes_before_the_footer_are_found():
    path, whole = fragment_path("trials", trial()), encode("trials", [trial(score=0.5)])
    body = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for place in range(0, body, 7):
        broken = bytearray(whole)
        broken[place] ^= 0x10
        with pytest.raises(BadFragmentError):
            decode("trials", path, bytes(broken))


def test_foreign_files_are_skipped_and_reported(local, caplog):
    local.write_trial(trial())
    good = Path(local.url, fragment_path("trials", trial()))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"sweep": ["s"], "score": [9.0]}), sink)
    foreign = {
        "trials/s/other-people.parquet": sink.getvalue().to_pybytes(),
        "trials/s/copy of a row.parquet": good.read_bytes(),  # would count its trial twice
        "trials/t/" + good.name: good.read_bytes(),
        "trials/s/trec-e-0-search.parquet": encode("epochs", [row(config_id="e")]),
        "trials/s/noise.parquet": bytes(range(256)) * 9,
    }
    for path, data in foreign.items():
        plant(local, path, data)
    Path(local.url, "trials/s/folder.parquet").mkdir()
    got, bad = local.read_with_report("trials")
    assert got.num_rows == 1
    assert {item.path: item.reason.split(":")[0] for item in bad} == {
        "trials/s/other-people.parquet": "foreign",
        "trials/s/copy of a row.parquet": "its row belongs to trials/s/trec-abc123-0-search.parquet",
        "trials/t/" + good.name: "its row belongs to trials/s/trec-abc123-0-search.parquet",
        "trials/s/trec-e-0-search.parquet": "foreign",
        "trials/s/noise.parquet": "torn or not Parquet (Parquet magic bytes not found in footer. Either the "
        "file is corrupted or this is not a parquet file.)",
    }
    with caplog.at_level(logging.WARNING):
        local.read("trials")
    assert caplog.text.count("skipped") == 5


def test_older_schemas_read_and_newer_ones_are_named(local, monkeypatch):
    core = core_schema("trials")
    monkeypatch.setattr("distiller.results.fragments.core_schema", lambda _: pa.schema(
        [f for f in core if f.name not in ("latency_ms", "ended_at")], metadata=core.metadata))  # fmt: skip
    old = row(config_id="old", status="stopped", score=0.5)
    plant(local, fragment_path("trials", old), encode("trials", [old]))
    newer = core.with_metadata(
        {**core.metadata, b"distiller.schema_version": str(SCHEMA_VERSION + 1).encode()}
    )
    monkeypatch.setattr("distiller.results.fragments.core_schema", lambda _: newer)
    new = row(config_id="new", status="stopped")
    plant(local, fragment_path("trials", new), encode("trials", [new]))
    monkeypatch.undo()
    local.write_trial(trial(latency_ms=2.0))
    got, bad = local.read_with_report("trials")
    assert got.select(["config_id", "latency_ms"]).to_pylist() == [
        {"config_id": "abc123", "latency_ms": 2.0}, {"config_id": "old", "latency_ms": None}]  # fmt: skip
    assert [(i.path, "newer" in i.reason) for i in bad] == [("trials/s/trec-new-0-search.parquet", True)]


def test_types_by_name_promote_or_quarantine_the_later(local):
    def at(hour, config_id, kind, value):
        local.write_trial(
            trial(config_id=config_id, ended_at=WHEN.replace(hour=hour), x_p=value), {"x_p": kind}
        )

    at(1, "a", pa.string(), "later")  # first by name, last by time
    at(0, "b", pa.int64(), 3)
    at(0, "c", pa.float64(), 0.5)
    at(0, "d", pa.int64(), None)
    got, bad = local.read_with_report("trials")
    assert got.schema.field("x_p").type == pa.float64()
    assert got.column("x_p").to_pylist() == [3.0, 0.5, None]
    assert [tuple(item) for item in bad] == [
        ("trials/s/trec-a-0-search.parquet", "column x_p is string, elsewhere double")
    ]


def test_a_space_column_that_was_never_active_is_still_there(local):
    local.write_trial(trial(), pa.schema([("x_never", pa.bool_())]))
    assert local.read("trials").schema.field("x_never").type == pa.bool_()


BAD_ROWS = [
    (trial(scroe=1.0), None),
    (trial(status="running"), None),
    ({**trial(), "trial_id": "other"}, None),
    ({**trial(), "seed": -1}, None),
    ({**trial(), "config_id": "a-b"}, None),
    ({**trial(), "role": "winner"}, None),
    (trial(started_at=datetime(2026, 1, 1)), None),
    (trial(score="high"), None),
    (trial(), {"score": pa.float64()}),
    (trial(), {"x": pa.list_(pa.int64())}),
    (trial(), {"Bad name": pa.int64()}),
]


@pytest.mark.parametrize(("bad", "extra"), BAD_ROWS)
def test_rows_that_would_spoil_the_table_are_refused(local, bad, extra):
    with pytest.raises(ValueError, match=r"."):
        local.write_trial(bad, extra)
    assert local.read("trials").num_rows == 0
