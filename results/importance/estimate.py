"""From rows of the trials table to importance, with a verdict on whether they can carry it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from distiller.results.design import Design
from distiller.results.importance.evidence import (
    ENOUGH_CONFIGS,
    ENOUGH_FULL,
    Evidence,
    configs,
    cross_validate,
    measured_on,
)
from distiller.results.importance.linear import Basis
from distiller.results.importance.report import (
    Importance,
    Interval,
    PairShare,
    StageShare,
    SubsetShare,
    Verdict,
)
from distiller.results.importance.rows import Rows, read_rows
from distiller.results.importance.shares import ENOUGH_STEPS, Shares, shares, subsets
from distiller.results.importance.top import TopShare, top_share

FEWEST = 10
"""Trials below which nothing is fitted."""
R2_NEEDED = 0.1
SHARE_NEEDED = 0.02
"""An effect smaller than the surrogate's own error in shares is not called influential."""
SIGNIFICANCE = 0.01
"""Chance, over all stages of a dataset, to call one influential that is not (Bonferroni)."""
ENOUGH_SEEN = 3.0
"""Full runs must differ in a stage's effect as much as so many draws from the prior, else its size at the
full budget is an extrapolation."""
NULL = 0.05
"""An interval begins at 0 where "no effect" has at least this p value."""


def importance(
    trials: pd.DataFrame,
    design: Design,
    *,
    epochs: pd.DataFrame | None = None,
    seed: int = 0,
    intervals: bool = True,
    threads: int = 1,
) -> Importance:
    """Shares of the variance of the score at full budget, under the prior of `design`.

    Args:
        trials: rows of one dataset from the trials table; only `role` = search counts.
        design: what the dataset was searched over, whose prior is the measure.
        epochs: the same trials' learning curves, which keep trials that were stopped early from misleading.
        seed: of the folds, the reference sample and the draws; same input, same answer.
        intervals: whether to draw from the uncertainty of the shares.
        threads: of the trees' training; the answer does not depend on them.

    Raises:
        InputError: a column is missing, or there are several datasets.
    """
    rows = read_rows(trials, design, epochs)
    if rows.trials < FEWEST:
        what = f"{rows.trials} trials with a score are too few (at least {FEWEST} are needed to fit)"
        return _nothing(rows, what)
    if np.ptp(rows.score) == 0:
        return _nothing(rows, "all scores are equal")
    if not rows.stages:
        return _nothing(rows, "nothing is searched: every parameter is a constant")
    some = rows.full & rows.prior
    top = top_share(rows.frame[some], rows.score[some], design)
    if few := _too_few_full(rows):
        return _nothing(rows, few, top=top)
    if np.ptp(rows.score[rows.full]) == 0:
        return _nothing(rows, "all scores of full runs are equal")
    basis = Basis.of(design, rows)
    evidence = cross_validate(rows, basis, seed=seed, threads=threads)
    found = shares(rows, design, basis, evidence, seed=seed, intervals=intervals, threads=threads)
    if found is None:
        return _nothing(rows, "the surrogate finds no difference between configs", evidence, top)
    stages = _stage_shares(list(rows.stages), found)
    unseen = {stage for stage, seen in zip(rows.stages, found.seen, strict=True) if seen < ENOUGH_SEEN}
    verdict, reason = judge(rows, evidence, stages, unseen)
    warnings = caution(rows, evidence, stages, intervals, found.unpredicted, unseen)
    if verdict != "ok":
        stages = [replace(share, influential=False) for share in stages]
    sets = sorted(((chosen, found.part[chosen]) for chosen in found.part), key=lambda one: -one[1])
    named = [(tuple(list(rows.stages)[i] for i in sorted(chosen)), share) for chosen, share in sets]
    return Importance(
        verdict,
        reason,
        warnings,
        *_counts(rows),
        evidence.surrogate,
        evidence.r2,
        evidence.r2_low,
        evidence.r2_of,
        evidence.measured_on,
        rows.noise_share,
        rows.noise_repeats,
        tuple(sorted(stages, key=lambda s: (not s.influential, -s.total))),
        tuple(PairShare((one[0], one[1]), share) for one, share in named if len(one) == 2),
        tuple(SubsetShare(one, share) for one, share in named),
        tuple(found.parameters),
        top,
    )


def judge(
    rows: Rows, evidence: Evidence, stages: Sequence[StageShare], unseen: Collection[str] = ()
) -> tuple[Verdict, str]:
    """Whether the shares may be read as findings, and why.

    Args:
        unseen: stages in which full runs hardly differ.
    """
    fit = (
        f"held-out R2 is {evidence.r2:.2f} (95% lower bound {evidence.r2_low:.2f}) on "
        f"{measured_on(rows)[1].sum()} {evidence.measured_on}"
    )
    if evidence.r2 < R2_NEEDED or evidence.r2_low <= 0:
        return "cannot tell", f"{fit}; needed are {R2_NEEDED} and a bound above 0"
    if sum(share.shapley for share in stages if share.influential) < 0.5:
        return (
            "cannot tell",
            f"{fit}, but most of the variance lies in stages whose effect is not significant",
        )
    if sum(share.shapley for share in stages if share.stage in unseen) >= 0.5:
        return (
            "cannot tell",
            f"{fit}, but most of the variance lies in stages in which full runs hardly differ: "
            "how much of it is left at the full budget only stopped trials say",
        )
    return "ok", fit


