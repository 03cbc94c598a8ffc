"""Objectives on self-attention: its maps, its scores, and relations of queries, keys and values.

student and teacher are token-wise states side by side, [B, T, n H] with mask [B, T]: n = 2 for queries and
keys, n = 3 with values, each H wide with all heads side by side. Scores are the dot products that queries
and keys make, over sqrt(width of a head); what a family adds to them (relative positions) is not seen.
Maps are softmax of scores over the real keys. Where the models' numbers of heads differ, each side is
averaged over its heads first.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from distiller.pipelines.objectives.masking import comparable, mean_over_real


def attention(
    student: Tensor, teacher: Tensor, mask: Tensor, *, student_heads: int, teacher_heads: int, target: str
) -> Tensor:
    """Squared difference of "scores" or of "maps", mean over heads and pairs of real tokens.

    TinyBERT: Jiao et al. 2020 (arXiv 1909.10351), eq. 7 and the remark on scores below it. States are
    queries and keys. Raises ValueError for another target.
    """
    if target not in ("scores", "maps"):
        raise ValueError(f"target {target!r} is none of 'scores', 'maps'")
    student, teacher = comparable(student, teacher, mask)
    own_queries, own_keys = student.chunk(2, -1)
    queries, keys = teacher.chunk(2, -1)
    own, said = _scores(own_queries, own_keys, student_heads), _scores(queries, keys, teacher_heads)
    if target == "maps":
        own, said = _log_maps(own, mask).exp(), _log_maps(said, mask).exp()
    if student_heads != teacher_heads:
        own, said = own.mean(-3, keepdim=True), said.mean(-3, keepdim=True)
    seen = (mask > 0).unsqueeze(-1) & (mask > 0).unsqueeze(-2)
    return mean_over_real((own - said).square().mean(-3), seen)


def minilm(
    student: Tensor, teacher: Tensor, mask: Tensor, *, student_heads: int, teacher_heads: int
) -> Tensor:
    """KL(teacher || student) in nats of attention maps, plus that of value relations.

    MiniLM: Wang et al. 2020 (arXiv 2002.10957), eq. 4 to 6: relations are softmax(V V^T / sqrt(d)) head by
    head. Each a mean over heads and real queries. States are queries, keys and values.
    """
    student, teacher = comparable(student, teacher, mask)
    own_queries, own_keys, own_values = student.chunk(3, -1)
    queries, keys, values = teacher.chunk(3, -1)
    maps = _divergence(
        _scores(own_queries, own_keys, student_heads), _scores(queries, keys, teacher_heads), mask
    )
    relations = _divergence(
        _scores(own_values, own_values, student_heads), _scores(values, values, teacher_heads), mask
    )
    return maps + relations


def minilm_v2(
    student: Tensor, teacher: Tensor, mask: Tensor, *, student_heads: int, teacher_heads: int, heads: int
) -> Tensor:
    """KL(teacher || student) in nats of the relations Q-Q, K-K and V-V, summed over the three.

    MiniLMv2: Wang et al. 2021 (arXiv 2012.15828), eq. 3 to 5: the states of all heads side by side are cut
    into relation heads anew, so that the models' own numbers of heads do not matter. There are as many as
    the largest number up to `heads` that divides both widths. Each a mean over heads and real queries.
    """
    student, teacher = comparable(student, teacher, mask)
    common = math.gcd(student.shape[-1] // 3, teacher.shape[-1] // 3)
    cut = max(n for n in range(1, min(heads, common) + 1) if common % n == 0)
    pairs = zip(student.chunk(3, -1), teacher.chunk(3, -1), strict=True)
    relations = [_divergence(_scores(own, own, cut), _scores(said, said, cut), mask) for own, said in pairs]
    return torch.stack(relations).sum()


def _scores(left: Tensor, right: Tensor, heads: int) -> Tensor:
    """Scaled dot products [B, heads, T, T] of states [B, T, H], head by head."""

    def by_head(states: Tensor) -> Tensor:
        return states.reshape(*states.shape[:-1], heads, states.shape[-1] // heads).transpose(-3, -2)

    return by_head(left) @ by_head(right).transpose(-1, -2) / math.sqrt(left.shape[-1] // heads)


def _log_maps(scores: Tensor, mask: Tensor) -> Tensor:
    """Log softmax over the real keys. Other keys get the least finite number: -inf would make NaN of 0."""
    hidden = (mask <= 0).unsqueeze(-2).unsqueeze(-2)
    return scores.masked_fill(hidden, torch.finfo(scores.dtype).min).log_softmax(-1)


def _divergence(own_scores: Tensor, said_scores: Tensor, mask: Tensor) -> Tensor:
    """KL(said || own) of the maps of scores [B, heads, T, T]: the mean over heads and real queries."""
    own, said = _log_maps(own_scores, mask), _log_maps(said_scores, mask)
    if own.shape[-3] != said.shape[-3]:
        own, said = _log_mean_over_heads(own), _log_mean_over_heads(said)
    ratio = torch.where((mask > 0).unsqueeze(-2).unsqueeze(-2), said - own, torch.zeros_like(own))
    return mean_over_real((said.exp() * ratio).sum(-1).mean(-2), mask)


def _log_mean_over_heads(log_maps: Tensor) -> Tensor:
    return log_maps.logsumexp(-3, keepdim=True) - math.log(log_maps.shape[-3])
