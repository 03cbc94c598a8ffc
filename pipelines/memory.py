"""The memory of contrastive distillation: the last embedding of every row of the pool, per student.

Tian et al. 2020, CRD (arXiv 1910.10699), section 3.1: negatives are drawn from it instead of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional as F

from distiller.pipelines.objectives.crd import MEMORY_WIDTH, crd_embed, remembered


class Memory:
    """Unit vectors [G, P, N, C] of G students and P layer pairs for N rows, on both sides."""

    def __init__(self, seeds: Sequence[int], pairs: int, rows: int, device: torch.device, dtype: torch.dtype):
        self.rows = rows
        self.sides: dict[str, Tensor] = {}
        for number, side in enumerate(("student", "teacher")):
            drawn = [
                torch.randn(
                    pairs,
                    rows,
                    MEMORY_WIDTH,
                    generator=torch.Generator().manual_seed(2 * seed + number),
                )
                for seed in seeds
            ]
            self.sides[side] = F.normalize(torch.stack(drawn), dim=-1).to(device, dtype)

    def others(self, rows: Tensor, count: int, draw: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a batch is told from: `count` remembered rows, drawn alike for all students.

        Returns:
            the vectors of both sides, [G, P, count, C]; and `own` [B, count], which of them are the batch
            row itself.
        """
        generator = torch.Generator().manual_seed(draw % 2**63)
        drawn = torch.randint(self.rows, (count,), generator=generator).to(rows.device)
        vectors = {f"{side}_others": memory[:, :, drawn] for side, memory in self.sides.items()}
        return vectors, {"own": rows[:, None] == drawn}

    @torch.no_grad()
    def refresh(
        self,
        rows: Tensor,
        student: Tensor,
        teacher: Tensor,
        parameters: dict[str, Tensor],
        whole: Tensor | None = None,
    ) -> None:
        """Take in a batch: student [G, P, B, Hs], teacher [G, P, B, Ht], parameters [G, P, ...].

        Rows that are not `whole`, [G, B], are mixtures with another row: what is remembered stays.
        """
        both = vmap(vmap(crd_embed))(student, teacher.to(student.dtype), parameters)
        for side, new in zip(("student", "teacher"), both, strict=True):
            old = self.sides[side][:, :, rows]
            kept = remembered(old, new.to(old.dtype))
            if whole is not None:
                kept = torch.where(whole[:, None, :, None], kept, old)
            self.sides[side][:, :, rows] = kept

    def keep(self, index: Tensor) -> None:
        """Drop all students but these."""
        self.sides = {side: memory[index] for side, memory in self.sides.items()}
