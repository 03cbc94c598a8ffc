"""Claim: intermediate distillation is the most important stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.differences import student
from distiller.results.design import Design
from distiller.results.findings.report import Finding, Verdict

STAGE = "intermediate"
RULE = (
    "A dataset speaks for it where the whole interval of intermediate's total effect lies above that of "
    "every other stage, against it where another's lies above intermediate's. Supported: more than half of "
    "the datasets that can tell speak for it and none against it. Not supported: more than half speak "
    "against it, or, from 3 datasets on, the interval of its lead lies below 0. Else: cannot tell."
)


def most_important(importances: Mapping[str, Any], designs: Mapping[str, Design]) -> Finding:
    """`importances` are those of `distiller.results.importance`; what is of no dataset has no vote."""
    numbers: dict[str, Any] = {}
    leads: dict[str, float] = {}
    trials, votes = 0, {"for": 0, "against": 0, "open": 0}
    for name, found in importances.items():
        if name not in designs:  # the mean over all of them
            continue
        stages = {share.stage: share for share in found.stages}
        if found.verdict != "ok" or STAGE not in stages or len(stages) < 2:
            numbers[name] = {"vote": None, "why": _why(found, name, designs, stages)}
            continue
        own, others = stages[STAGE], [share for key, share in stages.items() if key != STAGE]
        rival = max(others, key=lambda share: share.total)
        vote = _vote(own, others)
        votes[vote] += 1
        trials += found.trials
        leads[name] = float(own.total - rival.total)
        numbers[name] = {
            "vote": vote,
            "total": own.total,
            "interval": _interval(own),
            "rival": rival.stage,
            "rival_total": rival.total,
            "rival_interval": _interval(rival),
        }
    claim = "Intermediate distillation is the most important stage."
    if not leads:
        why = "; ".join(f"{name}: {one['why']}" for name, one in numbers.items())
        return Finding(STAGE, claim, "cannot tell", why or "no dataset", RULE, (), 0, numbers=numbers)
    values = np.array(list(leads.values()))
    low, high = student(values)
    effect = Estimate(float(values.mean()), low, high)
    verdict: Verdict = "cannot tell"
    if 2 * votes["for"] > len(leads) and not votes["against"]:
        verdict = "supported"
    elif 2 * votes["against"] > len(leads) or (high is not None and high < 0):
        verdict = "not supported"
    place = "above" if effect.value >= 0 else "below"
    reason = (
        f"of {len(leads)} datasets that can tell, {votes['for']} speak for it and {votes['against']} against "
        f"it; on average its total effect is {abs(effect.value):.0%} of the variance {place} that of the "
        "strongest other stage"
    )
    unit = "share of the explained variance"
    return Finding(STAGE, claim, verdict, reason, RULE, tuple(leads), trials, effect, unit, numbers)


def _vote(own: Any, others: list[Any]) -> str:
    mine = _interval(own)
    if mine is None:
        return "open"
    theirs = [interval for share in others if (interval := _interval(share)) is not None]
    if any(low > mine[1] for low, _ in theirs):
        return "against"
    return "for" if len(theirs) == len(others) and all(high < mine[0] for _, high in theirs) else "open"


def _interval(share: Any) -> tuple[float, float] | None:
    interval = getattr(share, "total_interval", None)
    return None if interval is None else (float(interval[0]), float(interval[1]))


def _why(found: Any, name: str, designs: Mapping[str, Design], stages: Mapping[str, Any]) -> str:
    design = designs.get(name)
    if design is not None and STAGE not in design.stages:
        return "no such stage"
    if design is not None and STAGE not in design.searched_stages():
        return "the stage was not searched"
    return str(found.reason) if found.verdict != "ok" or not stages else "there is no other stage"
