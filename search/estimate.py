"""What a sweep will cost, by a timed rehearsal of its parts on a few rows: passes, cache, memory, hours."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from distiller.pipelines.cost import parameter_count, resident_bytes
from distiller.pipelines.data import Dataset, load_dataset
from distiller.pipelines.demand import TOKENWISE, Demand
from distiller.pipelines.meta_features import TRAIN_ROWS, VALIDATION_ROWS
from distiller.pipelines.pretrained import own_config
from distiller.pipelines.rehearsal import Rehearsal, Sizes, StudentPace, TeacherPace
from distiller.pipelines.room import GIB
from distiller.pipelines.student import layers_of, untrained
from distiller.pipelines.views import passes_of, views_of
from distiller.search.cache_plan import cache_notes
from distiller.search.outline import met_space
from distiller.search.plan import teachers_of
from distiller.search.prepare import architectures, largest_batch
from distiller.spaces.augmentation import Mixup
from distiller.spaces.config import PipelineConfig
from distiller.spaces.presets import BASELINES, PRESETS
from distiller.spaces.priors import is_constant
from distiller.spaces.space import Space
from distiller.spaces.student import Student
from distiller.spaces.sweep import SweepConfig

CONFIGS = 3
"""Configs that the smallest and the largest student are timed with."""
START_SECONDS = 15.0
"""Ray, and workers that import torch and transformers."""
TRIAL_SECONDS = 0.1
"""Between two trials of a worker (`make bench`, overhead)."""
SMALL_STUDENT_SECONDS = 2.0
"""A small student's steps without a teacher, for the meta-features (docs/meta-features.md)."""
SIMULATIONS = 200


@dataclass(frozen=True)
class Cost:
    """What one dataset comes to.

    Attributes:
        active_parameters: mean number of searched parameters that a config has.
        teacher_passes: times that a teacher reads all texts of the pool, each in another view of them.
        teacher_rows: token rows that teachers read in them.
        cache_gib: what they leave on each node's disk.
        preparation_seconds: one worker's, for teachers and their outputs; None where nothing was timed.
        trial_seconds: one worker's, for a full run of a student; of a cohort its share.
        search_share: of a full run, what a trial of the search runs on average, under random scores.
        trials_seconds: one worker's, for all trials.
        notes: what is not in these figures.
    """

    dataset: str
    active_parameters: float
    teacher_passes: int
    teacher_rows: int
    cache_gib: float
    preparation_seconds: float | None
    trial_seconds: float | None
    search_share: float
    trials_seconds: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """What a sweep comes to.

    Attributes:
        workers: trials at a time.
        hours: from launch to the last trial; None where nothing was timed.
        worker_gib: memory of a worker; None where nothing was timed.
    """

    datasets: tuple[Cost, ...]
    workers: int
    hours: float | None
    worker_gib: float | None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def estimate(
    sweep: SweepConfig, base: Path, workers: int, timed: bool, say: Callable[[str], None] = lambda text: None
) -> Estimate:
    """Rehearse a sweep; without `timed`, count only.

    Raises:
        InputError: what `outline` raises.
    """
    needs_gpu = sweep.resources.gpus != 0
    device = torch.device("cuda" if needs_gpu and torch.cuda.is_available() else "cpu")
    notes = []
    if needs_gpu and device.type == "cpu" and timed:
        notes.append("no GPU here to time the sweep on, which asks for one: hours are not estimated")
        timed = False
    if device.type == "cuda" and timed:
        notes.append("trials that share a GPU are taken to be as fast as one alone")
    torch.set_num_threads(max(1, int(sweep.resources.cpus)))
    found = []
    for name in sweep.datasets:
        say(f"rehearsing {name}" if timed else f"counting {name}")
        with tempfile.TemporaryDirectory(prefix="distiller-plan-") as folder:
            found.append(_dataset_cost(sweep, name, base, Path(folder), device, workers, timed))
    notes += cache_notes(sweep.cache, base, sum(cost.cache_gib for cost in found))
    hours = None
    if timed:
        longest = max(cost.preparation_seconds or 0.0 for cost in found)
        work = sum((cost.preparation_seconds or 0.0) + (cost.trials_seconds or 0.0) for cost in found)
        hours = (START_SECONDS + max(longest, work / workers)) / 3600
    return Estimate(tuple(found), workers, hours, resident_bytes() / GIB if timed else None, tuple(notes))


