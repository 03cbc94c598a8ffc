"""An Optuna study as a table of trials, what each parameter was drawn from included.

Columns are `params.NAME` and `user_attrs.NAME`, and `number`, `value`, `state`, `datetime_start` and
`datetime_complete`. Where trials reported intermediate values, each report is a row with its `step`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from distiller.results.imported.tables import Table
from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import nearest

MOST_LEVELS = 1_000
"""Of a range with steps, which is a choice among that many."""
_STEPS = "step"


def read_study(source: str, name: str | None = None) -> Table:
    """The table of a study in a storage: `sqlite:///FILE` or another URL, a SQLite file, or a journal file.

    Raises:
        InputError: there is no such storage or study, it holds several and `name` is none of them, or the
            study has several objectives.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = _storage(source)
        names = optuna.get_all_study_names(storage)
        if name is None and len(names) != 1:
            held = f"it holds {', '.join(names[:20])}" if names else "it holds no study"
            raise InputError(f"{source}: {held}; name one with --study")
        if name is not None and name not in names:
            raise InputError(f"--study {name}: not in {source}; {nearest(name, names)}")
        study = optuna.load_study(study_name=name or names[0], storage=storage)
        if len(study.directions) > 1:
            raise InputError(
                f"{source}: study {study.study_name} has {len(study.directions)} objectives; export one as a "
                "table and import that"
            )
        trials = study.get_trials(deepcopy=False)
        lower = study.direction == optuna.study.StudyDirection.MINIMIZE
    except InputError:
        raise
    except Exception as error:  # whatever a database's driver raises
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"{source}: Optuna cannot read it ({said}); check the place") from error
    if not trials:
        raise InputError(f"{source}: study {study.study_name} has no trials; import it once some have ended")
    return table_of(source, study.study_name, trials, lower)


def table_of(source: str, name: str, trials: Sequence[FrozenTrial], lower: bool) -> Table:
    """The table of trials of one objective; `lower` values are better."""
    notes = []
    curves = any(trial.intermediate_values for trial in trials)
    first = min((min(t.intermediate_values) for t in trials if t.intermediate_values), default=0)
    most = max((max(t.intermediate_values) for t in trials if t.intermediate_values), default=0)
    if curves and first == 0:
        notes.append("steps are counted from 0 in the study, and from 1 here")
    shift = 1 if first == 0 else 0
    rows: list[dict[str, Any]] = []
    for trial in trials:
        about = _about(trial)
        if not curves:
            rows.append(about | {"value": trial.value})
            continue
        reports = dict(sorted(trial.intermediate_values.items()))
        if trial.state == TrialState.COMPLETE:
            reports[max(reports, default=most)] = trial.value if trial.value is not None else float("nan")
        if not reports:  # failed, or pruned, before it reported anything
            rows.append(about | {"value": trial.value, _STEPS: 0})
        rows += [about | {"value": value, _STEPS: step + shift} for step, value in reports.items()]
    columns = dict.fromkeys(column for row in rows for column in row)
    priors, said = _priors(trials)
    hints: dict[str, Any] = {"score": "value", "status": {"column": "state"}}
    if lower:
        hints["higher_is_better"] = False
    if curves:
        hints |= {"trial": "number", "fidelity": {"column": _STEPS, "full": most + shift}}
    cells = {column: [row.get(column) for row in rows] for column in columns}
    return Table(source, name, cells, (*notes, *said), MappingProxyType(priors), MappingProxyType(hints))


def _storage(source: str) -> BaseStorage:
    """Optuna makes what is not there; nothing is made here."""
    if "://" in source:
        kind, _, place = source.partition(":///")
        if kind == "sqlite" and not Path(place.split("?")[0]).is_file():
            raise InputError(f"{source}: no such file; check the path")
        return RDBStorage(source, skip_table_creation=True)
    path = Path(source)
    if is_sqlite(path):
        return RDBStorage(f"sqlite:///{path}", skip_table_creation=True)
    return JournalStorage(JournalFileBackend(str(path)))


def is_sqlite(path: Path) -> bool:
    """Whether a file is a SQLite database."""
    return _first_bytes(path, 16) == b"SQLite format 3\0"


def is_journal(path: Path) -> bool:
    """Whether a file is a journal of Optuna's."""
    try:
        entry = json.loads(_first_bytes(path, 1_000_000).split(b"\n", 1)[0])
    except ValueError:
        return False
    return isinstance(entry, dict) and "op_code" in entry


def _first_bytes(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def _about(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "datetime_start": _with_zone(trial.datetime_start),
        "datetime_complete": _with_zone(trial.datetime_complete),
        **{f"params.{name}": value for name, value in trial.params.items()},
        **{f"user_attrs.{name}": _plain(value) for name, value in trial.user_attrs.items()},
    }


def _with_zone(moment: Any) -> Any:
    return None if moment is None else moment.astimezone()  # Optuna writes the clock of the machine


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else json.dumps(value)


def _priors(trials: Sequence[FrozenTrial]) -> tuple[dict[str, Any], list[str]]:
    """By column what it was drawn from, and a word on each that was drawn from several."""
    seen: dict[str, list[BaseDistribution]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            kinds = seen.setdefault(name, [])
            if distribution not in kinds:
                kinds.append(distribution)
    found, notes = {}, []
    for name, kinds in seen.items():
        prior = _written(kinds[0]) if len(kinds) == 1 else None
        if prior is not None:
            found[f"params.{name}"] = prior
        elif len(kinds) > 1:
            notes.append(
                f"params.{name} was drawn from {len(kinds)} distributions; its prior is what is seen"
            )
    return found, notes


def _written(distribution: BaseDistribution) -> Any:
    """As a sweep's file writes it; None where that has no word for it."""
    if isinstance(distribution, CategoricalDistribution):
        levels = list(distribution.choices)
        return levels if all(isinstance(level, (bool, int, float, str)) for level in levels) else None
    if isinstance(distribution, IntDistribution):
        return _steps(distribution, distribution.step == 1 and not distribution.log)
    if isinstance(distribution, FloatDistribution):
        if distribution.step is not None:
            return _steps(distribution, False)
        kind = "loguniform" if distribution.log else "uniform"
        return {kind: [distribution.low, distribution.high]}
    return None


def _steps(distribution: IntDistribution | FloatDistribution, integers: bool) -> Any:
    low, high, step = distribution.low, distribution.high, distribution.step or 1
    if integers:
        return {"integers": [low, high]}
    if distribution.log:
        return {"loguniform": [low, high]} if low < high else [low]
    count = round((high - low) / step) + 1
    if count > MOST_LEVELS:
        return {"uniform": [low, high]}
    return list(dict.fromkeys(low + i * step for i in range(count)))
