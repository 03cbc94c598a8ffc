"""AdamW for stacked students: every member has its own learning rate, decay and clipping."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from distiller.pipelines.flat import Flat

EPSILON = 1e-8


@dataclass(frozen=True)
class Settings:
    """What one student asks of its AdamW, beside the learning rate.

    `layer_decay` to the power of a parameter's depth (see `depths`) is a factor on its learning rate.
    """

    weight_decay: float = 0.01
    max_norm: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.999
    layer_decay: float = 1.0


@dataclass(frozen=True, eq=False)
class Solo:
    """A parameter of one student.

    Attributes:
        tensor: leaf with gradient.
        decays: whether weight decay applies (not to biases and norms).
        depth: how far below the head it stands.
    """

    tensor: Tensor
    decays: bool
    depth: int = 0


@dataclass(frozen=True, eq=False)
class Stacked:
    """A parameter of several members.

    Attributes:
        tensor: [G, ...] leaf with gradient, one slice per member.
        members: [G] the member that each slice belongs to.
        decays, depth: as of `Solo`.
    """

    tensor: Tensor
    members: Tensor
    decays: bool
    depth: int = 0


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


def depths(student: nn.Module) -> dict[str, int]:
    """How far below the head each parameter of a student stands, by name: the exponent of `layer_decay`.

    0 for what lies above the layers (pooler, classifier, a last norm), L + 1 - l for layer l of L, from 1
    below the head to L, and L + 1 for embeddings and what is theirs. Discriminative fine-tuning of Howard &
    Ruder 2018 (arXiv 1801.06146), section 3.2, with the head above the last layer. Layers that share their
    parameters (ALBERT) count as one.
    """
    stacks = [name for name, module in student.named_modules() if isinstance(module, nn.ModuleList)]
    outer = [n for n in stacks if not any(n.startswith(f"{other}.") for other in stacks)]
    sizes = {n: sum(p.numel() for p in student.get_submodule(n).parameters()) for n in outer}
    layers = max(sizes, key=lambda n: sizes[n])
    count = len(cast(nn.ModuleList, student.get_submodule(layers)))

    def depth(name: str) -> int:
        if name.startswith(f"{layers}."):
            return count - int(name.removeprefix(f"{layers}.").split(".", 1)[0])
        # DeBERTa's norm beside its layers is that of its relative embeddings.
        return count + 1 if "embedding" in name or ".encoder.LayerNorm." in name else 0

    return {name: depth(name) for name, _ in student.named_parameters()}


class SoloAdamW:
    """One student's AdamW: PyTorch's own, fused, with its gradient clipped by norm.

    A parameter that has no gradient at the first step is never touched; from then on, no gradient is a
    gradient of zero. Parameters become views of a common tensor at the first step: one for those that
    weight decay applies to and one for the others, and such a pair for every depth where that matters.
    The step after a `restart` is a first step.
    """

    def __init__(self, parameters: Sequence[Solo], settings: Settings):
        self.parameters = list(parameters)
        self.settings = settings
        self.flats: list[Flat] = []
        self.factors: list[float] = []

    def lay_out(self, reached: Collection[int], sparse: Collection[int]) -> None:
        """Bring the parameters of the numbers `reached` together, some of them with `sparse` gradients."""
        settings, kinds = self.settings, dict[tuple[float, float], list[Tensor]]()
        scattered = [self.parameters[number].tensor for number in sparse]
        for number in sorted(reached, key=lambda n: (not self.parameters[n].decays, n)):
            parameter = self.parameters[number]
            kind = (
                settings.weight_decay if parameter.decays else 0.0,
                settings.layer_decay**parameter.depth,
            )
            kinds.setdefault(kind, []).append(parameter.tensor)
        groups = []
        for (weight_decay, factor), tensors in kinds.items():
            own = [tensor for tensor in tensors if any(tensor is other for other in scattered)]
            self.flats.append(Flat(tensors, own))
            self.factors.append(factor)
            groups.append({"params": [self.flats[-1].tensor], "weight_decay": weight_decay})
        betas = (settings.beta1, settings.beta2)
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=EPSILON, fused=True)

    def restart(self, members: Sequence[int]) -> None:
        """Forget moments and steps, as TinyBERT does, whose two stages are two trainings; `members` is [0].

        A head that had no gradient so far would else start on moments of zero that count as well known,
        with steps of several times its learning rate. Learning rates are not the optimizer's: their
        schedule stays one over the whole budget.
        """
        if list(members) != [0]:
            raise ValueError(f"one student has no members {list(members)}")
        self.flats, self.factors = [], []

    @torch.no_grad()
    def step(self, rates: Sequence[float]) -> None:
        """One update at the one learning rate."""
        if not self.flats:
            found = ((n, p.tensor.grad) for n, p in enumerate(self.parameters))
            reached = {n: gradient for n, gradient in found if gradient is not None}
            self.lay_out(reached, [n for n, gradient in reached.items() if gradient.is_sparse])
        gradients = [gradient for flat in self.flats for gradient in flat.gather()]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        # A product by 1 passes over all gradients; on a GPU it is cheaper than to wait for the comparison.
        most = self.settings.max_norm
        if norm.is_cuda or not norm + 1e-6 <= most:
            torch._foreach_mul_(gradients, (most / (norm + 1e-6)).clamp(max=1.0))
        for flat in self.flats:
            flat.spread()
        for group, factor in zip(self.optimizer.param_groups, self.factors, strict=True):
            group["lr"] = rates[0] * factor
        self.optimizer.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.tensor.grad = None


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
    """Decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2) with settings of each member's own.

    Equals `torch.optim.AdamW` run on each member alone, from its last `restart` on with a state of its own.
    """

    def __init__(self, parameters: Sequence[Stacked], settings: Sequence[Settings]):
        self.parameters = list(parameters)
        self.steps = [0] * len(settings)
        self.first = [torch.zeros_like(p.tensor) for p in self.parameters]
        self.second = [torch.zeros_like(p.tensor) for p in self.parameters]
        self._take(settings)

    def _take(self, settings: Sequence[Settings]) -> None:
        self.settings = list(settings)
        like = self.parameters[0].tensor
        self.max_norm = like.new_tensor([s.max_norm for s in settings])
        self.weight_decay = like.new_tensor([s.weight_decay for s in settings])
        # 1 - beta from double precision: in single precision beta2 leaves it four digits.
        self.new_shares = [
            like.new_tensor([1 - getattr(s, beta) for s in settings]) for beta in ("beta1", "beta2")
        ]
        self.shared_betas = len({(s.beta1, s.beta2) for s in settings}) == 1
        fall = any(s.layer_decay != 1 for s in settings)
        self.factors = {
            depth: like.new_tensor([s.layer_decay**depth for s in settings])
            for depth in {p.depth for p in self.parameters if fall and p.depth}
        }

    @torch.no_grad()
    def restart(self, members: Sequence[int]) -> None:
        """Forget the moments and steps of these members (as numbered now), as `SoloAdamW.restart` does."""
        for parameter, *moments in zip(self.parameters, self.first, self.second, strict=True):
            rows = torch.isin(parameter.members, torch.tensor(members, device=parameter.members.device))
            for moment in moments:
                moment[rows] = 0.0
        for member in members:
            self.steps[member] = 0

    @torch.no_grad()
    def step(self, learning_rates: Sequence[float]) -> None:
        """One update at K learning rates, each member's gradient first clipped to its norm."""
        self.steps = [steps + 1 for steps in self.steps]
        norms = gradient_norms(self.parameters, len(self.max_norm))
        scales = (self.max_norm / (norms + 1e-6)).clamp(max=1.0)
        # A parameter that no loss reaches has no gradient: torch's AdamW does not touch it either.
        reached = [i for i, p in enumerate(self.parameters) if p.tensor.grad is not None]
        parameters = [self.parameters[i] for i in reached]
        first, second = [self.first[i] for i in reached], [self.second[i] for i in reached]
        gradients = [
            _broadcast(scales[p.members], p.tensor) * cast(Tensor, p.tensor.grad) for p in parameters
        ]
        self._average(parameters, gradients, first, second)
        rates, corrected, second_corrections = self._rates(learning_rates)
        denominators = torch._foreach_sqrt(second)
        if self.shared_betas and len(set(self.steps)) == 1:
            torch._foreach_div_(denominators, math.sqrt(1 - self.settings[0].beta2 ** self.steps[0]))
        else:
            for parameter, denominator in zip(parameters, denominators, strict=True):
                denominator.div_(_broadcast(second_corrections[parameter.members], denominator))
        torch._foreach_add_(denominators, EPSILON)
        updates = torch._foreach_div(first, denominators)
        for parameter, update in zip(parameters, updates, strict=True):
            tensor, members = parameter.tensor, parameter.members
            rate, share = rates[members], corrected[members]
            if parameter.depth in self.factors:
                factor = self.factors[parameter.depth][members]
                rate, share = rate * factor, share * factor
            if parameter.decays:
                tensor.mul_(_broadcast(1 - rate * self.weight_decay[members], tensor))
            tensor.addcmul_(update, _broadcast(-share, tensor))

    def _average(
        self,
        parameters: Sequence[Stacked],
        gradients: list[Tensor],
        first: list[Tensor],
        second: list[Tensor],
    ) -> None:
        """Bring the moving averages of gradients and of their squares up to date."""
        if self.shared_betas:
            beta1, beta2 = self.settings[0].beta1, self.settings[0].beta2
            torch._foreach_lerp_(first, gradients, 1 - beta1)
            torch._foreach_mul_(second, beta2)
            torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
            return
        for parameter, gradient, m1, m2 in zip(parameters, gradients, first, second, strict=True):
            new1, new2 = (_broadcast(share[parameter.members], m1) for share in self.new_shares)
            m1.lerp_(gradient, new1)
            m2.lerp_(gradient.square(), new2)

    def _rates(self, learning_rates: Sequence[float]) -> Tensor:
        """[3, K] learning rates, the same over the first bias correction, roots of the second correction."""
        made = list(zip(self.settings, self.steps, strict=True))
        corrections = [1 - s.beta1**steps for s, steps in made]
        rows = [
            list(learning_rates),
            [rate / correction for rate, correction in zip(learning_rates, corrections, strict=True)],
            [math.sqrt(1 - s.beta2**steps) for s, steps in made],
        ]
        return torch.tensor(rows, dtype=self.max_norm.dtype).to(self.max_norm.device)

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
        self.steps = [self.steps[member] for member in left]
        self._take([self.settings[member] for member in left])

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.tensor.grad = None


def _broadcast(vector: Tensor, like: Tensor) -> Tensor:
    return vector.view(-1, *([1] * (like.dim() - 1)))
