"""Cells of a table -> texts and what is to be predicted; every flaw named with its row and column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distiller.pipelines.entities import OUTSIDE, is_tag
from distiller.pipelines.squad import Answer
from distiller.spaces.datasets import DatasetConfig, TaskKind
from distiller.spaces.errors import InputError

Columns = dict[str, list[Any]]
FEW = 12
"""Known labels that an error message lists."""


def missing(value: object) -> bool:
    """None, NaN, blank or an empty list."""
    if isinstance(value, str | list):
        return not (value.strip() if isinstance(value, str) else value)
    return value is None or bool(value != value)


def texts(config: DatasetConfig, table: Columns, at: str) -> list[list[str]]:
    """The texts of a table, one list for each side of a row; words that have tags are joined by spaces."""
    if config.kind == "token_classification":
        (column,) = config.text_columns
        return [[" ".join(_words(v, cell)) for v, cell in _cells(table, column, at)]]
    return [[_text(v, cell) for v, cell in _cells(table, column, at)] for column in config.text_columns]


def targets(
    config: DatasetConfig, table: Columns, sides: list[list[str]], at: str, known: set[str] | None
) -> list[Any]:
    """What each row of a table has for a label, as a person wrote it.

    A class name, a score, a tuple of label names, of (answer, first character), or of tags.

    Args:
        sides: the table's `texts`.
        known: the labels of train, None while it is read itself.
    """
    kind, columns = config.kind, config.target_columns
    if len(columns) > 1:
        return _from_indicators(table, columns, at)
    (column,) = columns
    found: list[Any] = []
    for row, (value, cell) in enumerate(_cells(table, column, at)):
        target: Any
        if kind == "multi_label":
            target = _label_names(value, config.label_separator, cell)
        elif kind == "token_classification":
            target = _tags(value, sides[0][row], cell)
        elif kind == "qa":
            target = _answers(value, sides[1][row], cell)
        else:
            _present(value, "label" if kind == "classification" else "score", cell)
            target = _class_name(value, cell) if kind == "classification" else _score(value, cell)
        if known is not None:
            _check_known([target] if kind == "classification" else target, known, kind, cell)
        found.append(target)
    return found


def _check_known(names: Sequence[str], known: set[str], kind: TaskKind, cell: str) -> None:
    for name in names:
        if name not in known:
            what = "tag" if kind == "token_classification" else "label"
            few = ", ".join(sorted(known)[:FEW])
            raise InputError(f"{cell}: {what} {name!r} is not in train ({few}); mend it or add train rows")


def label_names(config: DatasetConfig, train: list[Any]) -> tuple[str, ...]:
    """All classes, labels or tags of train's targets, in order; none for scores and answers.

    Whole numbers by value, names by alphabet; 0/1 columns as they are listed; `O` before all other tags.
    """
    if config.kind in ("regression", "qa"):
        return ()
    if len(config.target_columns) > 1:
        return config.target_columns
    names = set(train) if config.kind == "classification" else {name for row in train for name in row}
    whole = all(re.fullmatch(r"-?\d{1,15}", name) for name in names)
    outside = config.kind == "token_classification"
    return tuple(sorted(names, key=lambda n: (outside and n != OUTSIDE, int(n) if whole else 0, n)))


def encoded(found: list[Any], labels: Sequence[str], kind: TaskKind) -> npt.NDArray[Any]:
    """Targets as numbers: [N] int64 classes, [N] float32 scores, [N, C] float32 0/1 labels.

    Answers stay what they are, [N] tuples; tags are [N] tuples of indices.
    """
    if kind == "regression":
        return np.array(found, np.float32)
    index = {label: i for i, label in enumerate(labels)}
    if kind == "classification":
        return np.array([index[label] for label in found], np.int64)
    if kind == "multi_label":
        table = np.zeros((len(found), len(labels)), np.float32)
        for row, names in enumerate(found):
            table[row, [index[name] for name in names]] = 1
        return table
    rows = found if kind == "qa" else [tuple(index[tag] for tag in tags) for tags in found]
    objects = np.empty(len(rows), object)
    objects[:] = rows
    return objects


def _cells(table: Columns, column: str, at: str) -> list[tuple[Any, str]]:
    return [(v, f"{at} row {row}, column {column!r}") for row, v in enumerate(table[column], 1)]


def _text(value: Any, cell: str) -> str:
    if missing(value):
        raise InputError(f"{cell}: the text is empty; fill it in or remove the row")
    if not isinstance(value, str):
        raise InputError(f"{cell}: {type(value).__name__} instead of text; name a text column")
    return value


def _words(value: Any, cell: str) -> list[str]:
    if isinstance(value, str):
        value = value.split()
    if missing(value):
        raise InputError(f"{cell}: the text is empty; fill it in or remove the row")
    if not isinstance(value, list):
        raise InputError(f"{cell}: {type(value).__name__} instead of a list of words; name a column of lists")
    for word in value:
        if not isinstance(word, str) or not word.strip() or " " in word:
            raise InputError(f"{cell}: {word!r} is no word; write words without spaces, none of them empty")
    return value


def _present(value: Any, what: str, cell: str) -> None:
    if missing(value):
        raise InputError(f"{cell}: the {what} is empty; fill it in, remove the row, or move it to unlabeled")


def _class_name(value: Any, cell: str) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise InputError(
            f"{cell}: label {value!r} is not a class; name its column as `score:` for regression"
        )
    return str(value).strip()


def _score(value: Any, cell: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        remedy = "mend it, or use `label:` for classes"
        raise InputError(f"{cell}: score {value!r} is not a number; {remedy}") from None
    if not abs(number) <= float(np.finfo(np.float32).max):
        raise InputError(f"{cell}: score {value!r} is not a finite float32; mend it or remove the row")
    return number


def _label_names(value: Any, separator: str | None, cell: str) -> tuple[str, ...]:
    if isinstance(value, str) and separator is not None:
        value = [part for part in value.split(separator) if part.strip()]
    if value is None or value != value:
        raise InputError(f"{cell}: the labels are empty; write [] for none, or move the row to unlabeled")
    if isinstance(value, str):
        raise InputError(
            f"{cell}: {value!r} is text, not a list of labels; say what parts them: label_separator"
        )
    if not isinstance(value, list):
        raise InputError(f"{cell}: {value!r} is no list of labels; use `label:` for one class a row")
    names = tuple(_class_name(name, cell) for name in value)
    if len(set(names)) < len(names) or "" in names:
        raise InputError(f"{cell}: {value!r} names a label twice or an empty one; name each once")
    return names


def _from_indicators(table: Columns, columns: Sequence[str], at: str) -> list[tuple[str, ...]]:
    on, off = (1, 1.0, True, "1", "1.0", "true", "True"), (0, 0.0, False, "0", "0.0", "false", "False")
    named: list[list[str]] = [[] for _ in table[columns[0]]]
    for column in columns:
        for row, (value, cell) in enumerate(_cells(table, column, at)):
            if not isinstance(value, str | int | float) or value not in (*on, *off):
                raise InputError(f"{cell}: {value!r} is neither 0 nor 1; mend it or remove the row")
            if value in on:
                named[row].append(column)
    return [tuple(names) for names in named]


def _tags(value: Any, text: str, cell: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list):
        raise InputError(f"{cell}: {value!r} is no list of tags; give a tag for each word")
    words = text.count(" ") + 1
    if len(value) != words:
        raise InputError(f"{cell}: {len(value)} tags for {words} words; give each word one tag")
    for tag in value:
        if not isinstance(tag, str) or not is_tag(tag):
            raise InputError(
                f"{cell}: tag {tag!r} is neither O nor B-…, I-… (nor E-…, S-…, L-…, U-…) with a type; "
                "write IOB2 tags"
            )
    return tuple(value)


def _answers(value: Any, context: str, cell: str) -> tuple[Answer, ...]:
    remedy = "write {text: [...], answer_start: [...]}"
    if isinstance(value, dict):
        found, starts = value.get("text"), value.get("answer_start")
        if not isinstance(found, list) or not isinstance(starts, list) or len(found) != len(starts):
            raise InputError(f"{cell}: answers need as many texts as starts; {remedy}")
        pairs = list(zip(found, starts, strict=True))
    elif isinstance(value, list) and all(isinstance(answer, dict) for answer in value):
        pairs = [(answer.get("text"), answer.get("answer_start")) for answer in value]
    else:
        raise InputError(f"{cell}: {str(value)[:60]!r} holds no answers; {remedy} (JSON or Parquet)")
    if not pairs:
        raise InputError(
            f"{cell}: no answer; remove the question, or move it to unlabeled (SQuAD 2.0 is not read)"
        )
    answers = []
    for text, start in pairs:
        if (
            not isinstance(text, str)
            or not text.strip()
            or isinstance(start, bool)
            or not isinstance(start, int)
        ):
            raise InputError(
                f"{cell}: answer {text!r} at {start!r} is no text with its first character; {remedy}"
            )
        if start < 0 or context[start : start + len(text)] != text:
            there = context[max(start, 0) : max(start, 0) + len(text)]
            raise InputError(
                f"{cell}: answer {text!r} is not at character {start} of its context ({there!r}); mend it"
            )
        answers.append((text.strip(), start + len(text) - len(text.lstrip())))
    return tuple(answers)
