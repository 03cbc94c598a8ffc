"""How the numbers of a comparison were made, in words."""

from __future__ import annotations

from collections.abc import Sequence

from distiller.results.comparison.differences import DATASETS, FEWEST, LARGE, VERY_LARGE
from distiller.results.comparison.report import DatasetComparison

TEACHER = 0.2
"""The teacher's score from which on a score may be given as a share of it."""
RULES = (
    "Compared are full search runs (completed, whole budget), those drawn from the prior where each choice "
    f"has {FEWEST} of them.",
    "Best of n: expected best of n trials drawn without replacement, n a quarter of the smaller side's "
    "trials, at most 10. Intervals are 95%.",
    "p of best of n and of means: permutation of trials between the two choices, studentised, from "
    f"{LARGE} even or {VERY_LARGE} uneven trials of each on Student's t, which it comes to there; of "
    "adjusted means: Welch's t test; of pairs: Wilcoxon's signed-rank test; of the share that got through: "
    "Fisher's exact test.",
    "Each p is Holm-corrected over all comparisons of its measure that are shown.",
    "Adjusted: what other stages explain is taken out by trees that have not seen the trial; only where all "
    "trials were drawn from the prior and none was stopped.",
)
OF_TEACHER = (
    f"A share of the teacher's score is given where that is at least {TEACHER} and the choice's mean lies "
    "two SDs above 0."
)
OVER_DATASETS = (
    f"Over datasets: the mean of their differences; from {DATASETS} datasets on its interval is Student's t "
    "over datasets, with 2 it is of these two alone. p is of no difference on any of them."
)


def rules_of(compared: Sequence[DatasetComparison]) -> tuple[str, ...]:
    """One sentence each, of the numbers that are there."""
    of_teacher = any(choice.of_teacher is not None for one in compared for choice in one.choices)
    more = [(of_teacher, OF_TEACHER), (len(compared) > 1, OVER_DATASETS)]
    return (*RULES, *(said for there, said in more if there))
