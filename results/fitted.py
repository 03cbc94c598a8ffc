"""A table in whatever width a terminal has: lines are broken and rows become records, nothing is cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

LEAST, PART = 12, 20
"""Characters below which no text is broken, and up to which a part of one stays whole."""
BETWEEN = 3
"""Characters between two columns."""
_WORD = re.compile(r"(?<=\s)(?=\S)")
_PART = re.compile(r"(?<=[\s_/])(?=\S)|(?<=[^\W\d_][-.,:])(?=\w)")


@dataclass(frozen=True)
class Fitted:
    """A table for Rich.

    Where it is too wide, names of columns break after `_`, texts also after punctuation, and numbers only
    between words. Where that is not enough, each row is a record, with a line for each column.

    Attributes:
        columns: their names; `\\n` in one is a break.
        rows: [rows][columns] cells; a `str` is taken as it is, without markup.
        right: [columns] whether a column holds numbers, which are aligned to the right and stay whole.
        styles: [rows] Rich's, of whole rows; empty for none.
        lines: over so many a text is broken at most before rows become records.
        whole: nothing is broken, since there is no terminal.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    right: Sequence[bool]
    styles: Sequence[str] = ()
    lines: int = 3
    whole: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        cells = [[Text(cell) if isinstance(cell, str) else cell for cell in row] for row in self.rows]
        widths = self._widths(cells, options.max_width)
        if widths is None:
            yield from self._records(cells)
            return
        table = Table(show_edge=False, pad_edge=False)
        for name, width, right in zip(self.columns, widths, self.right, strict=True):
            said = _broken(Text(name), width, _PART)
            table.add_column(said, justify="right" if right else "left", overflow="fold", width=width)
        for row, style in zip(cells, self.styles or [""] * len(cells), strict=True):
            broken = (
                _broken(cell, width, _WORD if right else _PART)
                for cell, width, right in zip(row, widths, self.right, strict=True)
            )
            table.add_row(*broken, style=style)
        yield table

    def _widths(self, cells: Sequence[Sequence[Text]], most: int) -> list[int] | None:
        """[columns] as wide as they may be in `most` characters; None where that is too little."""
        least, widths = [], []
        for i, (name, right) in enumerate(zip(self.columns, self.right, strict=True)):
            here = [line for row in cells for line in row[i].plain.split("\n")]
            longest = max(map(cell_len, here), default=0)
            widths.append(max(longest, *map(cell_len, name.split("\n"))))
            if right:
                needed = max((cell_len(word) for line in here for word in line.split()), default=0)
            else:
                needed = min(longest, max(LEAST, -(-longest // self.lines), min(_parts(here), PART)))
            least.append(max(needed, _parts([name])))
        if self.whole:
            return widths
        room = most - BETWEEN * (len(widths) - 1)
        if sum(least) > room:
            return None
        while sum(widths) > room:
            # Texts give way before numbers do.
            widest = max(
                range(len(widths)), key=lambda i: (widths[i] > least[i], not self.right[i], widths[i])
            )
            widths[widest] -= 1
        return widths

    def _records(self, cells: Sequence[Sequence[Text]]) -> Iterator[Table | Text]:
        names = [name.replace("\n", " ") for name in self.columns]
        if not cells:
            yield Text(f"no rows of {', '.join(names)}")
        for number, row in enumerate(cells):
            if number:
                yield Text("")
            table = Table(show_edge=False, pad_edge=False, show_header=False, box=None, padding=(0, 2, 0, 0))
            table.add_column(overflow="fold")
            table.add_column(overflow="fold")
            for name, cell in zip(names, row, strict=True):
                table.add_row(Text(name, style="bold"), cell)
            yield table


def _parts(lines: Sequence[str]) -> int:
    """The width of the longest part that stays whole."""
    return max((cell_len(part.rstrip()) for line in lines for part in _PART.split(line)), default=0)


def _broken(text: Text, width: int, breaks: re.Pattern[str]) -> Text:
    """On lines of at most `width` where the text may be broken; Rich folds what is longer."""
    if all(cell_len(line) <= width for line in text.plain.split("\n")):
        return text
    ends: list[int] = []
    begun = last = 0
    places = sorted({match.start() for match in breaks.finditer(text.plain)} | {len(text.plain)})
    for place in places:
        if cell_len(text.plain[begun:place].rstrip()) > width and last > begun:
            ends.append(last)
            begun = last
        last = place
    lines = text.divide(ends)
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)
