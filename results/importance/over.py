"""Importance over several datasets: the mean of their shares, and how far they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from distiller.results.importance.estimate import SHARE_NEEDED, SIGNIFICANCE
from distiller.results.importance.report import Importance, Interval, PairShare, StageShare, SubsetShare

ALL = "(all datasets)"
"""The key of their mean beside the datasets' names, of which none has a bracket."""


def over_datasets(found: Mapping[str, Importance]) -> Importance | None:
    """The mean over the datasets whose verdict is ok; None where those that have shares are fewer than two.

    Each dataset counts the same. An interval of a mean is for these datasets, from those of the single
    shares, whose errors are independent; what other datasets would say is not in it. A stage is influential
    that is shown to have an effect on more than half of them, by the same level as on one dataset.
    """
    told = {name: one for name, one in found.items() if one.stages}
    sure = {name: one for name, one in told.items() if one.verdict == "ok"}
    if len(told) < 2 or len({frozenset(s.stage for s in one.stages) for one in told.values()}) > 1:
        return None
    used = sure or told
    names = [stage.stage for stage in next(iter(used.values())).stages]
    stages = [_mean([_stage(one, name) for one in used.values()], len(names)) for name in names]
    sure_of_two = len(sure) >= 2
    if not sure_of_two:
        stages = [replace(stage, influential=False) for stage in stages]
    needed = more_than_half(len(used))
    subsets = _subsets(list(used.values()))
    without = [name for name, one in used.items() if any(s.main_interval is None for s in one.stages)]
    counted = {
        part: sum(getattr(one, part) for one in used.values())
        for part in ("trials", "full", "failed", "from_prior")
    }
    return Importance(
        verdict="ok" if sure_of_two else "cannot tell",
        reason=f"the mean over {', '.join(used)}" + ("" if sure_of_two else "; fewer than two can be read"),
        caution=(
            _spread(used, names),
            f"Influential is what is shown to have an effect on at least {needed} of {len(used)} datasets.",
            *([f"No intervals are given: {', '.join(without)} has none."] if without else []),
        ),
        trials=counted["trials"],
        full=counted["full"],
        failed=counted["failed"],
        from_prior=counted["from_prior"],
        surrogate=None,
        r2=fmean(one.r2 for one in used.values() if one.r2 is not None),
        r2_low=None,
        r2_of={},
        measured_on=None,
        noise_share=_known([one.noise_share for one in used.values()]),
        noise_repeats=sum(one.noise_repeats for one in used.values()),
        stages=tuple(sorted(stages, key=lambda s: (not s.influential, -s.total))),
        pairs=tuple(PairShare((s.stages[0], s.stages[1]), s.share) for s in subsets if len(s.stages) == 2),
        subsets=subsets,
        parameters=(),
        top=None,
    )


def partial_conjunction(p_values: Sequence[float], needed: int) -> float:
    """P value of "fewer than `needed` of these have an effect", from one of "no effect" for each.

    Benjamini & Heller 2008, "Screening for Partial Conjunction Hypotheses", Biometrics 64(4): in the form
    that combines the largest n - u + 1 by Bonferroni, p = (n - u + 1) p_(u), which holds whatever the
    dependence; u = n is the largest p value, u = 1 Bonferroni's of "none has an effect".
    """
    if not 1 <= needed <= len(p_values):
        raise ValueError(f"needed {needed} is not between 1 and {len(p_values)}, the number of p values")
    return min(1.0, (len(p_values) - needed + 1) * sorted(p_values)[needed - 1])


def more_than_half(number: int) -> int:
    """The least count that is more than half of `number`."""
    return number // 2 + 1


def _stage(one: Importance, name: str) -> StageShare:
    return next(stage for stage in one.stages if stage.stage == name)


def _mean(stages: Sequence[StageShare], searched: int) -> StageShare:
    p_value = partial_conjunction([stage.p_value for stage in stages], more_than_half(len(stages)))
    main, total = fmean(s.main for s in stages), fmean(s.total for s in stages)
    return StageShare(
        stages[0].stage,
        main=main,
        total=total,
        shapley=fmean(s.shapley for s in stages),
        main_interval=_interval(main, [(s.main, s.main_interval) for s in stages]),
        total_interval=_interval(total, [(s.total, s.total_interval) for s in stages]),
        influential=p_value < SIGNIFICANCE / searched and total >= SHARE_NEEDED,
        p_value=p_value,
    )


def _interval(mean: float, shares: Sequence[tuple[float, Interval | None]]) -> Interval | None:
    """Half widths of independent intervals add up in squares, either side for itself."""
    below, above = 0.0, 0.0
    for share, interval in shares:
        if interval is None:
            return None
        below += (share - interval[0]) ** 2
        above += (interval[1] - share) ** 2
    return max(0.0, mean - math.sqrt(below) / len(shares)), min(1.0, mean + math.sqrt(above) / len(shares))


def _spread(found: Mapping[str, Importance], names: Sequence[str]) -> str:
    """The range of each stage's total share over datasets, in words."""
    said = []
    for name in names:
        shares = {dataset: _stage(one, name).total for dataset, one in found.items()}
        least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        said.append(f"{name} {shares[least]:.0%} ({least}) to {shares[most]:.0%} ({most})")
    return "Total shares differ between datasets: " + "; ".join(said) + "."


def _known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _subsets(found: Sequence[Importance]) -> tuple[SubsetShare, ...]:
    shares: dict[frozenset[str], list[SubsetShare]] = {}
    for subset in (subset for one in found for subset in one.subsets):
        shares.setdefault(frozenset(subset.stages), []).append(subset)
    means = [SubsetShare(some[0].stages, fmean(s.share for s in some)) for some in shares.values()]
    return tuple(sorted(means, key=lambda subset: -subset.share))
