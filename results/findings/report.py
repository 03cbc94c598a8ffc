"""A finding: a claim, the verdict on it, the rule of the verdict and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.matrix import RegretMatrix
from distiller.results.comparison.report import plainly

Verdict = Literal["supported", "not supported", "cannot tell"]


@dataclass(frozen=True)
class Finding:
    """One claim, tested.

    Attributes:
        name: short and stable (`intermediate`, `mi_alpha`, `augmentation`, `differs`).
        claim: in words.
        reason: why the verdict is what it is, with the numbers, in a sentence or three.
        rule: which numbers would have made it which verdict.
        datasets, trials: what it rests on.
        effect: in `unit`, with its interval; None where there is none.
        numbers: everything else that was computed, as JSON takes it.
    """

    name: str
    claim: str
    verdict: Verdict
    reason: str
    rule: str
    datasets: tuple[str, ...]
    trials: int
    effect: Estimate | None = None
    unit: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def amount(self, effect: float) -> str:
        """As `effect` is written: a share in percent, else with its sign."""
        return f"{effect:.0%}" if self.unit.startswith("share of ") else f"{effect:+.4f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them."""
        plain: dict[str, Any] = plainly(vars(self))
        return plain


@dataclass(frozen=True)
class BeatsNoTeacher:
    """How many full search trials beat the same student without a teacher, per dataset and in all.

    Attributes:
        share: None where no trial knows that score.
        low, high: 95% interval (Wilson).
    """

    beat: int
    trials: int
    share: float | None
    low: float | None
    high: float | None
    datasets: Mapping[str, float | None]


@dataclass(frozen=True)
class Findings:
    """All claims on one sweep."""

    beats_no_teacher: BeatsNoTeacher
    findings: tuple[Finding, ...]
    regret: RegretMatrix | None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them."""
        return {
            "beats_no_teacher": plainly(self.beats_no_teacher),
            "findings": [one.to_dict() for one in self.findings],
            "regret": self.regret.to_dict() if self.regret else None,
        }
