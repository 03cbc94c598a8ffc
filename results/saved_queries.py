"""Queries with names: those that come with the package, and a user's own `.sql` files.

The first line of each is a comment that says what it answers. They run as any other: one read, of nothing
but the store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pyarrow as pa

from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import nearest

FOLDER = "queries"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class SavedQuery:
    """One named query.

    Attributes:
        answers: what it answers, in one line.
        origin: `distiller`, or the user's file.
    """

    name: str
    sql: str
    answers: str
    origin: str


def saved_queries(store: str, folder: Path | None = None) -> dict[str, SavedQuery]:
    """By name, sorted: the package's and the user's, who may replace one of the package's.

    Args:
        store: whose neighbour `queries` is the user's folder, where it is local and no `folder` is named.

    Raises:
        InputError: there is no such folder, or a file in it cannot be read or named.
    """
    found = {}
    for file in (resources.files("distiller.results") / FOLDER).iterdir():
        if file.name.endswith(".sql"):
            one = _query(file.name, file.read_text("utf-8"), "distiller")
            found[one.name] = one
    if folder is None and "://" not in store:
        beside = Path(store).expanduser().resolve().parent / FOLDER
        folder = beside if beside.is_dir() else None
    elif folder is not None and not folder.is_dir():
        raise InputError(f"--queries {folder}: no such folder; name a folder of .sql files")
    for path in sorted(folder.glob("*.sql")) if folder is not None else ():
        try:
            one = _query(path.name, path.read_text("utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read ({error}); mend it or take it away") from None
        bundled = found.get(one.name)
        if bundled is None or bundled.sql != one.sql:
            found[one.name] = one
    return dict(sorted(found.items()))


def sql_of(written: str, saved: dict[str, SavedQuery]) -> str:
    """The SQL that a person means: a saved query's by its name, else what is written.

    Raises:
        InputError: a single word that names no query: no statement is one word.
    """
    name = written.strip()
    if not _NAME.fullmatch(name):
        return written
    if name not in saved:
        raise InputError(f"SQL: {name!r} is no statement and no saved query; {nearest(name, saved)}")
    return saved[name].sql


def as_table(saved: dict[str, SavedQuery]) -> pa.Table:
    """Name, what it answers and where it comes from."""
    rows = saved.values()
    return pa.table(
        {
            "query": [one.name for one in rows],
            "answers": [one.answers for one in rows],
            "from": [one.origin for one in rows],
        }
    )


def _query(file: str, text: str, origin: str) -> SavedQuery:
    name = file.removesuffix(".sql")
    if not _NAME.fullmatch(name):
        raise InputError(f"{origin}: {name!r} is no usable name; use letters, digits, '_' and '-'")
    first = text.lstrip().split("\n", 1)[0]
    answers = first.removeprefix("--").strip() if first.startswith("--") else "(its first line says nothing)"
    return SavedQuery(name, text, answers, origin)
