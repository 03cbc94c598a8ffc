"""A cohort: configs that share dataset, architecture and batches, trained together in one process."""

from __future__ import annotations

import functools
import itertools
import math
import operator
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distiller.pipelines.cohort_optimizer import cohort_optimizer, stacked_parameters
from distiller.pipelines.demand import Demand
from distiller.pipelines.dropout import drawn_masks, set_dropout
from distiller.pipelines.material import Material
from distiller.pipelines.member import Member, Progress, adaptations, check_tokenizers, cohort_key, policy_of
from distiller.pipelines.optimizer import StackedAdamW, learning_rates
from distiller.pipelines.outputs import prediction_groups
from distiller.pipelines.pretrained import build_pretrained
from distiller.pipelines.recording import ATTENTION_STATES, attention_heads
from distiller.pipelines.schedules import steps_before
from distiller.pipelines.stack import StackedStudents
from distiller.pipelines.streams import Stream, StreamBatch, student_inputs, teacher_states
from distiller.pipelines.student import align_head, build_model, layers_of, width_of, with_full_vocabulary
from distiller.pipelines.term_kind import Sizes
from distiller.pipelines.terms import States, term_groups
from distiller.pipelines.tokens import IntArray, by_length, training_batches
from distiller.pipelines.views import View, passes_of, views_of
from distiller.spaces.augmentation import Augmentation
from distiller.spaces.student import Pretrained, TeacherLayers

__all__ = ["CohortRun", "Member", "Progress", "adaptations", "cohort_key"]

DIVERGENCE_INTERVAL = 25
"""Steps between looks at the losses, each of which waits for the device."""


