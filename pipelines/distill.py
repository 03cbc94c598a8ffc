"""The one entry: a cohort of configs in, one result per config out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel

from distiller.pipelines.cohort import CohortRun, Member, Progress, adaptations
from distiller.pipelines.cohort_state import put_run_state, run_state
from distiller.pipelines.cost import PeakMemory, StudentCost, flops_per_example, latency_ms, parameter_count
from distiller.pipelines.material import Material
from distiller.pipelines.state import State, StateError
from distiller.pipelines.student import architecture


@dataclass(frozen=True)
class Cohort:
    """Configs that train together, for `steps` optimizer steps each.

    Attributes:
        order_seed: what decides the order of batches.
        evaluations: how often, evenly spaced, each student is scored on validation.
        rungs: steps at which `on_rung` is asked who goes on; each is an evaluation too.
    """

    members: tuple[Member, ...]
    steps: int
    order_seed: int
    evaluations: int = 8
    rungs: tuple[int, ...] = ()

    def stops(self) -> list[int]:
        """The steps of all evaluations, the last one at the end."""
        # Rounded as rungs are, so that an evaluation that is due at a rung is made once.
        even = {max(1, round(self.steps * i / self.evaluations)) for i in range(1, self.evaluations + 1)}
        return sorted(even | {r for r in self.rungs if r < self.steps} | {self.steps})


@dataclass
class StudentResult:
    """What became of one config.

    Attributes:
        curve: its evaluations in order; the last one's score is the result's.
        completed: whether it ran to the last step.
        error: why it failed, None if it did not.
        student: the trained model, whole vocabulary, in a regression on standardised scores; only where
            it completed and was asked for.
    """

    member: Member
    curve: list[Progress] = field(default_factory=list)
    completed: bool = False
    error: str | None = None
    test_metrics: dict[str, float] = field(default_factory=dict)
    adaptations: list[str] = field(default_factory=list)
    student: PreTrainedModel | None = None

    @property
    def last(self) -> Progress:
        """The last evaluation."""
        return self.curve[-1]

    @property
    def best(self) -> Progress:
        """The evaluation with the highest validation score."""
        return max(self.curve, key=lambda p: -math.inf if math.isnan(p.score) else p.score)


@dataclass(frozen=True)
class Cost(StudentCost):
    """What one student of a cohort costs; memory is the cohort's own, beyond what was held before."""

    peak_memory_bytes: int


OnRung = Callable[[int, Sequence[Progress]], Sequence[int]]


class Distillation:
    """A cohort that is taken from evaluation to evaluation; `distill` runs it to the end."""

    def __init__(self, cohort: Cohort, material: Material, dtype: torch.dtype = torch.float32):
        self.cohort, self.material = cohort, material
        self.memory = PeakMemory(material.device)
        self.run = CohortRun(cohort.members, material, cohort.steps, cohort.order_seed, dtype)
        self.results = [StudentResult(m, adaptations=adaptations(m.config, material)) for m in cohort.members]
        self.ahead = cohort.stops()
        self.memory.sample()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return not self.ahead

    def state(self) -> State:
        """All that `restored` needs to go on from here: after a step, or an evaluation and what `keep` did.

        Raises:
            ValueError: nothing is left to do.
        """
        if self.finished:
            raise ValueError("a distillation that is finished has nothing to go on with")
        tensors, run = run_state(self.run)
        results = [
            {"curve": [asdict(p) for p in r.curve], "completed": r.completed, "error": r.error}
            for r in self.results
        ]
        extra = self.memory.extra_bytes
        return State(tensors, {"run": run, "results": results, "peak_memory_bytes": extra})

    @classmethod
    def restored(
        cls, cohort: Cohort, material: Material, state: State, dtype: torch.dtype = torch.float32
    ) -> Distillation:
        """The distillation that `state` was taken of, in any process: it goes on as if it had never stopped.

        Costs what is ahead, plus the drawing of the batches behind; its peak of memory is the higher one.

        Raises:
            StateError: the state is not one of this cohort on this material.
        """
        work = cls(cohort, material, dtype)
        try:
            put_run_state(work.run, state.tensors, state.rest["run"])
            for result, said in zip(work.results, state.rest["results"], strict=True):
                result.curve = [Progress(**point) for point in said["curve"]]
                result.completed, result.error = said["completed"], said["error"]
            work.memory.take(state.rest["peak_memory_bytes"])
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise StateError(f"foreign: {type(error).__name__}: {' '.join(str(error).split())}") from error
        work.ahead = [stop for stop in work.ahead if stop > work.run.step]
        return work

    def advance(self, after_step: Callable[[], None] | None = None) -> list[Progress]:
        """On to the next evaluation; members that failed are dropped after their report.

        `after_step` is called after each step but the last one; `state` may be taken there.
        """
        reports = self.run.advance(self.ahead[0], after_step)
        self.ahead.pop(0)
        self.memory.sample()
        for report in reports:
            result = self.results[report.member]
            result.curve.append(report)
            result.error = report.error
            result.completed = report.error is None and report.step == self.cohort.steps
        alive = [r.member for r in reports if r.error is None]
        if not alive:
            self.ahead = []
        else:
            self.run.keep(alive)
        return reports

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members only."""
        self.run.keep(members)

    def test(self) -> None:
        """Score the members that are left on the test split."""
        outputs = self.run.outputs("test")
        for row, name in enumerate(self.run.names):
            if self.results[name].error is None:
                self.results[name].test_metrics = self.material.scored("test", outputs[row])

    def cost(self) -> Cost:
        """What one of the students that are left costs; all but memory is found once per architecture."""
        config = self.run.members[0].config
        name = architecture(config.student, self.run.origin.config)
        if name not in self.material.costs:
            model = self.run.student(self.run.names[0])
            cast(nn.Module, model).to(self.material.device)
            length = round(float(self.material.tokens(origin=self.run.origin).lengths.mean()))
            self.material.costs[name] = StudentCost(
                parameters=parameter_count(model),
                flops=flops_per_example(model, length),
                latency_ms=latency_ms(model, name, self.material.cache),
            )
        return Cost(**vars(self.material.costs[name]), peak_memory_bytes=self.memory.extra_bytes)


def distill(
    cohort: Cohort,
    material: Material,
    on_rung: OnRung | None = None,
    test: bool = False,
    keep_students: bool = False,
) -> list[StudentResult]:
    """Train a cohort and return one result per member, in order.

    Args:
        on_rung: asked at each rung, with its step and reports, which members go on.
        test: whether to score the students on the test split at the end (winners and baselines only).
        keep_students: whether results carry the trained models.
    """
    work = Distillation(cohort, material)
    while not work.finished:
        reports = work.advance()
        if on_rung is not None and reports and reports[0].step in cohort.rungs and not work.finished:
            going = on_rung(reports[0].step, reports)
            if not going:
                break
            work.keep(going)
    if test:
        work.test()
    if keep_students:
        for name in work.run.names:
            if work.results[name].completed:
                work.results[name].student = work.run.student(name)
    return work.results
