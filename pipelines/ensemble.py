"""Several teachers as one: the mean of their logits (of their scores, in a regression).

At every temperature T, softmax(mean_k z_k / T) is the normalised geometric mean of softmax(z_k / T) over the
teachers k, which Hinton et al. 2015 (arXiv 1503.02531, section 1) name beside the arithmetic mean. It is
chosen as it needs no temperature: one array serves every prediction loss, those on logits too. You et al.
2017 (KDD, "Learning from multiple teacher networks") average softened probabilities instead. Hidden states
are those of the teacher that leads, the first by name, since layers and widths of teachers are no kin.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from distiller.pipelines.cache import Targets, live_targets
from distiller.pipelines.demand import Demand
from distiller.pipelines.families import word_states
from distiller.pipelines.teacher import Teacher
from distiller.pipelines.tokens import Batch


def mean_logits(each: Sequence[Tensor]) -> Tensor:
    """The mean over teachers, [N, C], of logits in the task's order of classes."""
    return each[0] if len(each) == 1 else torch.stack(list(each)).mean(0)


def mixture_targets(
    teachers: Sequence[Teacher],
    inputs: Batch,
    mask: Tensor,
    types: Sequence[Tensor],
    partner: Tensor,
    share: Tensor,
    picked: slice,
    wanted: Demand,
    precision: torch.dtype,
) -> Targets:
    """What teachers of one tokenizer say of mixtures of rows: each mixes in its own word table.

    Args:
        inputs: the rows as they were, on the teachers' device.
        mask: [B, T] real where either row of a mixture is.
        types: each teacher's segments of the rows, [B, T].
        partner, share: [B] the row that each row is mixed with, and its own share.
        picked: the rows that are asked for.
        wanted: hidden states of the first teacher.
    """
    own = share[picked, None, None]
    said = []
    for number, teacher in enumerate(teachers):
        words = word_states(teacher.model, inputs.ids, inputs.mask)
        embeddings = own * words[picked] + (1 - own) * words[partner[picked]]
        batch = Batch(inputs.ids[picked], types[number][picked], mask[picked])
        asked = wanted if number == 0 else Demand()
        said.append(live_targets(teacher, batch, asked, precision, embeddings))
    return Targets(mean_logits([s.logits for s in said]), said[0].hidden)
