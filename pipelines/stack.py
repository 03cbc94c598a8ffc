"""Students of one architecture on a leading axis: one forward for all, gradients of each its own."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from transformers import PreTrainedModel

from distiller.pipelines.student import Student

log = logging.getLogger(__name__)


class StackedStudents:
    """K students as one function of a batch.

    A single student is a plain module. Several have their parameters stacked; where their architecture
    does not go through `torch.func.vmap`, they run one after another, and `fused` says so.

    Attributes:
        parameters: by name; [K, ...] for several students, as they are for one.
    """

    def __init__(self, models: Sequence[PreTrainedModel], device: torch.device):
        self.device = device
        self.count = len(models)
        self.fused = True
        students = [Student(model.train()).to(device) for model in models]
        self.module = students[0]
        self.buffers: dict[str, Tensor] = {}
        if self.count == 1:
            self.parameters = dict(self.module.named_parameters())
            return
        parameters, buffers = stack_module_state(students)  # type: ignore[arg-type]
        self.parameters = {name: p.detach().requires_grad_() for name, p in parameters.items()}
        self.buffers = {name: b.detach() for name, b in buffers.items()}
        self.skeleton = copy.deepcopy(students[0]).to("meta")
        self.fused = self._goes_through_vmap()

    def _goes_through_vmap(self) -> bool:
        ids = torch.zeros(2, 3, dtype=torch.int64, device=self.device)
        try:
            self(ids, ids, torch.ones_like(ids, dtype=torch.bool))
        except (RuntimeError, ValueError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()[0]
            log.warning(
                "%s does not go through vmap (%s): its cohorts run member by member",
                type(self.module.model).__name__,
                reason,
            )
            return False
        return True

    def __call__(
        self,
        ids: Tensor,
        types: Tensor,
        mask: Tensor,
        partner: Tensor | None = None,
        share: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits [K, B, C] and hidden states, the embeddings first, each [K, B, T, H].

        Inputs are [B, T] for all students, or [K, B, T] with one slice for each; `partner` and `share`
        likewise [B] or [K, B].
        """
        own = ids.dim() == 3
        inputs = (ids, types, mask, partner, share)
        if self.count == 1:
            plain = [t[0] if own and t is not None else t for t in inputs]
            logits, hidden = self.module(*plain)
            return logits[None], tuple(h[None] for h in hidden)
        if own:
            # 2-D masks lead to data-dependent branches in transformers, which vmap refuses.
            inputs = (ids, types, mask[..., None, None, :], partner, share)

        def run(parameters: dict[str, Tensor], buffers: dict[str, Tensor], *given: Tensor | None) -> object:
            return functional_call(self.skeleton, (parameters, buffers), given)

        if self.fused:
            axes = tuple(None if t is None or not own else 0 for t in inputs)
            logits, hidden = vmap(run, (0, 0, *axes), randomness="different")(
                self.parameters, self.buffers, *inputs
            )
            return logits, tuple(hidden)
        outputs = [
            run(
                {n: p[k] for n, p in self.parameters.items()},
                {n: b[k] for n, b in self.buffers.items()},
                *(t[k] if own and t is not None else t for t in inputs),
            )
            for k in range(self.count)
        ]
        logits = torch.stack([o[0] for o in outputs])  # type: ignore[index]
        layers = zip(*(o[1] for o in outputs), strict=True)  # type: ignore[index]
        return logits, tuple(torch.stack(layer) for layer in layers)

    def keep(self, members: Sequence[int]) -> None:
        """Drop all students but `members`, numbered as they are now."""
        if self.count == 1 or list(members) == list(range(self.count)):
            return
        index = torch.tensor(members, device=self.device)
        self.parameters = {n: p.detach()[index].requires_grad_() for n, p in self.parameters.items()}
        self.buffers = {n: b[index] for n, b in self.buffers.items()}
        self.count = len(members)

    def student(self, member: int) -> PreTrainedModel:
        """One student as an ordinary model on the CPU."""
        module = copy.deepcopy(self.module).cpu()
        if self.parameters and next(iter(self.parameters.values())).dim() and self.stacked:
            state = {n: t[member].detach().cpu() for n, t in {**self.parameters, **self.buffers}.items()}
            module.load_state_dict(state, strict=False)
        return module.model.eval()

    @property
    def stacked(self) -> bool:
        """Whether parameters have the member axis."""
        return hasattr(self, "skeleton")
