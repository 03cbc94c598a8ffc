"""How a sweep stands: its pace, what is left, what runs or is lost, what failed of which cause.

All of it comes from rows, so that any machine which sees the store can say it. Clocks of machines may differ
by a little: nothing here is finer than a minute.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from distiller.results.early_end import EarlyEnd, recorded_end
from distiller.results.entries import is_full
from distiller.results.failures import Failure, failures
from distiller.results.finalists import finalists_of
from distiller.results.frozen import frozen_sweep, is_over
from distiller.results.leaderboard import DatasetBoard, boards
from distiller.results.store import Row, Store
from distiller.spaces.presets import BASELINES
from distiller.spaces.sweep import SweepConfig

LAST_WHILE = timedelta(hours=1)
PAUSE = timedelta(minutes=1)
"""Between two trials, longer than this without any that runs is no part of the time that the pace is of."""
TIMES_LONGEST = 4
"""An attempt that takes so many times the longest trial that ended on its dataset looks dead."""
LEAST_SILENCE = timedelta(minutes=5)
"""No attempt looks dead before: storage may be away for a while, a node's first trial fills its caches."""
SILENCE_UNKNOWN = timedelta(hours=1)
"""After this, an attempt looks dead where no trial of its dataset has ended yet."""

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Pace:
    """Trials an hour, counted over the hours in which some trial ran.

    Attributes:
        overall: since the sweep began; None before the first trial has ended.
        recent: over the last of those hours; None where nothing ended in the last hour.
        at_a_time: trials that ran at a time in the last hour, on average.
    """

    overall: float | None
    recent: float | None
    at_a_time: float | None


@dataclass(frozen=True)
class Attempt:
    """A trial that was started and has not ended.

    Attributes:
        seconds: since it started.
        looks_dead: it takes so long that its worker is probably gone.
    """

    trial: str
    attempt: int
    host: str | None
    started_at: datetime
    seconds: float
    looks_dead: bool

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"started_at": self.started_at.isoformat()}


@dataclass(frozen=True)
class Left:
    """Trials of a dataset that are to come, by step, as far as that is known beforehand (`search` at most).

    Attributes:
        prepared: whether the dataset and its teachers are.
        search, full: trials of the search; finalists and baselines, which run the whole budget.
        step: what the dataset is at, in words.
    """

    prepared: bool
    search: int
    full: int
    step: str


