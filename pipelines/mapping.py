"""Which student layer learns from which teacher layer, and with what weight.

Layers count 1..L as outputs of transformer layers; 0 is the embedding. Most mappings are fixed pairs of
equal weight. "emd" takes all pairs and weights them by an optimal transport plan of layer weights that
adapt at every step: Li et al. 2020, "BERT-EMD" (arXiv 2010.06133); pair weights carry no gradient.
"attention_weighted" mixes the teacher's layers for each student layer before they are compared. The loss
of a member is sum_p weight_p * cost_p.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Pairs = tuple[tuple[int, int], ...]

# Keeps every layer's unit cost defined after a one-hot softmax, and far above the plan's rounding.
WEIGHT_FLOOR = 1e-6


def skip(student_layers: int, teacher_layers: int) -> Pairs:
    """Evenly spaced, ending at the top: student layer i learns from ceil(i * Lt / Ls).

    TinyBERT's g(m) (arXiv 1909.10351, section 4.2); 12 -> 4 gives 3, 6, 9, 12. PKD-skip (Sun et al. 2019,
    arXiv 1908.09355) is this without the top pair, for which the prediction loss stands there. A deeper
    student repeats teacher layers in order: 2 -> 4 gives 1, 1, 2, 2.
    """
    return tuple((i, -(-i * teacher_layers // student_layers)) for i in range(1, student_layers + 1))


def last(student_layers: int, teacher_layers: int) -> Pairs:
    """The teacher's last layers, in order: student layer i learns from Lt - Ls + i.

    Sun et al. 2019, PKD-last, but with the top pair, which they leave to the prediction loss. The lower
    layers of a deeper student all learn from teacher layer 1.
    """
    offset = teacher_layers - student_layers
    return tuple((i, max(1, offset + i)) for i in range(1, student_layers + 1))


def first(student_layers: int, teacher_layers: int) -> Pairs:
    """The teacher's first layers, in order; the upper layers of a deeper student learn from its last."""
    return tuple((i, min(i, teacher_layers)) for i in range(1, student_layers + 1))


def all_pairs(student_layers: int, teacher_layers: int) -> Pairs:
    """Every pair, the student's layer running slowest: a [S, T] matrix read row by row."""
    return tuple((i, j) for i in range(1, student_layers + 1) for j in range(1, teacher_layers + 1))


MAPPINGS: dict[str, Callable[[int, int], Pairs]] = {
    "skip": skip,
    "last": last,
    "first": first,
    "emd": all_pairs,
    "attention_weighted": all_pairs,
    "all_pairs": all_pairs,
}


def pairs(
    kind: str, student_layers: int, teacher_layers: int, embeddings: bool = False, below: int = 0
) -> Pairs:
    """The (student layer, teacher layer) pairs of a mapping.

    Args:
        embeddings: whether the embeddings are a pair too, the first one.
        below: for "top", how far under the teacher's last layer the student's last one learns.
    """
    if kind == "top":
        return ((student_layers, max(1, teacher_layers - below)),)
    found = MAPPINGS[kind](student_layers, teacher_layers)
    return ((0, 0), *found) if embeddings else found


def layer_attention(student: Tensor, teacher: Sequence[Tensor], weight: Tensor) -> Tensor:
    """[T, B] how much each example's student layer takes of each of T teacher layers; sums to 1 over T.

    softmax over j of <W h_s, h_j> / sqrt(H_t) for [CLS] states: Passban et al. 2021, ALP-KD
    (arXiv 2012.14022), eq. 3 to 5. Departures: W, where widths may differ, and the scale, without which
    wide states make it one-hot. student [B, Hs]; teacher T times [B, Ht]; weight [Ht, Hs].
    """
    asked = torch.nn.functional.linear(student, weight)
    scores = torch.stack([(asked * states.to(asked.dtype)).sum(-1) for states in teacher])
    return torch.softmax(scores / math.sqrt(weight.shape[-2]), 0)


def start_state(
    kind: str, student_layers: int, teacher_layers: int, members: int
) -> dict[str, Tensor] | None:
    """Uniform layer weights {"student" [K, S], "teacher" [K, T]} for "emd", else None.

    float64 on the CPU, where the plan is solved: a step then costs one transfer from the device.
    """
    if kind != "emd":
        return None
    sizes = {"student": student_layers, "teacher": teacher_layers}
    return {side: torch.full((members, n), 1.0 / n, dtype=torch.float64) for side, n in sizes.items()}


