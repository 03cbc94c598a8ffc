"""Intermediate terms of a cohort: members with the same choice are computed together.

A group owns what its terms learn (projections, critics) and its mapping's state, stacked per member.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional as F

from distiller.pipelines.demand import representation_of
from distiller.pipelines.mapping import pair_weights, pairs, start_state
from distiller.pipelines.mutual_information import critic_parameters, mi_alpha_loss
from distiller.pipelines.objectives import OBJECTIVES, reduce_representation
from distiller.spaces.config import PipelineConfig
from distiller.spaces.intermediate import Intermediate, MiAlpha, NoIntermediate
from distiller.spaces.mapping import Emd

CRITIC_WIDTH = 128
PROJECTION_DEVIATION = 0.02

PairLoss = Callable[[Tensor, Tensor, Tensor | None, dict[str, Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class TermKind:
    """What terms must share to be computed together."""

    slot: int
    objective: str
    representation: str
    mapping: str
    projected: bool


def kind_of(term: Intermediate, slot: int, student_width: int, teacher_width: int) -> TermKind:
    """The kind of a term that is not `none`; projected where that is asked for or widths differ."""
    assert term.objective != "none"
    asked = getattr(getattr(term, "projection", None), "kind", "none") == "linear"
    projected = not isinstance(term, MiAlpha) and (asked or student_width != teacher_width)
    return TermKind(slot, term.objective, representation_of(term), term.mapping.kind, projected)


class TermGroup:
    """The terms of one kind.

    Attributes:
        members: the students that have a term of this kind, G of them.
        pairs: P pairs (student layer, teacher layer).
        parameters: [G, P, ...] leaves with gradients.
    """

    def __init__(
        self,
        kind: TermKind,
        terms: Mapping[int, Intermediate],
        seeds: Mapping[int, int],
        student_layers: int,
        teacher_layers: int,
        student_width: int,
        teacher_width: int,
        device: torch.device,
        dtype: torch.dtype,
    ):
        self.kind = kind
        self.members = sorted(terms)
        self.pairs = pairs(kind.mapping, student_layers, teacher_layers)
        self.state = start_state(kind.mapping, student_layers, teacher_layers, len(terms))
        chosen = [terms[m] for m in self.members]
        self.weight = _vector([getattr(t, "weight", 0.0) for t in chosen]).to(device, dtype)
        self.alpha = _vector([t.alpha if isinstance(t, MiAlpha) else 0.0 for t in chosen]).to(device, dtype)
        mappings = [getattr(t, "mapping", None) for t in chosen]
        self.temperature = _vector([m.temperature if isinstance(m, Emd) else 1.0 for m in mappings])
        starts = [
            self._start(seeds[m] * 1009 + kind.slot, student_width, teacher_width) for m in self.members
        ]
        self.parameters = {
            name: torch.stack([s[name] for s in starts]).to(device, dtype).requires_grad_()
            for name in starts[0]
        }
        self.loss = _mutual_information if kind.objective == "mi_alpha" else _distance(kind)

    def _start(self, seed: int, student_width: int, teacher_width: int) -> dict[str, Tensor]:
        """One member's parameters, [P, ...]."""
        generator = torch.Generator().manual_seed(seed)
        one: list[dict[str, Tensor]] = []
        for _ in self.pairs:
            if self.kind.objective == "mi_alpha":
                one.append(critic_parameters(student_width, teacher_width, CRITIC_WIDTH, generator))
            elif self.kind.projected:
                weight = torch.randn(teacher_width, student_width, generator=generator) * PROJECTION_DEVIATION
                one.append({"weight": weight, "bias": torch.zeros(teacher_width)})
            else:
                one.append({})
        return {name: torch.stack([p[name] for p in one]) for name in one[0]}

    @property
    def teacher_layers(self) -> tuple[int, ...]:
        """The teacher layers that the pairs read, ascending."""
        return tuple(sorted({t for _, t in self.pairs}))

    def losses(
        self,
        student_hidden: Sequence[Tensor],
        student_mask: Tensor,
        teacher_hidden: Mapping[tuple[int, str], Tensor],
        member_stream: Sequence[int],
    ) -> Tensor:
        """[G] the weighted loss of each member of the group.

        Args:
            student_hidden: embeddings first, each [K, B, T, Hs].
            student_mask: [S, B, T], one for each stream of inputs.
            teacher_hidden: by (layer, representation), [S, B, H] or [S, B, T, H].
            member_stream: the stream of each of the K members.
        """
        streams = [member_stream[m] for m in self.members]
        shared = len(set(streams)) == 1
        mask = student_mask[streams[0]] if shared else student_mask[streams]
        said = [teacher_hidden[t, self.kind.representation] for _, t in self.pairs]
        teacher = [states[streams[0]] if shared else states[streams] for states in said]
        if len(self.members) == 1:
            # No indexing where a view will do: its gradient would be as large as what is indexed.
            alone = student_hidden[0].shape[0] == 1
            own = [h.squeeze(0) if alone else h[self.members[0]] for h in student_hidden]
            costs = self._solo_costs(own, mask, teacher)
        else:
            costs = self._stacked_costs(student_hidden, mask, teacher, shared)
        weights, self.state = pair_weights(self.kind.mapping, costs, self.state, self.temperature)
        return self.weight * (weights * costs).sum(-1)

    def _solo_costs(
        self, student_hidden: Sequence[Tensor], mask: Tensor, teacher: Sequence[Tensor]
    ) -> Tensor:
        """[1, P] without stacks, vmap and padding, which only cost where there is one student.

        Args:
            student_hidden: embeddings first, each [B, T, Hs].
            mask: [B, T].
            teacher: for each pair, [B, H] or [B, T, H].
        """
        tokenwise = self.kind.representation == "tokens"
        seen = mask if tokenwise else None
        # Tokens end to end. On a GPU, to find the real ones would wait for the device at every step.
        packs = tokenwise and not mask.is_cuda
        real = mask.flatten().nonzero().squeeze(-1) if packs and not bool(mask.all()) else None

        def packed(states: Tensor) -> Tensor:
            if not packs:
                return states
            flat = states.flatten(0, 1)
            return flat if real is None else flat.index_select(0, real)

        learned = {name: value.squeeze(0).unbind(0) for name, value in self.parameters.items()}
        reduced: dict[int, Tensor] = {}
        costs = []
        for number, (layer, _) in enumerate(self.pairs):
            if layer not in reduced:  # "emd" pairs each student layer with all of the teacher's
                hidden = student_hidden[layer].to(self.weight.dtype)
                reduced[layer] = packed(reduce_representation(hidden, mask, self.kind.representation))
            parameters = {name: values[number] for name, values in learned.items()}
            costs.append(
                self.loss(
                    reduced[layer],
                    packed(teacher[number]),
                    None if packs else seen,
                    parameters,
                    self.alpha[0],
                )
            )
        return torch.stack(costs)[None]

    def _stacked_costs(
        self, student_hidden: Sequence[Tensor], mask: Tensor, teacher: Sequence[Tensor], shared: bool
    ) -> Tensor:
        """[G, P]: student [K, B, T, Hs]; mask [B, T] and teacher [B, …] where `shared`, else [G, B, …]."""
        given = None if shared else 0

        def reduce(hidden: Tensor, seen: Tensor) -> Tensor:
            return reduce_representation(hidden, seen, self.kind.representation)

        everyone = len(self.members) == student_hidden[0].shape[0]
        reduced = []
        for layer, _ in self.pairs:
            hidden = student_hidden[layer]
            hidden = (hidden if everyone else hidden[self.members]).to(self.weight.dtype)
            reduced.append(vmap(reduce, (0, given))(hidden, mask))
        seen = mask if self.kind.representation == "tokens" else torch.ones_like(mask[..., 0])
        over_pairs = vmap(self.loss, (0, 0, None, 0, None))
        costs: Tensor = vmap(over_pairs, (0, given, given, 0, 0))(
            torch.stack(reduced, 1),
            torch.stack(list(teacher), 0 if shared else 1),
            seen,
            self.parameters,
            self.alpha,
        )
        return costs

    def keep(self, members: Sequence[int]) -> bool:
        """Drop all members but these, which are numbered anew; False where none is left."""
        rows = [i for i, m in enumerate(self.members) if m in set(members)]
        self.members = [list(members).index(self.members[i]) for i in rows]
        if not rows:
            return False
        index = torch.tensor(rows)
        self.weight, self.alpha = self.weight[index], self.alpha[index]
        self.temperature = self.temperature[index]
        self.parameters = {n: p.detach()[index].requires_grad_() for n, p in self.parameters.items()}
        if self.state is not None:
            self.state = {n: s[index] for n, s in self.state.items()}
        return True


