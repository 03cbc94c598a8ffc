"""The answer: shares of stages and parameters, whether they can be trusted, and the caution in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from distiller.results.importance.parameters import ParameterShare

Verdict = Literal["ok", "cannot tell"]


@dataclass(frozen=True)
class StageShare:
    """Shares of the variance that the surrogate explains at full budget under the search prior.

    Attributes:
        main: by the stage alone (first-order Sobol index).
        total: by the stage and all its interactions with other stages.
        shapley: interactions divided evenly among their stages; adds up to 1 over stages.
        influential: the verdict is ok, `total` is at least 0.02 and held-out trials confirm it.
        r2_lost: held-out R2 lost when the stage's columns are swapped with another trial's.
        p_value: of losing nothing; confirmed below 0.01 / number of stages (1e-4 / number where the sampler
            chose trials that it is measured on).
    """

    stage: str
    main: float
    total: float
    shapley: float
    influential: bool
    r2_lost: float
    p_value: float


@dataclass(frozen=True)
class PairShare:
    """What two stages do together beyond what they do apart (second-order Sobol index)."""

    stages: tuple[str, str]
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
        r2: held-out R2 beyond fidelity, with its one-sided 95% bound `r2_low`; None where nothing was fitted.
        measured_on: the trials that r2, r2_lost and p_value refer to: `full runs drawn from the
            prior` where a sampler chose others and there are 20, else `full runs` if 20, else `all runs`.
        noise_share: variance between seeds of one config over the variance of full runs; None unknown.
        stages: influential ones first, then by total effect; empty where nothing was fitted.
        pairs: by share, largest first.
        parameters: of each stage in turn, adding up to its main effect.
    """

    verdict: Verdict
    reason: str
    caution: tuple[str, ...]
    trials: int
    full: int
    failed: int
    from_prior: int
    r2: float | None
    r2_low: float | None
    measured_on: str | None
    noise_share: float | None
    stages: tuple[StageShare, ...]
    pairs: tuple[PairShare, ...]
    parameters: tuple[ParameterShare, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON takes them."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
