"""From rows of the trials table to how the choices of one question compare, per dataset and over datasets."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from distiller.results.comparison.across import ranks_of, signed_ranks, unit_notes
from distiller.results.comparison.best_of_n import (
    LEVEL,
    PERMUTATIONS,
    Estimate,
    Floats,
    curve,
    headline_n,
)
from distiller.results.comparison.differences import (
    DATASETS,
    FEWEST,
    Contrast,
    contrasts,
    corrected,
    over_datasets,
    student,
    welch,
)
from distiller.results.comparison.paired import paired, paired_scores
from distiller.results.comparison.question import Asked, asked
from distiller.results.comparison.report import (
    ChoiceSummary,
    ComparisonResult,
    DatasetComparison,
    Difference,
)
from distiller.results.comparison.resampling import Sample
from distiller.results.comparison.rules import TEACHER, rules_of
from distiller.results.comparison.selection import (
    FROM_PRIOR,
    Ended,
    Selected,
    by_choice,
    check_columns,
    noise,
    select,
)
from distiller.results.comparison.surrogate import Surrogates
from distiller.results.design import Design
from distiller.spaces.errors import InputError

ROPE = 0.01
MEASURES = ("best", "mean", "adjusted", "through")


@dataclass(frozen=True)
class _Dataset:
    """What one dataset brings to every pair."""

    selected: Selected
    samples: Mapping[str, Sample]
    pairs: pd.DataFrame
    adjusted: Mapping[str, Floats] | None


def compare(
    trials: pd.DataFrame,
    designs: Mapping[str, Design],
    what: str,
    choices: Sequence[str] = (),
    *,
    rope: float = ROPE,
    seed: int = 0,
    surrogates: Surrogates | None = None,
) -> ComparisonResult:
    """How the choices of a question compare.

    Args:
        trials: rows of the trials table.
        designs: what was searched, by dataset.
        what: a path of the design, a stage's name, or a column of the results.
        choices: those to compare; without any, all.
        rope: differences up to this, in the metric's unit, are practically none.
        seed: of bootstrap, permutations and folds; same input, same answer.
        surrogates: of these trials and designs, where several questions are asked of them.

    Raises:
        InputError: no such question or choice, or no dataset has full runs of two choices.
    """
    check_columns(trials)
    surrogates = surrogates or Surrogates(trials, designs, seed=seed)
    trials = surrogates.trials
    question = asked(what, designs, trials, choices)
    rng = np.random.default_rng(seed)
    found: dict[str, _Dataset] = {}
    silent, alone = [], list[str]()
    for dataset, design in designs.items():
        selected = select(trials, dataset, question)
        if sum(len(scores) > 0 for scores in selected.scores.values()) < 2:
            silent.append(f"{dataset}: fewer than two choices have full runs, so it is left out")
            alone += [f"{dataset}: {len(one)} of {name}" for name, one in selected.scores.items() if len(one)]
            continue
        pairs = paired_scores(trials, dataset, design, question)
        samples = {choice: Sample(scores, rng) for choice, scores in selected.scores.items()}
        found[dataset] = _Dataset(selected, samples, pairs, _adjusted(selected, question, surrogates))
    if not found:
        raise InputError(
            f"{what}: no dataset has full search runs of two choices, so nothing compares "
            f"({'; '.join(alone) or 'there is none of any'}); name other choices, or run more trials in full"
        )
    differences = _differences(found, question, rng)
    by_dataset = {name: tuple(d for d in differences if d.dataset == name) for name in found}
    chosen = {name: one.selected for name, one in found.items()}
    ranks, ranks_note = ranks_of(chosen, question.choices)
    tested = sum(d.best.p is not None for d in differences)
    notes = [*silent, *ranks_note]
    if any(_least(d.best) for d in differences):
        notes.append(
            f"{tested} comparisons are too many for {PERMUTATIONS} permutations: some that no "
            "permutation came near have a corrected p above 0.05; name fewer choices"
        )
    compared = tuple(_comparison(trials, one.selected, by_dataset[dataset]) for dataset, one in found.items())
    return ComparisonResult(
        what,
        question.column,
        question.choices,
        compared,
        tuple(d for d in differences if d.dataset is None),
        ranks,
        tuple(signed_ranks(chosen, question.choices, rope, seed)),
        (*notes, *unit_notes(chosen)),
        rules_of(compared),
    )


def _differences(
    found: Mapping[str, _Dataset], question: Asked, rng: np.random.Generator
) -> list[Difference]:
    """Of every pair on each dataset that has both, and over datasets; p values corrected."""
    differences = []
    for one, other in itertools.combinations(question.choices, 2):
        on, best, mean = [], [], []
        for dataset, data in found.items():
            a, b = (data.samples[choice] for choice in (one, other))
            if min(len(a), len(b)) == 0:
                continue
            n = headline_n(min(len(a), len(b)))
            first, *more = contrasts(a, b, sorted({1, n}), rng)
            mean.append(first)
            best.append(more[0] if more else first)
            on.append(_on(data, dataset, one, other, n, best[-1].estimate, first.estimate))
        differences += on
        if len(on) > 1:
            differences.append(_overall(on, best, mean))
    measured = {measure: corrected([getattr(d, measure) for d in differences]) for measure in MEASURES}
    pairs = corrected([d.paired.difference if d.paired else None for d in differences])
    changes: list[dict[str, Any]] = [
        {key: of[i] for key, of in measured.items()} for i in range(len(differences))
    ]
    return [
        replace(
            d,
            **changes[i],
            paired=replace(d.paired, difference=pairs[i]) if d.paired else None,
        )
        for i, d in enumerate(differences)
    ]


def _least(one: Estimate) -> bool:
    """Whether p is as small as permutations can make it, and the corrected p is large all the same."""
    least = one.p is not None and one.p == 1 / (PERMUTATIONS + 1)
    return least and one.p_holm is not None and one.p_holm > 1 - LEVEL


def _on(
    data: _Dataset, dataset: str, one: str, other: str, n: int, best: Estimate, mean: Estimate
) -> Difference:
    adjusted = welch(data.adjusted[one], data.adjusted[other]) if data.adjusted else None
    ends = [data.selected.ended[choice] for choice in (one, other)]
    return Difference(
        one,
        other,
        dataset,
        (len(data.selected.scores[one]), len(data.selected.scores[other])),
        n,
        best=best,
        mean=mean,
        adjusted=adjusted if adjusted and adjusted.low is not None else None,
        paired=paired(data.pairs, one, other),
        through=_through(ends[0], ends[1]),
    )


def _overall(on: Sequence[Difference], best: Sequence[Contrast], mean: Sequence[Contrast]) -> Difference:
    gaps = [d.adjusted.value for d in on if d.adjusted]
    adjusted = None
    if len(gaps) == len(on) >= DATASETS:
        low, high = student(np.array(gaps))
        p = float(stats.ttest_1samp(gaps, 0.0).pvalue) if np.ptp(gaps) > 0 else None
        adjusted = Estimate(float(np.mean(gaps)), low, high, p)
    return Difference(
        on[0].one,
        on[0].other,
        None,
        (sum(d.trials[0] for d in on), sum(d.trials[1] for d in on)),
        min(d.n for d in on),
        best=over_datasets(best),
        mean=over_datasets(mean),
        adjusted=adjusted,
        paired=None,
        through=None,
    )


def _adjusted(selected: Selected, question: Asked, surrogates: Surrogates) -> Mapping[str, Floats] | None:
    """By choice the scores less what other stages explain, where that is sound."""
    stopped = any(ended.stopped for ended in selected.ended.values())
    if question.stage is None or selected.basis != FROM_PRIOR or stopped:
        return None
    scores = surrogates.adjusted(selected.rows, selected.dataset, question.stage)
    if scores is None:
        return None
    return by_choice(selected.rows.assign(score=scores), question.choices, selected.repeated)


def _through(one: Ended, other: Ended) -> Estimate | None:
    """Newcombe's interval (1998, method 10: Wilson's for each share) and Fisher's test."""
    if one.stopped + other.stopped == 0 or one.through is None or other.through is None:
        return None
    sides = [stats.binomtest(e.completed, e.completed + e.stopped) for e in (one, other)]
    (a, b), (i, j) = (one.through, other.through), (s.proportion_ci(LEVEL, "wilson") for s in sides)
    low = a - b - float(np.hypot(a - i.low, j.high - b))
    high = a - b + float(np.hypot(i.high - a, b - j.low))
    table = [[e.completed, e.stopped] for e in (one, other)]
    return Estimate(a - b, low, high, float(stats.fisher_exact(table).pvalue))


