"""Claim: the best pipeline differs between datasets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.compare import ROPE
from distiller.results.comparison.matrix import RegretMatrix
from distiller.results.comparison.regret import regret_matrix
from distiller.results.comparison.selection import drawn_in_full, searched
from distiller.results.comparison.surrogate import FEWEST_ROWS, Surrogates
from distiller.results.design import Design
from distiller.results.findings.basis import BASIS_RULE, THROUGH
from distiller.results.findings.report import Finding, Verdict

NAME = "differs"
CLAIM = "The best pipeline differs between datasets."
SMALL = 0.1
RULE = (
    "Supported: some stage's effect differs between datasets (permutation test of its interaction, p below "
    "0.05 after Holm's correction over stages), and one dataset's best config loses on the others, on "
    f"average, more than the noise between seeds (more than {ROPE} where no config has several seeds). Not "
    f"supported: no stage's interaction can be more than {SMALL:.0%} of the variance that main effects leave "
    "(95% intervals). Else: cannot tell. " + BASIS_RULE
)


def best_differs(
    trials: pd.DataFrame,
    designs: Mapping[str, Design],
    *,
    seed: int = 0,
    surrogates: Surrogates | None = None,
) -> tuple[Finding, RegretMatrix | None]:
    """And the regret matrix; None of one dataset."""
    if len(designs) < 2:
        return Finding(NAME, CLAIM, "cannot tell", "there is one dataset only", RULE, (), 0), None
    surrogates = surrogates or Surrogates(trials, designs, seed=seed)
    regrets = regret_matrix(trials, designs, seed=seed, surrogates=surrogates)
    counts, left_out = _counted(trials, designs)
    usable = {name: design for name, design in designs.items() if name in counts}
    if len(usable) < 2:
        why = "; ".join(left_out)
        return Finding(NAME, CLAIM, "cannot tell", why, RULE, tuple(usable), 0), regrets
    matrix = regrets
    if len(usable) < len(designs):
        matrix = regret_matrix(trials, usable, seed=seed, surrogates=surrogates)
    if not matrix.stages:
        why = "the datasets have no searched stage in common"
        return Finding(NAME, CLAIM, "cannot tell", why, RULE, tuple(usable), 0), regrets
    strongest = min(matrix.stages, key=lambda one: (one.p_holm, -one.share))
    effect = Estimate(strongest.share, strongest.low, strongest.high, strongest.p, strongest.p_holm)
    known = [(one, _beyond(one.regret, one.in_noise)) for one in matrix.entries if one.regret is not None]
    beyond = float(np.mean([ratio for _, ratio in known])) if known else None
    verdict: Verdict = "cannot tell"
    if strongest.p_holm < 0.05 and beyond is not None and beyond > 1:
        verdict = "supported"
    elif strongest.p_holm >= 0.05 and max(one.high for one in matrix.stages) < SMALL:
        verdict = "not supported"
    lost = ""
    if known:
        measured = sum(one.label == "measured" for one, _ in known)
        mean = np.mean([one.regret for one, _ in known])
        noisy = all(one.in_noise is not None for one, _ in known)
        lost = (
            f"; the best config of one dataset loses {mean:.4f} on another ({measured} of {len(known)} "
            f"measured, the rest predicted), {beyond:.1f} times {'the noise' if noisy else ROPE}"
        )
    reason = (
        f"{strongest.stage} interacts most with the dataset: {strongest.share:.0%} of the variance that main "
        f"effects leave (p {strongest.p_holm:.3f} corrected){lost}"
    )
    unit = "share of the variance that main effects leave"
    numbers = {"stages": matrix.stages, "left_out": left_out, "mean_regret_in_noise": beyond}
    finding = Finding(
        NAME, CLAIM, verdict, reason, RULE, tuple(usable), sum(counts.values()), effect, unit, numbers
    )
    return finding, regrets


def _counted(trials: pd.DataFrame, designs: Mapping[str, Design]) -> tuple[dict[str, int], list[str]]:
    """Full runs from the prior of the datasets that can be used, and why others cannot."""
    counts, left_out = {}, []
    for name in designs:
        rows = searched(trials[trials["dataset"] == name])
        rows = rows[(rows["origin"] == "prior") & (rows["status"] != "failed")]
        full = len(drawn_in_full(trials, name))
        if full < FEWEST_ROWS:
            left_out.append(f"{name}: {full} full runs drawn from the prior are too few")
        elif full < THROUGH * len(rows):
            left_out.append(f"{name}: only {full} of {len(rows)} trials ran in full")
        else:
            counts[name] = full
    return counts, left_out


def _beyond(regret: float | None, in_noise: float | None) -> float:
    """A regret in units of what it must exceed."""
    assert regret is not None
    return regret / ROPE if in_noise is None else in_noise
