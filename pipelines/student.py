"""Students: their architecture, and the parameters that they start from.

A student's origin is the model whose tokenizer it shares and whose config its own follows from: its teacher,
or, where it is pretrained, its own checkpoint.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from distiller.pipelines.families import (
    inputs_of,
    reads_neighbours,
    sized_config,
    table_width,
    takes_types,
    word_states,
)
from distiller.pipelines.heads import MODELS, logits_of, name_the_labels
from distiller.pipelines.recording import recorded
from distiller.pipelines.task import Task
from distiller.pipelines.tokens import Tokens, Vocabulary
from distiller.spaces.errors import InputError
from distiller.spaces.student import Pretrained, RandomStart, TeacherLayers
from distiller.spaces.student import Student as StudentChoice

__all__ = ["takes_types"]


def width_of(choice: StudentChoice, origin: PretrainedConfig) -> int:
    """The student's hidden width: its own, or that of its origin where it starts from whole layers."""
    if isinstance(choice, (TeacherLayers, Pretrained)):
        return int(origin.hidden_size)
    return choice.width


def layers_of(choice: StudentChoice, origin: PretrainedConfig) -> int:
    """How many transformer layers the student has: a pretrained one as many as its checkpoint."""
    return int(origin.num_hidden_layers) if isinstance(choice, Pretrained) else choice.layers


def family_name(choice: StudentChoice, origin: PretrainedConfig) -> str:
    """The student's model type."""
    family = getattr(choice, "family", "teacher")
    return origin.model_type if family == "teacher" else str(family)


def architecture(choice: StudentChoice, origin: PretrainedConfig) -> str:
    """A short name, equal for students that can share a cohort: `bert-L2-H128`, `bert-L2-H128@some/model`."""
    size = f"{family_name(choice, origin)}-L{layers_of(choice, origin)}-H{width_of(choice, origin)}"
    return f"{size}@{choice.checkpoint}" if isinstance(choice, Pretrained) else size


def student_config(choice: StudentChoice, origin: PretrainedConfig, task: Task) -> PretrainedConfig:
    """The student's config: layers, width and family as chosen, the task's outputs, no dropout.

    Raises:
        InputError: more layers asked of the teacher than it has.
    """
    if isinstance(choice, TeacherLayers) and choice.layers > origin.num_hidden_layers:
        raise InputError(
            f"student.layers: {choice.layers} layers cannot start from a teacher of "
            f"{origin.num_hidden_layers}; ask for at most that many"
        )
    kinds = layer_kinds(choice, origin)
    if isinstance(choice, Pretrained):
        config = copy.deepcopy(origin)
    else:
        family, width = getattr(choice, "family", "teacher"), width_of(choice, origin)
        config = sized_config(family, choice.layers, width, origin)
        if kinds:
            config.layer_types = list(kinds)
    for name, value in config.to_dict().items():
        if isinstance(value, float) and ("dropout" in name or name.endswith("drop")):
            setattr(config, name, 0.0)
    name_the_labels(config, task)
    return config


def layer_kinds(choice: StudentChoice, origin: PretrainedConfig) -> tuple[str, ...]:
    """How each layer of a student that copies its teacher's attends: as the one that it is a copy of.

    Empty where layers are of one kind, or of those that come first in its type.
    """
    known = getattr(origin, "layer_types", None)  # ModernBERT attends far in some layers, near in others
    if not known or not isinstance(choice, TeacherLayers):
        return ()
    chosen = selected_layers(choice.selection, choice.layers, origin.num_hidden_layers)
    return tuple(known[layer] for layer in chosen if layer < len(known))


def embedding_width(choice: StudentChoice, origin: PretrainedConfig) -> int:
    """The width of a student's word table."""
    return table_width(getattr(choice, "family", "teacher"), width_of(choice, origin), origin)


def word_table(
    choice: StudentChoice, teacher_table: Tensor, width: int, deviation: float, seed: int
) -> Tensor:
    """The student's start for all V word embeddings, [V, width]; the same for every task and process.

    For SVD, the teacher's table [V, H], centred, in the coordinates of its first `width` principal
    components, rescaled to the teacher's standard deviation. Random tables are N(0, `deviation`).
    """
    if isinstance(choice, TeacherLayers):
        return teacher_table.clone()
    generator = torch.Generator().manual_seed(seed)
    vocabulary, teacher_width = teacher_table.shape
    if isinstance(choice, RandomStart):
        return torch.randn(vocabulary, width, generator=generator) * deviation
    table = teacher_table.double()
    centred = table - table.mean(0)
    _, directions = torch.linalg.eigh(centred.T @ centred)
    kept = directions.flip(1)[:, : min(width, teacher_width)]
    # eigh leaves each direction's sign open; fix it, or students would differ between machines.
    kept = kept * torch.where(kept.gather(0, kept.abs().argmax(0, keepdim=True)) < 0, -1.0, 1.0)
    scores: Tensor = centred @ kept
    reduced: Tensor = (scores * (table.std() / scores.std())).float()
    if width > teacher_width:
        more = torch.randn(vocabulary, width - teacher_width, generator=generator) * deviation
        reduced = torch.cat([reduced, more], 1)
    return reduced


