"""A dataset's meta-features: in its row, kept for the next launch, and never failed in silence."""

from __future__ import annotations

import pytest

from distiller.pipelines import meta_features
from distiller.results.meta_features import META_FEATURES
from distiller.search.materials import _materials
from distiller.search.prepared import Prepared, record_dataset


@pytest.fixture(autouse=True)
def _fresh():
    _materials.clear()
    yield
    _materials.clear()


def prepared(bench) -> Prepared:
    report = bench.preparer("animals").step()
    assert "prepared" in report, report
    return Prepared.from_json(report["prepared"])


def test_they_stand_in_the_row_and_are_computed_once(bench, monkeypatch):
    first = prepared(bench)
    record_dataset(bench.launch, first)
    (row,) = bench.store.read("datasets").to_pylist()
    assert {name for name, _, _ in META_FEATURES} <= set(row)
    assert row == {column: first.row.get(column) for column in row}
    assert row["small_student_score"] is not None
    (said,) = [note for note in first.notes if "meta-features in " in note]
    assert said.startswith("animals: meta-features in ")
    assert said.endswith(f"small student without a teacher {row['small_student_score']:.4f}")
    monkeypatch.setattr(meta_features, "computed", lambda *given: pytest.fail("computed again"))
    _materials.clear()  # as a new process has it
    assert prepared(bench).row == first.row


def test_a_failure_ends_the_preparation_with_a_line(bench, monkeypatch):
    def fails(*given):
        raise RuntimeError("meta-features: out of luck")

    monkeypatch.setattr("distiller.search.prepare.meta_features", fails)
    report = bench.preparer("animals").step()
    assert report["broke"] == "preparing animals with bert: RuntimeError: meta-features: out of luck"
    assert "prepared" not in report


def test_rows_from_before_have_nulls(store_of_before):
    (row,) = store_of_before.read("datasets").to_pylist()
    assert row["train_rows"] == 7
    assert [row[name] for name, _, _ in META_FEATURES] == [None] * len(META_FEATURES)


@pytest.fixture
def store_of_before(bench, monkeypatch):
    """A row that was written when the table had no such columns."""
    from distiller.results import schema

    schema.core_schema.cache_clear()
    new = {name for name, _, _ in META_FEATURES}
    table = tuple(column for column in schema._TABLES["datasets"] if column[0] not in new)
    with monkeypatch.context() as patch:
        patch.setitem(schema._TABLES, "datasets", table)
        bench.store.write_dataset({"sweep": "old", "dataset": "d", "train_rows": 7})
        assert not new & set(bench.store.read("datasets").schema.names)
    schema.core_schema.cache_clear()
    return bench.store
