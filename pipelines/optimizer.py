"""AdamW for stacked students: every member has its own learning rate, decay and clipping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


@dataclass(frozen=True, eq=False)
class Stacked:
    """A parameter of several members.

    Attributes:
        tensor: [G, ...] leaf with gradient, one slice per member.
        members: [G] the member that each slice belongs to.
        decays: whether weight decay applies (not to biases and norms).
    """

    tensor: Tensor
    members: Tensor
    decays: bool


def learning_rates(
    step: int, steps: int, peaks: Sequence[float], warmups: Sequence[float], schedules: Sequence[str]
) -> list[float]:
    """Each member's learning rate at `step` (from 0) of `steps`.

    Linear rise over warmup * steps, then `constant`, `linear` to 0, or half a `cosine` to 0.
    """
    rates = []
    for peak, warmup, schedule in zip(peaks, warmups, schedules, strict=True):
        rise = warmup * steps
        if step + 1 < rise:
            rates.append(peak * (step + 1) / rise)
            continue
        done = max(0.0, step - rise) / max(1.0, steps - rise)
        cosine = 0.5 * (1.0 + math.cos(math.pi * done))
        rates.append(peak * {"constant": 1.0, "linear": 1.0 - done, "cosine": cosine}[schedule])
    return rates


def decays(name: str, dimensions: int) -> bool:
    """Whether weight decay applies to a parameter of one student: not to biases and norms."""
    return dimensions > 1 and not name.endswith("bias")


class _Flat:
    """Parameters end to end in one tensor: a norm or an update is one pass, not one call for each of them.

    The parameters stay what they were, as views. Sparse gradients (of word embeddings) are spread over
    rows of a gradient that is kept, so that only the rows of two steps are written, not the whole table.
    """

    def __init__(self, parameters: Sequence[Tensor]):
        sparse = [p for p in parameters if p.grad is not None and p.grad.is_sparse]
        self.dense = [p for p in parameters if not any(p is other for other in sparse)]
        ends = [0]
        for parameter in (*self.dense, *sparse):
            ends.append(ends[-1] + -(-parameter.numel() // 16) * 16)  # every part starts on a cache line
        self.tensor = parameters[0].new_zeros(ends[-1])
        self.tensor.grad = torch.zeros_like(self.tensor)
        starts = ends[:-1]
        self.gradients = [
            self.tensor.grad[start : start + p.numel()].view(p.shape)
            for start, p in zip(starts, self.dense, strict=False)
        ]
        self.head = self.tensor.grad[: ends[len(self.dense)]]
        self.tables = [
            _Table(p, self.tensor.grad[start : start + p.numel()].view(p.shape))
            for start, p in zip(starts[len(self.dense) :], sparse, strict=True)
        ]
        for start, parameter in zip(starts, (*self.dense, *sparse), strict=True):
            place = self.tensor[start : start + parameter.numel()].view(parameter.shape)
            place.copy_(parameter.detach())
            parameter.data = place

    def gather(self) -> list[Tensor]:
        """Take over the parameters' gradients; what their norm and their scaling concern."""
        found = [(g, p.grad) for g, p in zip(self.gradients, self.dense, strict=True)]
        torch._foreach_copy_(
            [g for g, new in found if new is not None], [new for _, new in found if new is not None]
        )
        for gradient, new in found:
            if new is None:
                gradient.zero_()
        return [self.head, *(table.gather() for table in self.tables)]

    def spread(self) -> None:
        """Write the sparse gradients, scaled by now, to their rows."""
        for table in self.tables:
            table.spread()


class _Table:
    """A parameter with sparse gradients, and its dense gradient [V, H]: zero but for the last step's rows."""

    def __init__(self, parameter: Tensor, gradient: Tensor):
        self.parameter, self.gradient = parameter, gradient
        self.rows = torch.empty(0, dtype=torch.int64, device=parameter.device)

    def gather(self) -> Tensor:
        self.gradient.index_fill_(0, self.rows, 0.0)
        if self.parameter.grad is None:
            self.rows, self.values = self.rows[:0], self.gradient[:0]
        else:
            found = self.parameter.grad.coalesce()
            self.rows, self.values = found.indices()[0], found.values()
        return self.values

    def spread(self) -> None:
        self.gradient.index_copy_(0, self.rows, self.values)


