"""Configs x datasets: what earlier sweeps, launched or imported, tried where, and how it scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from distiller.results.comparison.selection import check_columns, is_full
from distiller.results.design import Design
from distiller.results.recommendation.early import Early, early_scores
from distiller.results.recommendation.groups import grouped
from distiller.results.recommendation.shrinkage import noise_of
from distiller.spaces.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

FEWEST = 5
"""Configs that ran in full, below which a dataset says too little."""
FAR = 0.1
"""Score of a teacher, below which it is too near to 0 for shares of it to mean anything."""
NO_FEATURES = ("test_rows", "teacher_test_score")
"""Columns of the datasets table that speak of the test split."""


class TooLittleError(InputError):
    """No dataset has enough trials to learn from."""


@dataclass(frozen=True)
class Searched:
    """The tables of one sweep.

    Attributes:
        trials: rows of the trials table.
        designs: by dataset.
        datasets: rows of the datasets table, where there is one.
        epochs: rows of the epochs table, the learning curves, where there is one.
    """

    name: str
    trials: pd.DataFrame
    designs: Mapping[str, Design]
    datasets: pd.DataFrame | None = None
    epochs: pd.DataFrame | None = None


@dataclass(frozen=True)
class Tried:
    """Every config that ran in full somewhere, and its scores, each in the unit of its dataset.

    Attributes:
        configs: [configs, columns of the designs], by config id in order.
        datasets, groups, designs: [datasets] names in order, their groups, what was searched on each.
        score: [configs, datasets] mean over the config's runs, higher is better; NaN where it did not run.
        repeats: [configs, datasets] runs behind each score.
        early: [configs, datasets] mean score of the config's search runs, stopped ones among them, when a
            share of the budget was run; NaN where unknown.
        fidelity: [datasets] that share, NaN where no early score is known.
        noise: [datasets] standard deviation between runs of a typical config, NaN where none was repeated.
        teacher: [datasets] the teacher's score, NaN where unknown or below `FAR`.
        steered: [datasets] configs that were not drawn from the prior.
        meta: [datasets, meta-features], NaN where unknown.
        left_out: what was left out and why, one sentence each.
    """

    configs: pd.DataFrame
    datasets: tuple[str, ...]
    groups: tuple[str, ...]
    designs: tuple[Design, ...]
    score: Floats
    repeats: Ints
    early: Floats
    fidelity: Floats
    noise: Floats
    teacher: Floats
    steered: Ints
    meta: pd.DataFrame
    left_out: tuple[str, ...] = ()

    @property
    def tried(self) -> npt.NDArray[np.bool_]:
        """[configs, datasets] whether the config ran there in full."""
        return self.repeats > 0

    @property
    def trials(self) -> int:
        """Runs that all scores rest on."""
        return int(self.repeats.sum())

    def of(self, dataset: int) -> Ints:
        """The numbers of the configs that ran on a dataset."""
        return np.flatnonzero(self.tried[:, dataset])

    def target(self, dataset: int) -> dict[str, float]:
        """The meta-features of a dataset."""
        return {str(name): float(value) for name, value in self.meta.iloc[dataset].items()}

    def without(self, *groups: str) -> Tried:
        """The table as if the groups' datasets had never been: without their rows, and without the configs
        that ran nowhere else."""
        places = np.flatnonzero([name not in groups for name in self.groups])
        rows = np.flatnonzero(self.tried[:, places].any(axis=1))
        return Tried(
            configs=self.configs.iloc[rows],
            datasets=tuple(self.datasets[j] for j in places),
            groups=tuple(self.groups[j] for j in places),
            designs=tuple(self.designs[j] for j in places),
            score=self.score[np.ix_(rows, places)],
            repeats=self.repeats[np.ix_(rows, places)],
            early=self.early[np.ix_(rows, places)],
            fidelity=self.fidelity[places],
            noise=self.noise[places],
            teacher=self.teacher[places],
            steered=self.steered[places],
            meta=self.meta.iloc[places],
        )


def read_tried(sweeps: Sequence[Searched], groups: Mapping[str, Sequence[str]] | None = None) -> Tried:
    """The full search runs of some sweeps; a finalist's runs are repeats of the config that was found.

    A dataset whose name is in several sweeps counts once for each, as SWEEP/NAME, all in one group: budgets
    and splits may differ, so that their scores do not compare.

    Args:
        groups: related datasets by the name of their group, where names and sources do not tell.

    Raises:
        InputError: a column is missing, or a group is wrong.
        TooLittleError: no dataset has enough full runs.
    """
    ran: list[tuple[Searched, str, pd.DataFrame]] = []
    few: list[str] = []
    for sweep in sweeps:
        check_columns(sweep.trials)
        if "config_id" not in sweep.trials:
            raise InputError(f"{sweep.name}: trials.config_id: no such column; pass rows of the trials table")
        for dataset in sweep.designs:
            rows = _runs(sweep.trials[sweep.trials["dataset"] == dataset])
            count = int(rows["config_id"].nunique())
            if count >= FEWEST:
                ran.append((sweep, dataset, rows))
            else:
                few.append(f"{dataset} ({count})")
    several = Counter(dataset for _, dataset, _ in ran)
    parts: list[pd.DataFrame] = []
    facts: dict[str, _Facts] = {}
    for sweep, dataset, rows in ran:
        design = sweep.designs[dataset]
        name = f"{sweep.name}/{dataset}" if several[dataset] > 1 else dataset
        asked = [q.column for q in design.questions() if q.column in rows]
        kept = rows[["config_id", "score", *dict.fromkeys(asked)]].assign(dataset=name)
        parts.append(kept.astype(object))  # a column may be all null in one sweep, of any type in another
        facts[name] = _facts(sweep, dataset, design, rows)
    if not parts:
        raise TooLittleError(
            f"nothing to learn from: no dataset has {FEWEST} full search runs; launch or import a sweep first"
        )
    rows = pd.concat(parts, ignore_index=True)
    names = tuple(sorted(facts))
    near = [name for name in names if facts[name].teacher < FAR]
    columns = list(dict.fromkeys(q.column for name in names for q in facts[name].design.questions()))
    rows = rows.sort_values(["config_id", "dataset", "score"], kind="stable")
    configs = rows.drop_duplicates("config_id").set_index("config_id")
    configs = pd.DataFrame({column: _typed(configs[column]) for column in columns if column in configs})
    cells = rows.assign(score=rows["score"].astype(float)).groupby(["config_id", "dataset"])["score"]
    row = configs.index.get_indexer(cells.mean().index.get_level_values("config_id"))
    column = pd.Index(names).get_indexer(cells.mean().index.get_level_values("dataset"))
    score = np.full((len(configs), len(names)), np.nan)
    score[row, column] = cells.mean()
    repeats = np.zeros(score.shape, dtype=np.intp)
    repeats[row, column] = cells.count()
    early = [facts[name].early.score.reindex(configs.index) for name in names]
    sources = {name: source for name in names if (source := facts[name].source)}
    return Tried(
        configs=configs,
        datasets=names,
        groups=grouped(names, sources, groups),
        designs=tuple(facts[name].design for name in names),
        score=score,
        repeats=repeats,
        early=np.column_stack([one.to_numpy(dtype=np.float64) for one in early]),
        fidelity=np.array([facts[name].early.fidelity for name in names]),
        noise=np.array([facts[name].noise for name in names]),
        teacher=np.array([np.nan if name in near else facts[name].teacher for name in names]),
        steered=np.array([facts[name].steered for name in names], dtype=np.intp),
        meta=pd.DataFrame([facts[name].meta for name in names], index=list(names), dtype=np.float64),
        left_out=tuple(_left_out(few, near)),
    )


def _left_out(few: Sequence[str], near: Sequence[str]) -> Iterator[str]:
    if few:
        yield f"left out, as fewer than {FEWEST} configs ran in full: {', '.join(few)}"
    if near:
        yield f"not counted in shares of the teacher's score, which is below {FAR} there: {', '.join(near)}"


@dataclass(frozen=True)
class _Facts:
    design: Design
    early: Early
    noise: float
    teacher: float
    steered: int
    meta: Mapping[str, float]
    source: str | None


def _typed(column: pd.Series) -> pd.Series:
    """Whole numbers and booleans in pandas' nullable types, other numbers as floats."""
    known = column.dropna()
    if len(known) and all(isinstance(value, (bool, np.bool_)) for value in known):
        return column.astype("boolean")
    if len(known) and all(isinstance(value, (int, np.integer)) for value in known):
        return column.astype("Int64")
    return column.where(column.notna(), None).infer_objects()