def term_groups(
    configs: Sequence[PipelineConfig],
    seeds: Sequence[int],
    student_layers: int,
    student_width: int,
    teacher_layers: int,
    teacher_width: int,
    device: torch.device,
    dtype: torch.dtype,
) -> list[TermGroup]:
    """The terms of a cohort's configs, by kind."""
    kinds: dict[TermKind, dict[int, Intermediate]] = {}
    for number, config in enumerate(configs):
        for slot, term in enumerate(config.intermediate, 1):
            if not isinstance(term, NoIntermediate):
                kinds.setdefault(kind_of(term, slot, student_width, teacher_width), {})[number] = term
    return [
        TermGroup(
            kind,
            terms,
            {number: seeds[number] for number in terms},
            student_layers,
            teacher_layers,
            student_width,
            teacher_width,
            device,
            dtype,
        )
        for kind, terms in kinds.items()
    ]


def _vector(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _distance(kind: TermKind) -> PairLoss:
    objective = OBJECTIVES[kind.objective]

    def loss(
        student: Tensor, teacher: Tensor, mask: Tensor | None, parameters: dict[str, Tensor], alpha: Tensor
    ) -> Tensor:
        if kind.projected:
            student = F.linear(student, parameters["weight"], parameters["bias"])
        return objective(student, teacher.to(student.dtype), mask)

    return loss


def _mutual_information(
    student: Tensor, teacher: Tensor, mask: Tensor | None, parameters: dict[str, Tensor], alpha: Tensor
) -> Tensor:
    return mi_alpha_loss(student, teacher.to(student.dtype), parameters, alpha)
