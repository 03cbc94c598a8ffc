"""How a dataset will be searched, in words: what `distiller plan` says."""

from __future__ import annotations

from distiller.spaces.coordinates import depth
from distiller.spaces.search import FromStore, FromTrials
from distiller.spaces.space import Space
from distiller.spaces.sweep import SweepConfig


def method(sweep: SweepConfig, dataset: str, space: Space) -> str:
    """One line: sampler, scheduler, limits, warm starts, objectives."""
    search = sweep.search
    said = [_sampler(sweep, space), _scheduler(sweep)]
    stop, target = search.stop, search.stop.target_of(dataset)
    ends = [
        *([f"{stop.hours:g} hours"] if stop.hours else []),
        *([f"{stop.device_hours:g} device-hours"] if stop.device_hours else []),
        *([f"a score of {target:g}"] if target is not None else []),
        *([f"{stop.patience} trials without a better one"] if stop.patience else []),
    ]
    if ends:
        said.append(f"ends after {' or '.join(ends)}")
    if search.warm_start:
        said.append(f"starts with {', '.join(map(_start, search.warm_start))}")
    if search.costs:
        said.append(f"finalists from the Pareto set of {', '.join(search.objectives)}")
    return f"{dataset}: {'; '.join(said)}"


def _sampler(sweep: SweepConfig, space: Space) -> str:
    search = sweep.search
    if search.sampler == "tpe":
        return f"tpe, {search.prior_share:.0%} from the prior"
    if search.sampler == "bohb":
        enough = depth(space) + 3
        never = ", so with these it never does" if search.trials < enough else ""
        return f"bohb, {search.prior_share:.0%} from the prior, models once {enough} trials compare{never}"
    return search.sampler.replace("_", "-")


def _scheduler(sweep: SweepConfig) -> str:
    rungs = sweep.rungs()[:-1]
    if sweep.search.scheduler is None or not rungs:
        return "every trial in full"
    steps = ", ".join(map(str, rungs))
    return f"{sweep.search.scheduler.kind} at {steps} of {sweep.budget.steps} steps"


def _start(one: object) -> str:
    if isinstance(one, FromStore):
        return f"the {one.top} best of sweep {one.sweep}" + (" and what it learned" if one.learn else "")
    if isinstance(one, FromTrials):
        return f"{one.recommend} configs that the trials of other sweeps recommend"
    return str(getattr(one, "configs", one))
