"""Lower bounds on the mutual information of student and teacher representations, and their critic.

Poole et al. 2019, "On Variational Bounds of Mutual Information" (arXiv 1905.06922), sections 2.2 to 2.4.
scores [B, B] holds S[i, j] = f(x_i, y_j): x_i the student's vector of example i, y_j the teacher's of
example j, one vector per example, so the pairs are the diagonal and everything else is a negative.
Bounds are scalars in nats; a batch of one has no negatives, and its bound is 0. Written for ONE student;
`torch.func.vmap` adds the member axis.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def critic_parameters(
    student_width: int, teacher_width: int, critic_width: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Start values of a separable critic f(x, y) = <U x, V y> / sqrt(C) and of its baseline log a(y).

    Weights start at N(0, 1/fan_in), so that scores are of order 1 and gradients reach both sides; the
    baseline's last layer starts at 0: log a(y) = 0. C is critic_width.
    """

    def normal(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, generator=generator) / math.sqrt(columns)

    return {
        "student_weight": normal(critic_width, student_width),
        "teacher_weight": normal(critic_width, teacher_width),
        "baseline_hidden_weight": normal(critic_width, teacher_width),
        "baseline_hidden_bias": torch.zeros(critic_width),
        "baseline_output_weight": torch.zeros(1, critic_width),
        "baseline_output_bias": torch.zeros(1),
    }


def critic_scores(parameters: dict[str, Tensor], student: Tensor, teacher: Tensor) -> Tensor:
    """Scores [B, B] from student [B, Hs] and teacher [B, Ht]: row i is x_i, column j is y_j."""
    keys = F.linear(student, parameters["student_weight"])
    queries = F.linear(teacher.to(parameters["teacher_weight"].dtype), parameters["teacher_weight"])
    return keys @ queries.transpose(-1, -2) / math.sqrt(keys.shape[-1])


def log_baseline(parameters: dict[str, Tensor], teacher: Tensor) -> Tensor:
    """The learned log a(y) [B] of teacher [B, Ht]: one hidden layer of tanh."""
    weight, bias = parameters["baseline_hidden_weight"], parameters["baseline_hidden_bias"]
    hidden = F.linear(teacher.to(weight.dtype), weight, bias)
    output = F.linear(hidden.tanh(), parameters["baseline_output_weight"], parameters["baseline_output_bias"])
    return output.squeeze(-1)


def _wide(values: Tensor) -> Tensor:
    # bf16 scores would make a bound out of rounding: exponents are taken in float32 or wider.
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _log_leave_one_out(scores: Tensor) -> Tensor:
    """Log of the mean of exp(S) down each column without row k, as entry [k, j]; B >= 2.

    From running sums of both directions, never by subtraction: where one score outweighs its column,
    log(sum - it) would cancel to nothing.
    """
    nothing = torch.full_like(scores[:1], -math.inf)
    above = torch.cat([nothing, scores.logcumsumexp(0)[:-1]])
    below = torch.cat([scores.flip(0).logcumsumexp(0).flip(0)[1:], nothing])
    return torch.logaddexp(above, below) - math.log(scores.shape[0] - 1)


def info_nce(scores: Tensor) -> Tensor:
    """I_NCE (van den Oord et al. 2018; Poole et al. section 2.3), at most log B. scores [B, B].

    mean_j [S_jj - log mean_i exp(S_ij)]: which student belongs to teacher j?
    """
    scores = _wide(scores)
    return (scores.diagonal() - scores.logsumexp(0)).mean() + math.log(scores.shape[0])


def tuba(scores: Tensor, log_baseline: Tensor) -> Tensor:
    """I_TUBA (Poole et al. section 2.2) with baseline log a(y) [B]. scores [B, B].

    1 + mean_j [S_jj - log a_j] - mean_{i != j} exp(S_ij) / a_j. Unbiased at the best critic and
    baseline, but its variance grows with exp(MI).
    """
    size = scores.shape[0]
    if size < 2:
        return _wide(scores).sum() * 0.0
    ratio = _wide(scores) - _wide(log_baseline)
    same = torch.eye(size, dtype=torch.bool, device=scores.device)
    negatives = ratio.masked_fill(same, -math.inf).exp().sum() / (size * (size - 1))
    return 1.0 + ratio.diagonal().mean() - negatives


def mi_alpha(scores: Tensor, log_baseline: Tensor, alpha: Tensor | float) -> Tensor:
    """I_alpha, the nonlinear interpolation of Poole et al. section 2.4. scores [B, B], log_baseline [B].

    With m_-k(y) the mean of exp f(x_i, y) over i != k, and A_-k(y) = alpha m_-k(y) + (1 - alpha) a(y):

        1 + mean_{j, k != j} [S_jj - log A_-k(y_j)] - mean_{i != j} exp(S_ij) / A_-j(y_j)

    The bound wants one average over the same number of x in both terms, holding x_j in the first and
    independent of y_j in the second. A batch has B - 1 students independent of y_j, so both use B - 1:
    the first is averaged over the negative k that is left out, as in the authors' own code.

    alpha = 0 is `tuba` of the batch; alpha = 1 is the mean of `info_nce` over the B batches with one
    example left out, hence InfoNCE of size B - 1 and at most log(B - 1). All B students in the first
    term alone would give `info_nce` of the whole batch, but is no bound in between: exact enumeration
    of small discrete X, Y finds critics above the truth (by .13 of .31 nats, B = 2, alpha = .5).
    alpha in [0, 1] takes no gradient.
    """
    size = scores.shape[0]
    if size < 2:
        return _wide(scores).sum() * 0.0
    scores, log_baseline = _wide(scores), _wide(log_baseline)
    share = torch.as_tensor(alpha, dtype=scores.dtype, device=scores.device).detach()
    log_mean = _log_leave_one_out(scores)
    log_marginal = torch.logaddexp(share.log() + log_mean, torch.log1p(-share) + log_baseline)
    left_out = log_marginal.sum(0) - log_marginal.diagonal()
    joint = scores.diagonal() - left_out / (size - 1)
    return 1.0 + joint.mean() - (log_mean.diagonal() - log_marginal.diagonal()).exp().mean()


def mi_alpha_loss(
    student: Tensor, teacher: Tensor, parameters: dict[str, Tensor], alpha: Tensor | float
) -> Tensor:
    """Minus `mi_alpha` for student [B, Hs], teacher [B, Ht] and the parameters of `critic_parameters`."""
    scores = critic_scores(parameters, student, teacher)
    return -mi_alpha(scores, log_baseline(parameters, teacher), alpha)
