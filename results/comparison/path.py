"""An ablation path as data: steps, and the scores on the way; what cannot be told is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from distiller.results.comparison.best_of_n import Estimate
from distiller.results.comparison.report import plainly


@dataclass(frozen=True)
class Score:
    """A score on the way of an ablation path.

    Attributes:
        label: `measured` on `seeds` seeds, or `predicted` by a surrogate; `not predicted` has no value.
        sd: between seeds; None of one seed, or where it is predicted.
    """

    label: str
    value: float | None
    sd: float | None = None
    seeds: int = 0


@dataclass(frozen=True)
class AblationStep:
    """One more stage as the best config has it; the first step has none.

    Attributes:
        stage: the stage that was changed; None for the start.
        was, became: its choice before and after, in short.
        config: the whole config, as JSON takes it.
        gain: over the step before, in the metric's unit, with its interval where both are measured.
        note: why it is not predicted, or what happened to its runs.
        gain_label: `measured` where both ran on the same seeds, else `predicted`; empty without a gain.
    """

    stage: str | None
    was: str
    became: str
    config_id: str
    config: Mapping[str, Any]
    predicted: Score
    measured: Score | None
    gain: Estimate | None
    note: str = ""
    gain_label: str = ""


@dataclass(frozen=True)
class AblationPath:
    """From a preset to the best config, at each step the stage that gains most (Fawcett & Hoos 2016).

    Attributes:
        label: `measured` where every step is, else `predicted`, or `not predicted` where no step could be.
        r2: held-out R2 of the surrogate that predicts; None where it could not be fitted.
        notes: what a reader must know, one sentence each.
    """

    dataset: str
    metric: str | None
    preset: str
    label: str
    r2: float | None
    steps: tuple[AblationStep, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them."""
        plain: dict[str, Any] = plainly(asdict(self))
        return plain
