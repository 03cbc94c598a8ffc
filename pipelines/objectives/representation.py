"""What of a layer's hidden states an objective compares."""

from __future__ import annotations

from torch import Tensor

from distiller.pipelines.objectives.masking import visible


def reduce_representation(hidden: Tensor, mask: Tensor, representation: str) -> Tensor:
    """Reduce hidden states [B, T, H] with mask [B, T] to what an objective compares.

    "cls": the first token [B, H]; "mean": the mean over real tokens [B, H]; "tokens": unchanged.
    Raises ValueError for another name.
    """
    if representation == "cls":
        return hidden[:, 0]
    if representation == "mean":
        seen = visible(hidden, mask)
        return seen.sum(-2) / mask.to(seen.dtype).sum(-1, keepdim=True).clamp_min(1.0)
    if representation == "tokens":
        return hidden
    raise ValueError(f"representation {representation!r} is none of 'cls', 'mean', 'tokens'")