class CohortRun:
    """A cohort in training; `advance` takes it on, `keep` drops members on the way.

    Equal members train equally in any cohort: batches come of `order_seed` and what the cohort shares
    alone, everything else of a member from its own seed; only dropout masks depend on who else is there.

    A member whose prediction loss starts late has its optimizer start afresh there, since two trainings one
    after the other are meant; its learning rate goes on along the one schedule of the whole budget.
    """

    def __init__(
        self,
        members: Sequence[Member],
        material: Material,
        steps: int,
        order_seed: int,
        dtype: torch.dtype = torch.float32,
    ):
        """Build the students at their start.

        Raises:
            ValueError: the members cannot share a cohort.
            InputError: a config compares tokens that its student and its teacher cut differently.
        """
        if len({cohort_key(m.config, material) for m in members}) != 1:
            raise ValueError(
                "members of a cohort need one architecture, batch size, dropout, pool (all along) and teacher"
            )
        self.members = list(members)
        self.names = list(range(len(members)))
        self.material = material
        self.steps, self.step, self.order_seed, self.dtype = steps, 0, order_seed, dtype
        self.train_seconds = 0.0
        self.errors: dict[int, str] = {}
        configs = [m.config for m in members]
        for config in configs:
            check_tokenizers(config, material)
        self.origin = material.origin(configs[0].student)
        self.rates = [0.0] * len(members)
        self.teacher_steps = steps_before(configs[0].teacher_ends, steps)
        self._begin_stage()
        self._make_students()
        self.terms = term_groups(configs, [m.seed for m in members], self._sizes(), material.device, dtype)
        self.prediction_starts = [steps_before(c.prediction_starts, steps) for c in configs]
        self.predictions = prediction_groups(configs, material.dataset.task.layout, material.device, dtype)
        self.mixing = np.random.Generator(np.random.PCG64([order_seed, 1]))
        self.contrasting = np.random.Generator(np.random.PCG64([order_seed, 2]))
        optimization = [c.optimization for c in configs]
        self.optimizer = cohort_optimizer(self.students, self.terms, optimization, material.device)
        self.sums: dict[str, Tensor] = {}
        self.sum_steps = 0

    def _begin_stage(self) -> None:
        """Start on the rows of what is ahead: all while any part reads the teacher, then the labelled ones.

        The two are trainings of their own: each begins its first pass.
        """
        config, reads = self.members[0].config, self.step < self.teacher_steps
        lengths = self._pool_lengths(reads)
        self.batches = training_batches(lengths, config.optimization.batch_size, self.order_seed)
        policies, self.member_stream = self._policies(reads)
        wanted: list[Demand | None] = [None] * len(policies)
        if reads:
            depth = layers_of(config.student, self.origin.config)
            for member, stream in zip(self.members, self.member_stream, strict=True):
                demand = Demand.of_config(member.config, depth, self.material.teacher.layers)
                wanted[stream] = (wanted[stream] or Demand()) | demand
        passes = self._passes(reads)
        self.streams = [
            Stream(p, self.material, w, self.origin, passes) for p, w in zip(policies, wanted, strict=True)
        ]

    def _pool_lengths(self, reads: bool) -> IntArray:
        """Of the rows that members train on who read the teacher, or do not: the labelled ones."""
        pool = self.material.tokens().lengths
        return pool if reads else pool[: self.material.labeled_rows]

    def _passes(self, reads: bool) -> int:
        """How many passes the steps with the teacher, or those without, begin."""
        steps = self.teacher_steps if reads else self.steps - self.teacher_steps
        return passes_of(
            steps, self.members[0].config.optimization.batch_size, len(self._pool_lengths(reads))
        )

    def _policies(self, reads: bool) -> tuple[list[tuple[Augmentation, ...]], list[int]]:
        """The different policies of the members, with the teacher or without, and which is whose."""
        own = [policy_of(member.config, reads) for member in self.members]
        policies = list(dict.fromkeys(own))
        return policies, [policies.index(policy) for policy in own]

    def _views(self) -> list[View]:
        """All views that the run can meet."""
        stages = [reads for reads in (True, False) if self._passes(reads)]
        return list(
            dict.fromkeys(
                view
                for reads in stages
                for policy in self._policies(reads)[0]
                for view in views_of(policy, self._passes(reads))
            )
        )

    def _make_students(self) -> None:
        material, task = self.material, self.material.dataset.task
        teacher = material.teacher
        self.vocabulary = material.vocabulary(self._views(), self.origin)
        self.new_ids = self.vocabulary.new_ids.to(material.device)
        self.tables = [material.word_table(m.config.student, m.seed) for m in self.members]
        models = []
        for member, table in zip(self.members, self.tables, strict=True):
            choice = member.config.student
            if isinstance(choice, Pretrained):
                model = build_pretrained(self.origin, self.vocabulary, member.seed)
            else:
                model = build_model(choice, teacher.model, task, table, self.vocabulary, member.seed)
            if isinstance(choice, TeacherLayers):
                align_head(model, task, teacher.order, *material.scale)
            set_dropout(model, member.config.optimization.dropout)
            models.append(cast(PreTrainedModel, cast(nn.Module, model).to(self.dtype)))
        depth = layers_of(self.members[0].config.student, self.origin.config)
        demand = functools.reduce(
            operator.or_, (Demand.of_config(m.config, depth, teacher.layers) for m in self.members)
        )
        records = any(name in ATTENTION_STATES for name in demand.representations)
        self.students = StackedStudents(models, material.device, records)

    def _sizes(self) -> Sizes:
        """What intermediate terms must know of student and teacher."""
        choice, teacher = self.members[0].config.student, self.material.teacher
        return Sizes(
            student_layers=layers_of(choice, self.origin.config),
            teacher_layers=teacher.layers,
            student_width=width_of(choice, self.origin.config),
            teacher_width=int(teacher.model.config.hidden_size),
            student_heads=attention_heads(self.students.module.model),
            teacher_heads=attention_heads(teacher.model),
            rows=len(self.material.tokens()),
        )

    def advance(self, until: int, after_step: Callable[[], None] | None = None) -> list[Progress]:
        """Train to step `until` and evaluate: one report for each member that is left, in order.

        `after_step` is called after each step but the last one; the state may be taken there.
        """
        started, until = time.perf_counter(), min(until, self.steps)
        while self.step < until and any(name not in self.errors for name in self.names):
            self._train_step()
            if self.step % DIVERGENCE_INTERVAL == 0:
                self._note_divergence()
            if after_step is not None and self.step < until:
                self.train_seconds += time.perf_counter() - started
                after_step()
                started = time.perf_counter()
        self._note_divergence()
        if self.material.device.type == "cuda":
            torch.cuda.synchronize(self.material.device)
        self.train_seconds += time.perf_counter() - started
        return self._reports()

    def _train_step(self) -> None:
        if self.step == self.teacher_steps > 0:
            self._begin_stage()
        rows, rounds = next(self.batches)
        batches = self._stream_batches(rows, rounds)
        inputs, partner, share = student_inputs(batches, self.member_stream, self.new_ids)
        kind = self.material.device.type
        half = kind == "cuda" and self.dtype is torch.float32
        entropy = [self.order_seed, self.step, *(m.seed for m in self.members)]
        masks = drawn_masks(self.members[0].config.optimization.dropout, entropy, self.material.device)
        with masks, torch.autocast(kind, torch.bfloat16, enabled=half):
            logits, states = self.students(inputs.ids, inputs.types, inputs.mask, partner, share)
        total = self._losses(rows, batches, logits, states)
        self.optimizer.zero_grad()
        torch.autograd.backward(total.sum())
        optimization = [m.config.optimization for m in self.members]
        self.rates = learning_rates(
            self.step,
            self.steps,
            [o.learning_rate for o in optimization],
            [o.warmup for o in optimization],
            [o.schedule for o in optimization],
        )
        begin = [m for m, first in enumerate(self.prediction_starts) if first == self.step > 0]
        if begin:
            self.optimizer.restart(begin)
        self.optimizer.step(self.rates)
        self.step += 1

    def _stream_batches(self, rows: IntArray, rounds: IntArray) -> list[StreamBatch]:
        # One draw for all streams, so that a member's mixtures do not depend on its neighbours.
        state = self.mixing.integers(2**63)
        batches = [
            stream.batch(rows, rounds, np.random.Generator(np.random.PCG64(state))) for stream in self.streams
        ]
        longest = max(b.inputs.ids.shape[1] for b in batches)
        pad = self.origin.pad_id
        return [b.lengthened(longest, pad).to(self.material.device) for b in batches]

    def _losses(
        self, rows: IntArray, batches: Sequence[StreamBatch], logits: Tensor, states: States
    ) -> Tensor:
        """[K] each member's loss; parts are summed up for the next report."""
        device = self.material.device
        picked = torch.from_numpy(rows).to(device)
        draw = int(self.contrasting.integers(2**63))
        labels, labeled, read = self._labels(batches)
        blank = torch.zeros(logits.shape[1:], device=device)
        said = [b.targets.logits if b.targets is not None else blank for b in batches]
        teacher_logits = (torch.stack(said) - self.material.scale[0]) / self.material.scale[1]
        total = torch.zeros(len(self.members), device=device, dtype=self.dtype)
        progress = self.step / self.steps
        begun = torch.tensor([self.step >= s for s in self.prediction_starts], device=device).to(self.dtype)
        for prediction in self.predictions:
            hard, soft = prediction.losses(logits, teacher_logits, labels, labeled, self.member_stream, read)
            index = torch.tensor(prediction.members, device=device)
            hard, soft = (part * begun[index] for part in (hard, soft))
            total = total.index_add(0, index, hard + soft)
            self._add("hard", index, hard)
            self._add("soft", index, soft)
        masks = torch.stack([b.inputs.mask for b in batches])
        shares = [blank.new_ones(len(rows)) if b.share is None else b.share for b in batches]
        whole = torch.stack(shares) == 1
        for group in self.terms if self.step < self.teacher_steps else ():
            losses = group.losses(
                states,
                masks,
                teacher_states(batches, group.demand),
                self.member_stream,
                progress,
                picked,
                draw,
                whole,
            )
            index = torch.tensor(group.members, device=device)
            total = total.index_add(0, index, losses)
            self._add(f"intermediate_{group.kind.slot}_{group.kind.objective}", index, losses)
        self.sum_steps += 1
        return total

    def _labels(self, batches: Sequence[StreamBatch]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Labels as the task's layout has them, who has one [S, B], and the tokens that count [S, B, T]."""
        found = [b.labels for b in batches]
        labeled = [
            own.labeled if b.share is None else own.labeled & (b.share == 1)
            for own, b in zip(found, batches, strict=True)
        ]
        values = [v.to(self.dtype) if v.is_floating_point() else v for v in (own.values for own in found)]
        read = [own.read for own in found if own.read is not None]
        if not read:
            return values[0], torch.stack(labeled), None
        return torch.stack(values), torch.stack(labeled), torch.stack(read)

    def _add(self, part: str, index: Tensor, losses: Tensor) -> None:
        if part not in self.sums:
            self.sums[part] = torch.zeros(len(self.members), device=losses.device, dtype=losses.dtype)
        self.sums[part].index_add_(0, index, losses.detach())

    def _note_divergence(self) -> None:
        if not self.sums:
            return
        finite = torch.stack(list(self.sums.values())).sum(0).isfinite().tolist()
        for member, name in enumerate(self.names):
            if not finite[member] and name not in self.errors:
                self.errors[name] = f"diverged: the loss is not finite by step {self.step}"

    @torch.no_grad()
    def outputs(self, split: str) -> npt.NDArray[Any]:
        """Standardised outputs [K, N, C] on validation or test; token by token [K, total, C]."""
        tokens, task = self.material.held_out_tokens(split, self.origin), self.material.dataset.task
        rows_of = len(tokens) if tokens.units is None else len(tokens.ids)
        outputs = np.empty((len(self.members), rows_of, task.outputs), np.float32)
        pad = self.origin.pad_id
        for rows in by_length(tokens.lengths, 128):
            batch = tokens.padded(rows, pad).to(self.material.device)
            with self.students.evaluating():
                logits, _ = self.students(self.new_ids[batch.ids], batch.types, batch.mask)
            tokens.write(outputs, rows, logits.float().cpu())
        return outputs

    def _reports(self) -> list[Progress]:
        outputs = self.outputs("validation")
        losses = {part: (total / max(1, self.sum_steps)).tolist() for part, total in self.sums.items()}
        reports = []
        for member, name in enumerate(self.names):
            if name not in self.errors and not np.isfinite(outputs[member]).all():
                self.errors[name] = f"diverged: outputs are not finite at step {self.step}"
            error = self.errors.get(name)
            metrics = {} if error else self.material.scored("validation", outputs[member])
            reports.append(
                Progress(
                    member=name,
                    step=self.step,
                    score=math.nan if error else self.material.headline(metrics),
                    metrics=metrics,
                    losses={part: values[member] for part, values in losses.items() if values[member] != 0.0},
                    learning_rate=self.rates[member],
                    train_seconds=self.train_seconds,
                    error=error,
                )
            )
        self.sums, self.sum_steps = {}, 0
        return reports

    def keep(self, names: Sequence[int]) -> None:
        """Go on with these members only (by the number that they started with).

        Raises:
            ValueError: none of them is left.
        """
        left = [i for i, name in enumerate(self.names) if name in set(names)]
        if not left:
            raise ValueError(f"none of the members {list(names)} is left in the cohort")
        if len(left) == len(self.names):
            return
        self.students.keep(left)
        self.terms = [group for group in self.terms if group.keep(left)]
        self.predictions = [group for group in self.predictions if group.keep(left)]
        self.members = [self.members[i] for i in left]
        self.names = [self.names[i] for i in left]
        self.prediction_starts = [self.prediction_starts[i] for i in left]
        self.tables = [self.tables[i] for i in left]
        self.rates = [self.rates[i] for i in left]
        assert isinstance(self.optimizer, StackedAdamW)
        self.optimizer.keep(left, stacked_parameters(self.students, self.terms, self.material.device))
        self.sums = {part: total[left] for part, total in self.sums.items()}
        read = [self.member_stream[i] for i in left]
        used = sorted(set(read))
        self.streams = [self.streams[s] for s in used]
        self.member_stream = [used.index(s) for s in read]

    def seek(self, step: int) -> None:
        """Go on from `step` as far as stages and batches are concerned; learned tensors stay as they are."""
        self.step, drawn = step, step
        if step > self.teacher_steps > 0:
            self._begin_stage()
            drawn -= self.teacher_steps
        next(itertools.islice(self.batches, drawn, drawn), None)

    def student(self, name: int) -> PreTrainedModel:
        """A member's student with its whole vocabulary; in a regression it predicts standardised scores."""
        member = self.names.index(name)
        return with_full_vocabulary(
            self.students.student(member),
            self.origin.config,
            self.tables[member],
            self.vocabulary,
        )
