"""When a column is asked: as the mapping says, or as the table's empty cells show."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from distiller.results.imported.cells import row, shown
from distiller.spaces.errors import InputError
from distiller.spaces.priors import Value

When = Mapping[str, tuple[Value, ...]]
"""Columns, and the values of each under which another one is asked; all of them must hold."""

MOST_PAIRS = 30
"""Columns of a stage among which two at once are looked for."""

Mask = npt.NDArray[np.bool_]


class Levels:
    """A column as numbers of its levels.

    Attributes:
        levels: what occurs, in order of first appearance.
        codes: [rows] a level's number, -1 where the cell is empty.
    """

    def __init__(self, values: Sequence[Value | None]):
        found: dict[tuple[bool, Value], int] = {}
        codes = [-1 if v is None else found.setdefault((type(v) is bool, v), len(found)) for v in values]
        self.levels: list[Value] = [value for _, value in found]
        self.codes = np.array(codes, dtype=np.int64)

    def of(self, rows: Mask) -> Levels:
        """Of some rows alone, with the levels that occur there."""
        return Levels([None if code < 0 else self.levels[code] for code in self.codes[rows]])

    @property
    def present(self) -> Mask:
        return np.asarray(self.codes >= 0)


def found_when(column: str, levels: Mapping[str, Levels], parents: Sequence[str]) -> When | None:
    """The condition under which `column` is asked: one other column's values, or else two columns'.

    Of several that fit, that of the column with the fewest empty cells; then the first.

    Args:
        levels: by column of the stage.
        parents: columns with levels few enough to be conditions.

    Returns:
        None where no other column says when the cell is empty.
    """
    present = levels[column].present
    able = [p for p in parents if p != column and (levels[p].present | ~present).all()]
    able.sort(key=lambda p: -int(levels[p].present.sum()))
    for parent in able:
        asked = _answers(levels[parent], present)
        if asked is not None and len(asked) < len(levels[parent].levels):
            return {parent: asked}
    for one, other in itertools.combinations(able[:MOST_PAIRS], 2):
        pair = _both(levels[one], levels[other], present)
        if pair is not None:
            return {one: pair[0], other: pair[1]}
    return None


def _answers(parent: Levels, present: Mask) -> tuple[Value, ...] | None:
    """The levels under which cells are full, where under every level all or none are."""
    of = parent.codes[parent.present]
    total = np.bincount(of, minlength=len(parent.levels))
    full = np.bincount(of, weights=present[parent.present], minlength=len(parent.levels))
    if not ((full == 0) | (full == total)).all():
        return None
    return tuple(level for level, count in zip(parent.levels, full, strict=True) if count)


def _both(one: Levels, other: Levels, present: Mask) -> tuple[tuple[Value, ...], tuple[Value, ...]] | None:
    """Levels of both, where a cell is full exactly under any of the one with any of the other."""
    first = np.unique(one.codes[present])
    second = np.unique(other.codes[present])
    if not (np.isin(one.codes, first) & np.isin(other.codes, second) == present).all():
        return None
    return tuple(one.levels[i] for i in first), tuple(other.levels[i] for i in second)


def holds(when: When, levels: Mapping[str, Levels], rows: int) -> Mask:
    """[rows] whether all of the conditions are met."""
    met = np.ones(rows, dtype=bool)
    for parent, values in when.items():
        column = levels[parent]
        wanted = [i for i, level in enumerate(column.levels) if any(same(level, v) for v in values)]
        met &= np.isin(column.codes, wanted)
    return met


def same(one: Value, other: Value) -> bool:
    """Equality that tells true from 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def check_asked(
    place: str, column: str, when: When, levels: Mapping[str, Levels], rows: Sequence[int]
) -> None:
    """InputError where a cell is empty under its condition, or full without; `rows` are the table's."""
    present, asked = levels[column].present, holds(when, levels, len(rows))
    said = " and ".join(f"{parent} is {' or '.join(map(repr, values))}" for parent, values in when.items())
    for wrong, what in ((asked & ~present, "is empty"), (present & ~asked, "is not empty")):
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            value = levels[column].codes[first]
            cell = "" if value < 0 else f" ({shown(levels[column].levels[value])})"
            where = f"although {said}" if what == "is empty" else f"although it is asked only where {said}"
            raise InputError(
                f"{place}: {what}{cell} in {row(rows[first])} and {int(wrong.sum()) - 1} others, {where}; "
                "mend the table or `when:`"
            )
