"""When a trial that reached a rung is stopped: ASHA, Hyperband, PASHA and the median rule, of one dataset."""

from __future__ import annotations

import statistics
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from distiller.spaces.search import Hyperband, MedianStopping, Pasha, Scheduler

Curve = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Reached:
    """A trial at a rung.

    Attributes:
        trial: its name in this launch; one that is tried again keeps it.
        rung: number of the rung, the lowest is 0; the full budget is never reported.
        curve: (step, score) of all evaluations so far, those before the trial predicts left out.
    """

    trial: str
    config_id: str
    rung: int
    score: float
    curve: Curve = ()


class StoppingRule(Protocol):
    """Compares trials of one dataset. What it is asked about it remembers, whatever it answers."""

    def stops(self, reached: Reached) -> bool:
        """Whether the trial ends here; one that went on from a rung before goes on from it again."""
        ...


def make_rule(scheduler: Scheduler | None, rungs: int) -> StoppingRule:
    """The rule that a sweep asks for; `rungs` counts the full budget, the highest of them."""
    if scheduler is None:
        return NeverStops()
    if isinstance(scheduler, MedianStopping):
        return MedianRule(scheduler.min_trials)
    if isinstance(scheduler, Hyperband):
        return HyperbandRule(rungs, scheduler.reduction)
    if isinstance(scheduler, Pasha):
        return PashaRule(rungs, scheduler.reduction)
    return AshaRule(rungs, scheduler.reduction)


class NeverStops:
    """Every trial runs in full."""

    def stops(self, reached: Reached) -> bool:
        return False


@dataclass(frozen=True)
class _Named:
    trial_id: str


class AshaRule:
    """Ray's ASHA, the variant that stops: below the (1 - 1 / reduction) quantile of the rung's scores so far.

    Rung i is time reduction ** i.
    """

    def __init__(self, rungs: int, reduction: int):
        self.reduction = reduction
        self.known: set[str] = set()
        self.asha: Any = AsyncHyperBandScheduler(
            time_attr="time",
            metric="score",
            mode="max",
            grace_period=1,
            reduction_factor=reduction,
            # Ray takes a logarithm of this: half a unit more keeps it from rounding a rung away.
            max_t=reduction ** (rungs - 1) + 0.5,
        )

    def stops(self, reached: Reached) -> bool:
        trial = _Named(reached.trial)
        if reached.trial not in self.known:
            self.known.add(reached.trial)
            self.asha.on_trial_add(None, trial)
        said = {"time": self.reduction**reached.rung, "score": reached.score}
        return bool(self.asha.on_trial_result(None, trial, said) == TrialScheduler.STOP)


class HyperbandRule:
    """Brackets of ASHA: bracket b compares from rung b on, the last one never (Li et al. 2018, algorithm 1).

    Of n brackets, bracket b gets a share of the trials proportional to reduction^s / (s + 1), s = n - 1 - b:
    the sizes for which all brackets spend the same. Which bracket a config belongs to follows from its id,
    so that a relaunch finds every trial where it was.
    """

    def __init__(self, rungs: int, reduction: int):
        self.brackets: list[StoppingRule] = [AshaRule(rungs - b, reduction) for b in range(rungs - 1)]
        self.brackets.append(NeverStops())
        sizes = np.array([float(reduction) ** s / (s + 1) for s in reversed(range(rungs))])
        self.ends = np.cumsum(sizes / sizes.sum())

    def bracket(self, config_id: str) -> int:
        """The number of a config's bracket."""
        place = int(config_id, 16) / 16 ** len(config_id)
        return min(int(np.searchsorted(self.ends, place, side="right")), len(self.brackets) - 1)

    def stops(self, reached: Reached) -> bool:
        number = self.bracket(reached.config_id)
        if reached.rung < number:
            return False
        inside = Reached(reached.trial, reached.config_id, reached.rung - number, reached.score)
        return self.brackets[number].stops(inside)


class PashaRule:
    """ASHA below a highest rung that rises while rankings change (Bohdal et al. 2023, algorithm 1).

    It begins with two rungs. Whenever a trial reaches the highest, the trials there are ranked; where the
    ranking is not that of the rung below, up to differences of epsilon, the next rung opens. Epsilon is their
    section 4.2: the 90th percentile of the distances of those pairs whose order changed and changed back.

    Departure: they pause trials and promote them later. Here a trial that is stopped at the highest rung of
    its time stays stopped, and only later ones go beyond.
    """

    def __init__(self, rungs: int, reduction: int):
        self.asha = AshaRule(rungs, reduction)
        self.last = rungs - 1
        self.top = min(1, self.last)
        self.scores: list[dict[str, float]] = [{} for _ in range(self.last)]
        self.curves: dict[str, Curve] = {}

    def stops(self, reached: Reached) -> bool:
        trial, rung = reached.trial, reached.rung
        if trial in self.scores[rung]:
            return False
        weak = self.asha.stops(reached)
        self.scores[rung][trial] = reached.score
        self.curves[trial] = reached.curve
        if rung == self.top and not self.stable():
            self.top += 1
        return weak or rung >= self.top

    def stable(self) -> bool:
        """Whether the highest rung ranks its trials as the rung below, softly."""
        below, top = self.scores[self.top - 1], self.scores[self.top]
        both = [trial for trial in top if trial in below]
        epsilon = noise([self.curves[trial] for trial in both])
        return same_ranking({t: below[t] for t in both}, {t: top[t] for t in both}, epsilon)


def same_ranking(below: Mapping[str, float], top: Mapping[str, float], epsilon: float) -> bool:
    """Whether at every rank of `top` stands a trial that in `below` scores within `epsilon` of the one
    of that rank there (Bohdal et al. 2023, section 4.1)."""
    order = sorted(below, key=lambda trial: -below[trial])
    now = sorted(top, key=lambda trial: -top[trial])
    return all(abs(below[a] - below[b]) <= epsilon for a, b in zip(now, order, strict=True))


def noise(curves: Sequence[Curve]) -> float:
    """The 90th percentile of |f_j(c) - f_j(c')| at the last common step j, over pairs of curves for which
    steps j > k > l exist with c ahead at j and l and behind at k; 0 where there is no such pair."""
    distances = []
    for one, other in combinations(curves, 2):
        first, second = dict(one), dict(other)
        signs = [np.sign(first[step] - second[step]) for step in sorted(first.keys() & second.keys())]
        if not signs or signs[-1] == 0:
            continue
        behind = [place for place, sign in enumerate(signs) if sign == -signs[-1]]
        if behind and signs[-1] in signs[: behind[-1]]:
            step = max(first.keys() & second.keys())
            distances.append(abs(first[step] - second[step]))
    return float(np.percentile(distances, 90)) if distances else 0.0


class MedianRule:
    """Stops a trial whose best score is below the median of what others had on average (Golovin et al. 2017,
    section 3.2.2), as Ray's `MedianStoppingRule`, but never paused. Others are all that came as far."""

    def __init__(self, min_trials: int):
        self.min_trials = min_trials
        self.means: dict[int, list[float]] = {}
        self.scores: dict[str, dict[int, float]] = {}

    def stops(self, reached: Reached) -> bool:
        scores = self.scores.setdefault(reached.trial, {})
        if reached.rung in scores:
            return False
        scores[reached.rung] = reached.score
        others = self.means.setdefault(reached.rung, [])
        enough = len(others) >= self.min_trials
        stops = enough and max(scores.values()) < statistics.median(others)
        insort(others, statistics.fmean(scores.values()))
        return stops
