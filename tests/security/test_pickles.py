"""A pickle that runs code, put wherever something is read: the store, the cache, datasets, checkpoints."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distiller.pipelines.builtin import read_columns
from distiller.pipelines.data import load_dataset
from distiller.pipelines.room import Reader
from distiller.results import load
from distiller.results.fragments import encode
from distiller.results.sql import query
from distiller.results.store import Store
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.errors import InputError
from tests.results.test_fragments import trial


def hostile_fields(payload: bytes) -> pa.Schema:
    """A schema whose types and metadata carry pickles where pyarrow and pandas once looked for some."""
    extension = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": payload,
    }
    index = {"index_columns": [], "columns": [], "creator": {"library": "pyarrow"}}
    index["attributes"] = base64.b64encode(payload).decode()
    fields = [pa.field("text", pa.string()), pa.field("label", pa.string(), metadata=extension)]
    return pa.schema(fields, metadata={b"pandas": json.dumps(index).encode(), b"pickle": payload})


def test_parquet_types_and_metadata_in_a_dataset(payload: bytes, mark: Path, tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(40)]
    rows = pa.table({"text": texts, "label": ["a", "b"] * 20}, schema=hostile_fields(payload))
    pq.write_table(rows, tmp_path / "rows.parquet")
    kept = pq.read_metadata(tmp_path / "rows.parquet").metadata[b"ARROW:schema"]
    assert b"py_extension_type" in base64.b64decode(kept)
    found = read_columns(tmp_path / "rows.parquet", ["text", "label"], "here")
    assert found["text"] == texts
    config = DatasetConfig(train="rows.parquet", text="text", label="label")
    assert len(load_dataset("x", config, tmp_path).splits["train"]) > 0


def test_parquet_in_the_store(payload: bytes, mark: Path, tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "store"))
    store.write_trial(trial(config_id="good"))
    table = pq.read_table(pa.BufferReader(encode("trials", [trial()])))
    schema = table.schema.set(
        0,
        table.schema.field(0).with_metadata(
            {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": payload}
        ),
    )
    metadata = {**(table.schema.metadata or {}), b"pandas": payload, b"distiller.null_columns": payload}
    folder = tmp_path / "store" / "trials" / "s"
    hostile = table.cast(schema).replace_schema_metadata(metadata)
    pq.write_table(hostile, folder / f"{trial()['trial_id']}.parquet")
    (folder / "trec-pickled-0-search.parquet").write_bytes(payload)
    rows, bad = store.read_with_report("trials")
    assert rows.column("config_id").to_pylist() == ["good"]
    assert len(bad) == 2
    assert query(store, "SELECT config_id FROM trials").num_rows == 1
    assert len(load(str(tmp_path / "store"))) == 1


def test_texts_of_a_sweep_in_the_store(payload: bytes, mark: Path, tmp_path: Path) -> None:
    from distiller.results.frozen import frozen_sweep

    store = Store.create(str(tmp_path / "store"))
    (tmp_path / "store" / "sweeps" / "s").mkdir(parents=True)
    yaml = f"name: !!python/object/apply:os.mkdir ['{mark}']\n"
    for name, text in (("sweep.yaml", yaml), ("sweep.yaml", f"!!python/object/new:os.mkdir ['{mark}']")):
        store.write_text("s", name, text)
        with pytest.raises(InputError, match="could not determine a constructor"):
            frozen_sweep(store, "s")


@pytest.mark.parametrize("suffix", ["pkl", "pickle", "npy", "pt", "parquet", "csv"])
def test_a_pickle_for_a_dataset(payload: bytes, mark: Path, tmp_path: Path, suffix: str) -> None:
    name = f"rows.{suffix}"
    (tmp_path / name).write_bytes(payload)
    with pytest.raises(InputError, match=r"datasets\.x\.train"):
        load_dataset("x", DatasetConfig(train=name, text="text", label="label"), tmp_path)


@pytest.mark.parametrize("reader", ["pandas", "webdataset", "hdf5", "nowhere"])
def test_readers_of_the_hub_package_that_may_unpickle(
    payload: bytes, mark: Path, tmp_path: Path, reader: str
) -> None:
    (tmp_path / "rows.pkl").write_bytes(payload)
    written = {"load_dataset": reader, "data_files": {"train": "rows.pkl"}, "text": "text", "label": "label"}
    with pytest.raises(InputError, match=r"may unpickle them.*json, csv, parquet"):
        load_dataset("x", DatasetConfig(**written), tmp_path)


def test_arrays_in_the_cache(bomb: object, mark: Path, tmp_path: Path) -> None:
    from distiller.pipelines import cache
    from distiller.pipelines.content import DONE

    np.save(tmp_path / "logits.npy", np.array([bomb], dtype=object), allow_pickle=True)
    size = (tmp_path / "logits.npy").stat().st_size
    (tmp_path / DONE).write_text(json.dumps({"logits.npy": size}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "_held", lambda *given: (tmp_path, Reader.of(tmp_path)))
        patch.setattr(cache, "fitting", lambda demand, *rest: demand)
        with pytest.raises(ValueError, match="allow_pickle"):
            cache.cached_outputs(_Teacher(), _Tokens(), cache.Demand(), tmp_path, 1e9, "view")


class _Tokens:
    units = None


class _Teacher:
    """As much of a teacher as the cache's key needs."""

    class model:  # noqa: N801
        device = None

        class config:  # noqa: N801
            hidden_size = 8

    fingerprint = "f"
    order = np.arange(2)
