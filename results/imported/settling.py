"""A mapping met with its table: every column has its type, prior and condition, and a word on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distiller.results.imported.cells import Typed, row, shown, typed
from distiller.results.imported.conditions import Levels, check_asked, found_when, holds, same
from distiller.results.imported.levels import prior_seen
from distiller.results.imported.mapping import StageColumn, TableMapping
from distiller.results.imported.questions import Asked, check_conditions
from distiller.results.imported.tables import Table
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import nearest
from distiller.spaces.priors import Integers, OneOf, Prior, Value, is_constant, parse_prior

MANY_STAGES = 10


@dataclass(frozen=True)
class Settled:
    """What was asked and answered.

    Attributes:
        mapping: the one given, with every prior and condition written out.
        answers: by stage and column [trials] values, None where it was not asked.
        kinds: their types.
    """

    mapping: TableMapping
    answers: Mapping[tuple[str, str], Sequence[Value | None]]
    kinds: Mapping[tuple[str, str], type]
    notes: Sequence[str]


def check_columns(table: Table, mapping: TableMapping) -> None:
    """Whether the mapping names every column of the table, and none besides.

    Raises:
        InputError: it does not.
    """
    named = dict(mapping.uses())
    for path, column in named.items():
        if column not in table.columns and path != "ignore":
            raise InputError(f"{path}: the table has no column {column!r}; {nearest(column, table.columns)}")
    for column in mapping.ignore:
        if column not in table.columns:
            raise InputError(f"ignore: the table has no column {column!r}; {nearest(column, table.columns)}")
    mapped = {column for _, column in mapping.uses()}
    if left := [column for column in table.columns if column not in mapped]:
        said = ", ".join(map(shown, left[:20])) + (f" and {len(left) - 20} more" if len(left) > 20 else "")
        raise InputError(
            f"{table.source}: the mapping says nothing of column{'s' * (len(left) > 1)} {said}; name each "
            "under a stage, as something that is not searched, or under `ignore:`"
        )


def settle(
    table: Table,
    mapping: TableMapping,
    rows: Sequence[int],
    datasets: Sequence[str],
    drawn: Sequence[bool],
    failed: Sequence[bool],
) -> Settled:
    """Types, priors and conditions of the columns of all stages.

    Args:
        rows: the row of the table that each trial's settings stand in.
        datasets: [trials] names.
        drawn: [trials] whether it is of the search and from the space; the others' answers may be anything.
        failed: [trials] whether it failed: it may have done so before all its settings were chosen.

    Raises:
        InputError: a column cannot be settled; names it, what is wrong and the remedy.
    """
    drawn_mask = np.array(drawn, dtype=bool)
    return _Settling(table, mapping, rows, drawn_mask, datasets, np.array(failed, dtype=bool)).settle()


@dataclass
class _Settling:
    table: Table
    mapping: TableMapping
    rows: Sequence[int]
    drawn: npt.NDArray[np.bool_]
    datasets: Sequence[str]
    failed: npt.NDArray[np.bool_]

    def settle(self) -> Settled:
        if not self.drawn.any():
            raise InputError(
                f"{self.table.source}: no row is of role search and drawn from the space; map `role`"
            )
        self.notes: list[str] = []
        self.misfits: dict[str, int] = {}
        self.at = [number for number, mine in zip(self.rows, self.drawn, strict=True) if mine]
        self.mine = np.array(self.datasets)[self.drawn]
        sound = ~self.failed[self.drawn]
        self.sound = sound if sound.any() else ~sound
        """[drawn trials] those by which conditions are found and checked."""
        answers: dict[tuple[str, str], Sequence[Value | None]] = {}
        kinds: dict[tuple[str, str], type] = {}
        stages: dict[str, dict[str, StageColumn]] = {}
        cells = {
            (stage, column): self._typed(stage, column)
            for stage, columns in self.mapping.stages.items()
            for column in columns
        }
        self.everywhere = {
            key: Levels([value for value, mine in zip(one.values, self.drawn, strict=True) if mine])
            for key, one in cells.items()
        }
        for stage, columns in self.mapping.stages.items():
            mine = {column: cells[stage, column] for column in columns}
            stages[stage] = self._stage(stage, mine)
            for column, one in mine.items():
                answers[stage, column], kinds[stage, column] = one.values, one.kind
        for place, count in self.misfits.items():
            self.notes.append(
                f"{place}: {count} failed trials do not fit its condition, and are kept as they are"
            )
        if len(stages) > MANY_STAGES:
            self.notes.append(
                f"{len(stages)} stages: each set of stages is analysed, twice as many with each more; "
                "gather columns that belong together"
            )
        return Settled(self.mapping.model_copy(update={"stages": stages}), answers, kinds, self.notes)

    def _typed(self, stage: str, column: str) -> Typed:
        told, place = self.mapping.stages[stage][column], f"stages.{stage}.{column}"
        whole = typed(self.table.columns[column], place, self.mapping.missing, told.type == "text")
        self.notes += whole.notes
        values = [whole.values[number] for number in self.rows]
        if told.missing_is is not None and None in values:
            level = self._level(told.missing_is, whole.kind, place)
            count = values.count(None)
            values = [level if value is None else value for value in values]
            self.notes.append(f"{place}: {count} empty cells stand for {level!r}")
        return Typed(values, whole.kind, [])

    def _level(self, level: Value, kind: type, place: str) -> Value:
        if kind is float and isinstance(level, int) and not isinstance(level, bool):
            return float(level)
        if type(level) is not kind:
            raise InputError(
                f"{place}.missing_is: {level!r} is a {type(level).__name__}, the column holds "
                f"{kind.__name__}s; write one like the others"
            )
        return level

    def _stage(self, stage: str, cells: Mapping[str, Typed]) -> dict[str, StageColumn]:
        drawn = {
            column: [value for value, mine in zip(one.values, self.drawn, strict=True) if mine]
            for column, one in cells.items()
        }
        for column, values in drawn.items():
            if all(value is None for value in values):
                raise InputError(f"stages.{stage}.{column}: is empty in every row; ignore it")
        priors = {column: self._prior(stage, column, values) for column, values in drawn.items()}
        levels = {column: self.everywhere[stage, column] for column in cells}
        fine = self.sound  # of a column that only failed trials have, these must tell
        if not all(one.present[fine].any() for one in levels.values()):
            fine = np.ones(len(fine), dtype=bool)
        sound = {column: one.of(fine) for column, one in levels.items()}
        at = [number for number, mine in zip(self.at, fine, strict=True) if mine]
        settled, asked = {}, []
        for column in cells:
            when = self._when(stage, column, sound, priors, fine, at)
            told = self.mapping.stages[stage][column]
            written = priors[column].written()
            if isinstance(written, (str, int, float, bool)):
                written = [written]
            settled[column] = told.model_copy(update={"prior": written, "when": when})
            asked.append(Asked(column, self.mapping.stored(stage, column), priors[column], when))
        check_conditions(stage, asked)
        for one in asked:
            place = f"stages.{stage}.{one.column}"
            if one.when:
                check_asked(place, one.column, one.when, sound, at)
            wrong = levels[one.column].present != holds(one.when, levels, len(self.at))
            if wrong.any():
                self.misfits[place] = int(wrong.sum())
            self._check_prior(place, one, levels[one.column])
        return settled

    def _prior(self, stage: str, column: str, values: Sequence[Value | None]) -> Prior:
        place = f"stages.{stage}.{column}"
        given = self.mapping.prior(stage, column)
        if given is None and (known := self.table.priors.get(column)) is not None:
            given = parse_prior(known, f"{self.table.source}: {column}")
            self.notes.append(f"{place}: {given}, as {self.table.source} has it")
        if given is not None:
            return given
        seen = prior_seen(values)
        if is_constant(seen):
            self.notes.append(f"{place}: is {seen} in every row: a constant, which explains nothing")
        else:
            what = "levels" if isinstance(seen, OneOf) else "the range"
            self.notes.append(
                f"{place}: {seen}, {what} that the table holds; write `prior:` if it was another"
            )
        full = sum(value is not None for value in values)
        if isinstance(seen, OneOf) and full > 20 and len(seen.values) > full / 2:
            self.notes.append(
                f"{place}: {len(seen.values)} levels in {full} rows; an identifier belongs under ignore"
            )
        return seen

    def _when(
        self,
        stage: str,
        column: str,
        levels: Mapping[str, Levels],
        priors: Mapping[str, Prior],
        fine: npt.NDArray[np.bool_],
        at: Sequence[int],
    ) -> dict[str, tuple[Value, ...]]:
        told, place = self.mapping.stages[stage][column], f"stages.{stage}.{column}"
        if told.when:
            return dict(told.when)
        present = levels[column].present
        if present.all():
            return {}
        first = row(at[int(np.flatnonzero(~present)[0])])
        empty = f"{place}: is empty in {int((~present).sum())} rows, {first} the first"
        if told.always:
            raise InputError(f"{empty}, and said to be asked always; fill it in")
        parents = [name for name, prior in priors.items() if isinstance(prior, (OneOf, Integers))]
        found = found_when(column, levels, [p for p in parents if len(levels[p].levels) <= 100])
        if found is not None:
            said = " and ".join(f"{p} is {' or '.join(map(str, vs))}" for p, vs in found.items())
            self.notes.append(f"{place}: asked only where {said}, found from empty cells")
            return dict(found)
        remedy = "fill them in, write `when:`, or `missing_is:` the level that an empty cell stands for"
        elsewhere = {
            other: found_when(column, {column: levels[column], other[1]: one.of(fine)}, [other[1]])
            for other, one in self.everywhere.items()
            if other[0] != stage and other[1] != column and len(one.levels) <= 100
        }
        for (other, parent), when in elsewhere.items():
            if when is not None:
                raise InputError(
                    f"{empty}, and asked only where {parent} of stage {other!r} is "
                    f"{' or '.join(map(str, when[parent]))}: stages must not depend on each other; put the "
                    f"columns of {stage!r} and {other!r} under one stage"
                )
        raise InputError(f"{empty}, and no other column of its stage says when; {remedy}")

    def _check_prior(self, place: str, one: Asked, levels: Levels) -> None:
        """Whether every value is in the prior; levels of the prior that no row has are said."""
        outside = [n for n, level in enumerate(levels.levels) if not one.prior.contains(level)]
        if outside:
            wrong = np.flatnonzero(np.isin(levels.codes, outside))
            first = int(wrong[0])
            raise InputError(
                f"{place}.prior: {shown(levels.levels[levels.codes[first]])} in {row(self.at[first])} and "
                f"{len(wrong) - 1} others are outside of {one.prior}; widen the prior, or mark such rows by "
                "`origin: warm`"
            )
        if not isinstance(one.prior, OneOf) or is_constant(one.prior):
            return
        never = [v for v in one.prior.values if not any(same(v, level) for level in levels.levels)]
        if never:
            self.notes.append(
                f"{place}: no search row has {' or '.join(map(repr, never))}, which the prior has: nothing "
                "can be said of it"
            )
        for dataset in dict.fromkeys(self.mine):
            codes = set(np.unique(levels.codes[self.mine == dataset]).tolist())
            lacking = [level for n, level in enumerate(levels.levels) if n not in codes]
            if lacking:
                self.notes.append(
                    f"{place}: {dataset} has no row with {' or '.join(map(repr, lacking))}, which other "
                    "datasets have"
                )
