"""A design drawn into a file and imported: the same design, the same rows."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from distiller.results.imported import import_table, imported_designs, parse_mapping, read_import, read_table
from distiller.results.imported.questions import design_of
from distiller.results.store import Store
from distiller.spaces.priors import Integers, OneOf, Uniform
from tests.results.imported.made import Column, Made, made, scored, write_csv

FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def levels(values):
    return {(type(v) is bool, v) for v in values}


@FEW
@given(made(), st.integers(0, 2**32 - 1))
def test_the_same_design_and_the_same_rows(tmp_path_factory, truth, seed):
    rows = scored(truth.draw(40, np.random.default_rng(seed)))
    # Columns that were never asked in so few rows cannot be imported.
    empty = {name for name in rows[0] if all(row[name] is None for row in rows)}
    if empty:
        return
    with tempfile.TemporaryDirectory() as folder:
        table = read_table(write_csv(Path(folder, "made.csv"), rows))
        mapping = truth.mapping(told=True)
        store = Store.create(f'{folder}/it\'s "a" store')
        found = import_table(store, table, mapping)
        assert found.design == design_of(mapping)
        assert imported_designs(store, "made") == {"made": design_of(mapping)}
        stored = store.read("trials", "made").to_pylist()
    names = {c.name: mapping.stored(s, c.name) for s, columns in truth.stages.items() for c in columns}

    def told(row, columns):
        known = [(name, row[column]) for name, column in columns.items() if row[column] is not None]
        return repr([(name, type(value), value) for name, value in sorted(known)])

    same = {name: name for name in names}
    mine = [(told(row, same), row["score"]) for row in rows]
    theirs = [(told(row, names), row["score"]) for row in stored]
    assert sorted(mine) == sorted(theirs)
    assert {(r["status"], r["fidelity"], r["role"]) for r in stored} == {("completed", 1.0, "search")}
    pairs = {(row["config_id"], told(row, names)) for row in stored}  # one id a config, one config an id
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})


@FEW
@given(made(conjunctions=False), st.integers(0, 2**32 - 1))
def test_conditions_and_priors_are_found_from_the_table(truth, seed):
    rows = scored(truth.draw(400, np.random.default_rng(seed)))
    few = [name for name in rows[0] if 0 < sum(row[name] is None for row in rows) > 370]
    if few:  # too seldom asked to be sure of anything
        return
    with tempfile.TemporaryDirectory() as folder:
        table = read_table(write_csv(Path(folder, "made.csv"), rows))
        found = read_import(table, truth.mapping(told=False))
    fresh = truth.draw(100, np.random.default_rng(seed + 1))
    for stage, columns in truth.stages.items():
        for column in columns:
            one, prior = found.mapping.stages[stage][column.name], found.mapping.prior(stage, column.name)
            for row in fresh:  # what was found asks for the column exactly where the truth does
                asked = all(
                    row[p] is not None and (type(row[p]) is bool, row[p]) in levels(vs)
                    for p, vs in one.when.items()
                )
                assert asked == (row[column.name] is not None), (column, one.when)
            if isinstance(column.prior, OneOf):
                assert levels(prior.values) == levels(column.prior.values)
            else:
                ends = (column.prior.low, column.prior.high)
                assert ends[0] <= prior.low < prior.high <= ends[1]
                assert type(prior) is type(column.prior) or (prior.log and isinstance(column.prior, Integers))


@FEW
@given(made(), st.integers(0, 2**32 - 1))
def test_a_design_asks_where_all_conditions_hold(truth, seed):
    """Trees of questions against conditions read one by one."""
    mapping = truth.mapping(told=True)
    drawn = design_of(mapping).draw(200, np.random.default_rng(seed))
    nothing = pd.Series([None] * 200)
    for stage, columns in truth.stages.items():
        for column in columns:
            asked = np.ones(len(drawn), dtype=bool)
            for parent, values in column.when.items():
                theirs = drawn.get(mapping.stored(stage, parent), nothing)
                known = zip(theirs.tolist(), theirs.notna(), strict=True)
                asked &= [is_known and (type(v) is bool, v) in levels(values) for v, is_known in known]
            # Conditions that exclude each other leave a column that no config has.
            mine = drawn.get(mapping.stored(stage, column.name), nothing)
            assert (mine.notna() == asked).all()
            assert all(column.prior.contains(value) for value in mine.dropna().tolist())


def test_a_column_under_two_others_is_drawn_as_often_and_as_evenly():
    columns = [
        Column("a", OneOf("x", "y", "z")),
        Column("b", OneOf(1, 2)),
        Column("c", OneOf("p", "q", "r"), {"a": ["x", "y"], "b": [2]}),
        Column("d", OneOf("s", "t"), {"c": ["p"]}),
    ]
    mapping = Made({"s": columns}).mapping(told=True)

    def plain(drawn):
        return "".join("-" if v is None or v != v else str(v) for v in drawn)

    mine = design_of(mapping).draw(5000, np.random.default_rng(0)).itertuples(index=False)
    theirs = (tuple(row.values()) for row in Made({"s": columns}).draw(5000, np.random.default_rng(1)))
    counts = pd.DataFrame({"mine": Counter(map(plain, mine)), "theirs": Counter(map(plain, theirs))})
    assert len(counts.dropna()) == len(counts) == 4 + 2 * 4  # without c; with it, d under one of three
    assert stats.chi2_contingency(counts).pvalue > 1e-4


def test_every_kind_of_file_is_the_same_table(tmp_path):
    truth = Made(
        {
            "s": [
                Column("a", OneOf("x", "none")),
                Column("b", Uniform(0, 1), {"a": ["x"]}),
                Column("on", OneOf(False, True)),
            ]
        }
    )
    rows = scored(truth.draw(50, np.random.default_rng(0)))
    write_csv(tmp_path / "t.csv", rows)
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"s": {"deep": row["a"]}, **row}) for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "t.tsv").write_text(text.replace(",", "\t"))
    (tmp_path / "semicolons.csv").write_text("\ufeff" + text.replace(",", ";"), encoding="utf-8")
    digests = set()
    for name in ("t.csv", "t.tsv", "semicolons.csv", "t.parquet", "t.jsonl"):
        more = {"ignore": ["s.deep"]} if name == "t.jsonl" else {}
        found = read_import(read_table(tmp_path / name), truth.mapping(told=False, **more))
        digests.add(found.rows.digest)
        assert found.rows.trials.num_rows == 50
    assert len(digests) == 1


def test_the_mapping_that_is_kept_reads_back():
    text = "score: y\nstages: {s: {a: {missing_is: false, as: b}, c: {type: text, when: {a: [true, 1, x]}}}}"
    mapping = parse_mapping(text, "m")
    assert parse_mapping(mapping.to_yaml(), "m") == mapping
