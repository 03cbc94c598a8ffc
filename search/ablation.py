"""Training the path from a preset to the best config: each step on new seeds, in the sweep's own store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from distiller.pipelines.augment.requirements import check_choice
from distiller.results.comparison import AblationPath
from distiller.results.comparison.ablation import missing
from distiller.results.frames import to_frame
from distiller.results.frozen import about_launch, frozen_sweep, is_over
from distiller.results.store import Store
from distiller.search.agenda import Agenda, Proposals
from distiller.search.assignment import Assignment, Launch, Task
from distiller.search.capacity import check_fits
from distiller.search.code_digest import code_change
from distiller.search.comparing import ablation_paths
from distiller.search.gpu_memory import gpu_gib
from distiller.search.gpu_share import needs_share, placed_on_nodes, with_gpu_share
from distiller.search.launch import Running, train
from distiller.search.past import past_outcomes
from distiller.search.plan import cache_from, cuts_alike, recorded_tokenizers
from distiller.search.prepared import Prepared, check_inputs
from distiller.search.progress import Progress
from distiller.search.samplers import make_sampler
from distiller.search.schedulers import RungScheduler
from distiller.search.session import provenance, ray_session
from distiller.search.steps import Trials
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from distiller.spaces.sweep import SweepConfig

SEEDS = 3


def run_ablation(
    store: Store, name: str, preset: str, address: str | None, console: Console, trainer: str | None = None
) -> None:
    """Train what of the paths from `preset` has no row yet; another call goes on where this one stopped.

    The seeds follow those of the finalists: the best config was chosen by its scores on theirs.

    Raises:
        InputError: the sweep is not over, or the preset cannot be run on its datasets.
        KeyboardInterrupt: Ctrl-C, after the trials in progress were dropped.
    """
    paths = ablation_paths(store, name, preset)
    sweep = frozen_sweep(store, name)
    if sweep is None or not is_over(store, name):
        raise InputError(
            f"--run: sweep {name} has not ended, so its best configs may change; launch it first"
        )
    store = store.patient()
    trials = to_frame(store.read("trials", name))
    todo = {path.dataset: missing(path, trials, seeds_of(sweep)) for path in paths}
    todo = {dataset: runs for dataset, runs in todo.items() if runs}
    if not todo:
        console.print("every step of the path has been run")
        return
    base = Path(about_launch(store, name).get("base", "."))
    _check(store, sweep, base, [path for path in paths if path.dataset in todo])
    datasets = {dataset: config for dataset, config in sweep.datasets.items() if dataset in todo}
    sweep = sweep.model_copy(update={"datasets": datasets, "cache": cache_from(sweep.cache, base)})
    launch = Launch(sweep, str(base), store.url, provenance(sweep), cluster=address is not None)
    if trainer is not None:
        launch = replace(launch, trainer=trainer)
    running = Running(launch, store, console)
    if address is None:
        running.launch = with_gpu_share(launch, gpu_gib(), console) if needs_share(launch) else launch
        check_fits(running.sweep.resources)
        check_inputs(sweep, base)
    if change := code_change(store, name):
        console.print(change, style="yellow", soft_wrap=True, highlight=False)
    with ExitStack() as stack:
        with running.phase("start Ray"):
            stack.enter_context(ray_session(address))
        if address is not None:
            with running.phase("check the nodes"):
                running.launch = placed_on_nodes(running.launch, 1, console)
        train(running, AblationAgendas(todo), f"trials: the path from {preset} to the best config")
    store.remove_checkpoints(name)


def seeds_of(sweep: SweepConfig) -> list[int]:
    """Seeds that no trial of the sweep had."""
    first = sweep.search.seed + 1 + sweep.search.finalists.seeds
    return list(range(first, first + SEEDS))


class AblationAgendas:
    """Makes a dataset's agenda of the steps that are missing, as `make_agenda` does of a sweep's trials."""

    def __init__(self, todo: Mapping[str, Sequence[tuple[PipelineConfig, int]]]):
        self.todo = todo

    def __call__(
        self, running: Running, prepared: Prepared, scheduler: RungScheduler, progress: Progress
    ) -> Agenda:
        """Nothing is proposed: all trials are fixed."""
        sweep, dataset = running.sweep, prepared.dataset
        trials = Trials(running, prepared)
        sampler = make_sampler(running.space(dataset), sweep.search, 0, sweep.budget.steps)
        proposals = Proposals(sampler, trials.search, 0, 1, (), (), (), lambda fewer, why: None)
        earlier = past_outcomes(running.store, sweep.name, dataset)["ablation"]
        assignments = [
            Assignment(dataset, "ablation", seed, (Task(config, "warm"),), no_teacher=trials.no_teacher)
            for config, seed in self.todo[dataset]
        ]
        progress.expect(dataset, len(assignments) + len(earlier), {"ablation": earlier})
        return Agenda(dataset, list, proposals, lambda: assignments, list, lambda assignment: False)


def _check(store: Store, sweep: SweepConfig, base: Path, paths: Sequence[AblationPath]) -> None:
    """Raise InputError where a step cannot be trained: data that is not there, tokens cut differently."""
    for path in paths:
        tokenizers = recorded_tokenizers(store, sweep.name, path.dataset)
        for step in path.steps:
            config = PipelineConfig.model_validate(step.config)
            place = f"--ablation {path.preset}: {path.dataset}"
            for slot in config.augmentation:
                check_choice(slot, base, place)
            if not cuts_alike(config, tokenizers):
                raise InputError(
                    f"{place}: a step compares tokens, and student and teacher cut texts differently; "
                    "take another preset"
                )
