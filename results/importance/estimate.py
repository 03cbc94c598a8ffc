"""From rows of the trials table to importance, with a verdict on whether they can carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from distiller.results.importance.decomposition import Block, components, merged, others
from distiller.results.importance.evidence import ENOUGH_FULL, FOLDS, Evidence, cross_validate, measured_on
from distiller.results.importance.parameters import ParameterShare, Tree
from distiller.results.importance.report import Importance, PairShare, StageShare, Verdict
from distiller.results.importance.rows import Rows, read_rows
from distiller.results.importance.surrogate import Surrogate, fixed
from distiller.spaces.encoding import Encoding
from distiller.spaces.space import Space

FEWEST = 10
"""Trials below which nothing is fitted."""
R2_NEEDED = 0.1
SHARE_NEEDED = 0.02
"""An effect smaller than the surrogate's own error in shares is not called influential."""
SIGNIFICANCE = 0.01
"""Chance, over all stages of a dataset, to call one influential that is not (Bonferroni)."""
SIGNIFICANCE_STEERED = 1e-4
"""The same where losses could only be measured on trials that a sampler chose: stages go together there."""


def importance(
    trials: pd.DataFrame, space: Space, *, seed: int = 0, reference: int = 2048, threads: int = 1
) -> Importance:
    """Shares of the variance of the score at full budget, under the prior of `space`.

    Args:
        trials: rows of one dataset from the trials table; only `role` = search counts.
        space: the dataset's space, whose prior is the measure.
        seed: of the reference sample, the folds and the surrogate; same input, same answer.
        reference: draws from the prior.
        threads: of the surrogate's training; the answer does not depend on them.

    Raises:
        InputError: a column is missing, or there are several datasets.
    """
    rows = read_rows(trials, space)
    n = len(rows.score)
    if n < FEWEST or rows.config.max() + 1 < FOLDS:
        return _nothing(rows, f"{n} trials with a score are too few (at least {FEWEST} are needed to fit)")
    if np.ptp(rows.score) == 0:
        return _nothing(rows, "all scores are equal")
    if not rows.stages:
        return _nothing(rows, "nothing is searched: every parameter is a constant")
    evidence = cross_validate(rows, seed=seed, threads=threads)
    model = Surrogate.fit(rows.matrix, rows.score, seed=seed, threads=threads, trees=evidence.trees)
    boxes, values = fixed(*model.leaves(), feature=rows.matrix.shape[1] - 1, at=0.0)
    boxes, values = merged(boxes, values, range(rows.matrix.shape[1]))
    rng = np.random.default_rng(seed)
    encoding = Encoding.of(space)
    sample = encoding.encode([space.sample(rng) for _ in range(reference)])
    blocks = [Block(boxes, sample, features) for features in rows.stages.values()]
    found = components(values, blocks)
    variance = sum(found.values())
    if variance <= 0:
        reason = _too_few_full(rows) or "the surrogate finds no difference between configs"
        return _nothing(rows, reason, evidence)
    part = {chosen: value / variance for chosen, value in found.items()}
    steered = not rows.prior[measured_on(rows)[1]].all()
    significance = SIGNIFICANCE_STEERED if steered else SIGNIFICANCE
    shares = _stage_shares(list(rows.stages), part, evidence, significance)
    verdict, reason = judge(rows, evidence, shares)
    warnings = caution(rows, evidence, shares)
    if verdict != "ok":
        shares = [_not_influential(share) for share in shares]
    parameters: list[ParameterShare] = []
    for i, (stage, averaged) in enumerate(zip(rows.stages, others(blocks, values), strict=True)):
        tree = Tree(space, stage, encoding, sample)
        parameters.extend(tree.shares(boxes, averaged, part[frozenset({i})]))
    return Importance(
        verdict,
        reason,
        warnings,
        *_counts(rows),
        evidence.r2,
        evidence.r2_low,
        evidence.measured_on,
        rows.noise_share,
        tuple(sorted(shares, key=lambda s: (not s.influential, -s.total))),
        _pairs(list(rows.stages), part),
        tuple(parameters),
    )


