"""Nucleus (top-p) sampling from given uniform numbers (Holtzman et al. 2020, section 3.1, 1904.09751)."""

from __future__ import annotations

import torch
from torch import Tensor


def nucleus(logits: Tensor, top_p: float) -> Tensor:
    """[..., V] probabilities of the smallest set of most probable tokens that holds a mass of `top_p`.

    They sum to 1 and are 0 outside the set. Of equally probable tokens the first ones come first.
    """
    logits = logits if logits.dtype is torch.float64 else logits.float()
    ranked, order = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
    above = ranked.cumsum(-1) - ranked
    kept = torch.where(above < top_p, ranked, 0)
    kept = kept / kept.sum(-1, keepdim=True)
    return torch.zeros_like(kept).scatter(-1, order, kept)


def draw(weights: Tensor, uniform: Tensor) -> Tensor:
    """[...] an index of each last axis of `weights` [..., V], as likely as its weight.

    Args:
        weights: not negative, of any positive sum.
        uniform: [...] float64 in [0, 1), which say where in the cumulated weights the draw falls.
    """
    cumulated = weights.double().cumsum(-1)
    total = cumulated[..., -1:]
    # Below the total even after rounding, so that no index past the last weight is drawn.
    at = torch.minimum(uniform[..., None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulated, at, right=True)[..., 0]
