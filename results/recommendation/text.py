"""The evaluation of the recommenders for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from distiller.results.fitted import Fitted
from distiller.results.recommendation.choose import Chosen
from distiller.results.recommendation.evaluation import KS, Evaluation, Measure, Result

NOTHING = "-"


def render_evaluation(found: Evaluation, chosen: Chosen) -> RenderableType:
    """What each recommender loses, what that rests on, and which one is taken."""
    groups = "; ".join(
        name if members == (name,) else f"{name} ({', '.join(members)})"
        for name, members in found.groups.items()
    )
    parts: list[RenderableType] = [
        Text(f"leaving out one of {len(found.groups)} groups of datasets at a time", style="bold"),
        Text(f"{found.configs} configs, {found.trials} full runs; groups: {groups}", style="dim"),
        Text(
            "\nregret of the best of the first k (0: the dataset's best config, 1: its median), 95% intervals"
        ),
        _by_k(found, lambda one: one.regret, _three),
    ]
    asking, less = [one for one in found.results if one.probes], ""
    if asking:
        less = ", less what the probes cost"
        cost = ", ".join(f"{one.method} {one.probes:.1f}" for one in asking)
        parts += [
            Text(f"\nthe same of k full trials of which the probes are paid ({cost})"),
            _by_k(found, lambda one: one.paid, _three),
        ]
    if any(one.teacher_regret for one in found.results):
        parts += [
            Text("\nthe same loss as a share of the teacher's score"),
            _by_k(found, lambda one: one.teacher_regret, _three),
        ]
    parts += [
        Text(f"\nrandom trials that it takes, on average, to be as good as the first k{less}"),
        _by_k(found, lambda one: one.catch_up, lambda one: _with(one, 1)),
        Text("\nrank correlation of the ranking with the scores"),
        Fitted(
            ["recommender", "correlation", "ranks by"],
            [[one.method, _two(one.correlation), one.says] for one in found.results],
            [False, True, False],
        ),
        Text(f"\ntaken: {chosen.reason}", style="bold"),
    ]
    parts += [Padding(Text(note, style="dim"), (0, 0, 0, 2)) for note in found.notes]
    return Group(*parts)


def _by_k(
    found: Evaluation, of: Callable[[Result], Mapping[int, Measure]], written: Callable[[Measure], str]
) -> Fitted:
    """A row for each recommender, a column for each k."""
    rows = [
        [one.method, *(written(of(one)[k]) if k in of(one) else NOTHING for k in KS)] for one in found.results
    ]
    return Fitted(["recommender", *(f"k = {k}" for k in KS)], rows, [False] + [True] * len(KS))


def _three(one: Measure) -> str:
    return _with(one, 3)


def _two(one: Measure | None) -> str:
    return NOTHING if one is None else _with(one, 2)


def _with(one: Measure, digits: int) -> str:
    return f"{one.value:.{digits}f} ({one.low:.{digits}f} to {one.high:.{digits}f})"
