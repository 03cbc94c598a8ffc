"""How an import is written: once, as a whole, and beside what is there already."""

import json
import math

import numpy as np
import pytest

from distiller.results.compaction import compact
from distiller.results.frames import to_frame
from distiller.results.imported import (
    import_into,
    import_table,
    imported_designs,
    importing,
    is_imported,
    parse_mapping,
    read_import,
    read_table,
)
from distiller.results.remote_files import RemoteFiles
from distiller.results.store import Store
from distiller.spaces.errors import InputError
from tests.results.imported.made import write_csv
from tests.results.imported.texts import LONG, MAPPING, TABLE, csv


def test_the_same_again_is_no_second_import_and_another_is_refused(place, store, monkeypatch):
    table, mapping = csv(place, TABLE), parse_mapping(MAPPING, "m")
    import_table(store, table, mapping)
    assert not import_table(store, table, mapping).written
    assert not import_table(store, table, parse_mapping(MAPPING.replace("acc", '"acc"'), "m")).written
    other = parse_mapping(MAPPING.replace("[a, b]", "{a: , b: {prior: [1, 2, 3]}}"), "m")
    with pytest.raises(InputError, match=r"another name|stages\.s\.b\.prior.*--replace"):
        import_table(store, table, other)
    more = csv(place, TABLE + "x,1,0.9,new,0,p\n")
    with pytest.raises(InputError, match=r"rows: 3 -> 4.*--replace"):
        import_table(store, more, mapping)
    assert store.read("trials", "t").num_rows == 3
    assert import_table(store, more, mapping, again=True).written
    assert store.read("trials", "t").num_rows == 4
    fewer = csv(place, TABLE.replace("qa", "trec"))
    import_table(store, fewer, mapping, again=True)
    assert store.read("trials", "t").num_rows == 3
    assert [row["dataset"] for row in store.read("datasets", "t").to_pylist()] == ["trec"]
    done = {one.table: one for one in compact(store, settle=0)}
    assert done["trials"].total == 3
    assert store.read("trials", "t").num_rows == 3


def test_killed_between_any_two_writes_the_same_import_begins_anew(place, monkeypatch):
    table = csv(place, LONG)
    mapping = parse_mapping(
        "score: acc\ntrial: id\nfidelity: epoch\nignore: [secs, state]\nstages: {s: a}", "m"
    )
    whole = read_import(table, mapping)

    class KilledError(Exception):
        pass

    class Counting:
        """Files that die before their n-th write."""

        def __init__(self, files, left):
            self.files, self.left = files, left

        def __getattr__(self, name):
            if name in ("put", "put_new", "remove") and self.left == 0:
                raise KilledError
            if name in ("put", "put_new"):
                self.left -= 1
            return getattr(self.files, name)

    writes = 0
    for writes in range(20):
        store = Store.create(str(place / f"store-{writes}"))
        dying = Store(Counting(store.files, writes))
        monkeypatch.setattr(Store, "patient", lambda self: self)
        try:
            import_table(dying, table, mapping)
        except KilledError:
            if is_imported(store, "t"):
                with pytest.raises(InputError, match="did not come to its end"):
                    imported_designs(store, "t")
            assert import_table(store, table, mapping).written
        else:
            break
        assert store.read("trials", "t").num_rows == whole.rows.trials.num_rows
        assert store.read("epochs", "t").num_rows == whole.rows.epochs.num_rows
        assert imported_designs(store, "t") == {"t": whole.design}
    assert 7 < writes < 19


def test_two_imports_at_once(place, store, monkeypatch):
    table, mapping = csv(place, TABLE), parse_mapping(MAPPING, "m")
    others = csv(place, TABLE + "x,1,0.9,new,0,p\n")
    before = importing.generation_of

    def meanwhile(*args):
        monkeypatch.setattr(importing, "generation_of", before)
        seen = before(*args)
        import_table(store, others, mapping)
        return seen

    monkeypatch.setattr(importing, "generation_of", meanwhile)
    with pytest.raises(InputError, match="at this time"):
        import_table(store, table, mapping)
    assert store.read("trials", "t").num_rows == 4


def test_names_of_launched_sweeps_and_types_of_other_columns_are_taken(place, store):
    store.write_text("t", "sweep.yaml", "name: t")
    with pytest.raises(InputError, match="launched"):
        import_table(store, csv(place, TABLE), parse_mapping(MAPPING, "m"))
    import_table(store, csv(place, TABLE), parse_mapping("name: one\n" + MAPPING, "m"))
    other = csv(place, TABLE.replace("x,", "1,").replace("y,", "2,"), "other.csv")
    with pytest.raises(InputError, match=r"stages\.s\.a.*s_a of type int64, which is string elsewhere"):
        import_table(store, other, parse_mapping(MAPPING, "m"))
    taken = MAPPING.replace("{s: [a, b]}", "{student: {a: {as: layers}, b: }}")
    with pytest.raises(InputError, match="student_layers of type string, which is int64"):
        import_table(store, csv(place, TABLE), parse_mapping("name: two\n" + taken, "m"))


STUDENT = MAPPING.replace("{s: [a, b]}", "{student: {a: {as: layers}, b: }}")


@pytest.mark.parametrize(
    ("place_of", "mapping", "said"),
    [
        ("new", MAPPING.replace("ignore: note\n", ""), "column 'note'"),
        ("new", STUDENT, "student_layers of type string"),
        ("memory://imports", MAPPING, "this filesystem cannot"),
    ],
)
def test_a_refused_import_leaves_no_store(place, monkeypatch, place_of, mapping, said):
    monkeypatch.setattr(RemoteFiles, "exclusive", False)
    url = place_of if "://" in place_of else str(place / place_of)
    table = csv(place, TABLE)
    with pytest.raises(InputError, match=said):
        import_into(url, table, parse_mapping(mapping, "m"))
    assert not Store.is_at(url)
    assert [path.name for path in place.iterdir()] == ["t.csv"]


def test_an_import_makes_its_store_or_joins_it(place):
    url = str(place / "new")
    assert import_into(url, csv(place, TABLE), parse_mapping(MAPPING, "m")).written
    assert not import_into(url, csv(place, TABLE), parse_mapping(MAPPING, "m")).written
    other = csv(place, TABLE.replace("x,", "1,").replace("y,", "2,"), "other.csv")
    with pytest.raises(InputError, match="s_a of type int64, which is string elsewhere"):
        import_into(url, other, parse_mapping(MAPPING, "m"))
    assert Store.open(url).sweeps() == ["t"]


def test_ten_thousand_wide_rows(place, store):
    """Written at once: three files for trials and epochs, not one a trial."""
    rng = np.random.default_rng(0)
    rows = [
        {**{f"c{j}": int(v) for j, v in enumerate(rng.integers(0, 4, 30))}, "acc": float(rng.uniform())}
        for _ in range(10_000)
    ]
    write_csv(place / "wide.csv", rows)
    stages = {f"s{k}": [f"c{j}" for j in range(k, 30, 6)] for k in range(6)}
    mapping = parse_mapping(f"score: acc\nstages: {json.dumps(stages)}", "m")
    found = import_table(store, read_table(place / "wide.csv"), mapping)
    read = to_frame(store.read("trials", "wide"))
    assert len(read) == 10_000
    assert math.isclose(read["score"].sum(), sum(row["acc"] for row in rows))
    assert read["s1_c7"].sum() == sum(row["c7"] for row in rows)
    assert not store.files.names("trials/wide")
    assert len(found.design.columns()) == 30
