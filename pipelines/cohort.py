"""A cohort: configs that share dataset, architecture and batches, trained together in one process."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from distiller.pipelines.demand import Demand
from distiller.pipelines.material import Material
from distiller.pipelines.optimizer import SoloAdamW, Stacked, StackedAdamW, learning_rates
from distiller.pipelines.outputs import PredictionGroup
from distiller.pipelines.stack import StackedStudents
from distiller.pipelines.streams import Stream, StreamBatch
from distiller.pipelines.student import architecture, build_model, width_of, with_full_vocabulary
from distiller.pipelines.terms import TermGroup, TermKind, kind_of
from distiller.pipelines.tokens import Batch, by_length, training_batches
from distiller.spaces.config import Intermediate, PipelineConfig
from distiller.spaces.intermediate import NoIntermediate
from distiller.spaces.prediction import LabelsOnly


@dataclass(frozen=True)
class Member:
    """One student of a cohort: its config, and the seed of all that it starts from."""

    config: PipelineConfig
    seed: int


@dataclass(frozen=True)
class Progress:
    """One member at one evaluation.

    Attributes:
        score: the task's metric on validation; NaN once the member has diverged.
        losses: means since the last evaluation, by part; their sum is the loss.
        error: why the member cannot go on, None while it can.
    """

    member: int
    step: int
    score: float
    metrics: dict[str, float]
    losses: dict[str, float]
    learning_rate: float
    train_seconds: float
    error: str | None = None


def uses_teacher(config: PipelineConfig) -> bool:
    """Whether any part of the config looks at the teacher: else unlabelled rows are of no use to it."""
    return not isinstance(config.prediction, LabelsOnly) or any(
        not isinstance(term, NoIntermediate) for term in config.intermediate
    )


def cohort_key(config: PipelineConfig, material: Material) -> tuple[object, ...]:
    """Equal for configs that can train in one cohort."""
    return (
        architecture(config.student, material.teacher.model.config),
        config.optimization.batch_size,
        uses_teacher(config),
        config.teacher,
    )


def adaptations(config: PipelineConfig, material: Material) -> list[str]:
    """What of a config was given a meaning that it does not say by itself."""
    teacher = material.teacher.model.config
    width = width_of(config.student, teacher)
    said = []
    for slot, term in enumerate(config.intermediate, 1):
        if getattr(term, "projection", None) == "none" and width != teacher.hidden_size:
            said.append(f"intermediate {slot}: projected, as widths differ ({width} and {teacher.hidden_size})")
    return said


class CohortRun:
    """A cohort in training; `advance` takes it on, `keep` drops members on the way.

    Equal members train equally in any cohort: batches come of `order_seed` and what the cohort shares
    alone, everything else of a member from its own seed.
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
        """
        if len({cohort_key(m.config, material) for m in members}) != 1:
            raise ValueError("members of a cohort need one architecture, batch size, pool and teacher")
        self.members = list(members)
        self.names = list(range(len(members)))
        self.material = material
        self.steps, self.step, self.dtype = steps, 0, dtype
        self.train_seconds = 0.0
        self.errors: dict[int, str] = {}
        device = material.device
        teacher = material.teacher.model.config
        configs = [m.config for m in members]
        policies = list(dict.fromkeys(c.augmentation for c in configs))
        self.member_stream = [policies.index(c.augmentation) for c in configs]
        demands = [
            Demand.of_config(c, material.teacher.layers) if uses_teacher(c) else None for c in configs
        ]
        self.streams = [Stream(p, material, self._wanted(i, demands)) for i, p in enumerate(policies)]
        views = [view for stream in self.streams for view in stream.views]
        self.vocabulary = material.vocabulary(list(dict.fromkeys(views)))
        self.tables = [material.word_table(m.config.student, m.seed) for m in members]
        models = [
            build_model(m.config.student, material.teacher.model, material.dataset.task, table, self.vocabulary, m.seed).to(dtype)
            for m, table in zip(members, self.tables, strict=True)
        ]
        self.students = StackedStudents(models, device)
        self.terms = self._term_groups(width_of(configs[0].student, teacher), int(teacher.hidden_size))
        self.predictions = self._prediction_groups()
        pool = material.tokens().lengths
        self.labels = torch.from_numpy(material.labels)
        if self.labels.is_floating_point():
            self.labels = self.labels.to(dtype)
        self.labeled_rows = material.labeled_rows
        lengths = pool if uses_teacher(configs[0]) else pool[: self.labeled_rows]
        self.batches = training_batches(lengths, configs[0].optimization.batch_size, order_seed)
        self.mixing = np.random.Generator(np.random.PCG64([order_seed, 1]))
        self.optimizer = self._optimizer()
        self._reset_sums()

    def _wanted(self, stream: int, demands: Sequence[Demand | None]) -> Demand | None:
        asked = [d for d, s in zip(demands, self.member_stream, strict=True) if s == stream and d is not None]
        if not asked:
            return None
        wanted = Demand()
        for demand in asked:
            wanted |= demand
        return wanted

    def _term_groups(self, student_width: int, teacher_width: int) -> list[TermGroup]:
        kinds: dict[TermKind, dict[int, Intermediate]] = {}
        for number, member in enumerate(self.members):
            for slot, term in enumerate(member.config.intermediate, 1):
                if not isinstance(term, NoIntermediate):
                    kind = kind_of(term, slot, student_width, teacher_width)
                    kinds.setdefault(kind, {})[number] = term
        return [
            TermGroup(
                kind,
                terms,
                {number: self.members[number].seed for number in terms},
                self.members[0].config.student.layers,
                self.material.teacher.layers,
                student_width,
                teacher_width,
                self.material.device,
                self.dtype,
            )
            for kind, terms in kinds.items()
        ]

    def _prediction_groups(self) -> list[PredictionGroup]:
        regression = self.material.dataset.task.kind == "regression"
        by_loss: dict[str, list[int]] = {}
        for number, member in enumerate(self.members):
            by_loss.setdefault(member.config.prediction.loss, []).append(number)
        return [
            PredictionGroup(
                loss,
                numbers,
                [self.members[n].config.prediction for n in numbers],
                regression,
                self.material.device,
                self.dtype,
            )
            for loss, numbers in by_loss.items()
        ]

    def _stacked_parameters(self) -> list[Stacked]:
        everyone = torch.arange(len(self.members), device=self.material.device)
        stacked = [
            Stacked(p, everyone, not (name.endswith("bias") or p.dim() <= 2))
            for name, p in self.students.parameters.items()
        ]
        for group in self.terms:
            index = torch.tensor(group.members, device=self.material.device)
            stacked += [
                Stacked(p, index, not name.endswith("bias")) for name, p in group.parameters.items()
            ]
        return stacked

    def _optimizer(self) -> SoloAdamW | StackedAdamW:
        optimization = [m.config.optimization for m in self.members]
        decay = [o.weight_decay for o in optimization]
        if self.students.stacked:
            device = self.material.device
            return StackedAdamW(
                self._stacked_parameters(),
                torch.tensor(decay, device=device, dtype=self.dtype),
                torch.tensor([o.max_grad_norm for o in optimization], device=device, dtype=self.dtype),
            )
        named = {**self.students.parameters}
        plain = [p for name, p in named.items() if name.endswith("bias") or p.dim() <= 1]
        decaying = [p for name, p in named.items() if not (name.endswith("bias") or p.dim() <= 1)]
        for group in self.terms:
            for name, p in group.parameters.items():
                (plain if name.endswith("bias") else decaying).append(p)
        return SoloAdamW(decaying, plain, decay[0], optimization[0].max_grad_norm)

    def _reset_sums(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.sum_steps = 0

    def advance(self, until: int) -> list[Progress]:
        """Train to step `until` and evaluate: one report for each member that is left, in order."""
        started = time.perf_counter()
        while self.step < min(until, self.steps) and len(self.errors) < len(self.members):
            self._train_step()
            if self.step % 25 == 0:
                self._note_divergence()
        self._note_divergence()
        if self.material.device.type == "cuda":
            torch.cuda.synchronize(self.material.device)
        self.train_seconds += time.perf_counter() - started
        return self._reports()

    def _train_step(self) -> None:
        rows, rounds = next(self.batches)
        batches = self._stream_batches(rows, rounds)
        inputs, partner, share = self._student_inputs(batches)
        device = self.material.device
        autocast = device.type == "cuda" and self.dtype is torch.float32
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast):
            logits, hidden = self.students(inputs.ids, inputs.types, inputs.mask, partner, share)
        total = self._losses(rows, batches, logits, hidden)
        self.optimizer.zero_grad()
        total.sum().backward()
        optimization = [m.config.optimization for m in self.members]
        rates = learning_rates(
            self.step,
            self.steps,
            [o.learning_rate for o in optimization],
            [o.warmup for o in optimization],
            [o.schedule for o in optimization],
        )
        self.optimizer.step(rates)
        self.rates = rates
        self.step += 1

    def _stream_batches(self, rows: np.ndarray, rounds: np.ndarray) -> list[StreamBatch]:
        # One draw for all streams, so that a member's mixtures do not depend on its neighbours.
        state = self.mixing.integers(2**63)
        batches = [
            stream.batch(rows, rounds, np.random.Generator(np.random.PCG64(state))) for stream in self.streams
        ]
        longest = max(b.inputs.ids.shape[1] for b in batches)
        return [b.lengthened(longest).to(self.material.device) for b in batches]

    def _student_inputs(
        self, batches: Sequence[StreamBatch]
    ) -> tuple[Batch, Tensor | None, Tensor | None]:
        new_ids = self.vocabulary.new_ids
        if new_ids.device != self.material.device:
            self.vocabulary = self.vocabulary.to(self.material.device)
            new_ids = self.vocabulary.new_ids
        if len(batches) == 1:
            only = batches[0]
            return Batch(new_ids[only.inputs.ids], only.inputs.types, only.inputs.mask), only.partner, only.share
        own = [batches[s] for s in self.member_stream]
        ids = new_ids[torch.stack([b.inputs.ids for b in own])]
        inputs = Batch(ids, torch.stack([b.inputs.types for b in own]), torch.stack([b.inputs.mask for b in own]))
        if not any(stream.mixes for stream in self.streams):
            return inputs, None, None
        size = ids.shape[1]
        unmixed = torch.arange(size, device=ids.device), torch.ones(size, device=ids.device)
        partners = [b.partner if b.partner is not None else unmixed[0] for b in own]
        shares = [b.share if b.share is not None else unmixed[1] for b in own]
        return inputs, torch.stack(partners), torch.stack(shares)

    def _losses(
        self, rows: np.ndarray, batches: Sequence[StreamBatch], logits: Tensor, hidden: Sequence[Tensor]
    ) -> Tensor:
        """[K] each member's loss; parts are summed up for the next report."""
        device = self.material.device
        labels = self.labels[torch.from_numpy(rows)].to(device)
        has_label = torch.from_numpy(rows < self.labeled_rows).to(device)
        labeled = torch.stack([has_label if b.share is None else has_label & (b.share == 1) for b in batches])
        blank = torch.zeros(logits.shape[1:], device=device)
        said = [b.targets.logits if b.targets is not None else blank for b in batches]
        teacher_logits = (torch.stack(said) - self.material.scale[0]) / self.material.scale[1]
        total = torch.zeros(len(self.members), device=device, dtype=self.dtype)
        for prediction in self.predictions:
            hard, soft = prediction.losses(logits, teacher_logits, labels, labeled, self.member_stream)
            index = torch.tensor(prediction.members, device=device)
            total = total.index_add(0, index, hard + soft)
            self._add("hard", index, hard)
            self._add("soft", index, soft)
        masks = torch.stack([b.inputs.mask for b in batches])
        for group in self.terms:
            teacher_hidden = self._teacher_hidden(group, batches)
            losses = group.losses(hidden, masks, teacher_hidden, self.member_stream)
            index = torch.tensor(group.members, device=device)
            total = total.index_add(0, index, losses)
            self._add(f"intermediate_{group.kind.slot}_{group.kind.objective}", index, losses)
        self.sum_steps += 1
        return total

    def _teacher_hidden(
        self, group: TermGroup, batches: Sequence[StreamBatch]
    ) -> dict[tuple[int, str], Tensor]:
        found = {}
        for layer in group.teacher_layers:
            key = (layer, group.kind.representation)
            states = [b.targets.hidden.get(key) if b.targets is not None else None for b in batches]
            # A stream that no member of this group reads may lack the state: any shape-mate stands in.
            some = next(s for s in states if s is not None)
            found[key] = torch.stack([some if s is None else s for s in states])
        return found

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
    def outputs(self, split: str) -> np.ndarray:
        """Standardised outputs [K, N, C] on validation or test."""
        tokens = self.material.held_out[split]
        outputs = np.empty((len(self.members), len(tokens), self.material.dataset.task.outputs), np.float32)
        pad = self.material.teacher.tokenizer.pad_token_id
        device = self.material.device
        new_ids = self.vocabulary.new_ids.to(device)
        for rows in by_length(tokens.lengths, 128):
            batch = tokens.padded(rows, pad).to(device)
            logits, _ = self.students(new_ids[batch.ids], batch.types, batch.mask)
            outputs[:, rows] = logits.float().cpu().numpy()
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
        self._reset_sums()
        return reports

    def keep(self, names: Sequence[int]) -> None:
        """Go on with these members only (by the number that they started with)."""
        left = [i for i, name in enumerate(self.names) if name in set(names)]
        if len(left) == len(self.names) or not left:
            return
        self.students.keep(left)
        self.terms = [group for group in self.terms if group.keep(left)]
        self.predictions = [group for group in self.predictions if group.keep(left)]
        self.members = [self.members[i] for i in left]
        self.names = [self.names[i] for i in left]
        self.tables = [self.tables[i] for i in left]
        self.member_stream = [self.member_stream[i] for i in left]
        assert isinstance(self.optimizer, StackedAdamW)
        self.optimizer.keep(left, self._stacked_parameters())
        self.sums = {part: total[left] for part, total in self.sums.items()}

    def student(self, name: int) -> PreTrainedModel:
        """A member's student with its whole vocabulary, predicting scores in the task's own unit."""
        member = self.names.index(name)
        return with_full_vocabulary(
            self.students.student(member),
            self.material.teacher.model.config,
            self.tables[member],
            self.vocabulary,
        )