def _comparison(
    trials: pd.DataFrame, selected: Selected, differences: tuple[Difference, ...]
) -> DatasetComparison:
    sd, repeats = noise(trials, selected.dataset)
    notes = list(selected.notes)
    few = [choice for choice in selected.ended if len(selected.scores[choice]) < FEWEST]
    if few:
        notes.append(f"{', '.join(few)}: fewer than {FEWEST} full runs, too few for an interval")
    if not any(d.paired and d.paired.pairs for d in differences):
        notes.append("no two configs differ in this stage only, so nothing is paired")
    return DatasetComparison(
        selected.dataset,
        selected.metric,
        selected.basis,
        tuple(notes),
        tuple(_summary(selected, choice) for choice in selected.ended),
        differences,
        sd,
        repeats,
    )


def _summary(selected: Selected, choice: str) -> ChoiceSummary:
    scores, ended = selected.scores[choice], selected.ended[choice]
    mean = float(scores.mean()) if len(scores) else None
    sd = float(scores.std(ddof=1)) if len(scores) > 1 else None
    return ChoiceSummary(
        choice,
        ended.completed,
        ended.stopped,
        ended.failed,
        ended.through,
        len(scores),
        mean,
        sd,
        tuple(float(v) for v in curve(scores)),
        _of_teacher(selected.rows, mean, sd),
    )


def _of_teacher(rows: pd.DataFrame, mean: float | None, sd: float | None) -> float | None:
    if "teacher_score" not in rows or mean is None or sd is None:
        return None
    teacher = rows["teacher_score"].dropna().astype(float)
    far = len(teacher) and teacher.min() >= TEACHER and mean - 2 * sd > 0
    return mean / float(teacher.mean()) if far else None
