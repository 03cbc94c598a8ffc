"""How much GPU memory a cohort takes, by estimate: before anything is loaded, from configs alone.

Bytes, for K students that train together, each with P parameters (its whole vocabulary counted, though only
the words of the data are trained), on batches of B texts of T tokens:

- context: what CUDA and its libraries take for a process before the first tensor.
- teacher: its parameters in float32 and, as it computes in bfloat16, a copy; cached outputs do not spare
  them, since mixtures and what the cache cannot hold are asked live.
- teacher_pass: hidden states and the widest layer of one pass over `TOKENS_PER_BATCH` tokens, without
  gradients; over before training starts.
- weights, gradients, moments: 4 P, 4 P and 8 P for each student (AdamW in float32), and 4 P of scratch while
  the optimizer steps.
- activations: what the backward pass keeps; see `activation_bytes`.
- targets: the teacher's states of every token that terms compare, and the students' in the teacher's width.

The sum is `peak`: context and teacher, and the larger of the pass and the training. A tenth is added for what
the allocator cannot use.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PretrainedConfig

from distiller.pipelines.cache import TOKENS_PER_BATCH
from distiller.pipelines.demand import TOKENWISE, Demand
from distiller.pipelines.heads import MODELS
from distiller.pipelines.student import layers_of, student_config, width_of
from distiller.pipelines.task import Task
from distiller.spaces.student import Student

CONTEXT_BYTES = 600 << 20
"""CUDA, cuBLAS with its workspaces, and kernels: 400 to 600 MiB on data-centre GPUs."""
SLACK = 1.1


@dataclass(frozen=True)
class Footprint:
    """Bytes of a process that trains a cohort, by term; terms of students are of all of them."""

    context: int
    teacher: int
    teacher_pass: int
    weights: int
    gradients: int
    moments: int
    activations: int
    targets: int

    @property
    def training(self) -> int:
        """All that training keeps at once, the optimizer's scratch among it."""
        return self.weights * 2 + self.gradients + self.moments + self.activations + self.targets

    @property
    def peak(self) -> int:
        """The most that the process holds at a time."""
        return int(SLACK * (self.context + self.teacher + max(self.teacher_pass, self.training)))


def footprint(
    choice: Student,
    origin: PretrainedConfig,
    teacher: PretrainedConfig,
    task: Task,
    demand: Demand,
    members: int,
    batch_size: int,
    length: int,
) -> Footprint:
    """What `members` students cost that start from `origin` and read `demand` of `teacher` on a GPU.

    `length` is in tokens: the longest text that a batch may hold.
    """
    student = student_config(choice, origin, task)
    own, taught = parameters_of(student, task), parameters_of(teacher, task)
    tokens = batch_size * length
    depth, width = layers_of(choice, origin), width_of(choice, origin)
    tokenwise = sum(len(demand.layers_of(name)) for name in TOKENWISE)
    wide = int(teacher.hidden_size)
    states = (int(teacher.num_hidden_layers) + 1) * wide * (2 + 4)
    widest = 2 * (inner_width(teacher) + 4 * wide)
    return Footprint(
        context=CONTEXT_BYTES,
        teacher=taught * (4 + 2),
        teacher_pass=TOKENS_PER_BATCH * (states + widest),
        weights=members * own * 4,
        gradients=members * own * 4,
        moments=members * own * 8,
        activations=members * activation_bytes(student, depth, width, batch_size, length),
        targets=tokens * wide * 4 * tokenwise * (1 + members),
    )


def activation_bytes(
    config: PretrainedConfig, layers: int, width: int, batch_size: int, length: int, half: bool = True
) -> int:
    """What one student's backward pass keeps, after Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1.

    Per token and layer: the inputs of two norms; those of the attention's and the feed-forward network's
    matrices, queries, keys and values, 6 widths; twice the inner width around its nonlinearity; twice the
    scores of each head over `length` positions, which fused attention does not keep. No dropout masks. With
    `half`, matrices read bfloat16 and norms float32; the hidden states that terms may read are float32.
    """
    small = 2 if half else 4
    heads = int(getattr(config, "num_attention_heads", 1))
    layer = 4 * 2 * width + small * (6 * width + 2 * inner_width(config) + 2 * heads * length)
    return batch_size * length * (layers * layer + (layers + 1) * 4 * width)


def inner_width(config: PretrainedConfig) -> int:
    """The width inside a layer's feed-forward network."""
    for name in ("intermediate_size", "hidden_dim", "ffn_dim"):
        if getattr(config, name, None):
            return int(getattr(config, name))
    return 4 * int(config.hidden_size)


def parameters_of(config: PretrainedConfig, task: Task) -> int:
    """Parameters of a model of a config with a task's head; nothing is allocated."""
    with torch.device("meta"):
        model = MODELS[task.kind].from_config(config)
    return sum(p.numel() for p in model.parameters())