def _too_few_full(rows: Rows) -> str | None:
    if rows.full_trials >= ENOUGH_FULL:
        if (count := configs(rows, rows.full)) >= ENOUGH_CONFIGS:
            return None
        return (
            f"the {rows.full_trials} trials that ran the whole budget are of {count} "
            f"config{'' if count == 1 else 's'}; at least {ENOUGH_CONFIGS} different ones are needed"
        )
    return (
        f"only {rows.full_trials} of {rows.trials} trials ran the whole budget; "
        f"at least {ENOUGH_FULL} full runs are needed to check the surrogate"
    )


def caution(
    rows: Rows,
    evidence: Evidence,
    stages: Sequence[StageShare],
    intervals: bool,
    unpredicted: float = 0.0,
    unseen: Collection[str] = (),
) -> tuple[str, ...]:
    """What the shares rest on, and what they do not say."""
    others = ", ".join(f"{k} {v:.2f}" for k, v in evidence.r2_of.items() if k != evidence.surrogate)
    said = [
        "Shares are of the variance that a surrogate explains at the full budget under the search prior. "
        f"It is the {evidence.surrogate} one, fitted to {rows.trials} trials ({rows.full_trials} full runs; "
        f"{rows.failed} failed {'one is' if rows.failed == 1 else 'ones are'} left out), and its held-out R2 "
        f"is {evidence.r2:.2f} on {evidence.measured_on} ({others}); what it misses (noise, weak effects) "
        "has no share.",
        "A share says how much the score varies with a stage over this space, not which choice is best, and "
        "another space, budget or dataset would give another one.",
    ]
    if unpredicted >= SHARE_NEEDED:
        said.append(
            f"{unpredicted:.0%} of the shares are effects, mostly interactions, of which only the size shows "
            "(configs alike in those stages score alike): the surrogate does not predict them."
        )
    if any(stage.main_interval is None for stage in stages):
        said.append(
            f"No intervals are given: those of {evidence.surrogate} need {ENOUGH_STEPS} full runs drawn from "
            "the prior."
            if intervals
            else "No intervals are given: none were asked for."
        )
    if rows.prior_trials < rows.trials:
        said.append(
            f"{rows.trials - rows.prior_trials} of {rows.trials} trials were not drawn from the prior: where "
            "the sampler did not look, the surrogate guesses."
        )
    if rows.full_trials < rows.trials and not rows.curves:
        said.append(
            f"{rows.trials - rows.full_trials} trials were stopped early and their learning curves are not "
            "at hand: what they show at their rung is compared with that of other stopped trials alone."
        )
    guessed = [s.stage for s in stages if s.stage in unseen and s.total >= 0.1]
    if guessed:
        said.append(
            f"Full runs hardly differ in {', '.join(guessed)}: the share rests on how scores grew in trials "
            "that were stopped."
        )
    doubtful = [s.stage for s in stages if not s.influential and s.total >= 0.1]
    if doubtful:
        said.append(f"The effect of {', '.join(doubtful)} is not significant: its share may be chance.")
    return tuple(said)


def _stage_shares(stages: list[str], found: Shares) -> list[StageShare]:
    every = subsets(len(stages))
    given = []
    for i, stage in enumerate(stages):
        mine = [chosen for chosen in every if i in chosen]
        total = sum(found.part[chosen] for chosen in mine)
        p_value = found.p_value[i]
        main_interval = found.interval([frozenset({i})], null=found.p_alone[i] >= NULL)
        given.append(
            StageShare(
                stage,
                main=found.part[frozenset({i})],
                total=total,
                shapley=sum(found.part[chosen] / len(chosen) for chosen in mine),
                main_interval=main_interval,
                total_interval=no_lower(found.interval(mine, null=p_value >= NULL), main_interval),
                influential=p_value < SIGNIFICANCE / len(stages) and total >= SHARE_NEEDED,
                p_value=p_value,
            )
        )
    return given


def no_lower(total: Interval | None, main: Interval | None) -> Interval | None:
    """The interval of a total share, neither end below the main one's: the share itself cannot be."""
    if total is None or main is None:
        return total
    return max(total[0], main[0]), max(total[1], main[1])


def _counts(rows: Rows) -> tuple[int, int, int, int]:
    return rows.trials, rows.full_trials, rows.failed, rows.prior_trials


def _nothing(
    rows: Rows, reason: str, evidence: Evidence | None = None, top: TopShare | None = None
) -> Importance:
    r2, low, where = (evidence.r2, evidence.r2_low, evidence.measured_on) if evidence else (None, None, None)
    return Importance(
        "cannot tell",
        reason,
        (f"No shares are given: {reason}.",),
        *_counts(rows),
        evidence.surrogate if evidence else None,
        r2,
        low,
        evidence.r2_of if evidence else {},
        where,
        rows.noise_share,
        rows.noise_repeats,
        (),
        (),
        (),
        (),
        top,
    )
