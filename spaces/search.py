"""How a sweep searches, as a person writes it: sampler, scheduler, warm starts, objectives and limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from distiller.spaces.narrowing import nearest
from distiller.spaces.presets import PRESETS


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Halving(_Strict):
    """Rungs as shares of the budget, and how many of those that reach one go on."""

    reduction: int = Field(default=3, ge=2, le=16)
    """One trial in `reduction` goes on at each rung."""
    min_share: float = Field(default=1 / 9, gt=0, lt=1)
    """The first rung, as a share of the budget; the next ones are `reduction` times higher."""

    def rungs(self, budget_steps: int) -> list[int]:
        """The steps at which trials are compared, the full budget last."""
        steps: list[int] = []
        share = self.min_share
        while share < 1 - 1e-9:
            step = max(1, round(share * budget_steps))
            if step < budget_steps and step not in steps:
                steps.append(step)
            share *= self.reduction
        return [*steps, budget_steps]


class Asha(Halving):
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934) over shares of the budget."""

    kind: Literal["asha"] = "asha"


class Hyperband(Halving):
    """Brackets of successive halving that begin at each rung (Li et al. 2018, arXiv 1603.06560).

    They run side by side and asynchronously, as in section 3.2 of the paper on ASHA.
    """

    kind: Literal["hyperband"] = "hyperband"


class Pasha(Halving):
    """ASHA that opens a higher rung only while the ranking changes (Bohdal et al. 2023, arXiv 2207.06940)."""

    kind: Literal["pasha"] = "pasha"


class MedianStopping(_Strict):
    """Stops what stays below the median of running means (Golovin et al. 2017, section 3.2.2)."""

    kind: Literal["median"] = "median"
    checks: int = Field(default=8, ge=2, le=100)
    """How often a full run is compared, evenly spaced, the end included."""
    min_share: float = Field(default=0.25, gt=0, lt=1)
    """No trial is stopped before this share of the budget."""
    min_trials: int = Field(default=3, ge=1)
    """Trials that must have come as far before one is stopped."""

    def rungs(self, budget_steps: int) -> list[int]:
        """The steps at which trials are compared, the full budget last."""
        first = self.min_share * budget_steps - 1e-9
        steps = {max(1, round(i * budget_steps / self.checks)) for i in range(1, self.checks)}
        return [*sorted(step for step in steps if first <= step < budget_steps), budget_steps]


Scheduler = Annotated[Asha | Hyperband | Pasha | MedianStopping, Field(discriminator="kind")]
SCHEDULERS = ("asha", "hyperband", "pasha", "median")


class Finalists(_Strict):
    """The best configs of a dataset's search, trained again on new seeds before one is chosen."""

    top: int = Field(default=3, ge=0)
    seeds: int = Field(default=3, ge=1)


class FromStore(_Strict):
    """The best configs that another sweep found on the dataset of the same name."""

    store: str = Field(min_length=1)
    """A folder (relative to the YAML file) or a URL."""
    sweep: str = Field(min_length=1)
    top: int = Field(default=5, ge=0)
    """So many configs are tried first."""
    learn: bool = False
    """Whether the sampler also learns from all trials there; rows, metric and budget must be the same."""


class FromTrials(_Strict):
    """What `distiller recommend` would say of each dataset, from the trials of other sweeps."""

    recommend: int = Field(default=5, ge=1)
    """So many configs are tried first."""
    store: str | None = None
    """A folder (relative to the YAML file) or a URL; by default the store that the sweep is launched in."""


class FromFile(_Strict):
    """A recipe as `distiller export` writes it."""

    configs: str = Field(min_length=1)
    """A file, relative to the YAML file."""


def _kind_of_start(written: Any) -> str | None:
    if isinstance(written, str):
        return "preset"
    keys = written if isinstance(written, dict) else vars(written) if isinstance(written, BaseModel) else {}
    if "recommend" in keys:
        return "recommend"
    found = [key for key in ("store", "configs") if key in keys]
    return found[0] if len(found) == 1 else None


WarmStart = Annotated[
    Annotated[str, Tag("preset")]
    | Annotated[FromStore, Tag("store")]
    | Annotated[FromTrials, Tag("recommend")]
    | Annotated[FromFile, Tag("configs")],
    Discriminator(
        _kind_of_start,
        custom_error_type="warm_start",
        custom_error_message="takes presets, recommend, {store: URL, sweep: NAME, top: 5} and "
        "{configs: FILE.yaml}; write one of them",
    ),
]


class Stop(_Strict):
    """What ends a search before all its trials have run; whichever comes first.

    Running trials end, and finalists and baselines still run.
    """

    hours: float | None = Field(default=None, gt=0)
    """Hours in which trials of the sweep ran, over all its launches."""
    device_hours: float | None = Field(default=None, gt=0)
    """Hours of GPUs (of cores, where trials ask for none) that trials of the sweep held."""
    target: float | dict[str, float] | None = None
    """A score that is good enough, for all datasets or by dataset."""
    patience: int | None = Field(default=None, ge=1)
    """Trials of a dataset in a row that ended without a better one."""

    def target_of(self, dataset: str) -> float | None:
        """What is good enough on a dataset; None where nothing was said."""
        return self.target.get(dataset) if isinstance(self.target, dict) else self.target


