"""Files of the CoNLL shared tasks: a word a line, columns by spaces, blank lines between sentences.

The first column is the word, the last one its tag; lines that begin with -DOCSTART- are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable

from distiller.spaces.errors import InputError

SUFFIXES = (".conll", ".bio", ".iob", ".iob2", ".txt")


def read_conll(lines: Iterable[str], tagged: bool, at: str) -> tuple[list[list[str]], list[list[str]]]:
    """Words and tags of each sentence; without tags where the split has none.

    Raises:
        InputError: a line has no tag.
    """
    words: list[list[str]] = []
    tags: list[list[str]] = []
    inside = False
    for number, line in enumerate(lines, 1):
        columns = line.split()
        if not columns or columns[0] == "-DOCSTART-":
            inside = False
            continue
        if not inside:
            words.append([])
            tags.append([])
            inside = True
        if tagged and len(columns) == 1:
            raise InputError(
                f"{at} line {number}: {columns[0]!r} has no tag; write the word, a space and its tag"
            )
        words[-1].append(columns[0])
        tags[-1].append(columns[-1])
    return words, tags