def judge(rows: Rows, evidence: Evidence, shares: Sequence[StageShare]) -> tuple[Verdict, str]:
    """Whether the shares may be read as findings, and why."""
    if few := _too_few_full(rows):
        return "cannot tell", few
    fit = (
        f"held-out R2 is {evidence.r2:.2f} (95% lower bound {evidence.r2_low:.2f}) on "
        f"{measured_on(rows)[1].sum()} {evidence.measured_on}"
    )
    if evidence.r2 < R2_NEEDED or evidence.r2_low <= 0:
        return "cannot tell", f"{fit}; needed are {R2_NEEDED} and a bound above 0"
    if sum(share.shapley for share in shares if share.influential) < 0.5:
        return (
            "cannot tell",
            f"{fit}, but most of the variance lies in stages that held-out runs do not confirm",
        )
    return "ok", fit


def _too_few_full(rows: Rows) -> str | None:
    full = int(rows.full.sum())
    if full >= ENOUGH_FULL:
        return None
    return (
        f"only {full} of {len(rows.score)} trials ran the whole budget; "
        f"at least {ENOUGH_FULL} full runs are needed to check the surrogate"
    )


def caution(rows: Rows, evidence: Evidence, shares: Sequence[StageShare]) -> tuple[str, ...]:
    """What the shares rest on, and what they do not say."""
    n, full = len(rows.score), int(rows.full.sum())
    said = [
        "Shares are of the variance that a surrogate explains at the full budget under the search prior. "
        f"It was fitted to {n} trials ({full} full runs; {rows.failed} failed ones are left out), and its "
        f"held-out R2 is {evidence.r2:.2f} on {evidence.measured_on}; what it misses (noise, weak effects) "
        "has no share.",
        "A share says how much the score varies with a stage over this space, not which choice is best, and "
        "another space, budget or dataset would give another one. No interval is given for it.",
    ]
    if not rows.prior.all():
        said.append(
            f"{n - rows.prior.sum()} of {n} trials were not drawn from the prior: where the sampler did not "
            "look, the surrogate guesses."
        )
    doubtful = [s.stage for s in shares if not s.influential and s.total >= 0.1]
    if full < n and doubtful:
        said.append(
            f"The share of {', '.join(doubtful)} may rest on runs that were stopped early: held-out "
            f"{evidence.measured_on} do not confirm it."
        )
    return tuple(said)


def _stage_shares(
    stages: list[str], part: dict[frozenset[int], float], evidence: Evidence, significance: float
) -> list[StageShare]:
    shares = []
    for i, stage in enumerate(stages):
        total = sum(value for chosen, value in part.items() if i in chosen)
        confirmed = evidence.p_value[stage] < significance / len(stages)
        shares.append(
            StageShare(
                stage,
                main=part[frozenset({i})],
                total=total,
                shapley=sum(value / len(chosen) for chosen, value in part.items() if i in chosen),
                influential=confirmed and total >= SHARE_NEEDED,
                r2_lost=evidence.lost[stage],
                p_value=evidence.p_value[stage],
            )
        )
    return shares


def _not_influential(share: StageShare) -> StageShare:
    return replace(share, influential=False)


def _pairs(stages: list[str], part: dict[frozenset[int], float]) -> tuple[PairShare, ...]:
    pairs = [
        PairShare((stages[min(chosen)], stages[max(chosen)]), value)
        for chosen, value in part.items()
        if len(chosen) == 2
    ]
    return tuple(sorted(pairs, key=lambda pair: -pair.share))


def _counts(rows: Rows) -> tuple[int, int, int, int]:
    return len(rows.score), int(rows.full.sum()), rows.failed, int(rows.prior.sum())


def _nothing(rows: Rows, reason: str, evidence: Evidence | None = None) -> Importance:
    r2, low, where = (evidence.r2, evidence.r2_low, evidence.measured_on) if evidence else (None, None, None)
    no_shares = f"No shares are given: {reason}."
    return Importance(
        "cannot tell", reason, (no_shares,), *_counts(rows), r2, low, where, rows.noise_share, (), (), ()
    )