@dataclass(frozen=True)
class Standing:
    """One look at a sweep.

    Attributes:
        at: when it was taken.
        over: whether every trial has ended.
        last_row: when something last started or ended; None before anything did.
        seconds_left: at the present pace; 0 once it is over, None where nobody can tell.
        left: by dataset; None where the results came without the sweep's file.
        ended_early: by dataset, where its search did.
    """

    sweep: str
    at: datetime
    over: bool
    last_row: datetime | None
    pace: Pace
    seconds_left: float | None
    left: Mapping[str, Left] | None
    running: tuple[Attempt, ...]
    failures: tuple[Failure, ...]
    boards: tuple[DatasetBoard, ...]
    ended_early: Mapping[str, EarlyEnd]

    @property
    def alive(self) -> list[Attempt]:
        """Attempts that do not look dead."""
        return [one for one in self.running if not one.looks_dead]

    @property
    def waits_for(self) -> list[str]:
        """What is to come, one line a dataset; or why nothing comes."""
        if self.over:
            return ["nothing: every trial has ended"]
        said = [] if self.left is None else [f"{dataset}: {one.step}" for dataset, one in self.left.items()]
        if not self.alive and self.last_row is not None and self.at - self.last_row > LEAST_SILENCE:
            since = self.last_row.isoformat(" ", "minutes")
            said.insert(0, f"a launch: no trial seems to run, and no row came since {since}; launch it again")
        return said

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them."""
        return {
            "sweep": self.sweep,
            "at": self.at.isoformat(),
            "over": self.over,
            "last_row": self.last_row.isoformat() if self.last_row else None,
            "trials_an_hour": {"overall": self.pace.overall, "last_hour": self.pace.recent},
            "trials_at_a_time": self.pace.at_a_time,
            "seconds_left": self.seconds_left,
            "waits_for": self.waits_for,
            "running_or_lost": len(self.running),
            "attempts": [one.to_dict() for one in self.running],
            "failures": [one.to_dict() for one in self.failures],
            "datasets": [board.to_dict() | {"ended_early": self._early(board)} for board in self.boards],
        }

    def _early(self, board: DatasetBoard) -> dict[str, Any] | None:
        end = self.ended_early.get(board.dataset)
        return None if end is None else vars(end)


def standing(store: Store, sweep: str) -> Standing:
    """How a sweep stands now; InputError where there is no such sweep."""
    trials, attempts, datasets = (
        store.read(table, sweep).to_pylist() for table in ("trials", "attempts", "datasets")
    )
    ended = sum(row["role"] != "ablation" for row in trials)
    over, frozen = is_over(store, sweep, ended), frozen_sweep(store, sweep)
    names = dict.fromkeys([*(frozen.datasets if frozen else ()), *(row["dataset"] for row in trials)])
    ends = {name: end for name in names if (end := recorded_end(store, sweep, name)) is not None}
    return standing_of(sweep, trials, attempts, datasets, frozen, over, datetime.now(UTC), ends)


def standing_of(
    name: str,
    trials: Sequence[Row],
    attempts: Sequence[Row],
    datasets: Sequence[Row],
    sweep: SweepConfig | None,
    over: bool,
    at: datetime,
    ends: Mapping[str, EarlyEnd] = MappingProxyType({}),
) -> Standing:
    """The same from rows of its tables, and searches that ended early."""
    running = _running(trials, attempts, at)
    spans = [(row["started_at"], row["ended_at"]) for row in trials if row["started_at"] and row["ended_at"]]
    now_running = [(one.started_at, at) for one in running if not one.looks_dead]
    pace = pace_of(spans, now_running, at)
    left = None
    if sweep:
        left = {d: _left(d, sweep, trials, attempts, datasets, ends.get(d)) for d in sweep.datasets}
    moments = [row["started_at"] for row in attempts if row["started_at"]] + [end for _, end in spans]
    return Standing(
        sweep=name,
        at=at,
        over=over,
        last_row=max(moments, default=None),
        pace=pace,
        seconds_left=0.0 if over else _seconds_left(left, trials, running, pace),
        left=left,
        running=tuple(running),
        failures=tuple(failures(trials)),
        boards=tuple(boards(trials, datasets, sweep)),
        ended_early=ends,
    )


def pace_of(ended: Sequence[Span], running: Sequence[Span], at: datetime) -> Pace:
    """The pace of trials that `ended`, from start to end each, while others are `running` up to `at`."""
    covered = merged([*ended, *running])
    total = sum(((end - start) for start, end in covered), timedelta())
    if not ended or not total:
        return Pace(None, None, None)
    since = at - LAST_WHILE
    lately = sum((_overlap(span, since, at) for span in covered), timedelta())
    busy = sum((_overlap(span, since, at) for span in [*ended, *running]), timedelta())
    recent = sum(since < end <= at for _, end in ended)
    hour = timedelta(hours=1)
    return Pace(
        len(ended) / (total / hour),
        recent / (lately / hour) if recent and lately else None,
        busy / lately if lately else None,
    )


def merged(spans: Iterable[Span]) -> list[Span]:
    """The time that spans cover, as spans apart from each other by more than `PAUSE`."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start - found[-1][1] <= PAUSE:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, max(start, end)))
    return found


def _overlap(span: Span, since: datetime, until: datetime) -> timedelta:
    return max(timedelta(), min(span[1], until) - max(span[0], since))


