"""A launch: freeze the sweep, prepare, run its trials; launching again goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from rich.console import Console

from distiller.results.early_end import EarlyEnd, record_end, recorded_end
from distiller.results.frozen import is_over
from distiller.results.store import Store
from distiller.search.advising import auto_sweep
from distiller.search.agenda import Agenda, Fixed, Proposals
from distiller.search.assignment import Assignment, Launch, Outcome, Preparation
from distiller.search.begun import begun_together
from distiller.search.capacity import check_fits, concurrency
from distiller.search.code_digest import code_change
from distiller.search.frozen import check_same, freeze, mark_over
from distiller.search.gpu_memory import gpu_gib
from distiller.search.gpu_share import needs_share, placed_on_nodes, with_gpu_share
from distiller.search.limits import Limits, NoLimits, Spending, StopLimits
from distiller.search.mirrors.feeding import fed, targets_of
from distiller.search.past import past_outcomes
from distiller.search.plan import (
    cache_from,
    planned_space,
    record_tokenizers,
    searched_space,
)
from distiller.search.prepared import Prepared, check_inputs, pairs_of, record_dataset
from distiller.search.progress import Progress
from distiller.search.samplers import make_sampler
from distiller.search.schedulers import RungScheduler
from distiller.search.searcher import AssignmentSearcher
from distiller.search.session import provenance, ray_session, run_trials
from distiller.search.steps import Trials
from distiller.search.upkeep import kept_compact
from distiller.search.warm import check_warm, warm_file
from distiller.spaces.files import write_yaml
from distiller.spaces.search import Stop
from distiller.spaces.space import Space
from distiller.spaces.sweep import AUTO, SweepConfig, of_presets, parse_sweep, sweep_text, warm_started

TRIALS = "trials: no-teacher references, search, finalists, baselines"


@dataclass
class Running:
    """A launch in progress: what its phases share; `seconds` is wall time per phase."""

    launch: Launch
    store: Store
    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def spending(self) -> Spending:
        """What trials have cost so far; its clock starts when it is first asked for."""
        return Spending(self.store.read("trials", self.sweep.name).to_pylist(), self.sweep.resources)

    @property
    def sweep(self) -> SweepConfig:
        """The sweep as launched."""
        return self.launch.sweep

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase, and say when it begins."""
        started = time.perf_counter()
        self.console.print(f"[bold]{name}[/bold]")
        yield
        self.seconds[name] = time.perf_counter() - started

    def space(self, dataset: str) -> Space:
        """What is searched on a dataset."""
        return searched_space(self.store, self.sweep, dataset)


MakeAgenda = Callable[[Running, Prepared, RungScheduler, Progress], Agenda]


def launch_sweep(
    reference: str,
    store_url: str,
    address: str | None,
    console: Console,
    presets: Sequence[str] = (),
    warm: Sequence[str] = (),
    trainer: str | None = None,
    nodes: int = 1,
) -> Running:
    """Run a sweep, or go on with it: what the store holds as finished is never run again.

    With `presets`, those stand in for its search (`auto`: what earlier trials in the store recommend); `warm`
    is tried first. Another `trainer` (`module:class`) stands in for training. On a cluster it first waits for
    `nodes` that carry trials.

    Raises:
        InputError: the sweep, the store or the cluster is not right.
        KeyboardInterrupt: Ctrl-C, after the trials in progress were dropped.
    """
    text, base = sweep_text(reference)
    sweep = parse_sweep(text, reference, base)
    if AUTO in presets:
        sweep = auto_sweep(sweep, base, store_url, presets, console)
    elif presets:
        sweep = of_presets(sweep, presets)
    if warm:
        sweep = warm_started(sweep, warm)
    if presets or warm:
        text = write_yaml(sweep.model_dump(mode="json", exclude_unset=True))
    for dataset in sweep.datasets:
        planned_space(sweep, dataset)
    store = Store.create(store_url)
    console.print(f"store: {store.url}", soft_wrap=True, highlight=False)
    check_same(store, sweep, base)
    placed = sweep.model_copy(update={"cache": cache_from(sweep.cache, base)})
    store = store.patient()
    launch = Launch(placed, str(base), store.url, provenance(sweep), cluster=address is not None)
    if trainer is not None:
        launch = replace(launch, trainer=trainer)
    running = Running(launch, store, console)
    if is_over(store, sweep.name):
        console.print("every trial of this sweep has ended")
        store.remove_checkpoints(sweep.name)
        return running
    if not all(store.read_text(sweep.name, warm_file(dataset)) for dataset in sweep.datasets):
        check_warm(sweep, base, store)
    if address is None:  # what is wrong here is better found before Ray starts
        running.launch = with_gpu_share(launch, gpu_gib(), console) if needs_share(launch) else launch
        check_fits(running.sweep.resources)
        check_inputs(sweep, base)
    targets_of(sweep.mirrors, base)
    if change := code_change(store, sweep.name):
        console.print(change, style="yellow", soft_wrap=True, highlight=False)
    freeze(store, sweep, text, base)
    with ExitStack() as stack:
        with running.phase("start Ray"):
            stack.enter_context(ray_session(address))
        if address is not None:
            with running.phase("check the nodes"):
                running.launch = placed_on_nodes(running.launch, nodes, console)
        train(running)
    if lost := mark_over(store, sweep.name):
        console.print(lost, style="yellow", soft_wrap=True)
    store.remove_checkpoints(sweep.name)  # killed drivers and workers leave some
    return running


