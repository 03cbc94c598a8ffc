"""Failures by cause, and the command that shows an example's traceback."""

import shlex

import pytest

from distiller.results.failures import cause_of, failures
from distiller.results.sql import query


def test_failures_are_grouped_with_numbers_aside():
    row = {"status": "failed", "dataset": "a", "trial_id": "t", "traceback": "tb"}
    errors = ["nan at step 3", "nan at step 17", "no memory at 0xdeadbeef", None, "nan at step 5"]
    groups = failures([{**row, "error": error} for error in errors] + [{**row, "status": "completed"}])
    assert [(g.error, g.count) for g in groups] == [
        ("nan at step 3", 3), ("no memory at 0xdeadbeef", 1), ("no error was recorded", 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("tried to allocate 1.50 GiB", "tried to allocate 20 GiB", True),
        ("loss 1e-05 is small", "loss 3.2E+4 is small", True),
        ("node 4f2a9b1c77 died", "node 99f0a1b2c3 died", True),
        ("at 0xDEADBEEF", "at 0x1", True),
        ("a  b\n c", "a b c", True),
        ("no class bird", "no class fish", False),
        ("KeyError: 'faceted'", "KeyError: 'defaced'", False),  # letters of hexadecimal words are words
    ],
)
def test_what_differs_between_two_failures_of_one_cause(one, other, same):
    assert (cause_of(one) == cause_of(other)) is same


def test_the_example_shows_where_its_traceback_is(demo):
    made = demo(datasets={"trec": "{builtin: trec}"})
    made.trial("trec", made.config("trec"), None, status="failed", error="E 1", traceback="Traceback\n  here")
    made.trial("trec", made.config("trec"), None, status="failed", error="E 2")
    (found,) = failures(made.store.read("trials", "demo").to_pylist())
    assert (found.count, found.datasets, found.cause) == (2, {"trec": 2}, "E #")
    program, command, sql, *_ = shlex.split(found.where)
    assert (program, command) == ("distiller", "query")
    example = next(row for row in made.rows if row["trial_id"] == found.trial)
    (got,) = query(made.store, sql).to_pylist()
    assert got.get("traceback") == example.get("traceback")