def _dataset_cost(
    sweep: SweepConfig, name: str, base: Path, folder: Path, device: torch.device, workers: int, timed: bool
) -> Cost:
    started = time.perf_counter()
    data, config = load_dataset(name, sweep.datasets[name], base), sweep.datasets[name]
    load_seconds = time.perf_counter() - started
    space, _, references = met_space(sweep, name, base)
    rng = np.random.default_rng(0)
    samples = [space.sample(rng) for _ in range(100)]
    active = np.mean([sum(not is_constant(d.prior) for d, _ in space.decisions(c)) for c in samples])
    texts = len(data.splits["train"]) + len(data.splits["unlabeled"])
    held_out = len(data.splits["validation"]) + len(data.splits["test"])
    passes, rows, cache, preparation = 0, 0.0, 0.0, 0.0
    notes: list[str] = []
    lead: tuple[Rehearsal, Demand] | None = None
    names = sorted({name for team in teachers_of(space) for name in team})
    for teacher in names:
        rehearsal = Rehearsal(data, config, teacher, sweep.teachers[teacher], base, folder, device)
        shape = rehearsal.teacher.model.config
        depths = _depths(space, shape, base)
        demand = Demand.of_space(space, depths, int(shape.num_hidden_layers))
        sizes = rehearsal.sizes()
        views, untimed = _views(sweep, space, texts * sizes.rows_per_text)
        notes += [note for note in untimed if note not in notes]
        kept, bytes_each = _cached(demand, sizes, texts, int(shape.hidden_size), sweep.cache.max_gb)
        if kept != demand:
            left_out = ", ".join((demand - kept).representations)
            notes.append(f"{left_out} exceed cache.max_gb and are computed live, which takes longer")
        passes += views
        rows += views * texts * sizes.rows_per_text
        outputs = (texts * views + held_out) * sizes.rows_per_text * data.task.outputs * 4
        cache += views * bytes_each + outputs * (sizes.tokens_per_row if data.task.tokenwise else 1)
        if timed:
            pace = rehearsal.teacher_pace(kept, sweep.teachers[teacher].fine_tune)
            preparation += _teacher_seconds(sweep, teacher, data, pace, views, texts, held_out, sizes)
            if lead is None:
                preparation += _features_seconds(data, pace, sizes)
        if lead is None:
            lead = rehearsal, demand
    share, full, all_trials = search_share(sweep), None, None
    if timed and lead is not None:
        full, all_trials = _trials_seconds(sweep, *lead, space, base, data, references, share)
        all_trials += load_seconds * (workers - 1)  # each process reads the data
    return Cost(
        dataset=name,
        active_parameters=float(active),
        teacher_passes=passes,
        teacher_rows=round(rows),
        cache_gib=cache / GIB,
        preparation_seconds=preparation + load_seconds if timed else None,
        trial_seconds=full,
        search_share=share,
        trials_seconds=all_trials,
        notes=tuple(notes),
    )


def _depths(space: Space, teacher: Any, base: Path) -> list[int]:
    found = architectures(space, teacher, base).values()
    return sorted({layers_of(choice, own_config(choice, teacher, base)) for choice in found})


def _views(sweep: SweepConfig, space: Space, pool: float) -> tuple[int, list[str]]:
    """How many views of the pool teachers read, and what making their texts is not timed."""
    passes = passes_of(sweep.budget.steps, largest_batch(space), max(1, round(pool)))
    keys, notes = {"original"}, []
    policies = [PRESETS[name].augmentation for name in sweep.search.warm_presets]
    for slot in range(len(space.stages["augmentation"])):
        for written in space.points("augmentation", slot=slot):
            policies.append(PipelineConfig.model_validate({"augmentation": written}).augmentation)
    for policy in policies:
        for view in views_of(policy, passes):
            keys.add(view.key)
            if view.method in ("contextual", "back_translation"):
                notes.append(f"the models that write texts for {view.method} are not timed")
    return len(keys), list(dict.fromkeys(notes))


def _cached(demand: Demand, sizes: Sizes, texts: int, width: int, limit_gib: float) -> tuple[Demand, float]:
    """What of a demand the cache keeps of a view, and its bytes (float16); as `cache.fitting` has it."""
    rows = texts * sizes.rows_per_text
    for left in (demand, demand.without(*TOKENWISE)):
        counts = [rows * (sizes.tokens_per_row if name in TOKENWISE else 1) for _, name in left.states]
        if 2 * width * sum(counts) <= limit_gib * GIB:
            return left, 2 * width * sum(counts)
    return Demand(), 0.0


