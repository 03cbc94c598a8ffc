"""One dataset's trials in order: references, search, finalists, baselines; each step knows what is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from distiller.search.assignment import Assignment, Outcome, Task
from distiller.search.limits import Limits, NoLimits
from distiller.spaces.config import PipelineConfig

if TYPE_CHECKING:  # a worker uses this module without Optuna and SciPy
    from distiller.search.samplers import Sampler

BATCH_SECONDS = 2.0
"""What one worker is given at a time where trials are shorter: starting an assignment costs some 50 ms."""

BATCH_SHARE = 0.1
"""Share of the trials that ended that may be under way, over all workers, before their scores are known."""

Make = Callable[[tuple[Task, ...]], Assignment]
Fixed = Callable[[], Sequence[Assignment]]


class Proposals:
    """The search of one dataset: configs from a sampler, each tried once, gathered into cohorts."""

    def __init__(
        self,
        sampler: Sampler,
        make: Make,
        trials: int,
        cohort: int,
        earlier: Sequence[Outcome],
        begun: Sequence[Task],
        warm: Sequence[PipelineConfig],
        ended_early: Callable[[int, str], None],
        several_kinds: bool = False,
        workers: int = 0,
        together: Sequence[Sequence[Task]] = (),
        limits: Limits | None = None,
    ):
        """`earlier` launches finished some trials, and `begun` others that they did not finish.

        `together` are cohorts among those begun: they stay together, as their student checkpoint is of all.

        `warm` configs are tried before any that the sampler proposes, whether or not its space holds them.
        `ended_early` is told how many trials there will not be, and why, where the space has too few configs
        or `limits` are reached. `several_kinds` is as in `cohort_group`. With a number of `workers`, short
        trials are handed out several at a time, to be run one after another.
        """
        self.sampler, self.make, self.cohort, self.ended_early = sampler, make, cohort, ended_early
        self.several_kinds, self.workers = several_kinds, workers
        self.limits: Limits = limits or NoLimits()
        self.ended, self.seconds = 0, 0.0
        for outcome in earlier:
            self.tell(outcome)
        self.begun = {task.config.config_id for task in begun}
        self.seen = {o.config.config_id for o in earlier} | self.begun
        before: list[Outcome | Task] = [*earlier, *begun]
        warm_before = {one.config.config_id for one in before if one.origin == "warm"}
        sampler.resume(len(self.seen - warm_before))
        self.left = max(0, trials - len(earlier))
        self.spare: dict[tuple[Any, ...], list[Task]] = {}
        fresh = [Task(config, "warm") for config in warm if config.config_id not in self.seen]
        self.seen |= {task.config.config_id for task in fresh}
        self.together: list[Sequence[Task]] = []
        room = self.left
        for tasks in together:
            if len(tasks) <= room:
                self.together.append(tasks)
                room -= len(tasks)
        cohorts = {task.config.config_id for tasks in self.together for task in tasks}
        alone = [task for task in begun if task.config.config_id not in cohorts]
        for task in [*alone, *fresh][:room]:
            self._hold(task)

    def next(self) -> Assignment | None:
        """The next assignment; None where the search has no more trials."""
        if self.together:
            whole = self.together.pop(0)
            self.left -= len(whole)
            return self.make(tuple(whole))
        if self.left and (why := self.limits.reached()) is not None:
            self._only_begun(why)
        size = min(self._size(), self.left)
        if size:
            self._gather(size)
        if not self.spare or not self.left:
            return None
        largest = max(self.spare, key=lambda key: len(self.spare[key]))
        tasks, rest = self.spare[largest][:size], self.spare.pop(largest)[size:]
        if rest:
            self.spare[largest] = rest
        self.left -= len(tasks)
        return self.make(tuple(tasks))

    def tell(self, outcome: Outcome) -> None:
        """A trial ended; the sampler learns from it."""
        self.ended += 1
        self.seconds += outcome.seconds
        self.sampler.tell(outcome)

    def take_back(self, tasks: Sequence[Task]) -> None:
        """These were handed out and never begun."""
        self.left += len(tasks)
        for task in tasks:
            self._hold(task)

    def _size(self) -> int:
        """How many trials the next assignment is to have."""
        if self.cohort > 1 or not self.workers or not self.ended:
            return self.cohort
        fitting = BATCH_SECONDS * self.ended / max(self.seconds, 1e-9)
        unseen = BATCH_SHARE * self.ended / self.workers
        return max(1, int(min(fitting, unseen, self.left / self.workers)))

    def _hold(self, task: Task) -> None:
        group = cohort_group(task.config, self.several_kinds) if self.cohort > 1 else ()
        self.spare.setdefault(group, []).append(task)

    def _gather(self, size: int) -> None:
        """Propose until `size` configs can train together, or enough were proposed to settle for fewer."""
        known = 0
        while not any(len(group) >= size for group in self.spare.values()):
            held = sum(map(len, self.spare.values()))
            if held >= min(4 * size, self.left):
                return
            proposal = self.sampler.propose()
            if proposal is None:
                self._end("the grid is complete", held)
                return
            config, origin = proposal
            if config.config_id not in self.seen:
                known = 0
                self.seen.add(config.config_id)
                self._hold(Task(config, origin))
                continue
            known += 1
            if known >= self.sampler.patience:
                self._end(f"no new config among {known} proposals: the space is exhausted", held)
                return

    def _only_begun(self, why: str) -> None:
        """A limit is reached: what an earlier launch began is still run, nothing else."""
        groups = {
            group: [task for task in tasks if task.config.config_id in self.begun]
            for group, tasks in self.spare.items()
        }
        self.spare = {group: tasks for group, tasks in groups.items() if tasks}
        held = sum(map(len, self.spare.values()))
        if held < self.left:
            self._end(why, held)

    def _end(self, why: str, held: int) -> None:
        short, self.left = self.left - held, held
        self.ended_early(short, why)


def cohort_group(config: PipelineConfig, several_kinds: bool = False) -> tuple[Any, ...]:
    """What configs must share to train in one cohort, as far as the driver can tell.

    With layers of `several_kinds` in the teacher, also which of them a student copies.
    """
    names = ("family", "layers", "width", "checkpoint", *(["selection"] if several_kinds else []))
    shape = (getattr(config.student, name, None) for name in names)
    optimization = config.optimization
    shared = (optimization.batch_size, optimization.dropout, config.teacher_ends, config.teacher_names)
    return (*shape, *shared)


class Agenda:
    """The steps of one dataset. A step begins when all trials of the one before have ended."""

    def __init__(
        self,
        dataset: str,
        references: Fixed,
        proposals: Proposals,
        finalists: Fixed,
        baselines: Fixed,
        is_done: Callable[[Assignment], bool],
    ):
        self.dataset = dataset
        self.proposals = proposals
        self.is_done = is_done
        self.steps: list[Fixed | Proposals] = [references, proposals, finalists, baselines]
        self.queue: list[Assignment] | None = None
        self.running = 0

    def next(self) -> Assignment | None:
        """An assignment that can start now; None where there is none (now, or any more)."""
        while self.steps:
            step = self.steps[0]
            if isinstance(step, Proposals):
                assignment = step.next()
            else:
                if self.queue is None:
                    self.queue = [a for a in step() if not self.is_done(a)]
                assignment = self.queue.pop(0) if self.queue else None
            if assignment is not None:
                self.running += len(assignment.tasks)
                self.proposals.limits.started(assignment)
                return assignment
            if self.running:
                return None
            self.steps.pop(0)
            self.queue = None
        return None

    @property
    def finished(self) -> bool:
        """Whether every step is over."""
        return not self.steps and not self.running

    def ended(self, assignment: Assignment, outcome: Outcome) -> None:
        """A trial ended; the sampler learns from those of the search."""
        self.running -= 1
        self.proposals.limits.ended(assignment, outcome)
        if assignment.role == "search":
            self.proposals.tell(outcome)

    def take_back(self, tasks: Sequence[Task]) -> None:
        """Trials of the search that were handed out with others, and never begun."""
        self.running -= len(tasks)
        self.proposals.take_back(tasks)
