"""How many fragments become one table: types meet by name, and lines are parsed together."""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from distiller.results.fragments import (
    NAMED_TYPES,
    BadFragmentError,
    Fragment,
    Head,
    Quarantined,
    Unparsed,
    check_owners,
)
from distiller.results.lines import count, parse
from distiller.results.schema import EXTENSIBLE, EXTRA_TYPES, FLOAT, IDENTITY, INT, NULLS_KEY, core_schema


class _Group(NamedTuple):
    schema: pa.Schema
    clash: str | None
    tables: list[pa.Table]


def unify(
    table: str,
    fragments: Sequence[Fragment | Unparsed],
    columns: Sequence[str] | None = None,
    kinds: Mapping[str, pa.DataType] | None = None,
) -> tuple[pa.Table, list[Quarantined]]:
    """One table under the union of the fragments' schemas, and the fragments whose columns clash with it.

    int64 and float64 become float64; of two other types of one name, that of `kinds` (space columns known
    already, which the table has too), else of the earlier fragment (by `ended_at` where it is known, else in
    the order given) stays. `columns` restricts the core columns.
    """
    core = core_schema(table)
    kinds = dict(kinds or {})
    groups: dict[Any, list[_Group]] = {}  # one per set of active columns
    heads: dict[Head, str | None] = {}
    bad: list[Quarantined] = []
    lines: list[Unparsed] = []
    wanted = None if columns is None else {*columns, *IDENTITY[table]}
    for one in sorted(fragments, key=_ended_at):
        if isinstance(one, Unparsed):
            if one.head not in heads:
                heads[one.head] = _merge(table, kinds, _types(one.head, wanted))
            if (clash := heads[one.head]) is None:
                lines.append(one)
            else:
                bad.append(Quarantined(one.path, clash))
            continue
        rows = one.rows
        alike = groups.setdefault((one.nulls, *rows.schema.names), [])
        group = next((each for each in alike if each.schema.equals(rows.schema)), None)
        if group is None:
            group = _Group(rows.schema, merge_kinds(table, kinds, rows.schema, one.nulls), [])
            alike.append(group)
        if group.clash is None:
            group.tables.append(rows)
        else:
            bad.append(Quarantined(one.path, group.clash))
    fields = [field for field in core if wanted is None or field.name in wanted]
    schema = pa.schema([*fields, *(pa.field(*pair) for pair in kinds.items())], metadata=core.metadata)
    parts = [
        _promoted(pa.concat_tables(each.tables).combine_chunks(), schema)
        for alike in groups.values()
        for each in alike
        if each.tables
    ]
    parsed, foreign = _parsed(table, lines, schema)
    whole = pa.concat_tables([schema.empty_table(), *parsed, *parts], promote_options="permissive")
    return whole.select(schema.names).combine_chunks().cast(schema), [*bad, *foreign]


def _ended_at(fragment: Fragment | Unparsed) -> tuple[bool, int]:
    return (False, fragment.ended_at) if fragment.ended_at else (True, 0)


def _promoted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """int64 as float64 where the schema has it so: the nearest one, beyond 2^53 too, where Arrow refuses."""
    types = dict(zip(schema.names, schema.types, strict=True))
    for at, (name, kind) in enumerate(zip(rows.column_names, rows.schema.types, strict=True)):
        if kind == INT and types.get(name) == FLOAT:
            rows = rows.set_column(at, name, rows.column(at).cast(FLOAT, safe=False))
    return rows


def _types(head: Head, wanted: set[str] | None) -> Iterable[tuple[str, pa.DataType]]:
    if wanted is None:
        return [*head.stored.items(), *head.nulls.items()]
    return [(name, kind) for name, kind in head.stored.items() if name in wanted]


def _parsed(
    table: str, lines: Sequence[Unparsed], schema: pa.Schema
) -> tuple[list[pa.Table], list[Quarantined]]:
    """The rows of all lines; those that are not what their head and label say are none (a forgery: no
    damage gets past the checksum)."""
    try:
        rows = parse([one.rows for one in lines], schema)
    except pa.ArrowException as error:
        if len(lines) == 1:
            said = " ".join(str(error).split())[:200]
            return [], [Quarantined(lines[0].path, f"foreign: its lines are not of its columns ({said})")]
        middle = len(lines) // 2
        halves = [_parsed(table, half, schema) for half in (lines[:middle], lines[middle:])]
        return [one for half, _ in halves for one in half], [one for _, half in halves for one in half]
    owners, start, bad = rows.select(IDENTITY[table]).to_pylist(), 0, []
    counts = rows.num_rows * [True]
    for one in lines:
        end = start + count(one.rows)
        try:
            check_owners(table, one.path, owners[start:end])
        except BadFragmentError as error:
            bad.append(Quarantined(one.path, str(error)))
            counts[start:end] = (end - start) * [False]
        start = end
    return [rows.filter(pa.array(counts, pa.bool_())) if bad else rows], bad


@functools.cache
def _core_kinds(table: str) -> dict[str, pa.DataType]:
    """Types of the core columns, as the same objects that fragments' heads name."""
    core = core_schema(table)
    return {field.name: NAMED_TYPES[str(field.type)] for field in core}


def _promote(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one == other:
        return one
    return FLOAT if {one, other} == {INT, FLOAT} else None


def merge_kinds(
    table: str, kinds: dict[str, pa.DataType], schema: pa.Schema, nulls: bytes = b"{}"
) -> str | None:
    """Adds the schema's space columns to `kinds`; where one cannot be, adds none and says why."""
    if len(set(schema.names)) != len(schema.names):
        return "a column twice"
    try:
        declared = {name: NAMED_TYPES[kind] for name, kind in json.loads(nulls).items()}
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        return f"foreign: {NULLS_KEY.decode()} ({error})"
    return _merge(table, kinds, [*zip(schema.names, schema.types, strict=True), *declared.items()])


def _merge(table: str, kinds: dict[str, pa.DataType], types: Iterable[tuple[str, pa.DataType]]) -> str | None:
    core = _core_kinds(table)
    merged = {}
    for name, found in types:
        if kinds.get(name) is found:  # thousands of fragments with a hundred columns each, nearly always so
            continue
        if (kind := core.get(name)) is not None:
            if found is not kind and _promote(found, kind) != kind:
                return f"column {name} is {found}, not {kind}"
        elif table not in EXTENSIBLE or found not in EXTRA_TYPES:
            return f"foreign: column {name} of type {found}"
        elif (promoted := _promote(found, kinds.get(name, found))) is None:
            return f"column {name} is {found}, elsewhere {kinds[name]}"
        else:
            merged[name] = promoted
    kinds.update(merged)
    return None