def _teacher_seconds(
    sweep: SweepConfig,
    teacher: str,
    data: Dataset,
    pace: TeacherPace,
    views: int,
    texts: int,
    held_out: int,
    sizes: Sizes,
) -> float:
    seconds = pace.row * sizes.rows_per_text * (views * texts + held_out)
    settings = sweep.teachers[teacher].fine_tune
    if settings is not None:
        labelled = len(data.splits["train"]) * sizes.rows_per_text
        steps = max(1, int(labelled // settings.batch_size))
        scored = len(data.splits["validation"]) * sizes.rows_per_text * pace.validation_row
        seconds += settings.epochs * (steps * pace.tuning_step + scored)
    return seconds


def _features_seconds(data: Dataset, pace: TeacherPace, sizes: Sizes) -> float:
    """Of meta-features: a teacher's pass over a sample, and a small student's few steps."""
    rows = min(TRAIN_ROWS, len(data.splits["train"])) + min(VALIDATION_ROWS, len(data.splits["validation"]))
    return pace.row * sizes.rows_per_text * rows + SMALL_STUDENT_SECONDS


def _trials_seconds(
    sweep: SweepConfig,
    rehearsal: Rehearsal,
    demand: Demand,
    space: Space,
    base: Path,
    data: Dataset,
    references: int,
    share: float,
) -> tuple[float, float]:
    """Seconds of a full run, and of all trials."""
    search, budget = sweep.search, sweep.budget
    shape = rehearsal.teacher.model.config
    found = architectures(space, shape, base)
    size = {name: parameter_count(untrained(s, own_config(s, shape, base))) for name, s in found.items()}
    ends = dict.fromkeys((min(size, key=lambda n: size[n]), max(size, key=lambda n: size[n])))
    alone = {name: _paced(sweep, rehearsal, demand, space, found[name], 1) for name in ends}
    together = alone
    if search.cohort > 1:
        together = {
            name: _paced(sweep, rehearsal, demand, space, found[name], search.cohort) for name in ends
        }

    def mean(paces: dict[str, StudentPace], steps: float, evaluations: float, rows: int) -> float:
        """Of all architectures alike: between the smallest and the largest by parameters."""
        taken = {
            name: pace.build + steps * pace.step + evaluations * rows * pace.validation_row
            for name, pace in paces.items()
        }
        known = sorted((size[name], seconds) for name, seconds in taken.items())
        at, seconds = ([pair[side] for pair in known] for side in (0, 1))
        return float(np.mean(np.interp(list(size.values()), at, seconds))) + TRIAL_SECONDS

    validation, test = len(data.splits["validation"]), len(data.splits["test"])
    full = mean(alone, budget.steps, budget.evaluations, validation)
    searched = mean(together, share * budget.steps, share * budget.evaluations + 1, validation)
    winners = min(1, search.finalists.top) * search.finalists.seeds
    finalists = search.finalists.top * search.finalists.seeds
    after = finalists + len(BASELINES) * winners + (winners if search.finalists.top > 1 else 0)
    tested = mean(alone, budget.steps, budget.evaluations + test / max(1, validation), validation)
    costs = sum(pace.cost for pace in alone.values()) / len(alone) * len(found)
    return full, search.trials * searched + references * full + after * tested + costs


def _paced(
    sweep: SweepConfig, rehearsal: Rehearsal, demand: Demand, space: Space, student: Student, members: int
) -> StudentPace:
    """The pace of a student with configs of the space, on the texts as they are: views cost as much."""
    rng = np.random.default_rng(1)
    configs = []
    for _ in range(CONFIGS):
        drawn = space.sample(rng)
        mixups = tuple(choice for choice in drawn.augmentation if isinstance(choice, Mixup))
        changes = {"student": student} | ({"augmentation": mixups} if mixups else {"augmentation": PLAIN})
        configs.append(drawn.model_copy(update=cast(dict[str, Any], changes)))
    return rehearsal.student_pace(configs, sweep.budget, members, demand)


PLAIN = PipelineConfig().augmentation


def search_share(sweep: SweepConfig) -> float:
    """What share of the budget a trial of the search runs on average, were scores random.

    Alone by ASHA's rule, in the order in which they come; in a cohort the best of each at every rung.
    """
    scheduler, rungs = sweep.search.scheduler, sweep.rungs()
    reduction = getattr(scheduler, "reduction", None)
    if reduction is None or len(rungs) == 1:
        return 1.0
    if sweep.search.cohort > 1:
        left, before, steps = sweep.search.cohort, 0, 0.0
        for rung in rungs:
            steps += left * (rung - before)
            left, before = math.ceil(left / reduction), rung
        return steps / (sweep.search.cohort * rungs[-1])
    rng = np.random.default_rng(0)
    trials = min(sweep.search.trials, 200)
    runs = [_asha_steps(rng.random(trials), rungs, reduction) for _ in range(SIMULATIONS)]
    return float(np.mean(runs)) / rungs[-1]


def _asha_steps(scores: Sequence[float] | np.ndarray, rungs: Sequence[int], reduction: int) -> float:
    """Mean steps of trials with these scores, in this order: one stops that is below the quantile so far."""
    seen: list[list[float]] = [[] for _ in rungs]
    steps = []
    for score in scores:
        reached = rungs[-1]
        for rung, earlier in zip(rungs[:-1], seen, strict=False):
            stops = bool(earlier) and score < np.percentile(earlier, 100 * (1 - 1 / reduction))
            earlier.append(float(score))
            if stops:
                reached = rung
                break
        steps.append(reached)
    return float(np.mean(steps))
