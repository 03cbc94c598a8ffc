"""The inputs of a cohort: one stream per augmentation policy, each with what the teacher says of it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.cache import Targets, TeacherOutputs, live_targets
from distiller.pipelines.checkpoint import inference_dtype
from distiller.pipelines.demand import Demand
from distiller.pipelines.ensemble import mixture_targets
from distiller.pipelines.labels import LabelBatch
from distiller.pipelines.material import Material
from distiller.pipelines.origin import Origin
from distiller.pipelines.tokens import Batch, IntArray
from distiller.pipelines.views import draws_of, views_of
from distiller.spaces.augmentation import Augmentation, Mixup

__all__ = ["Stream", "StreamBatch", "student_inputs", "teacher_states", "views_of"]


@dataclass(frozen=True, eq=False)
class StreamBatch:
    """One stream's inputs at one step.

    Attributes:
        inputs: padded rows, ids of the students' whole vocabulary.
        labels: the rows' hard labels.
        partner, share: for mixup, [B] the row that each is mixed with and its own share; else None.
        targets: what the teacher says; None where nothing asks for it.
    """

    inputs: Batch
    labels: LabelBatch
    partner: Tensor | None
    share: Tensor | None
    targets: Targets | None

    def lengthened(self, length: int, pad_id: int) -> StreamBatch:
        """The same rows padded to `length` tokens."""
        more = length - self.inputs.ids.shape[1]
        if more == 0:
            return self
        ids = F.pad(self.inputs.ids, (0, more), value=pad_id)
        inputs = Batch(ids, F.pad(self.inputs.types, (0, more)), F.pad(self.inputs.mask, (0, more)))
        targets = self.targets
        if targets is not None:
            hidden = {k: F.pad(v, (0, 0, 0, more)) if v.dim() == 3 else v for k, v in targets.hidden.items()}
            logits = targets.logits
            targets = Targets(logits if logits.dim() == 2 else F.pad(logits, (0, 0, 0, more)), hidden)
        return StreamBatch(inputs, self.labels.lengthened(more), self.partner, self.share, targets)

    def to(self, device: torch.device) -> StreamBatch:
        """The batch on another device."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        targets = self.targets
        if targets is not None:
            hidden = {k: v.to(device, non_blocking=True) for k, v in targets.hidden.items()}
            targets = Targets(targets.logits.to(device, non_blocking=True), hidden)
        inputs, labels = self.inputs.to(device), self.labels.to(device)
        return StreamBatch(inputs, labels, moved(self.partner), moved(self.share), targets)