class Search(_Strict):
    """How configs are chosen and how many are tried."""

    trials: int = Field(default=100, ge=1)
    """Trials per dataset."""
    sampler: Literal["tpe", "bohb", "random", "quasi_random", "grid"] = "tpe"
    startup: int = Field(default=10, ge=1)
    """Trials drawn from the prior before TPE models what it has seen."""
    prior_share: float = Field(default=0.2, ge=0, le=1)
    """Share of trials that TPE leaves to the prior, so that importance has its reference."""
    same_configs: bool = False
    """Whether datasets with the same space draw the same configs, so that they compare config by config
    (`findings`, `recommend`); what a model proposes still differs."""
    grid_levels: int = Field(default=3, ge=1)
    scheduler: Scheduler | None = Asha()
    objectives: tuple[Literal["score", "parameters", "flops", "latency"], ...] = ("score",)
    """`score` alone, or against what the student costs: the answer is then a Pareto set."""
    stop: Stop = Stop()
    cohort: int = Field(default=1, ge=1, le=256)
    """Configs trained at once in one process (worth it on a GPU)."""
    seed: int = Field(default=0, ge=0)
    warm_start: tuple[WarmStart, ...] = ()
    """What is tried first: presets, with the first student and the middle of the optimization's priors, the
    best of another sweep, what other sweeps recommend, or recipes."""
    finalists: Finalists = Finalists()

    @property
    def warm_presets(self) -> tuple[str, ...]:
        """The presets among the warm starts."""
        return tuple(one for one in self.warm_start if isinstance(one, str))

    @property
    def costs(self) -> tuple[str, ...]:
        """What is made small while the score is made high."""
        return tuple(one for one in self.objectives if one != "score")

    @field_validator("warm_start", mode="before")
    @classmethod
    def _one_or_several(cls, written: Any) -> Any:
        several = [written] if isinstance(written, (str, dict)) else written
        if not isinstance(several, (list, tuple)):
            return several
        return [{"recommend": FromTrials().recommend} if one == "recommend" else one for one in several]

    @field_validator("warm_start")
    @classmethod
    def _known_presets(cls, found: tuple[str | FromStore | FromTrials | FromFile, ...]) -> Any:
        for name in found:
            if isinstance(name, str) and name not in PRESETS:
                raise ValueError(f"{name!r} is no preset; {nearest(name, PRESETS)}")
        return found

    @field_validator("scheduler", mode="before")
    @classmethod
    def _accept_names(cls, written: Any) -> Any:
        if written == "none":
            return None
        if written in SCHEDULERS:
            return {"kind": written}
        if isinstance(written, str):
            raise ValueError(
                f"is no scheduler; write {', '.join(SCHEDULERS)}, none, or {{asha: {{reduction: 3}}}}"
            )
        if isinstance(written, dict) and len(written) == 1 and (name := next(iter(written))) in SCHEDULERS:
            inner = written[name] or {}
            return {**inner, "kind": name} if isinstance(inner, dict) else inner
        if isinstance(written, dict) and "kind" not in written:
            return {**written, "kind": "asha"}
        return written

    @field_validator("objectives", mode="before")
    @classmethod
    def _one_objective(cls, written: Any) -> Any:
        return [written] if isinstance(written, str) else written

    @field_validator("objectives")
    @classmethod
    def _score_and_costs(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        if "score" not in found or len(set(found)) < len(found):
            raise ValueError(
                "score is one of the objectives, and none is named twice; write [score, latency]"
            )
        return found

    @model_validator(mode="after")
    def _room_for_presets(self) -> Search:
        if len(set(self.warm_presets)) > self.trials:
            raise ValueError(
                f"warm_start has {len(set(self.warm_presets))} presets, and there are {self.trials} trials; "
                "name fewer, or set more trials"
            )
        return self

    @model_validator(mode="after")
    def _go_together(self) -> Search:
        kind = self.scheduler.kind if self.scheduler else "none"
        if self.costs and kind != "none":
            raise ValueError(
                f"objectives {', '.join(self.objectives)}: scheduler {kind} compares scores alone and would "
                "stop the small students; write scheduler: none"
            )
        if self.sampler == "bohb" and kind == "none":
            raise ValueError(
                "sampler bohb models trials that a scheduler stopped; write scheduler: asha or hyperband, "
                "or sampler: tpe"
            )
        if self.cohort > 1 and kind not in ("asha", "none"):
            raise ValueError(
                f"scheduler {kind} compares trials one by one, and a cohort of {self.cohort} halves itself; "
                "write scheduler: asha, or cohort: 1"
            )
        return self
