"""Tables in a terminal: at whatever width, every letter is there, and numbers and words are whole."""

import io
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from distiller.results.fitted import Fitted
from distiller.results.output import write_table

BORDERS = set("┃━╇│┼─ \n")
BEST = {
    "dataset": "amazon-reviews-2000", "config_id": "a0a74581e686", "metric": "matthews", "score": 0.7488,
    "test_score": None, "teacher_score": 0.85, "of_teacher": 0.8809, "student": "bert-L4-H256",
    "parameters": 7_145_728, "latency_ms": 4.25,
}  # fmt: skip


def said(shown, width):
    """The lines that a terminal of that width shows."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(shown)
    return console.file.getvalue().splitlines()


def letters(texts):
    return Counter(letter for text in texts for letter in text if letter not in BORDERS)


def lost(shown, width, texts):
    """How often each letter of `texts` is missing."""
    return letters(texts) - letters(said(shown, width))


WORDS = st.text(st.sampled_from("ab_-./0 "), min_size=1, max_size=30).map(str.strip).filter(bool)
COLUMN = st.tuples(WORDS, st.booleans(), st.lists(WORDS, min_size=3, max_size=3))
"""Its name, whether it holds numbers, and its cells."""


@given(columns=st.lists(COLUMN, min_size=1, max_size=9), width=st.integers(24, 130))
def test_no_letter_is_lost_and_no_line_is_too_long(columns, width):
    names, right, cells = zip(*columns, strict=True)
    shown = Fitted(names, list(zip(*cells, strict=True)), right)
    assert not lost(shown, width, [*names, *(cell for column in cells for cell in column)])
    assert max(map(len, said(shown, width))) <= width


def test_rich_alone_loses_letters():
    """What the test above would say of a table that is squeezed."""
    table = Table(*BEST)
    table.add_row(*map(str, BEST.values()))
    assert lost(table, 80, BEST)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_a_query_in_a_terminal(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    write_table(pa.Table.from_pylist([BEST, BEST | {"dataset": "trec"}]), "table", out := Terminal())
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for whole in ("0.7488", "0.8500", "7145728", "4.2500", "a0a74581e686", "matthews", "bert-L4-H256"):
        assert sum(whole in line for line in lines) == 2, whole
    for part in ("teacher_", "parameters", "latency_", "config_id", "metric"):
        assert any(part in line for line in lines), part


def test_narrow_columns_break_between_parts():
    shown = Fitted(
        ["setting", "teacher_score"], [["intermediate.mapping.kind", "-0.1043 to +0.0611"]], [False, True]
    )
    lines = said(shown, 34)
    assert any(line.startswith("intermediate.") for line in lines)
    assert any("-0.1043 to" in line for line in lines)
    assert any(line.rstrip().endswith("+0.0611") for line in lines)


def test_too_many_columns_become_records():
    names = [f"column_{i}" for i in range(30)]
    lines = said(Fitted(names, [[f"{i}.5" for i in range(30)]] * 2, [True] * 30), 80)
    for i, name in enumerate(names):
        assert [line.split() for line in lines].count([name, f"{i}.5"]) == 2
    assert said(Fitted(names, [], [True] * 30), 80)[0].startswith("no rows of column_0, ")


def test_markup_in_cells_is_text():
    lines = said(Fitted(["[b]name"], [["[red]cell[/red]"]], [False]), 80)
    assert lines[0].strip() == "[b]name"
    assert lines[-1].strip() == "[red]cell[/red]"
