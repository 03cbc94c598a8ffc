"""How much the recommenders lose on datasets that they have not seen: groups of datasets left out in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from distiller.results.comparison.report import plainly
from distiller.results.recommendation.luck import best_of_random, until_as_good
from distiller.results.recommendation.methods import METHODS, RANDOM
from distiller.results.recommendation.notes import notes
from distiller.results.recommendation.recommender import Method, Recommender
from distiller.results.recommendation.shrinkage import shrunk
from distiller.results.recommendation.table import Floats, Ints, Tried
from distiller.results.recommendation.training import Training
from distiller.spaces.errors import InputError

KS = (1, 3, 5, 10)
DRAWS = 2000
"""Bootstrap samples of groups."""
FEWEST_GROUPS = 2
LEVEL = 0.95
ROUNDING = 0.05
"""Of a trial, that probes may cost more: six of a third of the budget are two, however steps are rounded."""
Interval = tuple[float, float]


@dataclass(frozen=True)
class Measure:
    """A mean over groups of datasets (in a group, over its datasets), with its 95% interval by the bootstrap
    over groups."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OnDataset:
    """One recommender on one dataset that it has not seen. Its candidates are the configs that ran there.

    Attributes:
        regret: by k, what the best of the first k loses against the best of all, in units of what the median
            config loses: 0 is the best, 1 as good as the median.
        teacher_regret: by k, the same as a share of the teacher's score; None where that is unknown.
        correlation: Spearman's, of the ranking and the scores; 0 for random, None where all scores are equal.
        probes: what its probes cost, in full trials: so many times the share of the budget that each ran.
        paid: by k, the regret of what k full trials buy where the probes are paid from them: of the best of
            the first k - `probes`, rounded down; without any k of which the probes leave nothing.
        catch_up: by k, the random trials that it takes on average to be as good as the first k, less
            `probes`, for which random search could have run as many.
        reached: the scores of the first `KS[-1]`, in order, as shares of the teacher's; empty where that is
            unknown, and for random.
        expected: the same as the other datasets had it (`Training.of_teacher`); empty where they do not say.
    """

    dataset: str
    group: str
    regret: Mapping[int, float]
    teacher_regret: Mapping[int, float] | None
    correlation: float | None
    probes: float
    paid: Mapping[int, float]
    catch_up: Mapping[int, float]
    reached: tuple[float, ...] = ()
    expected: tuple[float, ...] = ()


@dataclass(frozen=True)
class Result:
    """One recommender over all datasets; fields as in `OnDataset`.

    Attributes:
        teacher_regret: over the datasets whose teacher's score is known; empty without any.
        correlation: None where no dataset has one.
        probes: mean over groups of datasets, in full trials.
        paid: by those k of which the probes leave something on every dataset.
    """

    method: str
    says: str
    regret: Mapping[int, Measure]
    teacher_regret: Mapping[int, Measure]
    correlation: Measure | None
    probes: float
    paid: Mapping[int, Measure]
    catch_up: Mapping[int, Measure]
    datasets: tuple[OnDataset, ...]


@dataclass(frozen=True)
class Evaluation:
    """All recommenders on the same datasets.

    Attributes:
        results: in the order of `METHODS`.
        groups: names of datasets by group, each left out as a whole.
        configs, trials: distinct configs, and their full runs.
        notes: what to know of the figures, one sentence each.
    """

    results: tuple[Result, ...]
    groups: Mapping[str, tuple[str, ...]]
    configs: int
    trials: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them; results by name."""
        plain: dict[str, Any] = plainly(vars(self))
        plain["recommenders"] = {one.pop("method"): one for one in plain.pop("results")}
        return plain


def evaluate(
    tried: Tried,
    methods: Sequence[Method] = METHODS,
    *,
    seed: int = 0,
    said: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Leave one group of datasets out, fit to the others, rank what ran on the datasets left out; each group.

    A method that asks for probes is left out, and a note says so, unless two groups have early scores.

    Args:
        seed: same input, same answer.
        said: told which group is left out.

    Raises:
        InputError: there are less than two groups.
    """
    groups = sorted(set(tried.groups))
    if len(groups) < FEWEST_GROUPS:
        raise InputError(
            f"{', '.join(tried.datasets)}: all of one group ({groups[0]}), so none can be left out; "
            "launch or import other datasets too, or say which belong together"
        )
    curves = len({g for g, share in zip(tried.groups, tried.fidelity, strict=True) if share > 0})
    unable = [method.name for method in methods if method.asks and curves < FEWEST_GROUPS]
    methods = [method for method in methods if method.name not in unable]
    found: dict[str, list[OnDataset]] = {method.name: [] for method in methods}
    for group in groups:
        said(f"leaving out {group}")
        training = Training(tried.without(group), seed)
        members = [j for j, name in enumerate(tried.groups) if name == group]
        for method in methods:
            recommender = method.fit(training)
            for j in members:
                if method.name == RANDOM:
                    found[method.name].append(_by_chance(tried, j))
                    continue
                order, cost = _asked(recommender, tried, j)
                on = _measured(tried, j, order.tolist(), cost)
                if on.reached:
                    first = tried.configs.iloc[tried.of(j)[order[: len(on.reached)]]]
                    if np.isfinite(expected := training.of_teacher(first)).all():
                        on = replace(on, expected=tuple(expected.tolist()))
                found[method.name].append(on)
    results = tuple(_result(method, found[method.name], seed) for method in methods)
    probes = {one.method: one.probes for method, one in zip(methods, results, strict=True) if method.asks}
    return Evaluation(
        results=results,
        groups={
            g: tuple(d for d, of in zip(tried.datasets, tried.groups, strict=True) if of == g) for g in groups
        },
        configs=len(tried.configs),
        trials=tried.trials,
        notes=notes(tried, len(groups), unable, probes),
    )