class Student(nn.Module):
    """A student model that takes mixed word embeddings too and gives logits and the states of its layers.

    With `records`, queries, keys and values are among them.
    """

    def __init__(self, model: PreTrainedModel, records: bool = False):
        super().__init__()
        self.model = model
        self.records = records

    def forward(
        self,
        ids: Tensor,
        types: Tensor,
        mask: Tensor,
        partner: Tensor | None = None,
        share: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, tuple[Tensor, ...]]]:
        """Logits [B, C] or [B, T, C], and states, as `recording` has them.

        "hidden" are the embeddings first, each [B, T, H].

        Args:
            ids, types, mask: [B, T]; the mask may be [B, 1, 1, T] too.
            partner, share: for mixup, the row that each row is mixed with [B] and its own share [B].
        """
        words = None
        if partner is not None and share is not None:
            # A partner's words are real where its own text is, not where the mixture is.
            own = ids != self.model.config.pad_token_id if reads_neighbours(self.model) else mask
            words = word_states(self.model, ids, own)
            share = share[:, None, None].to(words.dtype)
            words = share * words + (1 - share) * words[partner]
        inputs: dict[str, Any] = inputs_of(self.model, ids, types, mask, words)
        inputs["attention_mask"] = mask.long() if mask.dim() == 2 else self._expanded(mask)
        with recorded(self.model, self.records) as attention:
            outputs = self.model(**inputs, output_hidden_states=True, return_dict=True)
        states = {name: tuple(layers) for name, layers in attention.items()}
        return logits_of(outputs), {"hidden": tuple(outputs.hidden_states), **states}

    def _expanded(self, mask: Tensor) -> Tensor | dict[str, Tensor]:
        """What attention layers make of a mask themselves, which they take as it is: [B, 1, 1, T] bool."""
        config = self.model.config
        kinds = set(getattr(config, "layer_types", None) or [])
        if "sliding_attention" not in kinds:
            return mask
        place = torch.arange(mask.shape[-1], device=mask.device)
        near = (place[:, None] - place).abs() <= config.sliding_window
        return {"full_attention": mask, "sliding_attention": mask & near}


def build_model(
    choice: StudentChoice,
    teacher: PreTrainedModel,
    task: Task,
    table: Tensor,
    vocabulary: Vocabulary | None,
    seed: int,
) -> PreTrainedModel:
    """A student at its start, on the CPU in float32; `table` is its `word_table`.

    With a `vocabulary` its word table holds the kept rows only, and ids are the new ones.
    """
    config = student_config(choice, teacher.config, task)
    # A table just large enough: what is drawn for the other parameters must not depend on the vocabulary.
    config.vocab_size = (config.pad_token_id or 0) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = MODELS[task.kind].from_config(config)
    model = cast(PreTrainedModel, built.float())
    if isinstance(choice, TeacherLayers):
        copy_layers(model, teacher, choice.selection)
    give_words(model, table, vocabulary)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def give_words(model: PreTrainedModel, table: Tensor, vocabulary: Vocabulary | None) -> None:
    """Give a model at its start the word embeddings `table` [V, E], only the kept rows of a vocabulary."""
    pad = model.config.pad_token_id
    if pad is not None and reads_neighbours(model):
        # Anyone who runs the saved model reads this row behind each text; training never touches it.
        table = table.index_fill(0, torch.tensor([pad]), 0.0)
    if vocabulary is None:
        set_words(model, table, pad)
    else:
        set_words(model, table[vocabulary.kept], None if pad is None else int(vocabulary.new_ids[pad]))


def untrained(choice: StudentChoice, origin: PretrainedConfig) -> PreTrainedModel:
    """A student of the right shape and nothing else, to measure; whatever the task, it has one output."""
    task = Task(kind="regression", labels=(), metric="pearson", outputs=1, pair=False)
    built = MODELS[task.kind].from_config(student_config(choice, origin, task))
    return cast(PreTrainedModel, built.float().eval())


def set_words(model: PreTrainedModel, table: Tensor, pad_id: int | None) -> None:
    """Give a model the word embeddings `table` [V, width], with padding at `pad_id`."""
    # No padding_idx, which vmap does not heed: only mixtures can see padding, and there it may learn.
    words = nn.Embedding(table.shape[0], table.shape[1], _weight=table.clone())
    model.set_input_embeddings(words)
    model.config.vocab_size = len(table)
    model.config.pad_token_id = pad_id


