"""The answers of a comparison as data: choices, differences, ranks; what cannot be told is None."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from distiller.results.comparison.best_of_n import Estimate


@dataclass(frozen=True)
class ChoiceSummary:
    """One choice on one dataset.

    Attributes:
        completed, stopped, failed: search trials by how they ended, wherever their configs came from.
        through: share of those that did not fail which ran in full; None without any.
        used: full runs that are compared, configs counted once.
        mean, sd: over those, in the metric's unit; None where there are too few.
        best_of: for n = 1, 2, ... the expected best of n of them.
        of_teacher: mean over the teacher's score; None where the metric is not far from zero.
    """

    choice: str
    completed: int
    stopped: int
    failed: int
    through: float | None
    used: int
    mean: float | None
    sd: float | None
    best_of: tuple[float, ...]
    of_teacher: float | None


@dataclass(frozen=True)
class Paired:
    """Configs that differ in the question's stage only, on the same seed.

    Attributes:
        pairs: how many; a random sweep has none.
        difference: mean over pairs; its p is Wilcoxon's signed-rank test.
    """

    pairs: int
    difference: Estimate | None


@dataclass(frozen=True)
class Difference:
    """`one` minus `other`, in the metric's unit.

    Attributes:
        dataset: None for all datasets together.
        trials: full runs of each that are compared.
        n: the number of trials that `best` is the expected best of.
        best: difference of the expected best of n; its p is a permutation test.
        mean: difference of the means; the same.
        adjusted: difference of the means with what other stages explain taken out; p of Welch's t test.
        through: difference of the shares of trials that ran in full; p of Fisher's exact test. None where
            no trial was stopped.
    """

    one: str
    other: str
    dataset: str | None
    trials: tuple[int, int]
    n: int
    best: Estimate
    mean: Estimate
    adjusted: Estimate | None
    paired: Paired | None
    through: Estimate | None


@dataclass(frozen=True)
class DatasetComparison:
    """The choices on one dataset.

    Attributes:
        basis: which trials are compared.
        notes: what a reader must know of them, one sentence each.
        noise_sd: SD between seeds of one config's full runs, from `noise_repeats` runs beyond the first of
            each; None without repeats.
    """

    dataset: str
    metric: str | None
    basis: str
    notes: tuple[str, ...]
    choices: tuple[ChoiceSummary, ...]
    differences: tuple[Difference, ...]
    noise_sd: float | None
    noise_repeats: int


@dataclass(frozen=True)
class CriticalDifference:
    """Average ranks over datasets (Demsar 2006, "Statistical Comparisons of Classifiers").

    Attributes:
        choices: best first, with their average `ranks` (1 is best, ties share).
        datasets: those in which every choice can be ranked.
        measure: what was ranked.
        chi_squared, p: Friedman's test; `f`, `f_p`: Iman and Davenport's, which is less conservative.
        difference: average ranks that differ by less than this do not differ (Nemenyi, 5%).
        groups: choices, best first, that do not differ from each other; only those of two and more.
        p_values: Nemenyi's, for each pair.
    """

    choices: tuple[str, ...]
    ranks: tuple[float, ...]
    datasets: tuple[str, ...]
    measure: str
    chi_squared: float
    p: float
    f: float | None
    f_p: float | None
    difference: float
    groups: tuple[tuple[str, ...], ...]
    p_values: Mapping[tuple[str, str], float]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them."""
        pairs = [{"one": a, "other": b, "p": p} for (a, b), p in self.p_values.items()]
        own = {key: value for key, value in vars(self).items() if key != "p_values"}
        plain: dict[str, Any] = plainly({**own, "p_values": pairs})
        return plain


@dataclass(frozen=True)
class SignedRank:
    """Bayesian signed-rank test over datasets (Benavoli et al. 2014, 2017).

    Attributes:
        p_one, p_rope, p_other: posterior probability that `one` is better, that the two are practically
            equal, and that `other` is better.
        rope: differences up to this, in the metric's unit, are practically none.
    """

    one: str
    other: str
    datasets: int
    p_one: float
    p_rope: float
    p_other: float
    rope: float


@dataclass(frozen=True)
class ComparisonResult:
    """How the choices of one question compare.

    Attributes:
        what: the question as it was asked, and its column.
        choices: in the order of the design.
        overall: differences over datasets, their mean; empty of one dataset.
        ranks: None with fewer than 3 datasets or 2 choices in all of them.
        signed_rank: one per pair; empty with fewer than 3 datasets.
        notes: what a reader must know, one sentence each.
        rules: how the numbers were made, one sentence each.
    """

    what: str
    column: str
    choices: tuple[str, ...]
    datasets: tuple[DatasetComparison, ...]
    overall: tuple[Difference, ...]
    ranks: CriticalDifference | None
    signed_rank: tuple[SignedRank, ...]
    notes: tuple[str, ...]
    rules: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them."""
        ranks = self.ranks.to_dict() if self.ranks else None
        own = {key: value for key, value in vars(self).items() if key not in ("ranks", "datasets")}
        datasets = [asdict(one) for one in self.datasets]
        ordered = {**own, "datasets": datasets, "ranks": ranks}
        plain: dict[str, Any] = plainly({key: ordered[key] for key in vars(self)})
        return plain


def plainly(value: Any) -> Any:
    """`value` as strict JSON holds it: lists, and None for what is not finite."""
    if isinstance(value, Mapping):
        return {key: plainly(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plainly(inner) for inner in value]
    if hasattr(value, "__dataclass_fields__"):
        return plainly(asdict(value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
