"""A dataset as a sweep names it -> its task, its splits and a fingerprint; every flaw named where it lies."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distiller.pipelines import cells
from distiller.pipelines.builtin import HELD_OUT, SPLITS, fold, read_builtin, read_files, read_hub
from distiller.pipelines.entities import OUTSIDE
from distiller.pipelines.task import Task
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.errors import InputError

__all__ = ["Dataset", "Split", "Task", "draw", "load_dataset", "nested_draw"]


@dataclass(frozen=True, eq=False)
class Split:
    """Texts [N], second texts [N] of pairs, labels [N], None if unlabelled.

    Labels are int64 classes, float32 scores, [N, C] float32 of 0 and 1, or tuples: of answers (text, first
    character) for a question (the first text) on a context (the second), of tag indices for the words of a
    text, which single spaces part.
    """

    text_a: list[str]
    text_b: list[str] | None
    labels: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.text_a)

    def groups(self, task: Task) -> list[str]:
        """Per row, what may not lie on two sides of a split: its text, for questions their context."""
        return self.text_keys() if task.kind != "qa" else [fold(context) for context in self.text_b or []]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over texts and labels, the same in every process."""
        digest = hashlib.sha256(json.dumps([self.text_a, self.text_b]).encode())
        if self.labels is not None and self.labels.dtype == object:
            digest.update(json.dumps(self.labels.tolist()).encode())
        elif self.labels is not None:
            digest.update(self.labels.astype(self.labels.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def take(self, rows: Sequence[int]) -> Split:
        """These rows, in this order."""
        second = None if self.text_b is None else [self.text_b[i] for i in rows]
        labels = None if self.labels is None else self.labels[list(rows)]
        return Split([self.text_a[i] for i in rows], second, labels)

    def followed_by(self, other: Split) -> Split:
        """The texts of both, without labels."""
        second = None if self.text_b is None else [*self.text_b, *(other.text_b or [])]
        return Split([*self.text_a, *other.text_a], second, None)

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
    known: set[str] | None = None
    for split, tables in sources.items():  # train comes first
        texts[split] = [[] for _ in config.text_columns]
        targets[split] = []
        for at, table in tables:
            sides = cells.texts(config, table, at)
            for side, more in zip(texts[split], sides, strict=True):
                side += more
            if split != "unlabeled":
                targets[split] += cells.targets(config, table, sides, at, known)
        if not texts[split][0]:
            raise InputError(f"{place}.{split}: has no rows; add some or remove the split")
        if split == "train":
            named = cells.label_names(config, targets["train"])
            classes = classes or named
            known = set(named) or None
    outputs = 2 if kind == "qa" else len(classes) or 1
    task = Task(kind, classes, config.headline, outputs, len(config.text_columns) == 2)
    splits = {}
    for split, sides in texts.items():
        labels = None if split == "unlabeled" else cells.encoded(targets[split], classes, kind)
        splits[split] = Split(sides[0], sides[1] if task.pair else None, labels)
        if labels is not None:
            _check_varied(splits[split], task, f"{place}.{split}")
    if task.metric == "binary_f1" and task.outputs != 2:
        raise InputError(f"{place}.metric: binary_f1 needs 2 classes, not {task.outputs}; use macro_f1")
    splits = _arrange(splits, task, config, groups, place, notes)
    for split in ("train", "validation", "test"):
        _check_varied(splits[split], task, f"{place}.{split}")
    content = json.dumps([astuple(task), [splits[split].fingerprint for split in SPLITS]])
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    return Dataset(name, task, splits, fingerprint, tuple(notes))


def _check_varied(split: Split, task: Task, at: str) -> None:
    if len(split) == 0:
        raise InputError(f"{at}: no rows are left; give more rows, or hold out and subsample fewer")
    labels = split.labels
    assert labels is not None
    what = ""
    if task.kind == "token_classification":
        if not any(task.labels[tag] != OUTSIDE for tags in labels for tag in tags):
            what = "all words have tag O"
    elif task.kind == "multi_label":
        if (labels == labels[0]).all():
            what = "all rows have the same labels"
    elif task.kind != "qa" and (labels == labels[0]).all():
        one = task.labels[labels[0]] if task.labels else labels[0]
        what = f"all rows have class {one!r}" if task.labels else f"all scores are {one}"
    if what:
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
    groups = groups or splits["train"].groups(task)
    default = HELD_OUT if config.builtin else min(max(2, round(0.1 * size)), 5000)
    for split in ("test", "validation"):
        rows: int | None = getattr(config, f"{split}_rows")
        if split in splits:
            if rows is not None:
                raise InputError(f"{place}.{split}_rows: the source has its own {split}; remove the key")
            continue
        train = splits["train"]
        held = draw(groups, _strata(train, task), rows or default, f"{place}.{split}_rows")
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
        chosen = nested_draw(unique, _strata(train, task), wanted, at, config.data_seed)
        rest = sorted(set(range(len(train))) - set(chosen))
        splits["train"] = train.take(chosen)
        if config.rest_as_unlabeled:
            splits["unlabeled"] = train.take(rest).followed_by(splits["unlabeled"])
        verb = "become unlabeled text" if config.rest_as_unlabeled else "stay unused"
        notes.append(f"train: {len(chosen)} labelled rows, {len(rest)} {verb}")
    return {split: splits[split] for split in SPLITS}


def _strata(split: Split, task: Task) -> npt.NDArray[np.int64]:
    """[N] the class of each row; the rarest of its labels or tags (-1 for none); 0 for numbers and spans."""
    labels = split.labels
    assert labels is not None
    if not task.labels:
        return np.zeros(len(split), np.int64)
    if task.kind == "classification":
        return labels
    if task.kind == "multi_label":
        rows = [np.flatnonzero(row).tolist() for row in labels]
    else:
        rows = [sorted({tag for tag in tags if task.labels[tag] != OUTSIDE}) for tags in labels]
    counts = np.bincount([name for row in rows for name in row], minlength=len(task.labels))
    return np.array([min(row, key=lambda name: (counts[name], name), default=-1) for row in rows], np.int64)


def _rank(place: str, seed: int, group: str) -> bytes:
    """What rows are drawn by: a hash stands in for a shuffle, so that neither order nor numpy matters."""
    return hashlib.sha256(json.dumps([place.rpartition(".")[2], seed, group]).encode()).digest()


def nested_draw(
    rows: list[str], strata: npt.NDArray[np.int64], wanted: int, place: str, seed: int
) -> list[int]:
    """Sorted indices of `wanted` rows, strata in proportion; a smaller draw is part of every larger one.

    Rows stand in the order in which Webster's method (Sainte-Laguë) gives seats to strata, the first seat of
    each stratum before all second ones; a draw is the beginning of that order. Inside a stratum the rows
    with the smallest sha256 of (seed, row) come first.
    """
    least = len(np.unique(strata))
    if not least <= wanted <= len(rows):
        raise InputError(
            f"{place}: {wanted} of {len(rows)} rows asked; "
            f"ask {least} to {len(rows)}, or give more train rows"
        )
    sizes = dict(zip(*(part.tolist() for part in np.unique(strata, return_counts=True)), strict=True))
    drawn: defaultdict[int, Iterator[int]] = defaultdict(itertools.count)
    turns = []
    for i in sorted(range(len(rows)), key=lambda i: _rank(place, seed, rows[i])):
        stratum = int(strata[i])
        seat = next(drawn[stratum])
        turns.append(((2 * seat + 1) / sizes[stratum] if seat else 0.0, stratum, i))
    return sorted(i for *_, i in sorted(turns)[:wanted])


def draw(groups: list[str], strata: npt.NDArray[np.int64], wanted: int, place: str) -> list[int]:
    """Sorted indices of `wanted` rows to hold out, groups whole, strata in proportion.

    Those with the smallest sha256 of their group are taken. A stratum is never used up. A whole group that no
    longer fits is passed over, so a draw of large groups may fall short of `wanted`.
    """
    counts = {int(c): int(n) for c, n in zip(*np.unique(strata, return_counts=True), strict=True)}
    high = {c: n - 1 for c, n in counts.items()}
    low = {c: min(1, high[c]) for c in counts}
    if sum(low.values()) > wanted:
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
    chosen: list[int] = []
    for item in sorted(members, key=lambda item: _rank(place, 0, item[1])):
        if len(members[item]) <= quota[item[0]]:
            quota[item[0]] -= len(members[item])
            chosen += members[item]
    return sorted(chosen)
