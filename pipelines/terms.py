"""Intermediate terms of a cohort: members with the same choice are computed together.

A group owns what its terms learn (projections, critics, layer attention), its mapping's state and its
memory, all stacked per member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from distiller.pipelines.demand import Demand, pairs_of
from distiller.pipelines.mapping import layer_attention, pair_weights, start_state
from distiller.pipelines.memory import Memory
from distiller.pipelines.objectives import OBJECTIVES, reduce_representation
from distiller.pipelines.objectives.masking import mixed_teacher
from distiller.pipelines.projection import DEVIATION, project, projection_start
from distiller.pipelines.recording import ATTENTION_STATES
from distiller.pipelines.schedules import scheduled
from distiller.pipelines.term_kind import Sizes, TermKind, kind_of, settings_of
from distiller.spaces.config import PipelineConfig
from distiller.spaces.intermediate import Intermediate, NoIntermediate

States = Mapping[str, Sequence[Tensor]]
"""What the students give beside logits: "hidden", the embeddings first, each [K, B, T, H]; where attention
was recorded, "queries", "keys" and "values", the first layer first."""


class TermGroup:
    """The terms of one kind.

    Attributes:
        members: the students that have a term of this kind, G of them.
        pairs: pairs (student layer, teacher layer).
        layers: the student's layer of each of P costs: one cost per pair, or per layer of the student where
            each learns from a mixture of the teacher's layers.
        parameters: [G, P, ...] leaves with gradients; [G, 1, ...] for what all pairs share.
    """

    def __init__(
        self,
        kind: TermKind,
        terms: Mapping[int, Intermediate],
        seeds: Mapping[int, int],
        sizes: Sizes,
        device: torch.device,
        dtype: torch.dtype,
    ):
        self.kind, self.sizes = kind, sizes
        self.objective = OBJECTIVES[kind.objective]
        self.members = sorted(terms)
        mapping = dict(kind.mapping)
        self.pairs = pairs_of(mapping, sizes.student_layers, sizes.teacher_layers)
        self.mixes = mapping["kind"] == "attention_weighted"
        sources = [s for s, _ in self.pairs]
        self.layers = sorted(set(sources)) if self.mixes else sources
        self.state = start_state(mapping["kind"], sizes.student_layers, sizes.teacher_layers, len(terms))
        chosen = [terms[m] for m in self.members]
        self.schedules = [getattr(t, "schedule", None) for t in chosen]
        self.weight = _vector([getattr(t, "weight", 1.0) for t in chosen]).to(device, dtype)
        numbers = [settings_of(t, structural=False) for t in chosen]
        self.vectors = {n: _vector([v[n] for v in numbers]).to(device, dtype) for n in numbers[0]}
        self.temperature = _vector([getattr(t.mapping, "temperature", 1.0) for t in chosen])  # type: ignore[union-attr]
        self.own_seeds = [seeds[m] * 1009 + kind.slot for m in self.members]
        starts = [self._start(seed) for seed in self.own_seeds]
        self.parameters = {
            name: torch.stack([s[name] for s in starts]).to(device, dtype).requires_grad_()
            for name in starts[0]
        }
        self.memory = (
            Memory(self.own_seeds, len(self.layers), sizes.rows, device, dtype)
            if self.objective.remembers
            else None
        )

    def _start(self, seed: int) -> dict[str, Tensor]:
        """One member's parameters, [P, ...]."""
        generator = torch.Generator().manual_seed(seed)
        kind, sizes = self.kind, self.sizes
        found: dict[str, list[Tensor]] = {}
        for number in range(len(self.layers)):
            own: dict[str, Tensor] = {}
            if number == 0 or not kind.shared:
                own |= projection_start(kind.projection, sizes.student_width, sizes.teacher_width, generator)
            if self.objective.start is not None:
                own |= self.objective.start(sizes.student_width, sizes.teacher_width, generator)
            if self.mixes:
                attention = torch.randn(sizes.teacher_width, sizes.student_width, generator=generator)
                own["layer_attention"] = attention * DEVIATION
            for name, value in own.items():
                found.setdefault(name, []).append(value)
        return {name: torch.stack(values) for name, values in found.items()}

    @property
    def demand(self) -> Demand:
        """What the group reads of the teacher."""
        wanted = {(t - state.below, state.name) for _, t in self.pairs for state in self.kind.reads}
        if self.mixes:
            wanted |= {(t, "cls") for _, t in self.pairs}
        return Demand(frozenset(wanted))

    def losses(
        self,
        states: States,
        student_mask: Tensor,
        said: Mapping[tuple[int, str], Tensor],
        member_stream: Sequence[int],
        progress: float = 0.0,
        rows: Tensor | None = None,
        draw: int = 0,
        whole: Tensor | None = None,
    ) -> Tensor:
        """[G] the weighted loss of each member of the group.

        Args:
            states: what the students give.
            student_mask: [S, B, T], one for each stream of inputs.
            said: the teacher's states by (layer, name), [S, B, H] or [S, B, T, H].
            member_stream: the stream of each of the K members.
            progress: the share of the budget that is behind.
            rows: [B] the batch's rows in the pool; only objectives with a memory read it.
            draw: a number that decides what is drawn from the memory, one per step.
            whole: [S, B] bool, the rows that are no mixtures: they alone are remembered. None: all.
        """
        factor = self.factor(progress)
        streams = [member_stream[m] for m in self.members]
        shared = len(set(streams)) == 1
        mask = student_mask[streams[0]] if shared else student_mask[streams]
        picked = {key: value[streams[0]] if shared else value[streams] for key, value in said.items()}
        if len(self.members) == 1 and self.memory is None:
            # No indexing where a view will do: its gradient would be as large as what is indexed.
            alone = states["hidden"][0].shape[0] == 1
            own = {
                name: [h.squeeze(0) if alone else h[self.members[0]] for h in layers]
                for name, layers in states.items()
            }
            costs = self._solo_costs(own, mask, picked)
        else:
            pure = None if whole is None else whole[streams]
            costs = self._stacked_costs(states, mask, picked, shared, rows, draw, pure)
        weights, self.state = pair_weights(
            dict(self.kind.mapping)["kind"], costs, self.state, self.temperature
        )
        return self.weight * factor * (weights * costs).sum(-1)

    def factor(self, progress: float) -> Tensor:
        """[G] the share of its weight that each term has at a point of the budget."""
        return torch.tensor([scheduled(s, progress) for s in self.schedules], device=self.weight.device).to(
            self.weight.dtype
        )

    def _student(self, states: States, mask: Tensor, layer: int) -> Tensor:
        """One student's states of a layer, all that is read end to end: [B, H] or [B, T, H]."""
        found = []
        for state in self.kind.reads:
            at = layer - state.below
            if state.name in ATTENTION_STATES:
                found.append(states[state.name][at - 1].to(self.weight.dtype))
            else:
                hidden = states["hidden"][at].to(self.weight.dtype)
                found.append(reduce_representation(hidden, mask, state.name))
        return found[0] if len(found) == 1 else torch.cat(found, -1)

    def _teacher(self, said: Mapping[tuple[int, str], Tensor], layer: int) -> Tensor:
        """The teacher's states of a layer, all that is read end to end."""
        found = [said[layer - state.below, state.name] for state in self.kind.reads]
        return found[0] if len(found) == 1 else torch.cat(found, -1)

    @property
    def _tokenwise(self) -> bool:
        return self.kind.reads[0].name not in ("cls", "mean")

    def _solo_costs(self, states: States, mask: Tensor, said: Mapping[tuple[int, str], Tensor]) -> Tensor:
        """[1, P] without stacks, vmap and padding, which only cost where there is one student.

        Args:
            states: of the one student, each [B, T, H].
            mask: [B, T].
            said: by (layer, name), [B, H] or [B, T, H].
        """
        tokenwise = self._tokenwise
        # Tokens end to end. On a GPU, to find the real ones would wait for the device at every step.
        packs = tokenwise and self.objective.reads is None and not mask.is_cuda
        real = mask.flatten().nonzero().squeeze(-1) if packs and not bool(mask.all()) else None

        def packed(vectors: Tensor) -> Tensor:
            if not packs:
                return vectors
            flat = vectors.flatten(0, 1)
            return flat if real is None else flat.index_select(0, real)

        learned = {name: value.squeeze(0).unbind(0) for name, value in self.parameters.items()}
        vectors = {name: value[0] for name, value in self.vectors.items()}
        reduced: dict[int, Tensor] = {}
        costs = []
        for number, layer in enumerate(self.layers):
            if layer not in reduced:  # "emd" pairs each student layer with all of the teacher's
                reduced[layer] = packed(self._student(states, mask, layer))
            parameters = {n: v[0 if len(v) == 1 else number] for n, v in learned.items()}
            if self.mixes:
                cls = states["hidden"][layer][:, 0].to(self.weight.dtype)
                said_here = self._mixture(said, cls, parameters["layer_attention"])
            else:
                said_here = self._teacher(said, self.pairs[number][1])
            seen = mask if tokenwise and not packs else None
            costs.append(self._cost(reduced[layer], packed(said_here), seen, parameters, vectors, {}))
        return torch.stack(costs)[None]

    def _mixture(self, said: Mapping[tuple[int, str], Tensor], cls: Tensor, weight: Tensor) -> Tensor:
        """One student layer's mixture of the teacher's layers: [B, H] or [B, T, H]; `cls` is [B, Hs]."""
        layers = sorted({t for _, t in self.pairs})
        shares = layer_attention(cls, [said[t, "cls"] for t in layers], weight)
        stacked = torch.stack([self._teacher(said, t) for t in layers]).to(shares.dtype)
        return torch.einsum("tb,tb...->b...", shares, stacked)

    def _stacked_costs(
        self,
        states: States,
        mask: Tensor,
        said: Mapping[tuple[int, str], Tensor],
        shared: bool,
        rows: Tensor | None,
        draw: int,
        whole: Tensor | None,
    ) -> Tensor:
        """[G, P]: states [K, B, T, H]; mask [B, T] and said [B, …] where `shared`, else [G, B, …]."""
        given = None if shared else 0
        everyone = len(self.members) == states["hidden"][0].shape[0]
        own = {name: [h if everyone else h[self.members] for h in layers] for name, layers in states.items()}
        learned = {n: p.expand(-1, len(self.layers), *p.shape[2:]) for n, p in self.parameters.items()}

        def member(
            states: States,
            mask: Tensor,
            said: Mapping[tuple[int, str], Tensor],
            parameters: dict[str, Tensor],
            vectors: dict[str, Tensor],
            memory: dict[str, Tensor],
        ) -> tuple[Tensor, Tensor, Tensor]:
            student = torch.stack([self._student(states, mask, layer) for layer in self.layers])
            if self.mixes:
                firsts = [states["hidden"][layer][:, 0].to(self.weight.dtype) for layer in self.layers]
                teacher = torch.stack(
                    [
                        self._mixture(said, cls, parameters["layer_attention"][number])
                        for number, cls in enumerate(firsts)
                    ]
                )
            else:
                teacher = torch.stack([self._teacher(said, t) for _, t in self.pairs])
            seen = mask if self._tokenwise else None
            costs: Tensor = vmap(
                lambda s, t, p, m: self._cost(s, t, seen, p, vectors, m | drawn), (0, 0, 0, 0)
            )(student, teacher, parameters, memory)
            return costs, student, teacher

        drawn: dict[str, Any] = {}
        remembered: dict[str, Tensor] = {}
        if self.memory is not None:
            assert rows is not None
            remembered, drawn = self.memory.others(rows, dict(self.kind.settings)["negatives"], draw)
        costs, student, teacher = vmap(member, (0, given, given, 0, 0, 0))(
            own, mask, said, learned, self.vectors, remembered
        )
        if self.memory is not None and rows is not None:
            self.memory.refresh(rows, student.detach(), teacher.detach(), learned, whole)
        return costs

    def _cost(
        self,
        student: Tensor,
        teacher: Tensor,
        mask: Tensor | None,
        parameters: dict[str, Tensor],
        vectors: dict[str, Tensor],
        memory: dict[str, Any],
    ) -> Tensor:
        if self.kind.projection != "none":
            halves = student.chunk(len(self.kind.reads), -1)
            student = torch.cat([project(half, parameters) for half in halves], -1)
        told: dict[str, Any] = {**vectors, **dict(self.kind.settings), **memory}
        if self.objective.start is not None:
            told["parameters"] = parameters
        if self.objective.reads_heads:
            told |= {"student_heads": self.sizes.student_heads, "teacher_heads": self.sizes.teacher_heads}
        with mixed_teacher() if self.mixes else nullcontext():
            cost: Tensor = self.objective.loss(student, teacher.to(student.dtype), mask, **told)
        return cost

    def keep(self, members: Sequence[int]) -> bool:
        """Drop all members but these, which are numbered anew; False where none is left."""
        rows = [i for i, m in enumerate(self.members) if m in set(members)]
        self.members = [list(members).index(self.members[i]) for i in rows]
        if not rows:
            return False
        index = torch.tensor(rows)
        self.schedules = [self.schedules[i] for i in rows]
        self.weight, self.temperature = self.weight[index], self.temperature[index]
        self.vectors = {name: v[index] for name, v in self.vectors.items()}
        self.parameters = {n: p.detach()[index].requires_grad_() for n, p in self.parameters.items()}
        if self.state is not None:
            self.state = {n: s[index] for n, s in self.state.items()}
        if self.memory is not None:
            self.memory.keep(index)
        return True


def term_groups(
    configs: Sequence[PipelineConfig],
    seeds: Sequence[int],
    sizes: Sizes,
    device: torch.device,
    dtype: torch.dtype,
) -> list[TermGroup]:
    """The terms of a cohort's configs, by kind."""
    kinds: dict[TermKind, dict[int, Intermediate]] = {}
    for number, config in enumerate(configs):
        for slot, term in enumerate(config.intermediate, 1):
            if not isinstance(term, NoIntermediate):
                kinds.setdefault(kind_of(term, slot, sizes), {})[number] = term
    return [
        TermGroup(kind, terms, {n: seeds[n] for n in terms}, sizes, device, dtype)
        for kind, terms in kinds.items()
    ]


def _vector(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
