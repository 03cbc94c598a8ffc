"""The prediction loss of a cohort: members with the same loss are computed together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import vmap

from distiller.pipelines.prediction import SOFT, hard_cross_entropy, hard_mse
from distiller.spaces.prediction import Kl, LabelsOnly, Prediction, SoftCrossEntropy

OutputLoss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class PredictionGroup:
    """The members of a cohort that share a prediction loss; G of them."""

    def __init__(
        self,
        loss: str,
        members: Sequence[int],
        choices: Sequence[Prediction],
        regression: bool,
        device: torch.device,
        dtype: torch.dtype,
    ):
        self.loss = loss
        self.members = list(members)
        hard = [1.0 if isinstance(c, LabelsOnly) else c.hard_weight for c in choices]
        temperatures = [c.temperature if isinstance(c, (Kl, SoftCrossEntropy)) else 1.0 for c in choices]
        self.hard_weight = torch.tensor(hard, device=device, dtype=dtype)
        self.temperature = torch.tensor(temperatures, device=device, dtype=dtype)
        self.function = _output_loss(loss, regression)

    def losses(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        labels: Tensor,
        labeled: Tensor,
        member_stream: Sequence[int],
    ) -> tuple[Tensor, Tensor]:
        """Weighted hard and soft losses, each [G].

        Args:
            student_logits: [K, B, C].
            teacher_logits: [S, B, C], one for each stream of inputs.
            labels: [B]; anything where `labeled` is 0.
            labeled: [S, B], 0 for rows whose text no longer fits its label (mixtures).
            member_stream: the stream of each of the K members.
        """
        streams = [member_stream[m] for m in self.members]
        logits = student_logits[self.members].to(self.hard_weight.dtype)
        if len(self.members) == 1:
            hard, soft = self.function(
                logits[0],
                teacher_logits[streams[0]],
                labels,
                labeled[streams[0]],
                self.hard_weight[0],
                self.temperature[0],
            )
            return hard[None], soft[None]
        hard, soft = vmap(self.function, (0, 0, None, 0, 0, 0))(
            logits, teacher_logits[streams], labels, labeled[streams], self.hard_weight, self.temperature
        )
        return hard, soft

    def keep(self, members: Sequence[int]) -> bool:
        """Drop all members but these, which are numbered anew; False where none is left."""
        rows = [i for i, m in enumerate(self.members) if m in set(members)]
        self.members = [list(members).index(self.members[i]) for i in rows]
        self.hard_weight, self.temperature = self.hard_weight[rows], self.temperature[rows]
        return bool(rows)


def prediction_groups(
    choices: Sequence[Prediction], regression: bool, device: torch.device, dtype: torch.dtype
) -> list[PredictionGroup]:
    """The members of a cohort by prediction loss."""
    by_loss: dict[str, list[int]] = {}
    for number, choice in enumerate(choices):
        by_loss.setdefault(choice.loss, []).append(number)
    return [
        PredictionGroup(loss, numbers, [choices[n] for n in numbers], regression, device, dtype)
        for loss, numbers in by_loss.items()
    ]


def _output_loss(name: str, regression: bool) -> OutputLoss:
    hard_loss = hard_mse if regression else hard_cross_entropy

    def loss(
        student: Tensor,
        teacher: Tensor,
        labels: Tensor,
        labeled: Tensor,
        hard_weight: Tensor,
        temperature: Tensor,
    ) -> tuple[Tensor, Tensor]:
        hard = hard_weight * hard_loss(student, labels, labeled)
        if name == "labels":
            return hard, torch.zeros_like(hard)
        return hard, (1 - hard_weight) * SOFT[name](student, teacher.to(student.dtype), temperature)

    return loss