class Stream:
    """The batches of one augmentation policy; which rows come is the cohort's to say."""

    def __init__(
        self,
        policy: Sequence[Augmentation],
        material: Material,
        wanted: Demand | None,
        origin: Origin | None = None,
        passes: int = 1,
    ):
        """`passes` is how often rows will come at most, which counts only where copies are drawn anew."""
        self.draws = draws_of(policy, passes)
        self.views = self.draws.views
        self.material = material
        self.wanted = wanted
        self.origin = origin or material.teacher.origin
        self.tokens = [material.tokens(view, self.origin) for view in self.views]
        self.labels = [material.labels(view) for view in self.views]
        self.outputs: list[TeacherOutputs] = (
            [material.outputs(view) for view in self.views] if wanted is not None else []
        )
        mixups = [slot for slot in policy if isinstance(slot, Mixup)]
        self.concentration = mixups[0].concentration if mixups else None
        self.precision = inference_dtype(material.device)

    @property
    def mixes(self) -> bool:
        """Whether batches hold mixtures."""
        return self.concentration is not None

    def batch(self, rows: IntArray, rounds: IntArray, rng: np.random.Generator) -> StreamBatch:
        """The rows in the views of their rounds."""
        view = self.draws.views_in(rows, rounds)
        length = max(int(self.tokens[v].lengths[rows[view == v]].max()) for v in np.unique(view))
        inputs = self._inputs(rows, view, length, self.origin.pad_id)
        labels = self._labels(rows, view, length)
        partner, share = self._mixing(len(rows), rng)
        mask = inputs.mask
        if partner is not None and share is not None:
            mask = mask | (mask[partner] & (share < 1)[:, None])
        mixed = Batch(inputs.ids, inputs.types, mask)
        targets = self._targets(rows, view, inputs, length) if self.wanted is not None else None
        if targets is not None and partner is not None and share is not None:
            # All cut a text alike, but their tokenizers may differ in whether they tell segments.
            read = [self._read_by(t.origin, rows, view, inputs).types for t in self.material.teachers]
            targets = self._with_mixtures(targets, inputs, mixed, read, partner, share)
        return StreamBatch(mixed, labels, partner, share, targets)

    def _labels(self, rows: IntArray, view: IntArray, length: int) -> LabelBatch:
        if not self.material.dataset.task.tokenwise:  # the same in all views
            return self.labels[0].of(rows, length)
        parts = [(v, np.flatnonzero(view == v)) for v in np.unique(view)]
        order = torch.from_numpy(np.argsort(np.concatenate([at for _, at in parts])))
        return LabelBatch.joined([self.labels[v].of(rows[at], length) for v, at in parts], order)

    def _inputs(self, rows: IntArray, view: IntArray, length: int, pad: int) -> Batch:
        if len(self.views) == 1:
            return self.tokens[0].padded(rows, pad, length)
        parts = [(v, np.flatnonzero(view == v)) for v in np.unique(view)]
        order = torch.from_numpy(np.argsort(np.concatenate([at for _, at in parts])))
        batches = [self.tokens[v].padded(rows[at], pad, length) for v, at in parts]
        return Batch(
            torch.cat([b.ids for b in batches])[order],
            torch.cat([b.types for b in batches])[order],
            torch.cat([b.mask for b in batches])[order],
        )

    def _mixing(self, size: int, rng: np.random.Generator) -> tuple[Tensor | None, Tensor | None]:
        """The second half of the batch is mixed, within itself; the first half stays as it is."""
        if self.concentration is None:
            return None, None
        mixed = np.arange(size // 2, size)
        partner = np.arange(size)
        partner[mixed] = rng.permutation(mixed)
        share = np.ones(size, dtype=np.float32)
        share[mixed] = rng.beta(self.concentration, self.concentration, len(mixed))
        return torch.from_numpy(partner), torch.from_numpy(share)

    def _targets(self, rows: IntArray, view: IntArray, inputs: Batch, length: int) -> Targets:
        assert self.wanted is not None
        # What is cached in every view is read even where the teacher must run for the rest: what a member
        # sees may not depend on what its neighbours ask for.
        cached, missing = self._cached(self.wanted)
        parts = [(v, np.flatnonzero(view == v)) for v in np.unique(view)]
        found: list[Targets] = [self.outputs[v].targets(rows[at], cached, length) for v, at in parts]
        targets = found[0]
        if len(parts) > 1:
            order = torch.from_numpy(np.argsort(np.concatenate([at for _, at in parts])))
            targets = Targets(
                torch.cat([t.logits for t in found])[order],
                {key: torch.cat([t.hidden[key] for t in found])[order] for key in found[0].hidden},
            )
        if not missing:
            return targets
        teacher = self.material.teacher.origin
        batch = self._read_by(teacher, rows, view, inputs).to(self.material.device)
        live = self._on_host(live_targets(self.material.teacher, batch, missing, self.precision))
        return Targets(targets.logits, {**live.hidden, **targets.hidden})

    def _read_by(self, teacher: Origin, rows: IntArray, view: IntArray, inputs: Batch) -> Batch:
        """The rows as a teacher's tokenizer cuts them and tells their segments."""
        if self.origin.reads_like(teacher):
            return inputs
        parts = [(v, np.flatnonzero(view == v)) for v in np.unique(view)]
        tokens = {v: self.material.tokens(self.views[v], teacher) for v, _ in parts}
        length = max(int(tokens[v].lengths[rows[at]].max()) for v, at in parts)
        order = torch.from_numpy(np.argsort(np.concatenate([at for _, at in parts])))
        read = [tokens[v].padded(rows[at], teacher.pad_id, length) for v, at in parts]
        ids, types, masks = (
            torch.cat([getattr(batch, name) for batch in read])[order] for name in ("ids", "types", "mask")
        )
        return Batch(ids, types, masks)

    def _cached(self, wanted: Demand) -> tuple[Demand, Demand]:
        """What of a demand the cache holds in all views, and what else the teacher must be asked."""
        cached = functools.reduce(operator.and_, (o.demand for o in self.outputs), wanted)
        return cached, wanted - cached

    def _with_mixtures(
        self,
        targets: Targets,
        inputs: Batch,
        mixed: Batch,
        types: Sequence[Tensor],
        partner: Tensor,
        share: Tensor,
    ) -> Targets:
        """The targets with the mixed half replaced by what the teachers say of the mixtures."""
        assert self.wanted is not None
        half = slice(len(partner) // 2, len(partner))
        device = self.material.device
        live = self._on_host(
            mixture_targets(
                self.material.teachers,
                inputs.to(device),
                mixed.mask.to(device),
                [each.to(device) for each in types],
                partner.to(device),
                share.to(device),
                half,
                self.wanted,
                self.precision,
            )
        )
        return Targets(
            torch.cat([targets.logits[: half.start], live.logits]),
            {
                key: torch.cat([states[: half.start], live.hidden[key]])
                for key, states in targets.hidden.items()
            },
        )

    @staticmethod
    def _on_host(targets: Targets) -> Targets:
        return Targets(targets.logits.cpu(), {k: v.cpu() for k, v in targets.hidden.items()})


def student_inputs(
    batches: Sequence[StreamBatch], member_stream: Sequence[int], new_ids: Tensor
) -> tuple[Batch, Tensor | None, Tensor | None]:
    """Inputs, mixing partners and shares of K students, from equally long batches of S streams.

    One stream gives [B, T] for all, several give [K, B, T]. `new_ids` [V] renumbers the vocabulary.
    """
    if len(batches) == 1:
        only = batches[0]
        inputs = Batch(new_ids[only.inputs.ids], only.inputs.types, only.inputs.mask)
        return inputs, only.partner, only.share
    own = [batches[s] for s in member_stream]
    inputs = Batch(
        new_ids[torch.stack([b.inputs.ids for b in own])],
        torch.stack([b.inputs.types for b in own]),
        torch.stack([b.inputs.mask for b in own]),
    )
    if all(b.share is None for b in batches):
        return inputs, None, None
    size, device = inputs.ids.shape[1], inputs.ids.device
    partner, share = torch.arange(size, device=device), torch.ones(size, device=device)
    return (
        inputs,
        torch.stack([partner if b.partner is None else b.partner for b in own]),
        torch.stack([share if b.share is None else b.share for b in own]),
    )


def teacher_states(batches: Sequence[StreamBatch], wanted: Demand) -> dict[tuple[int, str], Tensor]:
    """By (layer, name), what the teacher says in each of S streams, [S, ...]."""
    found = {}
    for key in sorted(wanted.states):
        states = [b.targets.hidden.get(key) if b.targets is not None else None for b in batches]
        # A stream that no member with this term reads may lack the state: any shape-mate stands in.
        some = next(s for s in states if s is not None)
        found[key] = (
            some[None] if len(states) == 1 else torch.stack([some if s is None else s for s in states])
        )
    return found
