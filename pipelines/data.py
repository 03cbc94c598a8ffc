"""A dataset as a sweep names it -> its task, its splits and a fingerprint; every flaw named where it lies."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distiller.pipelines.builtin import (
    HELD_OUT,
    SPLITS,
    fold,
    missing,
    read_builtin,
    read_files,
    read_hub,
)
from distiller.spaces.datasets import DatasetConfig, TaskKind
from distiller.spaces.errors import InputError


@dataclass(frozen=True)
class Task:
    """What is predicted: class names by index (none for regression), columns of output."""

    kind: TaskKind
    labels: tuple[str, ...]
    metric: str
    outputs: int
    pair: bool


@dataclass(frozen=True, eq=False)
class Split:
    """Texts [N], second texts [N] of pairs, labels [N]: int64 classes, float32 scores, None if unlabelled."""

    text_a: list[str]
    text_b: list[str] | None
    labels: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.text_a)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over texts and labels, the same in every process."""
        digest = hashlib.sha256(json.dumps([self.text_a, self.text_b]).encode())
        if self.labels is not None:
            digest.update(self.labels.astype(self.labels.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def take(self, rows: Sequence[int]) -> Split:
        """These rows, in this order."""
        second = None if self.text_b is None else [self.text_b[i] for i in rows]
        labels = None if self.labels is None else self.labels[list(rows)]
        return Split([self.text_a[i] for i in rows], second, labels)

    def text_keys(self) -> list[str]:
        """Per row, what makes two rows the same text."""
        first = map(fold, self.text_a)
        return list(first) if not self.text_b else list(map("{}\x1f{}".format, first, map(fold, self.text_b)))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A task; its splits train, validation, test, unlabeled (may be empty); notes for a person."""

    name: str
    task: Task
    splits: dict[str, Split]
    fingerprint: str
    notes: tuple[str, ...]


def load_dataset(name: str, config: DatasetConfig, base: Path) -> Dataset:
    """Read, check, split. Relative paths start at `base`; the result depends on config and data alone.

    InputError names dataset, split, file, row and column of the first flaw, and its remedy.
    """
    place, notes, kind = f"datasets.{name}", list[str](), config.kind
    groups: list[str] | None = None
    classes: tuple[str, ...] = ()
    if config.builtin is not None:
        sources, groups = read_builtin(config.builtin, place)
    elif config.load_dataset is not None:
        sources, classes = read_hub(config, base, place, notes)
    else:
        sources = read_files(config, base, place)
    texts: dict[str, list[list[str]]] = {}
    targets: dict[str, list[Any]] = {}
    known: set[Any] | None = None
    for split, tables in sources.items():  # train comes first
        texts[split] = [
            [t for at, table in tables for t in _texts(table[c], c, at)] for c in config.text_columns
        ]
        if not texts[split][0]:
            raise InputError(f"{place}.{split}: has no rows; add some or remove the split")
        if split != "unlabeled":
            column = config.target_column
            targets[split] = [
                t for at, table in tables for t in _targets(table[column], column, kind, at, known)
            ]
            known = set(targets["train"]) if kind == "classification" else None
    if kind == "classification":
        classes = classes or tuple(sorted(set(targets["train"]), key=_class_order(targets["train"])))
    task = Task(kind, classes, config.headline, len(classes) or 1, len(config.text_columns) == 2)
    index = {label: i for i, label in enumerate(task.labels)}
    splits = {
        split: Split(sides[0], sides[1] if task.pair else None, _encode(targets.get(split), index, kind))
        for split, sides in texts.items()
    }
    for split in targets:
        _check_varied(splits[split], task, f"{place}.{split}")
    if task.metric == "binary_f1" and task.outputs != 2:
        raise InputError(f"{place}.metric: binary_f1 needs 2 classes, not {task.outputs}; use macro_f1")
    splits = _arrange(splits, task, config, groups, place, notes)
    for split in ("train", "validation", "test"):
        _check_varied(splits[split], task, f"{place}.{split}")
    content = json.dumps([astuple(task), [splits[split].fingerprint for split in SPLITS]])
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    return Dataset(name, task, splits, fingerprint, tuple(notes))


def _texts(values: list[Any], column: str, at: str) -> list[str]:
    for row, value in enumerate(values, 1):
        cell = f"{at} row {row}, column {column!r}"
        if missing(value):
            raise InputError(f"{cell}: the text is empty; fill it in or remove the row")
        if not isinstance(value, str):
            raise InputError(f"{cell}: {type(value).__name__} instead of text; name a text column")
    return values


def _targets(values: list[Any], column: str, kind: TaskKind, at: str, known: set[Any] | None) -> list[Any]:
    read = _class_name if kind == "classification" else _score
    targets = []
    for row, value in enumerate(values, 1):
        cell = f"{at} row {row}, column {column!r}"
        if missing(value):
            remedy = "fill it in, remove the row, or move it to unlabeled"
            raise InputError(f"{cell}: the {'label' if read is _class_name else 'score'} is empty; {remedy}")
        targets.append(read(value, cell))
        if known is not None and targets[-1] not in known:
            few = ", ".join(sorted(known)[:12])
            raise InputError(f"{cell}: label {value!r} is not in train ({few}); mend it or add train rows")
    return targets


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


def _class_order(names: list[str]) -> Callable[[str], tuple[float, str]]:
    """Whole numbers by value, names by alphabet."""
    whole = all(re.fullmatch(r"-?\d{1,15}", name) for name in set(names))
    return lambda name: (int(name) if whole else 0, name)


def _encode(targets: list[Any] | None, index: dict[str, int], kind: TaskKind) -> npt.NDArray[Any] | None:
    if targets is None:
        return None
    if kind == "regression":
        return np.array(targets, np.float32)
    return np.array([index[label] for label in targets], np.int64)


def _check_varied(split: Split, task: Task, at: str) -> None:
    if len(split) == 0:
        raise InputError(f"{at}: no rows are left; give more rows, or hold out and subsample fewer")
    assert split.labels is not None
    if (split.labels == split.labels[0]).all():
        one = task.labels[split.labels[0]] if task.labels else split.labels[0]
        what = f"all rows have class {one!r}" if task.labels else f"all scores are {one}"
        raise InputError(f"{at}: {what} ({len(split)} rows); give rows that differ, or name another column")


def _arrange(
    splits: dict[str, Split],
    task: Task,
    config: DatasetConfig,
    groups: list[str] | None,
    place: str,
    notes: list[str],
) -> dict[str, Split]:
    """All four splits: hold out what is missing, remove leaks, draw the labelled rows."""
    size = len(splits["train"])
    groups = groups or splits["train"].text_keys()
    default = HELD_OUT if config.builtin else min(max(2, round(0.1 * size)), 5000)
    for split in ("test", "validation"):
        rows: int | None = getattr(config, f"{split}_rows")
        if split in splits:
            if rows is not None:
                raise InputError(f"{place}.{split}_rows: the source has its own {split}; remove the key")
            continue
        train = splits["train"]
        held = draw(groups, _strata(train, task), rows or default, False, f"{place}.{split}_rows")
        kept = sorted(set(range(len(train))) - set(held))
        splits[split], splits["train"], groups = train.take(held), train.take(kept), [groups[i] for i in kept]
        notes.append(f"{split}: {len(held)} of {size} rows held out of train")
    if "unlabeled" not in splits:
        splits["unlabeled"] = Split([], [] if task.pair else None, None)
    for split, others in {"test": SPLITS[:2] + SPLITS[3:], "validation": ("train", "unlabeled")}.items():
        seen = set(splits[split].text_keys())
        for other in others:
            kept = [i for i, key in enumerate(splits[other].text_keys()) if key not in seen]
            if leaked := len(splits[other]) - len(kept):
                splits[other] = splits[other].take(kept)
                notes.append(f"{other}: {leaked} rows removed whose text also stands in {split}")
    train = splits["train"]
    if config.train_rows is not None:
        wanted, at = config.train_rows, f"{place}.train_rows"
        copies: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
        unique = [f"{key}\x1f{next(copies[key])}" for key in train.text_keys()]  # rows, not groups, are drawn
        chosen = draw(unique, _strata(train, task), wanted, True, at, config.data_seed)
        rest = sorted(set(range(len(train))) - set(chosen))
        splits["train"] = train.take(chosen)
        if config.rest_as_unlabeled:
            more, old = train.take(rest), splits["unlabeled"]
            second = None if more.text_b is None else [*more.text_b, *(old.text_b or [])]
            splits["unlabeled"] = Split([*more.text_a, *old.text_a], second, None)
        verb = "become unlabeled text" if config.rest_as_unlabeled else "stay unused"
        notes.append(f"train: {len(chosen)} labelled rows, {len(rest)} {verb}")
    return {split: splits[split] for split in SPLITS}


def _strata(split: Split, task: Task) -> npt.NDArray[Any]:
    return split.labels if task.labels and split.labels is not None else np.zeros(len(split), np.int64)


def draw(
    groups: list[str],
    strata: npt.NDArray[Any],
    wanted: int,
    keep: bool,
    place: str,
    seed: int = 0,
) -> list[int]:
    """Sorted indices of `wanted` rows, groups whole, classes in proportion: those with the smallest sha256.

    A hash of (seed, group) stands in for a shuffle: neither row order nor numpy's version matters.
    A class is never used up by a hold-out (`keep` False), never left out of a kept draw (`keep` True).
    A whole group that no longer fits is passed over, so a draw of large groups may fall short of `wanted`.
    """
    counts = {int(c): int(n) for c, n in zip(*np.unique(strata, return_counts=True), strict=True)}
    high = {c: n if keep else n - 1 for c, n in counts.items()}
    low = {c: min(1, high[c]) for c in counts}
    if not keep and sum(low.values()) > wanted:
        low = dict.fromkeys(counts, 0)
    if not sum(low.values()) <= wanted <= sum(high.values()):
        range_ = f"{sum(low.values())} to {sum(high.values())}"
        raise InputError(
            f"{place}: {wanted} of {len(strata)} rows asked; ask {range_}, or give more train rows"
        )
    exact = {c: wanted * n / len(strata) for c, n in counts.items()}
    quota = {c: min(max(math.floor(exact[c]), low[c]), high[c]) for c in counts}
    while short := wanted - sum(quota.values()):
        step = 1 if short > 0 else -1
        room = [c for c in counts if (quota[c] < high[c] if step > 0 else quota[c] > low[c])]
        quota[max(room, key=lambda c: (step * (exact[c] - quota[c]), -c))] += step
    members: dict[tuple[int, str], list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[int(strata[i]), group].append(i)

    def rank(item: tuple[int, str]) -> bytes:
        return hashlib.sha256(json.dumps([place.rpartition(".")[2], seed, item[1]]).encode()).digest()

    chosen: list[int] = []
    for item in sorted(members, key=rank):
        if len(members[item]) <= quota[item[0]]:
            quota[item[0]] -= len(members[item])
            chosen += members[item]
    return sorted(chosen)
