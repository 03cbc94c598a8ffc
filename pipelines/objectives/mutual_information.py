"""Lower bounds on the mutual information of student and teacher representations, and their critic.

Poole et al. 2019, "On Variational Bounds of Mutual Information" (arXiv 1905.06922), sections 2.2 to 2.4.
scores [B, B] holds S[i, j] = f(x_i, y_j): x_i the student's vector of example i, y_j the teacher's of
example j, one vector per example, so the pairs are the diagonal and everything else is a negative.
Bounds are scalars in nats; a batch of one has no negatives, and its bound is 0. Written for ONE student;
`torch.func.vmap` adds the member axis. What other objectives are to these bounds: `barber_agakov.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.objectives.masking import comparable

CRITIC_WIDTH = 128


def critic_parameters(
    student_width: int, teacher_width: int, critic_width: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Start values of a separable critic f(x, y) = <U x, V y> / sqrt(C).

    Weights start at N(0, 1/fan_in), so that scores are of order 1 and gradients reach both sides. C is
    critic_width.
    """
    return {
        "student_weight": _normal(critic_width, student_width, generator),
        "teacher_weight": _normal(critic_width, teacher_width, generator),
    }


def baseline_parameters(
    teacher_width: int, critic_width: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Start values of the baseline log a(y), whose last layer starts at 0: log a(y) = 0."""
    return {
        "baseline_hidden_weight": _normal(critic_width, teacher_width, generator),
        "baseline_hidden_bias": torch.zeros(critic_width),
        "baseline_output_weight": torch.zeros(1, critic_width),
        "baseline_output_bias": torch.zeros(1),
    }


def start_critic(student_width: int, teacher_width: int, generator: torch.Generator) -> dict[str, Tensor]:
    """A critic of CRITIC_WIDTH."""
    return critic_parameters(student_width, teacher_width, CRITIC_WIDTH, generator)


def start_critic_and_baseline(
    student_width: int, teacher_width: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """A critic and a baseline of CRITIC_WIDTH."""
    critic = start_critic(student_width, teacher_width, generator)
    return {**critic, **baseline_parameters(teacher_width, CRITIC_WIDTH, generator)}


def _normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, columns, generator=generator) / math.sqrt(columns)


def critic_scores(parameters: dict[str, Tensor], student: Tensor, teacher: Tensor) -> Tensor:
    """Scores [B, B] from student [B, Hs] and teacher [B, Ht]: row i is x_i, column j is y_j."""
    student, teacher = comparable(student, teacher, None)
    keys = F.linear(student, parameters["student_weight"])
    queries = F.linear(teacher, parameters["teacher_weight"])
    return keys @ queries.transpose(-1, -2) / math.sqrt(keys.shape[-1])


def log_baseline(parameters: dict[str, Tensor], teacher: Tensor) -> Tensor:
    """The learned log a(y) [B] of teacher [B, Ht]: one hidden layer of tanh."""
    weight, bias = parameters["baseline_hidden_weight"], parameters["baseline_hidden_bias"]
    hidden = F.linear(teacher.detach().to(weight.dtype), weight, bias)
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


def nwj(scores: Tensor) -> Tensor:
    """I_NWJ (Nguyen et al. 2010; Poole et al. eq. 6): `tuba` whose baseline is the constant e.

    Tight at the critic f = 1 + log p(y|x) / p(y), which normalises itself.
    """
    return tuba(scores, torch.ones_like(_wide(scores[0])))


def jensen_shannon(scores: Tensor) -> Tensor:
    """The Jensen-Shannon estimator (Hjelm et al. 2019, arXiv 1808.06670, eq. 4). scores [B, B].

    mean_j[-sp(-S_jj)] - mean_{i != j} sp(S_ij), sp(z) = log(1 + e^z): at most 0, and at the best critic,
    log p(y|x) / p(y), twice the Jensen-Shannon divergence of p(x, y) and p(x) p(y) less log 4. No bound on
    mutual information.
    """
    size = scores.shape[0]
    if size < 2:
        return _wide(scores).sum() * 0.0
    scores = _wide(scores)
    same = torch.eye(size, dtype=torch.bool, device=scores.device)
    negatives = F.softplus(scores).masked_fill(same, 0.0).sum() / (size * (size - 1))
    return -F.softplus(-scores.diagonal()).mean() - negatives


def mi_alpha_loss(
    student: Tensor,
    teacher: Tensor,
    mask: None,
    *,
    parameters: dict[str, Tensor],
    alpha: Tensor | float,
) -> Tensor:
    """Minus `mi_alpha` for student [B, Hs], teacher [B, Ht] and `start_critic_and_baseline`."""
    scores = critic_scores(parameters, student, teacher)
    return -mi_alpha(scores, log_baseline(parameters, teacher), alpha)


def info_nce_loss(student: Tensor, teacher: Tensor, mask: None, *, parameters: dict[str, Tensor]) -> Tensor:
    """Minus `info_nce` for student [B, Hs], teacher [B, Ht] and `start_critic`."""
    return -info_nce(critic_scores(parameters, student, teacher))


def tuba_loss(student: Tensor, teacher: Tensor, mask: None, *, parameters: dict[str, Tensor]) -> Tensor:
    """Minus `tuba` for student [B, Hs], teacher [B, Ht] and `start_critic_and_baseline`."""
    return -tuba(critic_scores(parameters, student, teacher), log_baseline(parameters, teacher))


def nwj_loss(student: Tensor, teacher: Tensor, mask: None, *, parameters: dict[str, Tensor]) -> Tensor:
    """Minus `nwj` for student [B, Hs], teacher [B, Ht] and `start_critic`."""
    return -nwj(critic_scores(parameters, student, teacher))


def js_loss(student: Tensor, teacher: Tensor, mask: None, *, parameters: dict[str, Tensor]) -> Tensor:
    """Minus `jensen_shannon` for student [B, Hs], teacher [B, Ht] and `start_critic`."""
    return -jensen_shannon(critic_scores(parameters, student, teacher))
