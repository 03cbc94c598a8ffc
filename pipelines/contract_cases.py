"""Made-up states on which the contract calls an objective, as the training loop would."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.objectives.crd import MEMORY_WIDTH
from distiller.pipelines.objectives.masking import unit
from distiller.pipelines.objectives.objective import Objective
from distiller.spaces.choice import Choice, Parameter, parts
from distiller.spaces.intermediate import Term
from distiller.spaces.priors import OneOf, Value

Form = Literal["vectors", "tokens"]
Arguments = tuple[Tensor, Tensor, Tensor | None, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]

LENGTHS = (5, 2, 3, 4, 2, 5)
TOKENS = 5
STUDENT_WIDTH, TEACHER_WIDTH = 8, 12
STUDENT_HEADS, TEACHER_HEADS = 2, 4
NEGATIVES = 16


@dataclass(frozen=True)
class Case:
    """One call of a loss; the fields are what varies between members, and `fixed` what cannot."""

    objective: Objective
    student: Tensor
    teacher: Tensor
    mask: Tensor | None
    parameters: dict[str, Tensor]
    floats: dict[str, Tensor]
    memory: dict[str, Tensor]
    fixed: dict[str, Any]

    def arguments(self) -> Arguments:
        """What `called` takes."""
        return self.student, self.teacher, self.mask, self.parameters, self.floats, self.memory

    def tensors(self) -> list[Tensor]:
        """All tensors that the loss is given."""
        mask = [] if self.mask is None else [self.mask]
        held = (self.parameters, self.floats, self.memory)
        return [self.student, self.teacher, *mask, *(t for some in held for t in some.values())]

    def called(
        self,
        student: Tensor,
        teacher: Tensor,
        mask: Tensor | None,
        parameters: dict[str, Tensor],
        floats: dict[str, Tensor],
        memory: dict[str, Tensor],
    ) -> Tensor:
        """The loss, as a function of tensors alone."""
        learned = {} if self.objective.start is None else {"parameters": parameters}
        return self.objective.loss(student, teacher, mask, **learned, **floats, **memory, **self.fixed)

    def value(self) -> Tensor:
        """The loss."""
        return self.called(*self.arguments())

    def solved(self) -> tuple[Tensor, Tensor]:
        """The loss and its gradient in the student's states."""
        value, gradients = self.solved_with_parameters()
        return value, gradients["student"]

    def solved_with_parameters(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its gradients in the student's states and in the parameters, by name."""
        leaves = {"student": self.student, **self.parameters}
        leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in leaves.items()}
        learned = {name: leaf for name, leaf in leaves.items() if name != "student"}
        value = dataclasses.replace(self, student=leaves["student"], parameters=learned).value()
        if not value.requires_grad:
            return value, {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
        found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
        return value.detach(), dict(zip(leaves, found, strict=True))

    def permuted(self, order: Tensor) -> Case:
        """The same examples in another order."""
        memory = {n: t[order] if n == "own" else t for n, t in self.memory.items()}
        mask = None if self.mask is None else self.mask[order]
        return dataclasses.replace(
            self, student=self.student[order], teacher=self.teacher[order], mask=mask, memory=memory
        )

    def padded(self, more: int) -> Case:
        """The same examples with more padding behind."""
        assert self.mask is not None
        student, teacher = (F.pad(t, (0, 0, 0, more), value=1.0) for t in (self.student, self.teacher))
        return dataclasses.replace(self, student=student, teacher=teacher, mask=F.pad(self.mask, (0, more)))


@dataclass(frozen=True)
class Maker:
    """Makes cases of one objective in one form."""

    objective: Objective
    form: Form
    settings: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    teacher_heads: int = TEACHER_HEADS

    def case(
        self,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        lengths: Sequence[int] | None = None,
        equal: bool = False,
        scale: float = 1.0,
        changed: Mapping[str, Value] | None = None,
    ) -> Case:
        """Random states of unit variance, the same numbers in every dtype.

        Args:
            lengths: real tokens of each example; by default LENGTHS, turned by the seed.
            equal: teacher and student are the same model.
            scale: factor on float settings.
            changed: settings other than the first of each.
        """
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=torch.float64, generator=generator)

        turn = seed % len(LENGTHS)
        counts = torch.tensor((*LENGTHS[turn:], *LENGTHS[:turn]) if lengths is None else lengths)
        vectors = self.form == "vectors"
        shape = (len(counts),) if vectors else (len(counts), TOKENS)
        states = len(self.objective.reads or (None,))
        other_width = STUDENT_WIDTH if equal or self.objective.same_width else TEACHER_WIDTH
        student = normal(*shape, STUDENT_WIDTH * states).to(dtype)
        teacher = student.clone() if equal else normal(*shape, other_width * states).to(dtype)
        wide = torch.promote_types(dtype, torch.float32)
        start = self.objective.start
        parameters = {} if start is None else start(STUDENT_WIDTH, other_width, generator)
        settings = {name: values[0] for name, values in self.settings.items()} | dict(changed or {})
        fixed: dict[str, Any] = {n: v for n, v in settings.items() if not isinstance(v, float)}
        if self.objective.reads_heads:
            fixed["student_heads"] = STUDENT_HEADS
            fixed["teacher_heads"] = STUDENT_HEADS if equal else self.teacher_heads
        memory = {}
        if self.objective.remembers:
            drawn = int(settings.get("negatives", NEGATIVES))
            memory = {f"{side}_others": unit(normal(drawn, MEMORY_WIDTH)) for side in ("student", "teacher")}
            memory["own"] = torch.eye(len(counts), drawn, dtype=torch.bool)
        return Case(
            self.objective,
            student,
            teacher,
            None if vectors else torch.arange(TOKENS) < counts[:, None],
            {name: tensor.to(wide) for name, tensor in parameters.items()},
            {n: torch.tensor(v * scale, dtype=wide) for n, v in settings.items() if isinstance(v, float)},
            {name: t if t.dtype is torch.bool else t.to(wide) for name, t in memory.items()},
            fixed,
        )


def settings_of(choice: type[Choice]) -> dict[str, tuple[Value, ...]]:
    """By name, the default of each of a choice's parameters and other legal values, without the weight."""
    settings: dict[str, tuple[Value, ...]] = {}
    for name, part in parts(choice).items():
        if isinstance(part, Parameter) and name not in parts(Term):
            others = [v for v in _candidates(part) if v != part.default and _is_legal(choice, name, v)]
            settings[name] = tuple(part.python_type(value) for value in (part.default, *others))
    return settings


def _candidates(parameter: Parameter) -> list[Value]:
    default = parameter.default
    if parameter.python_type is bool:
        return [not default]
    if parameter.python_type is str:
        return list(parameter.prior.values) if isinstance(parameter.prior, OneOf) else []
    prior = parameter.prior
    return [
        default * 2,
        default + 1,
        *([default / 2] if parameter.python_type is float else [default // 2, 1]),
        *(prior.values if isinstance(prior, OneOf) else (prior.low, prior.high)),
    ]


def _is_legal(choice: type[Choice], name: str, value: Value) -> bool:
    try:
        choice.model_validate({name: value})
    except ValidationError:
        return False
    return True
