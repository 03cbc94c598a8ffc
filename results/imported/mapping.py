"""The mapping that a person writes: which column is the score, and which columns are whose stage's.

```yaml
name: my-trials
score: accuracy
dataset: task                     # a column; {constant: trec} where the table is of one dataset
seed: seed
fidelity: {column: epoch, full: 30}
status: {column: state, completed: [COMPLETE], stopped: [PRUNED], failed: [FAIL]}
stages:
  augmentation:
    method:                       # levels, ranges and conditions are read off the table where none is written
    strength: {prior: {uniform: [0, 1]}, when: {method: [mixup, cutout]}}
  optimizer: [lr, batch size]
ignore: [run_id]
```
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    field_validator,
    model_validator,
)

from distiller.results.schema import ORIGINS, ROLES, core_schema
from distiller.spaces.choice import KIND
from distiller.spaces.errors import InputError
from distiller.spaces.files import parse_yaml, validated, write_yaml
from distiller.spaces.narrowing import nearest
from distiller.spaces.priors import Prior, Value, parse_prior
from distiller.spaces.sweep import NAME

COSTS = ("parameters", "flops", "latency_ms", "peak_memory_bytes", "train_seconds", "wall_seconds")
SCORES = ("test_score", "teacher_score", "teacher_test_score", "no_teacher_score")
MOMENTS = ("started_at", "ended_at")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


def _listed(written: Any) -> Any:
    listed = [written] if isinstance(written, (str, int, float, bool)) else written
    if not isinstance(listed, (list, tuple)) or not all(
        isinstance(v, (str, int, float, bool)) for v in listed
    ):
        raise ValueError("takes a value or a list of values; write [a, b]")
    return listed


def _single(written: Any) -> Any:
    if not isinstance(written, (str, int, float, bool)):
        raise ValueError("takes one value; write a text, a number, true or false")
    return written


def _column(written: Any) -> Any:
    if not isinstance(written, (str, dict, BaseModel)):
        raise ValueError("takes a column's name or `key: value` lines; write one of them")
    return {"column": written} if isinstance(written, str) else written


def _constant(written: Any) -> Any:
    return {"constant": written} if isinstance(written, str) else written


Values = Annotated[tuple[StrictBool | int | float | str, ...], BeforeValidator(_listed), Field(min_length=1)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Source(_Strict):
    """What a column says of each row, or what holds for all rows."""

    column: str | None = None
    constant: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Source:
        if (self.column is None) == (self.constant is None):
            raise ValueError("takes one of {column: NAME} and {constant: VALUE}; write one")
        return self


FromColumn = Annotated[Source, BeforeValidator(_column)]


class Fidelity(_Strict):
    """How far a row's trial had come: steps, epochs or a share of the budget, growing within a trial."""

    column: str
    full: float | None = Field(default=None, gt=0)
    """What counts as the whole budget; by default the greatest value, 1 where all are shares."""


class Status(_Strict):
    """How a row's trial ended; a value under none of these is an error."""

    column: str
    completed: Texts = ()
    stopped: Texts = ()
    failed: Texts = ()
    unfinished: Texts = ()
    """Rows of trials that have not ended, which are left out."""

    @model_validator(mode="after")
    def _apart(self) -> Status:
        seen: dict[str, str] = {}
        for kind in ("completed", "stopped", "failed", "unfinished"):
            for value in getattr(self, kind):
                if seen.setdefault(value, kind) != kind:
                    raise ValueError(f"{value!r} is under {seen[value]} and under {kind}; name it once")
        return self