def train(running: Running, make: MakeAgenda | None = None, named: str = TRIALS) -> None:
    """Teachers and their outputs, then all trials: one run of Ray Tune, so that workers start once.

    Others than a sweep's own trials come from `make`, and are `named` so.
    """
    sweep, store = running.sweep, running.store
    scheduler = RungScheduler(store, sweep.rungs(), sweep.search.scheduler)
    progress = Progress(running.console, "trials")
    progress.prepare(sweep.datasets)
    preparations = [
        Preparation(dataset, teacher, alone=number == 0)
        for number, (dataset, teacher) in enumerate(pairs_of(sweep))
    ]

    def agenda_of(dataset: str, prepared: list[Prepared]) -> Agenda:
        record_dataset(running.launch, prepared[0])
        record_tokenizers(store, sweep.name, dataset, prepared[0].tokenizers)
        kinds = any(each.several_kinds for each in prepared)
        ready = replace(prepared[0], several_kinds=kinds)
        return (make or make_agenda)(running, ready, scheduler, progress)

    phases = ("teachers and their outputs", named)
    running.console.print(f"[bold]{phases[0]}; {phases[1]}[/bold]")
    targets = targets_of(sweep.mirrors, Path(running.launch.base))
    started = time.perf_counter()
    searcher = AssignmentSearcher(running.launch, store, progress, preparations, agenda_of, scheduler.errors)
    scheduler.release, scheduler.fail = searcher.release, searcher.fail
    searcher.orphaned = scheduler.orphaned
    with fed(store, sweep.name, targets, progress.note), kept_compact(store, sweep.name, progress.note):
        run_trials(running.launch, searcher, scheduler)
    assert searcher.prepared_at is not None
    running.seconds[phases[0]] = searcher.prepared_at - started
    running.seconds[phases[1]] = time.perf_counter() - searcher.prepared_at


def make_agenda(running: Running, prepared: Prepared, scheduler: RungScheduler, progress: Progress) -> Agenda:
    """A dataset's trials, less those that earlier launches finished."""
    sweep, store, dataset = running.sweep, running.store, prepared.dataset
    trials = Trials(running, prepared)
    earlier = past_outcomes(store, sweep.name, dataset)
    for outcome in earlier["search"]:
        scheduler.learn(dataset, outcome)
    begun = begun_together(
        row
        for row in store.unfinished_attempts(sweep.name)
        if row["role"] == "search" and row["dataset"] == dataset
    )
    number = list(sweep.datasets).index(dataset)
    sampler = make_sampler(running.space(dataset), sweep.search, number, sweep.budget.steps)
    for note in trials.warm_started.notes:
        progress.note(note)
    for outcome in trials.warm_started.outcomes:
        sampler.tell(outcome)

    def ended_early(fewer: int, why: str) -> None:
        progress.shorten(dataset, fewer, why)
        record_end(store, sweep.name, dataset, EarlyEnd(fewer, why))

    proposals = Proposals(
        sampler,
        trials.search,
        sweep.search.trials,
        sweep.search.cohort,
        earlier["search"],
        [task for tasks in begun for task in tasks],
        trials.warm(),
        ended_early,
        prepared.several_kinds,
        # Several at a time are not compared at rungs on the way.
        concurrency(sweep.resources) if sweep.search.scheduler is None else 0,
        [tasks for tasks in begun if len(tasks) > 1],
        limits_of(running, dataset, earlier["search"]),
    )
    finalists, baselines = trials.expected_after()
    total = len(trials.references()) + sweep.search.trials + finalists + baselines
    progress.expect(dataset, total, earlier)

    def counted(step: Fixed, expected: int) -> Fixed:
        """A step that tells the total how many trials it has, once that is known."""

        def assignments() -> Sequence[Assignment]:
            found = step()
            progress.fewer(dataset, expected - len(found))
            return found

        return assignments

    done = {
        (key.config_id, key.seed, key.role) for key in store.finished(sweep.name) if key.dataset == dataset
    }
    return Agenda(
        dataset,
        trials.references,
        proposals,
        counted(trials.finalists, finalists),
        counted(trials.baselines, baselines),
        lambda a: (a.tasks[0].config.config_id, a.seed, a.role) in done,
    )


def limits_of(running: Running, dataset: str, earlier: Sequence[Outcome]) -> Limits:
    """What may end a dataset's search early; an end that an earlier launch recorded stays."""
    if running.sweep.search.stop == Stop():
        return NoLimits()
    before = recorded_end(running.store, running.sweep.name, dataset)
    why = before.why if before else None
    return StopLimits(running.sweep.search, dataset, running.spending, earlier, why)
