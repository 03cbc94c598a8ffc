"""`status --watch`: looks until the sweep is over, and reads for a small share of the time."""

import io
import json

import pytest
from rich.console import Console

from distiller.results.early_end import EarlyEnd, record_end
from distiller.results.frozen import OVER
from distiller.search.watching import LEAST_SECONDS, watch
from tests.results.conftest import demo  # noqa: F401


@pytest.fixture
def made(demo):  # noqa: F811
    made = demo(datasets={"trec": "{builtin: trec}"})
    made.describe("trec")
    made.trial("trec", made.config("trec"), 0.5)
    return made


def ending(made, after):
    """A sleep in whose `after`-th call a trial ends, and the sweep with it."""
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == after:
            made.trial("trec", made.config("trec"), 0.75)
            made.store.write_text("demo", OVER, json.dumps({"trials": 2}))

    return pauses, sleep


@pytest.mark.parametrize("terminal", [True, False])
def test_looks_until_the_sweep_is_over(made, terminal):
    pauses, sleep = ending(made, 2)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    watch(made.store, "demo", console, sleep=sleep)
    assert len(pauses) == 2
    assert min(pauses) >= LEAST_SECONDS
    said = console.file.getvalue()
    assert "waits for nothing: every trial has ended" in "\n".join(said.splitlines()[-2:])
    assert "0.750" in said


def test_programs_read_a_line_a_look(made, capsys):
    _, sleep = ending(made, 1)
    watch(made.store, "demo", Console(file=io.StringIO()), as_json=True, sleep=sleep)
    looks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [look["over"] for look in looks] == [False, True]
    assert looks[0]["datasets"][0]["trials"]["completed"] == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_a_search_that_ended_early_is_said_in_every_look(made, terminal, capsys):
    line = "trec: the search ended 9 trials early: 0.1 hours have passed"
    record_end(made.store, "demo", "trec", EarlyEnd(9, "0.1 hours have passed"))
    _, sleep = ending(made, 1)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    watch(made.store, "demo", console, sleep=sleep)
    assert console.file.getvalue().count(line) >= 2
    watch(made.store, "demo", console, as_json=True, sleep=sleep)
    (look,) = capsys.readouterr().out.splitlines()
    assert json.loads(look)["datasets"][0]["ended_early"] == {"fewer": 9, "why": "0.1 hours have passed"}
