"""Claim: the best pipeline differs between datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.compare import ROPE
from distiller.results.comparison.matrix import Regret, RegretMatrix, StageByDataset
from distiller.results.comparison.question import always_asked
from distiller.results.comparison.regret import regret_matrix
from distiller.results.comparison.selection import drawn_in_full, searched
from distiller.results.comparison.surrogate import FEWEST_ROWS, Surrogates
from distiller.results.design import Design
from distiller.results.findings.basis import BASIS_RULE, THROUGH
from distiller.results.findings.report import Finding, Verdict

NAME = "differs"
CLAIM = "The best pipeline differs between datasets."
SMALL = 0.1
UNIT = "share of the variance that is left when the stage has one effect for all datasets"
RULE = (
    "A stage's effect differs between datasets as far as scores vary less when the stage may have another "
    "effect on each dataset than when it has one for all (its interaction with the dataset). Supported: for "
    "some stage that is more than chance (permutation test, p below 0.05 after Holm's correction over "
    "stages), and one dataset's best config, used on the others, loses there on average more than the noise "
    f"between seeds (more than {ROPE} where no config has several seeds). Not supported: for no stage can it "
    f"be more than {SMALL:.0%} of the variance that is left with one effect for all (95% intervals). Else: "
    "cannot tell. " + BASIS_RULE
)
MOST_NAMED = 6
"""Datasets of which the best choice of a stage is named."""


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
    reason = f"{_apart(strongest, usable)}{_lost(known, beyond)}"
    numbers = {"stages": matrix.stages, "left_out": left_out, "mean_regret_in_noise": beyond}
    finding = Finding(
        NAME, CLAIM, verdict, reason, RULE, tuple(usable), sum(counts.values()), effect, UNIT, numbers
    )
    return finding, regrets


def _apart(strongest: StageByDataset, designs: Mapping[str, Design]) -> str:
    """How far the effect of the stage that has most of it differs between datasets."""
    stage, share = strongest.stage, f"{strongest.share:.0%} of the variance of scores"
    p = "p below 0.001" if strongest.p_holm < 0.001 else f"p {strongest.p_holm:.3f}"
    sure = f"that is left when {stage} has one effect for all ({p}, corrected for all stages)."
    if strongest.p_holm >= 0.05:
        return (
            f"No stage is shown to work differently on different datasets; {stage} comes nearest, where the "
            f"differences make up {share} {sure}"
        )
    best = ""
    choices = dict.fromkeys(strongest.best.values())
    if len(choices) > 1 and len(strongest.best) <= MOST_NAMED:
        asked = always_asked(next(iter(designs.values())), stage)[0].path
        named = [f"{c} on {', '.join(d for d, of in strongest.best.items() if of == c)}" for c in choices]
        best = f" The best {asked} on average is {'; '.join(named)}."
    return f"{stage} works differently on different datasets: the differences make up {share} {sure}{best}"


def _lost(known: Sequence[tuple[Regret, float]], beyond: float | None) -> str:
    """What using one dataset's best config on another costs, over the pairs of which that is known."""
    if not known or beyond is None:
        return ""
    mean = float(np.mean([one.regret for one, _ in known]))
    measured = sum(one.label == "measured" for one, _ in known)
    noisy = all(one.in_noise is not None for one, _ in known)
    limit = "the SD between seeds of one config" if noisy else f"the {ROPE} that it must exceed"
    pairs = "pair" if len(known) == 1 else "pairs"
    short = f"falls {mean:z.4f} short of the best one there"
    if mean < 0:
        does = "does" if measured else "is predicted to do"
        short = f"{does} no worse than the best one there ({-mean:.4f} better)"
    return (
        f" The config that is best on one dataset, used on another, {short}, on average over {len(known)} "
        f"{pairs} of datasets ({measured} measured, "
        f"{len(known) - measured} predicted): {beyond:z.1f} times {limit}."
    )


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
