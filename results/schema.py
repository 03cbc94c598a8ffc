"""The store's four tables: core columns with types and comments, names, and trial identity.

Space columns (`student_layers`, `prediction_temperature`, ...) are not listed here: they are additive,
given with each write, and typed by name (`check_extra`).
"""

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from distiller.results.meta_features import META_FEATURES
from distiller.spaces.errors import InputError

SCHEMA_VERSION = 2
TABLE_KEY, VERSION_KEY = b"distiller.table", b"distiller.schema_version"
CHECKSUM_KEY, NULLS_KEY = b"distiller.crc32", b"distiller.null_columns"
WRITE_KEY = b"distiller.write_id"

ROLES = ("search", "baseline", "finalist", "ablation")
ORIGINS = ("prior", "model", "warm")
STATUSES = ("completed", "stopped", "failed")

STR, INT, FLOAT, BOOL, UTC = pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.timestamp("us", tz="UTC")
EXTRA_TYPES: tuple[pa.DataType, ...] = (FLOAT, INT, STR, BOOL)

Columns = tuple[tuple[str, pa.DataType, str], ...]

_TRIAL: Columns = (
    ("sweep", STR, "name of the launch"),
    ("trial_id", STR, "<dataset>-<config_id>-<seed>-<role>: the trial's identity inside its sweep"),
    ("attempt", INT, "which try at the trial, from 1"),
    ("dataset", STR, "name of the dataset in the sweep"),
    ("config_id", STR, "hash of the canonical config"),
    ("seed", INT, "seed of the student's start, batches and dropout"),
    ("role", STR, "search, baseline, finalist or ablation"),
)
_ORIGIN = ("origin", STR, "who proposed the config: prior, model or warm (start)")
_CONFIG = ("config", STR, "canonical config, JSON text")
_HOST = ("host", STR, "machine of the worker")

_TABLES: dict[str, Columns] = {
    "attempts": (
        *_TRIAL,
        _ORIGIN,
        _CONFIG,
        ("started_at", UTC, "start of the attempt, UTC"),
        _HOST,
        ("pid", INT, "process of the worker"),
        ("node", STR, "Ray node of the worker"),
        ("cohort", STR, "hash of the trials that this process trains together, this one among them"),
        ("member", INT, "the trial's number among them, from 0"),
        ("resumed_from", INT, "step of the student checkpoint that the attempt found; null without one"),
    ),
    "trials": (
        *_TRIAL,
        _ORIGIN,
        ("preset", STR, "published recipe that the config is; null where it is none"),
        ("status", STR, "completed, stopped (by the scheduler) or failed"),
        ("task_kind", STR, "kind of task of the dataset"),
        ("teacher", STR, "teacher checkpoint"),
        ("student", STR, "student architecture, short name"),
        ("metric", STR, "name of the metric behind score"),
        ("score", FLOAT, "validation metric at the end of what was run, higher is better"),
        ("best_score", FLOAT, "validation metric at the best step"),
        ("best_step", INT, "optimizer step of best_score"),
        ("test_score", FLOAT, "metric on test; only winners and their baselines have it"),
        ("teacher_score", FLOAT, "the teacher's validation metric"),
        ("teacher_test_score", FLOAT, "the teacher's metric on test"),
        ("no_teacher_score", FLOAT, "validation metric of the same student trained without a teacher"),
        ("metrics", STR, "all metrics by split, JSON text"),
        ("adaptations", STR, "JSON list of texts: what the task gave a total meaning"),
        ("steps", INT, "optimizer steps run"),
        ("budget_steps", INT, "optimizer steps of a full run"),
        ("fidelity", FLOAT, "share of the budget run, 0 to 1; unequal ones are not comparable"),
        ("parameters", INT, "parameters of the student"),
        ("flops", FLOAT, "floating-point operations of the student's forward pass per example"),
        ("peak_memory_bytes", INT, "sampled rise of memory while training"),
        ("latency_ms", FLOAT, "milliseconds of one student forward pass on an idle device"),
        ("train_seconds", FLOAT, "seconds spent in training steps"),
        ("wall_seconds", FLOAT, "seconds of the attempt, and of earlier ones up to where it went on from"),
        ("resumed_from", INT, "step that the attempt went on from; null where it started anew"),
        ("examples", INT, "training examples seen, repeats included"),
        ("device", STR, "device that trained the student"),
        _HOST,
        ("error", STR, "one line: type and message, of a failed trial"),
        ("traceback", STR, "traceback of a failed trial"),
        _CONFIG,
        ("versions", STR, "versions of the packages that matter, JSON text"),
        ("git_commit", STR, "commit of the working tree, where there is one"),
        ("distiller_version", STR, "version of Distiller"),
        ("started_at", UTC, "start of the attempt, UTC"),
        ("ended_at", UTC, "end of the attempt, UTC"),
    ),
    "epochs": (
        *_TRIAL,
        ("step", INT, "optimizer step of the evaluation"),
        ("fidelity", FLOAT, "share of the budget at that step"),
        ("score", FLOAT, "validation metric at that step, higher is better"),
        ("loss", FLOAT, "mean total training loss since the row before"),
        ("losses", STR, "parts of the loss, JSON text"),
        ("learning_rate", FLOAT, "learning rate at that step"),
        ("train_seconds", FLOAT, "seconds spent in training steps so far"),
    ),
    "datasets": (
        ("sweep", STR, "name of the launch"),
        ("dataset", STR, "name of the dataset in the sweep"),
        ("task_kind", STR, "kind of task"),
        ("metric", STR, "name of the metric behind every score"),
        ("labels", INT, "number of classes; 1 for a regression"),
        ("train_rows", INT, "labelled rows of train"),
        ("unlabeled_rows", INT, "rows of unlabelled transfer text"),
        ("validation_rows", INT, "rows of validation"),
        ("test_rows", INT, "rows of test"),
        ("teacher", STR, "teacher checkpoint"),
        ("teacher_score", FLOAT, "the teacher's validation metric"),
        ("teacher_test_score", FLOAT, "the teacher's metric on test"),
        ("majority_score", FLOAT, "validation metric of the majority or mean predictor; null if undefined"),
        ("fingerprint", STR, "hash of the dataset's rows and splits"),
        *META_FEATURES,
    ),
}  # fmt: skip