def pair_weights(
    kind: str, costs: Tensor, state: dict[str, Tensor] | None, temperature: Tensor | float
) -> tuple[Tensor, dict[str, Tensor] | None]:
    """Weights [K, P] of the pairs (each row sums to 1, detached) and the state for the next step.

    costs [K, P]: one member's loss per pair, in the order of `pairs`. temperature: float or [K], that of
    `emd_weights`; only "emd" reads it.
    """
    if state is None:
        return torch.full_like(costs, 1.0 / costs.shape[-1]), None
    student, teacher = state["student"], state["teacher"]
    host = costs.detach().to("cpu", torch.float64).reshape(-1, student.shape[-1], teacher.shape[-1])
    flow = transport_plan(host, student, teacher)
    student, teacher = emd_weights(host, flow, student, teacher, temperature)
    return flow.flatten(-2).to(costs), {"student": student, "teacher": teacher}


def transport_plan(cost: Tensor, student_weights: Tensor, teacher_weights: Tensor) -> Tensor:
    """The flow [..., S, T] of least total cost from layer weights to layer weights.

    cost [..., S, T] of any sign; student_weights [..., S] and teacher_weights [..., T] each sum to 1, and so does
    the flow: its rows sum to the student's weights, its columns to the teacher's. Exact (POT's network
    simplex), float64, on the CPU. A member whose costs are not finite has diverged: it gets the
    independent coupling, so that its loss stays not finite and its neighbours go on.
    Raises ImportError where POT is missing.
    """
    try:
        import ot
    except ImportError as error:
        raise ImportError("the emd layer mapping needs POT: pip install POT") from error
    shape = cost.shape
    matrices = cost.detach().to("cpu", torch.float64).reshape(-1, *shape[-2:])
    # POT finds no plan for negative costs; a constant on all of them leaves the best one as it is.
    matrices = matrices - matrices.flatten(-2).amin(-1).clamp_max(0.0)[:, None, None]
    rows = student_weights.detach().to("cpu", torch.float64).expand(shape[:-1]).reshape(-1, shape[-2])
    columns = teacher_weights.detach().to("cpu", torch.float64)
    columns = columns.expand(*shape[:-2], shape[-1]).reshape(-1, shape[-1])
    flows = [
        torch.from_numpy(ot.emd(row.numpy(), column.numpy(), matrix.numpy()))
        if bool(matrix.isfinite().all())
        else torch.outer(row, column)
        for matrix, row, column in zip(matrices, rows, columns, strict=True)
    ]
    return torch.stack(flows).reshape(shape)


def emd_weights(
    cost: Tensor,
    flow: Tensor,
    student_weights: Tensor,
    teacher_weights: Tensor,
    temperature: Tensor | float,
) -> tuple[Tensor, Tensor]:
    """The cost attention of BERT-EMD: layers that are cheap to move get more weight.

    Unit cost of layer i: u_i = sum_j flow_ij cost_ij / w_i; new w = softmax((sum_k u_k / u_i) / T), likewise
    for the teacher by columns. cost, flow [K, S, T]; weights [K, S], [K, T]; T float or [K]. Departure: a
    floor of 1e-6 on the new weights, as a layer without weight has no unit cost; costs below 0 are
    shifted until the least is as large as their spread. Where costs are not
    finite, the weights stay as they were.
    """
    low, high = cost.flatten(-2).aminmax(dim=-1)
    # Bounds on mutual information are negative costs, which have no ratios: the dearest is twice the best.
    cost = cost + torch.where(low < 0, high - 2 * low, torch.zeros_like(low))[..., None, None]
    spent = flow * cost.to(flow)
    scale = torch.as_tensor(temperature, dtype=flow.dtype, device=flow.device).unsqueeze(-1)

    def attend(spent_by_layer: Tensor, weights: Tensor) -> Tensor:
        unit = (spent_by_layer / weights).clamp_min(1e-12)
        new = torch.softmax(unit.sum(-1, keepdim=True) / unit / scale, -1).clamp_min(WEIGHT_FLOOR)
        new = new / new.sum(-1, keepdim=True)
        return torch.where(spent_by_layer.isfinite().all(-1, keepdim=True), new, weights)

    return attend(spent.sum(-1), student_weights), attend(spent.sum(-2), teacher_weights)