def selected_layers(selection: str, student_layers: int, teacher_layers: int) -> list[int]:
    """Which teacher layers (from 0) a student starts from; `even` takes the first, the last and between.

    12 -> 6 gives 0, 2, 4, 7, 9, 11, as DistilBERT's authors took them.
    """
    if selection == "first":
        return list(range(student_layers))
    if selection == "last":
        return list(range(teacher_layers - student_layers, teacher_layers))
    if student_layers == 1:
        return [teacher_layers - 1]
    return [round(i * (teacher_layers - 1) / (student_layers - 1)) for i in range(student_layers)]


@torch.no_grad()
def copy_layers(model: PreTrainedModel, teacher: PreTrainedModel, selection: str) -> None:
    """Copy the teacher's selected layers, and whatever else has the same name and shape, head included."""
    prefix = _layer_prefix(teacher)
    chosen = selected_layers(selection, model.config.num_hidden_layers, teacher.config.num_hidden_layers)
    source = {k: v.detach().float().cpu() for k, v in teacher.state_dict().items()}
    for name, tensor in model.state_dict().items():
        origin = name
        if prefix is not None and name.startswith(prefix):
            number, rest = name.removeprefix(prefix).split(".", 1)
            origin = f"{prefix}{chosen[int(number)]}.{rest}"
        if origin in source and source[origin].shape == tensor.shape:
            tensor.copy_(source[origin])


def left_behind(choice: TeacherLayers, teacher: PreTrainedModel) -> tuple[int, list[str]]:
    """The teacher's layer (from 0) that becomes a student's first, and its parameters without a place there.

    ModernBERT's first layer has one norm less than the others.
    """
    first = selected_layers(choice.selection, choice.layers, teacher.config.num_hidden_layers)[0]
    prefix = _layer_prefix(teacher)

    def names(layer: int) -> set[str]:
        start = f"{prefix}{layer}."
        return {name.removeprefix(start) for name, _ in teacher.named_parameters() if name.startswith(start)}

    return first, sorted(names(first) - names(0))


def _layer_prefix(model: PreTrainedModel) -> str | None:
    """`bert.encoder.layer.` or the like; None where layers share their parameters (ALBERT)."""
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return f"{name}."
    return None


def restrict_words(
    model: PreTrainedModel, tokenizer: Any, tokens: Sequence[Tokens]
) -> tuple[PretrainedConfig, Tensor, Vocabulary]:
    """Leave a model the word embeddings of these tokens; undone by `with_full_vocabulary`, given the result.

    Returns the model's config as it was, all its word embeddings and the vocabulary that is left.
    """
    whole = copy.deepcopy(model.config)
    words: nn.Module = model.get_input_embeddings()
    table = cast(Tensor, words.weight).detach().clone()
    pads = {int(tokenizer.pad_token_id), *([] if whole.pad_token_id is None else [int(whole.pad_token_id)])}
    vocabulary = Vocabulary.of(
        tokens, len(table), [*tokenizer.all_special_ids, *pads], int(tokenizer.pad_token_id)
    )
    pad = None if whole.pad_token_id is None else int(vocabulary.new_ids[whole.pad_token_id])
    set_words(model, table[vocabulary.kept], pad)
    return whole, table, vocabulary


def with_full_vocabulary(
    model: PreTrainedModel, origin: PretrainedConfig, table: Tensor, vocabulary: Vocabulary
) -> PreTrainedModel:
    """The trained student with all V word embeddings: trained rows where it had them, its start elsewhere."""
    full = cast(PreTrainedModel, cast(nn.Module, copy.deepcopy(model)).float().cpu())
    table = table.clone()
    words: nn.Module = full.get_input_embeddings()
    table[vocabulary.kept] = cast(Tensor, words.weight).detach()
    set_words(full, table, origin.pad_token_id)
    return full


def output_layer(model: PreTrainedModel) -> nn.Linear:
    """The last linear layer of a classifier: the one that gives its outputs."""
    outputs = model.config.num_labels
    return [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == outputs][-1]


@torch.no_grad()
def fold_scale(model: PreTrainedModel, task: Task, mean: float, deviation: float) -> None:
    """Make a model that predicts standardised scores predict scores: its last layer absorbs the scale."""
    if task.kind == "regression":
        layer = output_layer(model)
        layer.weight.mul_(deviation)
        layer.bias.mul_(deviation).add_(mean)


@torch.no_grad()
def align_head(model: PreTrainedModel, task: Task, order: Tensor, mean: float, deviation: float) -> None:
    """Turn a head copied from a teacher into a student's: the task's order, standardised scores."""
    fold_scale(model, task, -mean / deviation, 1 / deviation)
    layer = output_layer(model)
    layer.weight.copy_(layer.weight[order])
    layer.bias.copy_(layer.bias[order])
