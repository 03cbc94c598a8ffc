"""A regret matrix as data, with each stage's interaction with the dataset; what cannot be told is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from distiller.results.comparison.report import plainly

BELOW_ZERO = (
    "A number below 0: that config does no worse there than the dataset's own best one, which is the best by "
    "the scores seen; with ~ it is predicted to do no worse."
)
"""What a negative regret means, which stands wherever one is shown."""


@dataclass(frozen=True)
class Regret:
    """What is lost on dataset `on` by taking the best config of dataset `of`.

    Attributes:
        label: `measured` where `on` has run that config in full, else `predicted`; `unknown` has no regret.
        regret: in the metric's unit of `on`; below 0 where the config does no worse there than `on`'s own
            best, or is predicted to: that one is the best by score, whatever is predicted of it.
        in_noise: the same in SDs between seeds of one config on `on`; None where it has no repeats.
    """

    of: str
    on: str
    label: str
    regret: float | None
    in_noise: float | None
    note: str = ""


@dataclass(frozen=True)
class StageByDataset:
    """How far a stage's effect differs between datasets.

    Attributes:
        share: of the variance of scores (standardised in each dataset) that its interaction with the
            dataset explains beyond chance; 0 at least.
        p, p_holm: permutation test of no interaction, and corrected for all stages.
        best: by dataset the best choice of the stage's first question; empty where that is a range.
    """

    stage: str
    share: float
    low: float
    high: float
    p: float
    p_holm: float
    best: Mapping[str, str]


@dataclass(frozen=True)
class RegretMatrix:
    """Whether one pipeline would do for all datasets.

    Attributes:
        datasets: rows (`of`) and columns (`on`) of the matrix.
        entries: one for each ordered pair of different datasets.
        stages: interaction of each stage with the dataset; empty with one dataset.
        noise_sd: by dataset; None where it has no repeats.
    """

    datasets: tuple[str, ...]
    entries: tuple[Regret, ...]
    stages: tuple[StageByDataset, ...]
    noise_sd: Mapping[str, float | None]
    notes: tuple[str, ...] = ()

    @property
    def below_zero(self) -> str:
        """What numbers below 0 mean; empty where there is none."""
        return BELOW_ZERO if any(one.regret is not None and one.regret < 0 for one in self.entries) else ""

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them."""
        plain: dict[str, Any] = plainly(asdict(self))
        return plain
