"""The answer: shares of stages and parameters, whether they can be trusted, and the caution in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from distiller.results.importance.parameters import ParameterShare
from distiller.results.importance.top import TopShare

Verdict = Literal["ok", "cannot tell"]
Interval = tuple[float, float]
FROM_PRIOR = "full runs drawn from the prior"
"""What an answer was measured on where a sampler chose other trials."""


@dataclass(frozen=True)
class StageShare:
    """Shares of the variance that the surrogate explains at full budget under the search prior.

    Attributes:
        main: by the stage alone (first-order Sobol index).
        total: by the stage and all its interactions with other stages.
        shapley: interactions divided evenly among their stages; adds up to 1 over stages.
        main_interval, total_interval: 95%; None where none was asked for, or the trials give none.
        influential: the verdict is ok, `total` is at least 0.02 and `p_value` below 0.01 / number of stages.
        p_value: of "the stage has no effect". Where a sampler chose trials, n others from the prior must
            confirm it: it is no less than theirs times n / 2400; where they are too few, a hundredfold. In
            the mean over datasets of "it has none on half of them or more", by partial conjunction.
    """

    stage: str
    main: float
    total: float
    shapley: float
    main_interval: Interval | None
    total_interval: Interval | None
    influential: bool
    p_value: float


@dataclass(frozen=True)
class PairShare:
    """What two stages do together beyond what they do apart (second-order Sobol index)."""

    stages: tuple[str, str]
    share: float


@dataclass(frozen=True)
class SubsetShare:
    """What a set of stages does together beyond all its subsets; over all sets they add up to 1."""

    stages: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Importance:
    """Importance of stages and their parameters on one dataset.

    Attributes:
        verdict: `cannot tell` where the trials do not carry the shares, which then are no findings.
        reason: why, in one sentence.
        caution: what the shares rest on and do not say, one sentence each.
        trials: search trials with a score; `full` of them ran the whole budget, `failed` others are left out.
        from_prior: trials drawn from the prior, not chosen by the sampler.
        surrogate: `linear`, `boosting` or `forest`, by cross-validation; None where nothing was fitted.
        r2: held-out R2 beyond fidelity, with its one-sided 95% bound `r2_low`; `r2_of` that of every
            surrogate.
        measured_on: the trials that these refer to: `full runs drawn from the prior` where a sampler chose
            others and there are 20, else `full runs` if 20, else `all runs`.
        noise_share: variance between seeds of one config over the variance of full runs, from `noise_repeats`
            runs beyond the first of each config; None without repeats.
        stages: influential ones first, then by total effect; empty where nothing was fitted.
        pairs, subsets: by share, largest first; subsets are all sets of stages.
        parameters: of each stage in turn, adding up to its main effect.
        top: the second view, what reaches the best tenth of full runs.
    """

    verdict: Verdict
    reason: str
    caution: tuple[str, ...]
    trials: int
    full: int
    failed: int
    from_prior: int
    surrogate: str | None
    r2: float | None
    r2_low: float | None
    r2_of: Mapping[str, float]
    measured_on: str | None
    noise_share: float | None
    noise_repeats: int
    stages: tuple[StageShare, ...]
    pairs: tuple[PairShare, ...]
    subsets: tuple[SubsetShare, ...]
    parameters: tuple[ParameterShare, ...]
    top: TopShare | None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them; stages and their parameters by name."""
        plain: dict[str, Any] = _plain(asdict(self))
        plain["interactions"] = plain.pop("pairs")
        plain["stages"] = {stage.pop("stage"): stage for stage in plain["stages"]}
        parameters: dict[str, Any] = {name: [] for name in plain["stages"]}
        for parameter in plain["parameters"]:
            parameters[parameter.pop("stage")].append(parameter)
        plain["parameters"] = parameters
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
