"""Cells as values of one type, or a line that says which of them is not like the others."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import pyarrow as pa

from distiller.spaces.errors import InputError
from distiller.spaces.priors import Value

NULLISH = frozenset({"nan", "NaN", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None", "none", "<NA>"})
"""What other programs write for an empty cell among numbers. Among texts each is a level like any other."""

ARROW = {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BOOLS = {"True": True, "true": True, "TRUE": True, "False": False, "false": False, "FALSE": False}
_NOT_FINITE = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)


class Typed(NamedTuple):
    """A column's values, None where a cell is empty, their type, and what was done to them."""

    values: list[Value | None]
    kind: type
    notes: list[str]


def shown(cell: Any) -> str:
    """A cell in a message."""
    text = repr(cell)
    return text if len(text) <= 60 else f"{text[:57]}..."


def row(number: int) -> str:
    """How messages name a row: counted from 1, the line of names aside."""
    return f"row {number + 1}"


def typed(cells: Sequence[Any], place: str, missing: Collection[str] = (), as_text: bool = False) -> Typed:
    """The values of a column that names levels or settings.

    Raises:
        InputError: types are mixed, a number is not finite, or a cell is no single value.
    """
    if set(map(type, cells)) <= {str, type(None)}:
        empty = {"", *missing}
        clean = [None if cell in empty else cell for cell in cells]
        return Typed(clean, str, []) if as_text else _parsed(clean, place)
    clean = [None if _is_empty(cell, missing) else cell for cell in cells]
    if as_text:
        return Typed([None if cell is None else str(cell) for cell in clean], str, [])
    kinds: dict[type, int] = {}
    for number, cell in enumerate(clean):
        if cell is None:
            continue
        if type(cell) not in ARROW:
            raise InputError(
                f"{place}: {shown(cell)} in {row(number)} is a {type(cell).__name__}; "
                "columns of a stage hold numbers, texts or true and false"
            )
        kinds.setdefault(type(cell), number)
    if kinds.keys() == {int, float}:
        clean = [None if cell is None else float(cell) for cell in clean]
    elif len(kinds) > 1:
        (_, one), (_, other) = list(kinds.items())[:2]
        raise InputError(_mixed(place, (one, clean[one]), (other, clean[other])))
    kind = float if kinds.keys() == {int, float} else next(iter(kinds))
    return Typed(_checked(clean, kind, place), kind, [])


def _parsed(texts: Sequence[str | None], place: str) -> Typed:
    """Texts as numbers or as true and false, where all of them are."""
    plain = {text: text.strip() for text in dict.fromkeys(texts) if text is not None}
    first = dict.fromkeys(plain.values())
    nullish = [text for text in first if text in NULLISH]
    rest = [text for text in first if text not in NULLISH]
    notes = []
    for kind, fits in ((bool, _BOOLS.__contains__), (int, _INTEGER.fullmatch), (float, _is_number)):
        others = [text for text in rest if not fits(text)]
        if rest and not others:
            if nullish:
                count = sum(text is not None and text.strip() in NULLISH for text in texts)
                said = " and ".join(map(repr, nullish))
                notes.append(f"{place}: {said} in {count} rows of a column of {_word(kind)} is an empty cell")
            made = {text: _BOOLS[text] if kind is bool else kind(text) for text in rest}
            of: dict[str | None, Any] = {text: made.get(stripped) for text, stripped in plain.items()}
            values = [of.get(text) for text in texts]
            return Typed(_checked(values, kind, place), kind, notes)
        if kind is not int and len(others) < len(rest):
            fitting = next(text for text in rest if text not in others)
            where = [
                next(n for n, t in enumerate(texts) if t and t.strip() == one) for one in (fitting, others[0])
            ]
            raise InputError(_mixed(place, (where[0], fitting), (where[1], others[0])))
    if nullish:
        said = ", ".join(map(repr, nullish))
        notes.append(f"{place}: {said} is taken for a level; write `missing: [{nullish[0]}]` if it is none")
    return Typed(list(texts), str, notes)


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text))


def _word(kind: type) -> str:
    return "true and false" if kind is bool else "numbers"


def _mixed(place: str, one: tuple[int, Any], other: tuple[int, Any]) -> str:
    said = " and ".join(f"{shown(cell)} in {row(number)}" for number, cell in sorted((one, other)))
    return (
        f"{place}: mixes types: {said}; mend the table, name under `missing:` what stands for an empty cell, "
        "or write {type: text} to take all for names of levels"
    )


def _checked(values: list[Any], kind: type, place: str) -> list[Value | None]:
    if kind not in (int, float):
        return values
    for number, value in enumerate(values):
        if value is None:
            continue
        if kind is float and not math.isfinite(value):
            raise InputError(
                f"{place}: {value} in {row(number)} is not finite; leave the cell empty or mend it"
            )
        if kind is int and not -(2**63) <= value < 2**63:
            raise InputError(
                f"{place}: {value} in {row(number)} is too large; write {{type: text}} for names"
            )
    return values


def _is_empty(cell: Any, missing: Collection[str]) -> bool:
    if isinstance(cell, str):
        return cell == "" or cell in missing
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def numbers(cells: Sequence[Any], place: str, missing: Collection[str] = ()) -> list[float | None]:
    """Cells as numbers, None where one is empty or not finite; InputError where one is something else."""
    found: list[float | None] = []
    for number, cell in enumerate(cells):
        if _is_empty(cell, missing) or (isinstance(cell, str) and cell.strip() in NULLISH):
            found.append(None)
            continue
        if isinstance(cell, str) and _is_number(cell.strip()):
            cell = float(cell)
        if isinstance(cell, bool) or not isinstance(cell, (int, float)):
            raise InputError(
                f"{place}: {shown(cell)} in {row(number)} is no number; mend it, or name under `missing:` "
                "what stands for an empty cell"
            )
        found.append(float(cell) if abs(cell) < 1e300 else None)
    return found


def texts(cells: Sequence[Any], missing: Collection[str] = ()) -> list[str | None]:
    """Cells as texts, None where one is empty."""
    return [None if _is_empty(cell, missing) else _text(cell) for cell in cells]


def _text(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def moments(cells: Sequence[Any], place: str, missing: Collection[str] = ()) -> list[datetime | None]:
    """Cells as moments in UTC, which a time without a zone is taken for; InputError where one is none."""
    found: list[datetime | None] = []
    for number, cell in enumerate(cells):
        if _is_empty(cell, missing):
            found.append(None)
            continue
        try:
            moment = cell if isinstance(cell, datetime) else _moment(cell)
        except (ValueError, OverflowError, OSError):
            raise InputError(
                f"{place}: {shown(cell)} in {row(number)} is no time; write 2026-01-31T12:00:00Z or ignore it"
            ) from None
        found.append(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC))
    return found


def _moment(cell: Any) -> datetime:
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day)
    return datetime.fromisoformat(str(cell))
