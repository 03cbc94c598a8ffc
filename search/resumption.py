"""Student checkpoints: what an assignment goes on from after its worker died, on whatever node.

A checkpoint replaces the one before and is removed once all its trials have their terminal rows. At a rung it
is written only after the verdict, so that an attempt which goes on from a rung has passed it.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

from distiller.pipelines.content import content_key
from distiller.pipelines.distill import Cohort, Distillation
from distiller.pipelines.material import Material
from distiller.pipelines.state import State, StateError, code_version, decode, encode
from distiller.results.store import Store
from distiller.search.assignment import Assignment, Launch
from distiller.search.materials import worker_device

if TYPE_CHECKING:
    from distiller.search.training import DistillationWork

log = logging.getLogger("distiller.search")


class Resumption:
    """The student checkpoint of one assignment, from an attempt's start to its end.

    Attributes:
        resumed_from: the step that the attempt went on from; 0 where it started anew.
        earlier_seconds: wall time of earlier attempts up to that step.
    """

    def __init__(self, launch: Launch, assignment: Assignment, store: Store):
        self.launch, self.assignment, self.store = launch, assignment, store
        self.sweep, self.key = launch.sweep.name, assignment.key
        self.resumed_from, self.earlier_seconds = 0, 0.0
        self.seconds = launch.sweep.resources.checkpoint_seconds
        self.began = self.kept_at = self.seen_at = monotonic()
        self.kept_step = 0
        self.exists = self.failed = False
        self.writer: ThreadPoolExecutor | None = None
        self.writing: Future[None] | None = None

    @property
    def _digest(self) -> str:
        """What must be equal for a checkpoint to be gone on from, but for the teachers' weights."""
        launch, assignment = self.launch, self.assignment
        versions = launch.provenance["versions"]
        return content_key(
            code=code_version(),
            versions={name: versions.get(name) for name in ("torch", "transformers", "numpy")},
            device=worker_device().type,
            configs=[task.config.model_dump(mode="json") for task in assignment.tasks],
            trial=[self.sweep, assignment.dataset, assignment.role, assignment.seed],
            budget=launch.sweep.budget.model_dump(mode="json"),
            rungs=assignment.rungs,
        )

    @cached_property
    def _found(self) -> State | None:
        """What an earlier attempt left, where that can be gone on from; else None, and the log says why."""
        try:
            data = self.store.read_checkpoint(self.sweep, self.key)
        except Exception as error:  # a remote filesystem raises whatever its client library does
            log.warning("started anew: the student checkpoint is not readable (%s)", _line(error))
            return None
        if data is None:
            return None
        self.exists = True
        try:
            return decode(data, self._digest)
        except StateError as error:
            log.warning("started anew: the student checkpoint is %s", error)
            return None

    @property
    def found_step(self) -> int | None:
        """The step of the checkpoint that an earlier attempt left; None without one."""
        return None if self._found is None else int(self._found.rest["run"]["step"])

    def begin(self, cohort: Cohort, material: Material, retried: bool) -> Distillation:
        """The distillation where an earlier attempt left it, if it is `retried`, or at its start."""
        self.fingerprints = [teacher.fingerprint for teacher in material.teachers]
        state = self._found if retried else None
        work = None if state is None else self._restored(cohort, material, state)
        self.__dict__.pop("_found", None)  # as large as the student: not for the whole attempt
        self.kept_at = self.seen_at = monotonic()
        return work or Distillation(cohort, material)

    def _restored(self, cohort: Cohort, material: Material, state: State) -> Distillation | None:
        try:
            if state.rest["teachers"] != self.fingerprints:
                raise StateError("foreign: learned from a teacher with other weights")
            work = Distillation.restored(cohort, material, state)
        except StateError as error:
            log.warning("started anew: the student checkpoint is %s", error)
            return None
        self.resumed_from = self.kept_step = work.run.step
        self.earlier_seconds = float(state.rest["wall_seconds"])
        return work

    def keep(self, work: DistillationWork) -> None:
        """Write a checkpoint, where more than `seconds` of work would be lost by the end of another step.

        Training does not wait for one that is still being written, unless `seconds` is 0.
        """
        now, distillation = monotonic(), work.distillation
        last, self.seen_at = now - self.seen_at, now
        if distillation.run.step == self.kept_step or now - self.kept_at + last <= self.seconds:
            return
        if self.seconds and self.writing is not None and not self.writing.done():
            return
        self.settle()
        state = distillation.state()
        state.rest["teachers"] = self.fingerprints
        state.rest["wall_seconds"] = self.earlier_seconds + now - self.began
        self.writer = self.writer or ThreadPoolExecutor(1, "checkpoint")
        self.writing = self.writer.submit(self._write, state, self._digest)
        self.kept_at, self.kept_step = now, distillation.run.step

    def _write(self, state: State, digest: str) -> None:
        self.store.write_checkpoint(self.sweep, self.key, encode(state, digest))

    def settle(self) -> None:
        """Wait for what is being written; where it could not be, the trial goes on and its row says so."""
        if self.writing is None:
            return
        error, self.writing = self.writing.exception(), None
        if error is None:
            self.exists = True
        elif not self.failed:
            self.failed = True
            log.warning("a student checkpoint could not be written (%s)", _line(error))

    def report(self) -> dict[str, Any]:
        """What the driver must know: whether there is a checkpoint, and where a resumed attempt went on."""
        self.settle()
        resumed = {"resumed_from": self.resumed_from} if self.resumed_from else {}
        return {"checkpoint": self.exists, **resumed}

    def columns(self, wall_seconds: float) -> dict[str, Any]:
        """What a trial's row says of it; `wall_seconds` are those of this attempt."""
        return {
            "resumed_from": self.resumed_from or None,
            "wall_seconds": self.earlier_seconds + wall_seconds,
        }

    def remove(self) -> None:
        """Remove the checkpoint: every trial has its terminal row."""
        self.settle()
        if self.writer is not None:
            self.writer.shutdown()
            self.writer = None
        if self.exists:
            self.store.remove_checkpoint(self.sweep, self.key)
            self.exists = False


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