class StageColumn(_Strict):
    """One column of a stage."""

    prior: Any = None
    """As in a sweep's file: a list of levels, `{loguniform: [a, b]}`, …; by default what the table holds."""
    when: dict[str, Values] = {}
    """Columns of its stage, and their values under which this one is asked; by nulls by default."""
    always: Literal[True] | None = None
    """Asked in every row: nulls are then an error, and no condition is looked for."""
    named: str | None = Field(default=None, alias="as")
    """Its name in the store, which the stage's name goes before; by default its own."""
    type: Literal["text"] | None = None
    """Numbers are names of levels."""
    missing_is: Annotated[StrictBool | int | float | str, BeforeValidator(_single)] | None = None
    """The level that an empty cell stands for."""

    @field_validator("named")
    @classmethod
    def _snake(cls, named: str | None) -> str | None:
        if named is not None and not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", named):
            raise ValueError("no name of a column; use small letters, digits and '_', a letter first")
        return named


class TableMapping(_Strict):
    """The whole file."""

    name: str | None = None
    score: str
    higher_is_better: StrictBool = True
    metric: Annotated[Source, BeforeValidator(_constant)] | None = None
    dataset: FromColumn | None = None
    seed: str | None = None
    trial: str | None = None
    """Whose rows are one trial at several fidelities, its learning curve."""
    fidelity: Annotated[Fidelity, BeforeValidator(_column)] | None = None
    status: Annotated[Status, BeforeValidator(_column)] | None = None
    role: FromColumn | None = None
    origin: FromColumn | None = None
    test_score: str | None = None
    teacher_score: str | None = None
    teacher_test_score: str | None = None
    no_teacher_score: str | None = None
    costs: dict[str, str] = {}
    error: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    stages: dict[str, dict[str, StageColumn]] = Field(min_length=1)
    ignore: Texts = ()
    missing: Texts = ()
    """Texts that stand for an empty cell, such as NA."""

    @field_validator("name")
    @classmethod
    def _usable(cls, name: str | None) -> str | None:
        if name is not None and not NAME.fullmatch(name):
            raise ValueError(
                "not usable; begin with a letter or digit, then up to 99 of these and '.', '_', '-'"
            )
        return name

    @field_validator("costs")
    @classmethod
    def _known_costs(cls, costs: dict[str, str]) -> dict[str, str]:
        for name in costs:
            if name not in COSTS:
                raise ValueError(f"{name}: unknown cost; {nearest(name, COSTS)}")
        return costs

    @field_validator("stages", mode="before")
    @classmethod
    def _lists(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            return written
        return {stage: _columns_of(stage, columns) for stage, columns in written.items()}

    @model_validator(mode="after")
    def _check(self) -> TableMapping:
        for kind, known in (("role", ROLES), ("origin", ORIGINS)):
            source = getattr(self, kind)
            if source is not None and source.constant is not None and source.constant not in known:
                raise ValueError(f"{kind}.constant: {source.constant!r}: {nearest(source.constant, known)}")
        taken: dict[str, str] = {}
        for path, column in self.uses():
            if column in taken:
                raise ValueError(f"{path}: column {column!r} is {taken[column]} already; map a column once")
            taken[column] = path
        self._check_names()
        try:
            for stage, columns in self.stages.items():
                for column, one in columns.items():
                    self.prior(stage, column)
                    for parent in one.when:
                        self._check_parent(stage, column, parent)
                    if one.when and one.always:
                        raise ValueError(f"stages.{stage}.{column}: has `when` and `always`; write one")
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    def _check_parent(self, stage: str, column: str, parent: str) -> None:
        where = f"stages.{stage}.{column}.when.{parent}"
        if parent == column:
            raise ValueError(f"{where}: a column cannot depend on itself; name another one")
        if parent in self.stages[stage]:
            return
        other = next((name for name, columns in self.stages.items() if parent in columns), None)
        if other is not None:
            raise ValueError(
                f"{where}: is in stage {other!r}, and stages are independent of each other; "
                f"put the columns of {stage!r} and {other!r} under one stage"
            )
        raise ValueError(f"{where}: no such column in this stage; {nearest(parent, self.stages[stage])}")

    def _check_names(self) -> None:
        core = set(core_schema("trials").names)
        stored: dict[str, str] = {}
        stages: dict[str, str] = {}
        for stage, columns in self.stages.items():
            if not columns:
                raise ValueError(f"stages.{stage}: no column is named; name one or leave the stage out")
            if (name := snake(stage)) == "":
                raise ValueError(f"stages.{stage}: not a usable name; begin it with a letter from a to z")
            if (other := stages.setdefault(name, stage)) != stage:
                raise ValueError(f"stages.{stage}: reads as {name!r}, as {other!r} does; rename one of them")
            for column in columns:
                where, name = f"stages.{stage}.{column}", self.stored(stage, column)
                if not re.fullmatch(r"[a-z][a-z0-9_]{0,199}", name):
                    raise ValueError(f"{where}: not a usable name; give it one for the store: {{as: name}}")
                if name in core:
                    raise ValueError(f"{where}: the store has a column {name} of its own; write {{as: name}}")
                if (other := stored.setdefault(name, where)) != where:
                    raise ValueError(f"{where}: would be {name}, as {other} is; write {{as: name}} for one")

    def uses(self) -> Iterator[tuple[str, str]]:
        """Place in the mapping and column of the table, for every column that it names."""
        for name in ("score", "seed", "trial", "error", *SCORES, *MOMENTS):
            if (column := getattr(self, name)) is not None:
                yield name, column
        for name in ("metric", "dataset", "fidelity", "status", "role", "origin"):
            if (source := getattr(self, name)) is not None and source.column is not None:
                yield name, source.column
        for name, column in self.costs.items():
            yield f"costs.{name}", column
        for stage, columns in self.stages.items():
            for column in columns:
                yield f"stages.{stage}.{column}", column
        for column in self.ignore:
            yield "ignore", column

    def prior(self, stage: str, column: str) -> Prior | None:
        """The prior that is written; InputError where it is none."""
        written = self.stages[stage][column].prior
        return None if written is None else parse_prior(written, f"stages.{stage}.{column}.prior")

    def stored(self, stage: str, column: str) -> str:
        """The column's name in the store: `<stage>_<column>`, the stage not said twice."""
        given = self.stages[stage][column].named
        prefix = snake(stage)
        name = given or snake(column.removeprefix("params.").removeprefix("params_"), digits=True)
        if given is None and name == prefix:
            return name if name not in core_schema("trials").names else f"{prefix}_{KIND}"
        if name == "" or (given is None and name.startswith(f"{prefix}_")):
            return name
        return f"{prefix}_{name}"

    def to_yaml(self) -> str:
        """The mapping as a person reads it, which `parse_mapping` reads back."""
        return write_yaml(self.document())

    def document(self) -> dict[str, Any]:
        """Plain lists, numbers and strings; what is at its default is left out."""
        return self.model_dump(mode="json", exclude_defaults=True, by_alias=True)


def _columns_of(stage: str, written: Any) -> Any:
    if isinstance(written, str):
        return {written: {}}
    if isinstance(written, list):
        if len(set(map(str, written))) < len(written):
            raise ValueError(f"{stage}: {written!r} names a column twice; name each once")
        return {column: {} for column in written}
    if isinstance(written, dict):
        return {column: {} if one is None else one for column, one in written.items()}
    raise ValueError(f"{stage}: {written!r} names no columns; write a list of them, or `column: {{…}}` lines")


def snake(name: str, digits: bool = False) -> str:
    """Lower snake case in ASCII; empty where nothing is left, or it would begin with a digit (unless
    `digits`)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain)
    found = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
    return found if digits or re.match("[a-z]", found) else ""


def parse_mapping(text: str, place: str) -> TableMapping:
    """The mapping in `text`; InputError with the place in it and the remedy."""
    return validated(TableMapping, parse_yaml(text, place), place)


__all__ = [
    "COSTS",
    "MOMENTS",
    "SCORES",
    "Fidelity",
    "Source",
    "StageColumn",
    "Status",
    "TableMapping",
    "Value",
]
