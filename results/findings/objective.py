"""Claim: mi_alpha is the best intermediate objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from distiller.results.comparison.best_of_n import Estimate, headline_n
from distiller.results.comparison.differences import FEWEST, contrasts, corrected, over_datasets
from distiller.results.comparison.question import asked
from distiller.results.comparison.resampling import Sample
from distiller.results.comparison.selection import select
from distiller.results.design import Design
from distiller.results.findings.basis import BASIS_RULE, basis
from distiller.results.findings.report import Finding, Verdict

NAME, STAGE, COLUMN = "mi_alpha", "intermediate", "intermediate_objective"
CLAIM = "mi_alpha is the best intermediate objective."
RULE = (
    "Its expected best of n is compared with that of every other objective at equal n, the mean over "
    "datasets; p by permutation in each dataset, Holm-corrected over the objectives. Supported: it is better "
    "than every other one with p below 0.05. Not supported: some other one is better with p below 0.05. "
    "Else: cannot tell. " + BASIS_RULE
)


def best_objective(trials: pd.DataFrame, designs: Mapping[str, Design], *, seed: int = 0) -> Finding:
    """Against each other objective that has enough runs on some dataset where mi_alpha has them too."""
    usable = basis(trials, designs, STAGE, 2 * FEWEST)
    own = {
        name: designs[name]
        for name in usable.rows
        if any(q.column == COLUMN and _has(q.prior) for q in designs[name].searched())
    }
    if not own:
        why = "; ".join(usable.left_out) or f"{NAME} was not searched beside another objective"
        return Finding(NAME, CLAIM, "cannot tell", why, RULE, (), 0)
    rows = pd.concat([usable.rows[name] for name in own])
    question = asked(COLUMN, own, rows)
    selected = {name: select(rows, name, question) for name in own}
    rng = np.random.default_rng(seed)
    samples = {name: {c: Sample(s, rng) for c, s in one.scores.items()} for name, one in selected.items()}
    estimates: dict[str, Estimate | None] = {}
    used: dict[str, list[str]] = {}
    for other in (choice for choice in question.choices if choice != NAME):
        found = []
        for name, one in samples.items():
            a, b = one[NAME], one[other]
            if min(len(a), len(b)) >= FEWEST:
                found += contrasts(a, b, [headline_n(min(len(a), len(b)))], rng)
                used.setdefault(other, []).append(name)
        if found:
            estimates[other] = found[0].estimate if len(found) == 1 else over_datasets(found)
    missing = [c for c in question.choices if c != NAME and c not in estimates]
    if not estimates:
        why = f"no dataset has {FEWEST} full runs of {NAME} and of another objective"
        return Finding(NAME, CLAIM, "cannot tell", why, RULE, (), 0)
    tested = dict(zip(estimates, corrected(list(estimates.values())), strict=True))
    verdict, reason, effect = _verdict({key: e for key, e in tested.items() if e is not None}, missing)
    numbers: dict[str, Any] = {
        other: {"difference": one, "datasets": used[other]} for other, one in tested.items()
    }
    datasets = tuple(name for name in own if any(name in names for names in used.values()))
    count = sum(len(usable.rows[name]) for name in datasets)
    more = {"left_out": usable.left_out, "too_few_runs": missing}
    unit = _unit([selected[name].metric for name in datasets])
    return Finding(NAME, CLAIM, verdict, reason, RULE, datasets, count, effect, unit, numbers | more)


def _verdict(tested: Mapping[str, Estimate], missing: list[str]) -> tuple[Verdict, str, Estimate]:
    """And the difference that decides: to the strongest rival."""
    rival = min(tested, key=lambda key: tested[key].value)
    closest = tested[rival]
    significant = {key for key, one in tested.items() if one.p_holm is not None and one.p_holm < 0.05}
    better = [key for key in significant if tested[key].value < 0]
    beaten = [key for key in significant if tested[key].value > 0]
    said = f"better than {len(beaten)} of {len(tested)} objectives"
    side = "ahead of" if closest.value >= 0 else "behind"
    next_to = f"{abs(closest.value):.4f} {side} the strongest other one, {rival}"
    if better:
        return "not supported", f"{', '.join(sorted(better))} {_is(better)} better; {next_to}", closest
    if len(beaten) == len(tested) and not missing:
        return "supported", f"{said}; {next_to}", closest
    if missing:
        said += f" ({', '.join(missing)} had too few runs)"
    return "cannot tell", f"{said}; {next_to}", closest


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _has(prior: Any) -> bool:
    return NAME in getattr(prior, "values", ())


def _unit(metrics: list[str | None]) -> str:
    return " and ".join(dict.fromkeys(metric or "score" for metric in metrics))
