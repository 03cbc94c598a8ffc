"""Students of one architecture on a leading axis: one forward for all, gradients of each its own."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from distiller.pipelines.student import Student

log = logging.getLogger(__name__)

States = dict[str, tuple[Tensor, ...]]


class StackedStudents:
    """K students as one function of a batch.

    A single student is a plain module. Several have their parameters stacked; where their architecture
    does not go through `torch.func.vmap`, they run one after another, and `fused` says so.

    Attributes:
        parameters: by name; [K, ...] for several students, as they are for one.
    """

    def __init__(self, models: Sequence[PreTrainedModel], device: torch.device, records: bool = False):
        self.device = device
        self.count = len(models)
        self.fused = True
        students = [Student(model, records).train().to(device) for model in models]
        self.module = students[0]
        self.buffers: dict[str, Tensor] = {}
        if self.count == 1:
            # On a CPU most of a dense gradient's cost is to write the zeros of words that do not occur.
            _set_sparse(self.module, device.type == "cpu")
            self.parameters: dict[str, Tensor] = dict(self.module.named_parameters())
            return
        parameters, buffers = stack_module_state(cast(Any, students))
        self.parameters = {name: p.detach().requires_grad_() for name, p in parameters.items()}
        self.buffers = {name: b.detach() for name, b in buffers.items()}
        self.skeleton = copy.deepcopy(students[0]).to("meta")
        self.fused = self._goes_through_vmap()

    @torch.no_grad()
    def _goes_through_vmap(self) -> bool:
        """Whether inputs of all, and inputs of each, give what the first student gives alone."""
        ids = torch.zeros(2, 3, dtype=torch.int64, device=self.device)
        mask = torch.ones_like(ids, dtype=torch.bool)
        mask[1, 2] = False
        one = (ids, ids, mask)
        own_of = tuple(t.expand(self.count, 2, 3) for t in one)
        try:
            with self.evaluating():
                expected = self.module(*one)[0]
                shared, own = self(*one), self(*own_of)
            if any(isinstance(m, nn.Dropout) and m.p > 0 for m in self.module.modules()):
                for inputs in (one, own_of):
                    self(*inputs)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()[0]
        else:
            read = mask if expected.dim() == 3 else slice(None)  # padding may say anything
            found = [got[0][0][read] for got in (shared, own)]
            if all(torch.allclose(f, expected[read], rtol=1e-3, atol=1e-4) for f in found):
                return True
            reason = "it gives other outputs there"
        log.warning(
            "%s does not go through vmap (%s): its cohorts run member by member",
            type(self.module.model).__name__,
            reason,
        )
        return False

    def __call__(
        self,
        ids: Tensor,
        types: Tensor,
        mask: Tensor,
        partner: Tensor | None = None,
        share: Tensor | None = None,
    ) -> tuple[Tensor, States]:
        """Logits [K, B, C] and states: "hidden", the embeddings first, each [K, B, T, H], and recorded ones.

        Inputs are [B, T] for all students, or [K, B, T] with one slice for each; `partner` and `share`
        likewise [B] or [K, B].
        """
        own = ids.dim() == 3
        inputs = (ids, types, mask, partner, share)
        if not self.stacked:
            plain = [t[0] if own and t is not None else t for t in inputs]
            logits, states = self.module(*plain)
            return logits[None], {n: tuple(h[None] for h in layers) for n, layers in states.items()}

        def run(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], *given: Tensor | None
        ) -> tuple[Tensor, States]:
            result: tuple[Tensor, States]
            result = functional_call(self.skeleton, (parameters, buffers), given)
            return result

        if self.fused:
            if own:
                # 2-D masks lead to data-dependent branches in transformers, which vmap refuses.
                inputs = (ids, types, mask[..., None, None, :], partner, share)
            axes = tuple(None if t is None or not own else 0 for t in inputs)
            with self._attention():
                stacked: tuple[Tensor, States] = vmap(run, (0, 0, *axes), randomness="different")(
                    self.parameters, self.buffers, *inputs
                )
            return stacked
        outputs = [
            run(
                {n: p[k] for n, p in self.parameters.items()},
                {n: b[k] for n, b in self.buffers.items()},
                *(t[k] if own and t is not None else t for t in inputs),
            )
            for k in range(self.count)
        ]
        logits = torch.stack([o[0] for o in outputs])
        names = outputs[0][1]
        return logits, {
            n: tuple(torch.stack(layer) for layer in zip(*(o[1][n] for o in outputs), strict=True))
            for n in names
        }

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Without dropout, which students have in training."""
        modules = [self.module, *([self.skeleton] if self.stacked else [])]
        for module in modules:
            module.eval()
        try:
            yield
        finally:
            for module in modules:
                module.train()

    def _attention(self) -> AbstractContextManager[None]:
        # The CPU's flash attention has no batching rule: vmap would loop over the members, and warn.
        return sdpa_kernel(SDPBackend.MATH) if self.device.type == "cpu" else nullcontext()

    def keep(self, members: Sequence[int]) -> None:
        """Drop all students but `members`, numbered as they are now."""
        if list(members) == list(range(self.count)):
            return
        index = torch.tensor(members, device=self.device)
        self.parameters = {n: p.detach()[index].requires_grad_() for n, p in self.parameters.items()}
        self.buffers = {n: b[index] for n, b in self.buffers.items()}
        self.count = len(members)

    def student(self, member: int) -> PreTrainedModel:
        """One student as an ordinary model on the CPU."""
        module = copy.deepcopy(self.module).cpu().eval()
        _set_sparse(module, False)
        if self.stacked:
            with torch.no_grad():
                for name, parameter in module.named_parameters():
                    parameter.copy_(self.parameters[name][member])
        return module.model

    @property
    def stacked(self) -> bool:
        """Whether parameters have the member axis."""
        return hasattr(self, "skeleton")


def _set_sparse(student: Student, sparse: bool) -> None:
    cast(Any, student.model.get_input_embeddings()).sparse = sparse
