"""The bound of Barber and Agakov, and which other objectives are that bound in disguise.

For any density q(y | x), I(X; Y) >= H(Y) + E[log q(y | x)] (Barber and Agakov 2003; Poole et al. 2019,
arXiv 1905.06922, eq. 2), tight where q is p(y | x). The teacher's entropy H(Y) does not depend on the
student, so whatever equals -E[log q(y | x)] up to constants maximises the bound. With x the student's state
after its projection and H the width (the tests prove each line):

    mse            (2/H) (-E[log q]) - log 2 pi     q = N(y; x, 1), a Gaussian of fixed unit variance
    l1             (1/H) (-E[log q]) - log 2        q = Laplace(y; x, 1)
    cosine         -E[log q] / k + constant         q = von Mises-Fisher on the unit sphere: mean direction
    pkd            twice `cosine`                     x / |x|, any fixed concentration k; bounds I(X; Y/|Y|)
    barber_agakov  (1/H) (-E[log q]) - log(2 pi)/2  q = N(y; W x + b, one learned variance per dimension)
    ce, kl         -E[log q] (kl: less a constant)  q = softmax(x / T) of a neuron's index Z, which is drawn
                                                      from softmax(y / T): bounds I(X; Z) <= I(X; Y)

`minilm` and `minilm_v2` are such cross-entropies too, Z being the position that a query attends to: they
bound what the student's states say of Z, and through softmax nothing else of the states.

`attention`, `cka`, `rkd`, `nst` and `fsp` are bounds of nothing in this sense: no q(y | x) has them for its
negative logarithm. For any student state each stays the same along some line of teacher states that leads
to infinity: cka, rkd and nst under scaling of the teacher's states; attention and fsp where one factor of
their products grows as the other shrinks. So exp(-loss) has no finite integral over y. (Nor are cka and rkd
means over examples.) They may serve all the same; but how small they are says nothing about I(X; Y).
`js` grows with dependence, but what it bounds is a Jensen-Shannon divergence.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from distiller.pipelines.objectives.masking import comparable, mean_over_real

START_DEVIATION = 0.02


def decoder_parameters(
    student_width: int, teacher_width: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Start values: of the linear mean, weights N(0, 0.02) as projections have; of the log-variances, 0."""
    weight = torch.randn(teacher_width, student_width, generator=generator) * START_DEVIATION
    return {
        "mean_weight": weight,
        "mean_bias": torch.zeros(teacher_width),
        "log_variance": torch.zeros(teacher_width),
    }


def barber_agakov(
    student: Tensor, teacher: Tensor, mask: Tensor | None, *, parameters: dict[str, Tensor]
) -> Tensor:
    """Minus the Gaussian log-density of the teacher's state, per dimension, less log(2 pi) / 2.

    Ahn et al. 2019, VID (arXiv 1904.05835), section 2: mean over real vectors and the width of
    ((y - mu(x))^2 / variance + log variance) / 2, mu linear. student [B, Hs] and teacher [B, Ht], or
    token-wise. H(Y) - Ht (loss + log(2 pi) / 2) is a lower bound on I(X; Y) in nats.
    """
    student, teacher = comparable(student, teacher, mask)
    mean = F.linear(student, parameters["mean_weight"], parameters["mean_bias"])
    log_variance = parameters["log_variance"]
    losses = (teacher - mean).square() * torch.exp(-log_variance) + log_variance
    return mean_over_real(0.5 * losses.mean(-1), mask)