class SoloAdamW:
    """One student's AdamW: PyTorch's own, fused, with its gradient clipped by norm.

    A parameter that has no gradient at the first step is never touched; from then on, no gradient is a
    gradient of zero. Parameters become views of a common tensor at the first step.
    """

    def __init__(
        self, decaying: Sequence[Tensor], plain: Sequence[Tensor], weight_decay: float, max_norm: float
    ):
        self.parameters = [*decaying, *plain]
        self.max_norm = max_norm
        self.groups = [(list(decaying), weight_decay), (list(plain), 0.0)]
        self.flats: list[_Flat] = []

    def _lay_out(self) -> None:
        groups = []
        for parameters, weight_decay in self.groups:
            reached = [p for p in parameters if p.grad is not None]
            if reached:
                self.flats.append(_Flat(reached))
                groups.append({"params": [self.flats[-1].tensor], "weight_decay": weight_decay})
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPSILON, fused=True)

    @torch.no_grad()
    def step(self, rates: Sequence[float]) -> None:
        """One update at the one learning rate."""
        if not self.flats:
            self._lay_out()
        gradients = [gradient for flat in self.flats for gradient in flat.gather()]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        # A product by 1 passes over all gradients; on a GPU it is cheaper than to wait for the comparison.
        if norm.is_cuda or not norm + 1e-6 <= self.max_norm:
            torch._foreach_mul_(gradients, (self.max_norm / (norm + 1e-6)).clamp(max=1.0))
        for flat in self.flats:
            flat.spread()
        for group in self.optimizer.param_groups:
            group["lr"] = rates[0]
        self.optimizer.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None


def gradient_norms(parameters: Sequence[Stacked], members: int) -> Tensor:
    """[K] Euclidean norm of each member's gradient over all its parameters."""
    first = parameters[0].tensor
    squares = torch.zeros(members, dtype=first.dtype, device=first.device)
    for parameter in parameters:
        gradient = parameter.tensor.grad
        if gradient is not None:
            squares = squares.index_add(0, parameter.members, gradient.square().flatten(1).sum(1))
    return squares.sqrt()


class StackedAdamW:
    """Decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2) with per-member vectors.

    Equals `torch.optim.AdamW` run on each member alone.
    """

    def __init__(self, parameters: Sequence[Stacked], weight_decay: Tensor, max_norm: Tensor):
        self.parameters = list(parameters)
        self.weight_decay = weight_decay
        self.max_norm = max_norm
        self.steps = 0
        self.first = [torch.zeros_like(p.tensor) for p in self.parameters]
        self.second = [torch.zeros_like(p.tensor) for p in self.parameters]

    @torch.no_grad()
    def step(self, learning_rates: Sequence[float]) -> None:
        """One update at K learning rates, each member's gradient first clipped to its norm."""
        self.steps += 1
        rates = torch.tensor(learning_rates, dtype=self.max_norm.dtype).to(self.max_norm.device)
        norms = gradient_norms(self.parameters, len(self.max_norm))
        scales = (self.max_norm / (norms + 1e-6)).clamp(max=1.0)
        correction = 1 - BETAS[0] ** self.steps
        second_correction = math.sqrt(1 - BETAS[1] ** self.steps)
        # A parameter that no loss reaches has no gradient: torch's AdamW does not touch it either.
        reached = [i for i, p in enumerate(self.parameters) if p.tensor.grad is not None]
        parameters = [self.parameters[i] for i in reached]
        first, second = [self.first[i] for i in reached], [self.second[i] for i in reached]
        gradients = [
            _broadcast(scales[p.members], p.tensor) * cast(Tensor, p.tensor.grad) for p in parameters
        ]
        torch._foreach_lerp_(first, gradients, 1 - BETAS[0])
        torch._foreach_mul_(second, BETAS[1])
        torch._foreach_addcmul_(second, gradients, gradients, 1 - BETAS[1])
        denominators = torch._foreach_sqrt(second)
        torch._foreach_div_(denominators, second_correction)
        torch._foreach_add_(denominators, EPSILON)
        updates = torch._foreach_div(first, denominators)
        for parameter, update in zip(parameters, updates, strict=True):
            tensor, rate = parameter.tensor, rates[parameter.members]
            if parameter.decays:
                tensor.mul_(_broadcast(1 - rate * self.weight_decay[parameter.members], tensor))
            tensor.addcmul_(update, _broadcast(-rate / correction, tensor))

    def keep(self, left: Sequence[int], parameters: Sequence[Stacked]) -> None:
        """Go on with the members `left` (as numbered now), whose parameters are now `parameters`."""
        first, second = [], []
        for old, m1, m2 in zip(self.parameters, self.first, self.second, strict=True):
            rows = torch.isin(old.members, torch.tensor(left, device=old.members.device))
            if bool(rows.any()):
                first.append(m1[rows])
                second.append(m2[rows])
        if [m.shape for m in first] != [p.tensor.shape for p in parameters]:
            raise ValueError("the parameters that are left do not fit the optimizer's state")
        self.first, self.second, self.parameters = first, second, list(parameters)
        self.weight_decay, self.max_norm = self.weight_decay[list(left)], self.max_norm[list(left)]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.tensor.grad = None


def _broadcast(vector: Tensor, like: Tensor) -> Tensor:
    return vector.view(-1, *([1] * (like.dim() - 1)))
