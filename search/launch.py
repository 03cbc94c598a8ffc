"""A launch: freeze the sweep, prepare, run its trials; launching again goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from rich.console import Console

from distiller.results.entries import is_full
from distiller.results.leaderboard import leaderboard
from distiller.results.schema import ROLES
from distiller.results.store import Store
from distiller.search.agenda import Agenda, Proposals
from distiller.search.assignment import Assignment, Launch, Outcome, Preparation, Task
from distiller.search.code_digest import code_change
from distiller.search.frozen import check_same, freeze, is_over, mark_over
from distiller.search.gpu_memory import gpu_gib
from distiller.search.gpu_share import needs_share, placed_on_nodes, with_gpu_share
from distiller.search.plan import (
    cache_from,
    check_preset,
    cuts_alike,
    planned_space,
    record_tokenizers,
    recorded_tokenizers,
    searched_space,
)
from distiller.search.prepared import Prepared, check_inputs, pairs_of, record_dataset
from distiller.search.progress import Progress
from distiller.search.samplers import make_sampler
from distiller.search.searcher import AssignmentSearcher, RungScheduler
from distiller.search.session import check_fits, provenance, ray_session, run_trials
from distiller.spaces.config import MEAN, PipelineConfig
from distiller.spaces.files import write_yaml
from distiller.spaces.presets import BASELINES, PRESETS
from distiller.spaces.space import Space
from distiller.spaces.student import Student
from distiller.spaces.sweep import SweepConfig, of_presets, parse_sweep, sweep_text


@dataclass
class Running:
    """A launch in progress: what its phases share; `seconds` is wall time per phase."""

    launch: Launch
    store: Store
    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

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


def launch_sweep(
    reference: str,
    store_url: str,
    address: str | None,
    console: Console,
    presets: Sequence[str] = (),
    nodes: int = 1,
) -> Running:
    """Run a sweep, or go on with it: what the store holds as finished is never run again.

    With `presets`, those stand in for its search. On a cluster it first waits for `nodes` that carry trials.

    Raises:
        InputError: the sweep, the store or the cluster is not right.
        KeyboardInterrupt: Ctrl-C, after the trials in progress were dropped.
    """
    text, base = sweep_text(reference)
    sweep = parse_sweep(text, reference, base)
    if presets:
        sweep = of_presets(sweep, presets)
        text = write_yaml(sweep.model_dump(mode="json", exclude_unset=True))
    for dataset in sweep.datasets:
        planned_space(sweep, dataset)
    store = Store.create(store_url)
    console.print(f"store: {store.url}", soft_wrap=True, highlight=False)
    check_same(store, sweep, base)
    placed = sweep.model_copy(update={"cache": cache_from(sweep.cache, base)})
    launch = Launch(placed, str(base), store.url, provenance(), cluster=address is not None)
    running = Running(launch, store, console)
    if is_over(store, sweep.name):
        console.print("every trial of this sweep has ended")
        return running
    if address is None:  # what is wrong here is better found before Ray starts
        running.launch = with_gpu_share(launch, gpu_gib(), console) if needs_share(launch) else launch
        check_fits(running.sweep.resources)
        check_inputs(sweep, base)
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
    mark_over(store, sweep.name)
    return running


def train(running: Running) -> None:
    """Teachers and their outputs, then all trials: one run of Ray Tune, so that workers start once."""
    sweep, store = running.sweep, running.store
    halving = sweep.search.scheduler
    scheduler = RungScheduler(store, sweep.rungs(), halving.reduction if halving else 2)
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
        return make_agenda(running, replace(prepared[0], several_kinds=kinds), scheduler, progress)

    phases = ("teachers and their outputs", "trials: no-teacher references, search, finalists, baselines")
    running.console.print(f"[bold]{phases[0]}; {phases[1]}[/bold]")
    started = time.perf_counter()
    searcher = AssignmentSearcher(running.launch, store, progress, preparations, agenda_of, scheduler.errors)
    scheduler.release = searcher.release
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
    begun = [
        Task(PipelineConfig.model_validate_json(row["config"]), row["origin"])
        for row in store.unfinished_attempts(sweep.name)
        if row["role"] == "search" and row["dataset"] == dataset
    ]
    proposals = Proposals(
        make_sampler(running.space(dataset), sweep.search, list(sweep.datasets).index(dataset)),
        trials.search,
        sweep.search.trials,
        sweep.search.cohort,
        earlier["search"],
        begun,
        trials.warm(),
        lambda fewer, why: progress.shorten(dataset, fewer, why),
        prepared.several_kinds,
    )
    progress.expect(dataset, trials.expected(), earlier)
    done = {
        (key.config_id, key.seed, key.role) for key in store.finished(sweep.name) if key.dataset == dataset
    }
    return Agenda(
        dataset,
        trials.references,
        proposals,
        trials.finalists,
        trials.baselines,
        lambda a: (a.tasks[0].config.config_id, a.seed, a.role) in done,
    )


@dataclass
class Trials:
    """What a dataset's steps consist of."""

    running: Running
    prepared: Prepared

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.prepared.dataset

    def expected(self) -> int:
        """How many trials all steps have, as far as that is known beforehand."""
        search = self.running.sweep.search
        winners = min(search.finalists.top, 1) * search.finalists.seeds
        after = search.finalists.top * search.finalists.seeds + len(BASELINES) * winners
        return len(self.references()) + search.trials + after + (winners if search.finalists.top > 1 else 0)

    def references(self) -> list[Assignment]:
        """Each architecture without a teacher, at the middle of the optimization's priors: what to beat."""
        sweep = self.running.sweep
        prepared = self.prepared
        assignments = []
        for student in prepared.architectures.values():
            config = PRESETS["no_teacher"].applied(self._config(student), prepared.row["task_kind"])
            assignments.append(
                Assignment(self.dataset, "baseline", sweep.search.seed, (Task(config, "warm"),))
            )
        return assignments

    def _config(self, student: Student) -> PipelineConfig:
        """A student with the prepared teachers, at the middle of the optimization's ranges."""
        return PipelineConfig.model_validate(
            {
                "student": student,
                "optimization": next(iter(self.running.space(self.dataset).points("optimization"))),
                "teacher": [{"checkpoint": name} for name in self.prepared.teacher.split(MEAN)],
            }
        )

    def warm(self) -> list[PipelineConfig]:
        """The presets that the search starts with, on the first student and the middle optimization."""
        base = self._config(next(iter(self.prepared.architectures.values())))
        kind = self.prepared.row["task_kind"]
        names = self.running.sweep.search.warm_start
        configs = [PRESETS[name].applied(base, kind) for name in names]
        for name, config in zip(names, configs, strict=True):
            check_preset(name, config, self.dataset, self.prepared.tokenizers)
        return configs

    def search(self, tasks: tuple[Task, ...]) -> Assignment:
        """Trials of the search, compared at the rungs."""
        sweep = self.running.sweep
        rungs = tuple(sweep.rungs()[:-1])
        return Assignment(
            self.dataset, "search", sweep.search.seed, tasks, rungs=rungs, no_teacher=self.no_teacher
        )

    @cached_property
    def no_teacher(self) -> dict[str, float]:
        """Validation scores of the references, by architecture; read once they have ended."""
        rows = self._rows("baseline")
        seed = self.running.sweep.search.seed
        labels_only = [r for r in rows if r["seed"] == seed and r["prediction_loss"] == "labels"]
        return {row["student"]: row["score"] for row in labels_only}

    def finalists(self) -> list[Assignment]:
        """The best configs of the search on new seeds; alone in the final, a config is tested right away."""
        search = self.running.sweep.search
        rows = sorted(self._rows("search"), key=lambda row: -row["score"])[: search.finalists.top]
        return [
            Assignment(
                self.dataset,
                "finalist",
                search.seed + 1 + number,
                (Task(PipelineConfig.model_validate_json(row["config"]), row["origin"]),),
                test=search.finalists.top == 1,
                no_teacher=self.no_teacher,
            )
            for row in rows
            for number in range(search.finalists.seeds)
        ]

    def baselines(self) -> list[Assignment]:
        """The winner's student, optimization and seeds without a teacher and as plain Hinton KD, on test.

        Among several finalists the winner itself is trained once more, since only winners see test.
        """
        boards = {board.dataset: board for board in leaderboard(self.running.store, self.running.sweep.name)}
        winner, kind = boards[self.dataset].winner, boards[self.dataset].task_kind
        if winner is None or kind is None:
            return []
        configs = [PRESETS[name].applied(winner.config, kind) for name in BASELINES]
        tokenizers = recorded_tokenizers(self.running.store, self.running.sweep.name, self.dataset)
        configs = [config for config in configs if cuts_alike(config, tokenizers)]
        if self.running.sweep.search.finalists.top > 1:
            configs.insert(0, winner.config)
        distinct = {config.config_id: config for config in configs}  # the winner may be a baseline itself
        return [
            Assignment(
                self.dataset,
                "baseline",
                seed,
                (Task(config, "warm"),),
                test=True,
                no_teacher=self.no_teacher,
            )
            for config in distinct.values()
            for seed in winner.validation.seeds
        ]

    def _rows(self, role: str) -> list[dict[str, Any]]:
        """Completed rows of the dataset in a role, all with a score."""
        rows: list[dict[str, Any]] = self.running.store.read("trials", self.running.sweep.name).to_pylist()
        return [
            row for row in rows if row["dataset"] == self.dataset and row["role"] == role and is_full(row)
        ]


def past_outcomes(store: Store, sweep: str, dataset: str) -> dict[str, list[Outcome]]:
    """The trials of a dataset that earlier launches finished, by role, in the order in which they ended."""
    curves: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for row in store.read("epochs", sweep).to_pylist():
        if row["dataset"] == dataset and row["score"] is not None:
            curves.setdefault((row["trial_id"], row["attempt"]), []).append((row["step"], row["score"]))
    found: dict[str, list[Outcome]] = {role: [] for role in ROLES}
    for row in store.read("trials", sweep).sort_by("ended_at").to_pylist():
        if row["dataset"] == dataset:
            curve = tuple(sorted(curves.get((row["trial_id"], row["attempt"]), [])))
            config = PipelineConfig.model_validate_json(row["config"])
            outcome = Outcome(config, row["origin"], row["status"], curve, row["steps"], row["error"])
            found[row["role"]].append(outcome)
    return found