TABLES: tuple[str, ...] = tuple(_TABLES)
IDENTITY: dict[str, tuple[str, ...]] = {
    name: ("sweep", "dataset") if name == "datasets" else tuple(column for column, _, _ in _TRIAL)
    for name in _TABLES
}
"""Columns of each table that are never null and that every fragment must have."""

EXTENSIBLE: frozenset[str] = frozenset({"trials", "datasets"})
"""Tables that take additive columns."""


class Identity(NamedTuple):
    """A trial's identity over the whole store; `trial_id` is its name inside the sweep."""

    sweep: str
    dataset: str
    config_id: str
    seed: int
    role: str

    @property
    def trial_id(self) -> str:
        return trial_id(self.dataset, self.config_id, self.seed, self.role)


def trial_id(dataset: str, config_id: str, seed: int, role: str) -> str:
    """`<dataset>-<config_id>-<seed>-<role>`, checked so that two identities never share a name.

    Raises InputError on the dataset's name, ValueError on what only a program could get wrong.
    """
    check_name("dataset", dataset)
    if not re.fullmatch(r"[A-Za-z0-9]{1,64}", config_id):
        raise ValueError(f"config_id {config_id!r} is not a hash of letters and digits")
    if isinstance(seed, bool) or int(seed) != seed or seed < 0:
        raise ValueError(f"seed {seed!r} is not a whole number >= 0")
    if role not in ROLES:
        raise ValueError(f"role {role!r} is not one of {ROLES}")
    return f"{dataset}-{config_id}-{int(seed)}-{role}"


def check_name(kind: str, name: str) -> str:
    """The name itself, if it is safe as one path component; InputError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            f"{kind} {name[:120]!r}: not a usable name; "
            "use 1 to 100 letters, digits, '.', '_' or '-', not starting with '.'"
        )
    return name


def check_table(table: str) -> str:
    """The table's name itself; InputError with the nearest right one where there is no such table."""
    if table not in _TABLES:
        near = difflib.get_close_matches(table, TABLES, 1)
        hint = f"did you mean {near[0]!r}?" if near else "use one of " + ", ".join(TABLES)
        raise InputError(f"table {table[:60]!r}: there is no such table; {hint}")
    return table


@functools.cache
def core_schema(table: str) -> pa.Schema:
    """Core columns of `table`, each with its comment as metadata `b"comment"`."""
    return pa.schema(
        [
            pa.field(name, kind, nullable=name not in IDENTITY[table], metadata={"comment": comment})
            for name, kind, comment in _TABLES[check_table(table)]
        ],
        metadata={TABLE_KEY: table.encode(), VERSION_KEY: str(SCHEMA_VERSION).encode()},
    )


Extra: TypeAlias = pa.Schema | Mapping[str, pa.DataType] | None


def check_extra(table: str, extra: Extra) -> list[pa.Field]:
    """Additive columns as nullable fields; ValueError where a name or type cannot be one."""
    fields: Iterable[Any] = extra if isinstance(extra, pa.Schema) else map(pa.field, *_pairs(extra))
    checked = []
    core = set(core_schema(table).names)
    for field in fields:
        if field.name in core or not re.fullmatch(r"[a-z][a-z0-9_]{0,199}", field.name):
            raise ValueError(f"{table}: {field.name!r} cannot name an additive column")
        if field.type not in EXTRA_TYPES:
            raise ValueError(
                f"{table}: {field.name} is {field.type}, not one of float64, int64, string, bool"
            )
        checked.append(pa.field(field.name, field.type))
    if checked and table not in EXTENSIBLE:
        raise ValueError(f"{table} takes no additive columns")
    if len({field.name for field in checked}) != len(checked):
        raise ValueError(f"{table}: an additive column is given twice")
    return checked


def _pairs(extra: Mapping[str, pa.DataType] | None) -> tuple[list[str], list[pa.DataType]]:
    return list(extra or {}), list((extra or {}).values())