def _running(trials: Sequence[Row], attempts: Sequence[Row], at: datetime) -> list[Attempt]:
    """The latest attempt of every trial without a terminal row, the oldest first."""
    ended = {row["trial_id"] for row in trials}
    latest: dict[str, Row] = {}
    for row in sorted(attempts, key=lambda row: int(row["attempt"])):
        if row["trial_id"] not in ended:
            latest[row["trial_id"]] = row
    longest: dict[str, float] = {}
    for row in trials:
        longest[row["dataset"]] = max(longest.get(row["dataset"], 0.0), row["wall_seconds"] or 0.0)
    found = []
    for name, row in latest.items():
        started = row["started_at"] or at
        silence = SILENCE_UNKNOWN
        if row["dataset"] in longest:
            silence = max(LEAST_SILENCE, timedelta(seconds=TIMES_LONGEST * longest[row["dataset"]]))
        age = max(timedelta(), at - started)
        found.append(
            Attempt(name, row["attempt"], row.get("host"), started, age.total_seconds(), age > silence)
        )
    return sorted(found, key=lambda one: (one.started_at, one.trial))


def _left(
    dataset: str,
    sweep: SweepConfig,
    trials: Sequence[Row],
    attempts: Sequence[Row],
    datasets: Sequence[Row],
    end: EarlyEnd | None,
) -> Left:
    """What a dataset has before it: references, the search, finalists, then baselines, one after another."""
    rows = [row for row in trials if row["dataset"] == dataset]
    begun = [row for row in attempts if row["dataset"] == dataset]
    final = sweep.search.finalists
    winners = min(final.top, 1) * final.seeds
    tested = len(BASELINES) * winners + (winners if final.top > 1 else 0)
    asked = sweep.search.trials - (end.fewer if end else 0)
    after_search = any(
        row["role"] == "finalist" or (row["role"] == "baseline" and row["seed"] != sweep.search.seed)
        for row in begun
    )
    ended = {role: sum(row["role"] == role for row in rows) for role in ("search", "finalist")}
    again = sum(row["role"] == "baseline" and row["seed"] != sweep.search.seed for row in rows)
    search = 0 if after_search else max(0, asked - ended["search"])
    candidates = final.top
    if search == 0:
        candidates = len(finalists_of([row for row in rows if row["role"] == "search"], sweep.search)[0])
    finalists = max(0, candidates * final.seeds - ended["finalist"])
    baselines = max(0, tested - again) if candidates else 0
    prepared = any(row["dataset"] == dataset for row in datasets)
    if not prepared:
        step = "its teachers and their outputs"
    elif search == asked and not any(row["role"] == "search" for row in begun):
        step = "the students without a teacher, then the search"
    elif search:
        step = f"the search, {search} of {asked} trials at most to end"
    elif finalists:
        step = f"finalists, {finalists} of {candidates * final.seeds} runs to end"
    elif baselines:
        step = f"the winner's baselines, {baselines} runs at most to end"
    else:
        step = "nothing more"
    return Left(prepared, search, finalists + baselines, step)


def _seconds_left(
    left: Mapping[str, Left] | None, trials: Sequence[Row], running: Sequence[Attempt], pace: Pace
) -> float | None:
    """What is to come, each trial as long as those before it, as many at a time as lately."""
    if left is None or not pace.at_a_time or not all(one.prepared for one in left.values()):
        return None
    seconds = 0.0
    for dataset, one in left.items():
        mine = [row for row in trials if row["dataset"] == dataset] or trials
        search = _mean_seconds(row for row in mine if row["role"] == "search") or _mean_seconds(mine)
        full = _mean_seconds(row for row in mine if is_full(row)) or search
        if search is None or full is None:
            return None
        seconds += one.search * search + one.full * full
    seconds -= sum(one.seconds for one in running if not one.looks_dead)  # they are among those to come
    return max(0.0, seconds) / pace.at_a_time


def _mean_seconds(rows: Iterable[Row]) -> float | None:
    known = [row["wall_seconds"] for row in rows if row["wall_seconds"] is not None]
    return statistics.fmean(known) if known else None