def _asked(recommender: Recommender, tried: Tried, dataset: int) -> tuple[Ints, float]:
    """Its ranking of the configs that ran there, and what its probes cost in full trials; of the dataset's
    scores it sees the early ones of its probes alone."""
    rows, target = tried.of(dataset), tried.target(dataset)
    candidates, known = tried.configs.iloc[rows], tried.early[rows, dataset]
    able = np.flatnonzero(~np.isnan(known))
    probes = able[recommender.probes(candidates.iloc[able], target)]
    if not len(probes):
        return recommender.rank(candidates, target).order, 0.0
    early = np.full(len(rows), np.nan)
    early[probes] = known[probes]
    return recommender.rank(candidates, target, early).order, len(probes) * float(tried.fidelity[dataset])


def worth(tried: Tried, dataset: int) -> Floats:
    """[configs that ran there] their scores; where the noise is known, without the optimism of the best of
    noisy runs."""
    rows = tried.of(dataset)
    score, noise = tried.score[rows, dataset], float(tried.noise[dataset])
    return score if np.isnan(noise) else shrunk(score, tried.repeats[rows, dataset], noise)


def _measured(tried: Tried, dataset: int, order: list[int], probes: float) -> OnDataset:
    scores = worth(tried, dataset)
    reached = np.maximum.accumulate(scores[order])

    def after(trials: int) -> float:
        return float(reached[min(trials, len(reached)) - 1])

    correlation = None
    if np.ptp(scores) > 0:
        place = np.empty(len(order))
        place[order] = np.arange(len(order))
        correlation = float(stats.spearmanr(-place, scores).statistic)
    catch_up = {k: until_as_good(scores, after(k)) - probes for k in KS}
    on = _on_dataset(tried, dataset, scores, after, correlation, catch_up, probes)
    if on.teacher_regret is None:
        return on
    first = scores[order[: KS[-1]]] / tried.teacher[dataset]
    return replace(on, reached=tuple(first.tolist()))


def _by_chance(tried: Tried, dataset: int) -> OnDataset:
    """Expected over all orders; random search is as good as itself after k trials."""
    scores = worth(tried, dataset)
    catch_up = {k: float(min(k, len(scores))) for k in KS}
    correlation = 0.0 if np.ptp(scores) > 0 else None
    return _on_dataset(
        tried, dataset, scores, lambda k: best_of_random(scores, k), correlation, catch_up, 0.0
    )


def _on_dataset(
    tried: Tried,
    dataset: int,
    scores: Floats,
    after: Callable[[int], float],
    correlation: float | None,
    catch_up: Mapping[int, float],
    probes: float,
) -> OnDataset:
    """Of `after` so many trials the best score is known."""
    top, teacher = float(scores.max()), float(tried.teacher[dataset])
    median = top - float(np.median(scores))

    def regret(trials: int) -> float:
        return (top - after(trials)) / median if median > 0 else 0.0

    left = {k: int(k - probes + ROUNDING) for k in KS}
    return OnDataset(
        dataset=tried.datasets[dataset],
        group=tried.groups[dataset],
        regret={k: regret(k) for k in KS},
        teacher_regret={k: (top - after(k)) / teacher for k in KS} if teacher > 0 else None,
        correlation=correlation,
        probes=probes,
        paid={k: regret(trials) for k, trials in left.items() if trials >= 1},
        catch_up=catch_up,
    )


def _result(method: Method, on: Sequence[OnDataset], seed: int) -> Result:
    known = [one for one in on if one.teacher_regret is not None]
    related = [one for one in on if one.correlation is not None]
    return Result(
        method=method.name,
        says=method.says,
        regret={k: _measure([(one.group, one.regret[k]) for one in on], seed) for k in KS},
        teacher_regret={
            k: _measure([(one.group, one.teacher_regret[k]) for one in known if one.teacher_regret], seed)
            for k in KS
            if known
        },
        correlation=_measure([(one.group, one.correlation or 0.0) for one in related], seed)
        if related
        else None,
        probes=float(group_means([(one.group, one.probes) for one in on]).mean()),
        paid={
            k: _measure([(one.group, one.paid[k]) for one in on], seed)
            for k in KS
            if all(k in one.paid for one in on)
        },
        catch_up={k: _measure([(one.group, one.catch_up[k]) for one in on], seed) for k in KS},
        datasets=tuple(on),
    )


def group_means(values: Sequence[tuple[str, float]]) -> Floats:
    """[groups] in the order of their names, the mean of each one's datasets."""
    names = sorted({group for group, _ in values})
    return np.array([np.mean([value for group, value in values if group == name]) for name in names])


def _measure(values: Sequence[tuple[str, float]], seed: int) -> Measure:
    means = group_means(values)
    drawn = np.random.default_rng(seed).integers(len(means), size=(DRAWS, len(means)))
    low, high = np.quantile(means[drawn].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Measure(float(means.mean()), float(low), float(high))
