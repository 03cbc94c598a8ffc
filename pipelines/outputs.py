"""The prediction loss of a cohort: members with the same loss are computed together.

A layout says how a task's outputs become rows of one decision each, which is what the losses take:

- "classes": logits [B, C], labels [B]: a row is an example.
- "scores": logits [B, 1], labels [B] float, standardised: a regression.
- "labels": logits [B, C], labels [B, C] of 0 and 1: several labels may hold. Soft losses that compare
  probabilities see B * C rows of two classes with logits (0, z): the class 1 has probability sigmoid(z).
- "tokens": logits [B, T, C], labels [B, T] with `NO_LABEL` for none: a row is a token.
- "spans": logits [B, T, 2], labels [B, 2], the positions of an answer's start and end: a row is one of the
  two for one example, and its classes are the positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from distiller.pipelines.labels import NO_LABEL
from distiller.pipelines.prediction import (
    SOFT,
    SoftLoss,
    hard_binary_cross_entropy,
    hard_cross_entropy,
    hard_l1,
    hard_mse,
)
from distiller.pipelines.task import Layout
from distiller.spaces.choice import Parameter, parts
from distiller.spaces.config import PipelineConfig
from distiller.spaces.prediction import LabelsOnly, Prediction

OutputLoss = Callable[
    [Tensor, Tensor, Tensor, Tensor, Tensor | None, dict[str, Tensor]], tuple[Tensor, Tensor]
]


class PredictionGroup:
    """The members of a cohort that share a prediction loss; G of them.

    Attributes:
        loss: its name.
        settings: [G] each, by name: what members may differ in.
    """

    def __init__(
        self,
        members: Sequence[int],
        configs: Sequence[PipelineConfig],
        layout: Layout,
        device: torch.device,
        dtype: torch.dtype,
    ):
        """`configs` are the members' own, in their order; their `_kind` is the same."""
        choices = [c.prediction for c in configs]
        self.loss, self.members, self.layout, self.dtype = choices[0].loss, list(members), layout, dtype
        values = {name: [getattr(c, name) for c in choices] for name in _vector_settings(choices[0])}
        # Labels alone say no weight: they are all there is. Any other loss is the teacher's.
        values.setdefault("hard_weight", [float(isinstance(c, LabelsOnly)) for c in choices])
        smoothing = [c.optimization.label_smoothing for c in configs]
        if any(smoothing) and layout != "scores":
            values["label_smoothing"] = smoothing
        self.settings = {n: torch.tensor(v, device=device, dtype=dtype) for n, v in values.items()}
        self.function = _output_loss(choices[0], layout)

    def losses(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        labels: Tensor,
        labeled: Tensor,
        member_stream: Sequence[int],
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Weighted hard and soft losses, each [G].

        Args:
            student_logits: [K, B, …], in the layout's shape.
            teacher_logits: [S, B, …], one for each stream of inputs.
            labels: in the layout's shape; for "tokens" and "spans", whose labels move with the words, one
                for each stream: [S, B, T], [S, B, 2]. Anything where `labeled` is 0.
            labeled: [S, B], 0 for rows whose text no longer fits its label (mixtures).
            member_stream: the stream of each of the K members.
            mask: [S, B, T] bool, for "tokens" the real tokens, for "spans" the positions that may answer.

        Raises:
            ValueError: the layout needs a mask, and there is none.
        """
        by_stream = self.layout in ("tokens", "spans")
        if not by_stream:
            mask = None
        elif mask is None:
            raise ValueError(f"outputs in the layout {self.layout!r} need a mask of their positions")
        streams = [member_stream[m] for m in self.members]
        logits = student_logits[self.members].to(self.dtype)
        if len(self.members) == 1:
            stream = streams[0]
            hard, soft = self.function(
                logits[0],
                teacher_logits[stream],
                labels[stream] if by_stream else labels,
                labeled[stream],
                None if mask is None else mask[stream],
                {name: values[0] for name, values in self.settings.items()},
            )
            return hard[None], soft[None]
        own = 0 if by_stream else None
        hard, soft = vmap(self.function, (0, 0, own, 0, own, 0))(
            logits,
            teacher_logits[streams],
            labels[streams] if by_stream else labels,
            labeled[streams],
            None if mask is None else mask[streams],
            self.settings,
        )
        return hard, soft

    def keep(self, members: Sequence[int]) -> bool:
        """Drop all members but these, which are numbered anew; False where none is left."""
        rows = [i for i, m in enumerate(self.members) if m in set(members)]
        self.members = [list(members).index(self.members[i]) for i in rows]
        self.settings = {name: values[rows] for name, values in self.settings.items()}
        return bool(rows)


def prediction_groups(
    configs: Sequence[PipelineConfig], layout: Layout, device: torch.device, dtype: torch.dtype
) -> list[PredictionGroup]:
    """The members of a cohort by prediction loss."""
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for number, config in enumerate(configs):
        kinds.setdefault(_kind(config.prediction), []).append(number)
    return [
        PredictionGroup(numbers, [configs[n] for n in numbers], layout, device, dtype)
        for numbers in kinds.values()
    ]


def _vector_settings(choice: Prediction) -> list[str]:
    return [n for n, p in parts(type(choice)).items() if isinstance(p, Parameter) and p.python_type is float]


def _structural_settings(choice: Prediction) -> dict[str, Any]:
    return {n: getattr(choice, n) for n in parts(type(choice)) if n not in _vector_settings(choice)}


def _kind(choice: Prediction) -> tuple[Any, ...]:
    return (choice.loss, *_structural_settings(choice).items())


class _Rows(NamedTuple):
    """One student's outputs as N rows of C classes."""

    student: Tensor
    teacher: Tensor
    labels: Tensor
    labeled: Tensor
    seen: Tensor | None


def _output_loss(choice: Prediction, layout: Layout) -> OutputLoss:
    hard_loss = _hard_loss(choice.loss, layout)
    soft_loss = None if isinstance(choice, LabelsOnly) else SOFT[choice.loss]
    structural = _structural_settings(choice)

    def loss(
        student: Tensor,
        teacher: Tensor,
        labels: Tensor,
        labeled: Tensor,
        mask: Tensor | None,
        settings: dict[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        given = dict(settings)
        hard_weight, smoothing = given.pop("hard_weight"), given.pop("label_smoothing", None)
        rows = _as_rows(layout, student, teacher.to(student.dtype), labels, labeled, mask)
        hard = hard_weight * hard_loss(rows, smoothing)
        if soft_loss is None:
            return hard, torch.zeros_like(hard)
        soft = _soft(soft_loss, rows, layout == "labels", {**structural, **given})
        return hard, (1 - hard_weight) * soft

    return loss


def _as_rows(
    layout: Layout, student: Tensor, teacher: Tensor, labels: Tensor, labeled: Tensor, mask: Tensor | None
) -> _Rows:
    if mask is None:
        return _Rows(student, teacher, labels, labeled, None)
    real = mask > 0
    if layout == "tokens":
        has_label = (labeled > 0).unsqueeze(-1) & real & (labels != NO_LABEL)
        seen = real.unsqueeze(-1).expand(student.shape)
        return _Rows(
            student.flatten(0, 1),
            teacher.flatten(0, 1),
            labels.flatten(),
            has_label.flatten(),
            seen.flatten(0, 1),
        )
    return _Rows(
        student.mT.flatten(0, 1),
        teacher.mT.flatten(0, 1),
        labels.flatten(),
        labeled.unsqueeze(-1).expand(labels.shape).flatten(),
        real.unsqueeze(-2).expand(student.mT.shape).flatten(0, 1),
    )


def _hard_loss(loss: str, layout: Layout) -> Callable[[_Rows, Tensor | None], Tensor]:
    if layout == "scores":
        error = hard_l1 if loss == "l1" else hard_mse
        return lambda rows, smoothing: error(rows.student, rows.labels, rows.labeled)
    crossed = hard_binary_cross_entropy if layout == "labels" else hard_cross_entropy
    return lambda rows, smoothing: crossed(rows.student, rows.labels, rows.labeled, rows.seen, smoothing)


def _soft(soft: SoftLoss, rows: _Rows, multi_label: bool, settings: dict[str, Any]) -> Tensor:
    if multi_label and soft.multi_label == "pairs":
        rows = _as_pairs(rows)
    elif multi_label and soft.multi_label == "binary":
        settings = {**settings, "binary": True}
    if soft.targeted:
        settings = {**settings, "target": _targets(rows)}
    return soft.loss(rows.student, rows.teacher, rows.seen, **settings)


def _as_pairs(rows: _Rows) -> _Rows:
    """[B, C] independent labels as B * C rows of the classes "no" and "yes"."""
    return _Rows(
        torch.stack([torch.zeros_like(rows.student), rows.student], -1).flatten(0, 1),
        torch.stack([torch.zeros_like(rows.teacher), rows.teacher], -1).flatten(0, 1),
        rows.labels.flatten(),
        rows.labeled.unsqueeze(-1).expand(rows.labels.shape).flatten(),
        None,
    )


def _targets(rows: _Rows) -> Tensor:
    """[N] the label where a row has one, else the teacher's most probable class."""
    teacher = rows.teacher
    if rows.seen is not None:
        teacher = torch.where(rows.seen, teacher, -torch.inf)
    best = teacher.argmax(-1)
    return torch.where(rows.labeled > 0, torch.where(rows.labeled > 0, rows.labels, 0).long(), best)