def _runs(trials: pd.DataFrame) -> pd.DataFrame:
    """The full runs of configs that the search ran in full."""
    full = trials[is_full(trials)]
    search = full.loc[full["role"] == "search", "config_id"]
    return full[full["role"].isin(["search", "finalist"]) & full["config_id"].isin(search)]


def _facts(sweep: Searched, dataset: str, design: Design, rows: pd.DataFrame) -> _Facts:
    described: dict[str, object] = {}
    if sweep.datasets is not None:
        of = sweep.datasets[sweep.datasets["dataset"] == dataset]
        if len(of):
            described = {str(column): value for column, value in of.iloc[-1].items()}
    meta = {
        column: float(value)
        for column, value in described.items()
        if column not in NO_FEATURES and isinstance(value, (int, float, np.number, np.bool_))
    }
    teacher = meta.get("teacher_score", np.nan)
    if np.isnan(teacher) and "teacher_score" in rows:
        teacher = float(rows["teacher_score"].astype(float).median())
    search = rows[rows["role"] == "search"]
    given = described.get("source")
    # A name that stands in several sweeps is one source, whatever else is known.
    source = given if isinstance(given, str) and given else grouped([dataset])[0]
    here = sweep.trials["dataset"] == dataset
    return _Facts(
        design=design,
        early=early_scores(sweep.trials[here], sweep.epochs),
        noise=noise_of(rows),
        teacher=teacher,
        steered=int(search.loc[search["origin"] != "prior", "config_id"].nunique()),
        meta=meta,
        source=source,
    )
