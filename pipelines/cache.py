"""What a teacher says of every row of a view: computed once per node, kept in files that trials share.

Logits are float32: [N, C], or [total, C] where the task reads them token by token. States are float16: `cls`
and `mean` [N, layers, H]; `tokens`, and of attention `queries`, `keys` and `values`, [total, layers, H];
`total` is end to end as in `Tokens`. A state beyond float16's range makes the whole array float32.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distiller.pipelines.checkpoint import forward, inference_dtype
from distiller.pipelines.content import content_key
from distiller.pipelines.demand import TOKENWISE, Demand
from distiller.pipelines.heads import logits_of
from distiller.pipelines.objectives import reduce_representation
from distiller.pipelines.recording import ATTENTION_STATES, attention_width, recorded
from distiller.pipelines.room import RESERVED, NoRoomError, Reader, held_folder, reserve
from distiller.pipelines.teacher import Teacher
from distiller.pipelines.tokens import Batch, IntArray, Tokens, by_tokens

log = logging.getLogger(__name__)

TOKENS_PER_BATCH = 4096
FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, eq=False)
class Targets:
    """A teacher's outputs on a batch.

    Attributes:
        logits: [B, C] or [B, T, C] float32, in the order of the task's classes.
        hidden: by (layer, name): [B, H] for cls and mean, [B, T, H] for the states of tokens.
    """

    logits: Tensor
    hidden: Mapping[tuple[int, str], Tensor]


@dataclass(frozen=True, eq=False)
class TeacherOutputs:
    """The cached outputs of one teacher on one view, read from memory-mapped files.

    Attributes:
        demand: the layers and representations that are there; what is not must be computed live.
    """

    demand: Demand
    logits: Tensor
    hidden: Mapping[str, Tensor]
    tokens: Tokens
    reader: Reader | None = field(default=None, repr=False)
    """Keeps the files where they are."""

    def targets(self, rows: IntArray, wanted: Demand, length: int) -> Targets:
        """The targets of `rows`, token-wise states padded with zeros to `length`."""
        picked = torch.from_numpy(rows)
        hidden = {}
        for representation in wanted.representations:
            position, mask = picked, None
            if representation in TOKENWISE:
                position, mask = self.tokens.positions(rows, length)
            held = self.demand.layers_of(representation)
            for layer in wanted.layers_of(representation):
                states = self.hidden[representation][:, held.index(layer)][position].float()
                if mask is not None and not bool(mask.all()):
                    states *= mask[..., None]
                hidden[layer, representation] = states
        if self.tokens.units is None:
            return Targets(self.logits[picked], hidden)
        position, mask = self.tokens.positions(rows, length)
        return Targets(self.logits[position] * mask[..., None], hidden)


def fitting(demand: Demand, tokens: Tokens, width: int, limit_bytes: float) -> Demand:
    """The part of a demand that fits the limit: states of tokens are left out first, then all."""
    return next(part for part in _parts(demand) if _state_bytes(part, tokens, width) <= limit_bytes)


def _parts(demand: Demand) -> Iterator[Demand]:
    """A demand, and what is left of it where there is no room for all."""
    yield demand
    yield demand.without(*TOKENWISE)
    yield Demand()


def _state_bytes(demand: Demand, tokens: Tokens, width: int) -> int:
    """As float16; beyond its range it is twice as much."""
    return sum(2 * width * len(tokens.ids if name in TOKENWISE else tokens) for _, name in demand.states)


def cached_outputs(
    teacher: Teacher,
    tokens: Tokens,
    demand: Demand,
    cache: Path,
    limit_bytes: float,
    view: str,
    total_bytes: float = math.inf,
) -> TeacherOutputs:
    """The teacher's outputs on `tokens`, from this node's cache or computed into it now.

    Args:
        limit_bytes: for the hidden states.
        total_bytes: for the whole cache, in which outputs that nobody reads make way. Where that, or the
            disk, is not enough, hidden states are left out; logits never.
    """
    kept = fitting(demand, tokens, int(teacher.model.config.hidden_size), limit_bytes)
    why = "" if kept == demand else "more than cache.max_gb"
    reader = None
    while reader is None:
        try:
            folder, reader = _held(teacher, tokens, kept, cache, total_bytes)
        except NoRoomError as error:
            kept, why = next(part for part in _parts(kept) if part != kept), str(error)
    if why:
        log.warning(
            "teacher outputs on view %s: %s computed live instead of cached (%s)",
            view,
            ", ".join((demand - kept).representations),
            why,
        )
    # Copy-on-write: torch wants writable memory, and nothing here writes.
    by_token = tokens.units is not None
    logits = torch.from_numpy(np.load(folder / "logits.npy", mmap_mode="c" if by_token else None))
    hidden = {r: torch.from_numpy(np.load(folder / f"{r}.npy", mmap_mode="c")) for r in kept.representations}
    return TeacherOutputs(kept, logits, hidden, tokens, reader)


def _held(
    teacher: Teacher, tokens: Tokens, kept: Demand, cache: Path, total_bytes: float
) -> tuple[Path, Reader]:
    """The folder with just these states, computed where it is not there.

    Raises:
        NoRoomError: it is not there, and there is no place for it.
    """
    precision = inference_dtype(teacher.model.device)
    key = content_key(
        teacher=teacher.fingerprint,
        tokens=_digest(tokens),
        states=sorted(kept.states),
        precision=str(precision),
        order=teacher.order.tolist(),
        revision=2,
        **({} if tokens.units is None else {"by_token": True}),
    )
    outputs = len(teacher.order) * (len(tokens) if tokens.units is None else len(tokens.ids))
    size = 4 * outputs + _state_bytes(kept, tokens, int(teacher.model.config.hidden_size))

    def build(folder: Path) -> None:
        try:
            reserve(cache, folder, size, total_bytes)
        except NoRoomError:
            if kept:  # logits alone are small, and nothing trains without them
                raise
        compute_outputs(teacher, tokens, kept, folder, precision)
        (folder / RESERVED).unlink(missing_ok=True)

    folder = cache / "outputs" / key
    return folder, held_folder(folder, build)


@torch.no_grad()
def live_targets(
    teacher: Teacher,
    batch: Batch,
    demand: Demand,
    precision: torch.dtype,
    embeddings: Tensor | None = None,
) -> Targets:
    """The teacher's outputs on a padded batch, given by ids or by word `embeddings` [B, T, H]."""
    model = teacher.in_precision(precision)
    words = None if embeddings is None else embeddings.to(model.dtype)
    records = any(name in ATTENTION_STATES for _, name in demand.states)
    with recorded(model, records) as attention:
        outputs = forward(model, batch.ids, batch.types, batch.mask, words, output_hidden_states=bool(demand))
    hidden = {
        (layer, name): attention[name][layer - 1].float()
        if name in ATTENTION_STATES
        else reduce_representation(outputs.hidden_states[layer].float(), batch.mask, name)
        for layer, name in demand.states
    }
    return Targets(logits_of(outputs).float()[..., teacher.order.to(model.device)], hidden)


def compute_outputs(
    teacher: Teacher, tokens: Tokens, demand: Demand, folder: Path, precision: torch.dtype
) -> None:
    """One pass over all rows, those of like length together; writes `logits.npy` and the hidden states."""
    states: npt.DTypeLike = np.float16
    while True:
        try:
            _write_outputs(teacher, tokens, demand, folder, precision, states)
            return
        except _BeyondFloat16Error:
            log.warning("hidden states of teacher %s exceed float16: cached as float32", teacher.name)
            states = np.float32


class _BeyondFloat16Error(Exception):
    pass


def _write_outputs(
    teacher: Teacher,
    tokens: Tokens,
    demand: Demand,
    folder: Path,
    precision: torch.dtype,
    states: npt.DTypeLike,
) -> None:
    device = teacher.model.device
    width = int(teacher.model.config.hidden_size)
    count = len(tokens) if tokens.units is None else len(tokens.ids)
    logits = np.empty((count, len(teacher.order)), np.float32)
    arrays = {
        r: np.lib.format.open_memmap(
            folder / f"{r}.npy",
            mode="w+",
            dtype=states,
            shape=(
                len(tokens.ids) if r in TOKENWISE else len(tokens),
                len(demand.layers_of(r)),
                attention_width(teacher.model) if r in ATTENTION_STATES else width,
            ),
        )
        for r in demand.representations
    }
    for representation, array in arrays.items():
        _allocate(folder / f"{representation}.npy", array.offset + array.nbytes)
    for rows in by_tokens(tokens.lengths, TOKENS_PER_BATCH):
        batch = tokens.padded(rows, teacher.tokenizer.pad_token_id)
        targets = live_targets(teacher, batch.to(device), demand, precision)
        tokens.write(logits, rows, targets.logits.cpu())
        for representation, array in arrays.items():
            layers = demand.layers_of(representation)
            values = torch.stack([targets.hidden[layer, representation] for layer in layers], -2).cpu()
            if states == np.float16:
                lowest, highest = values.aminmax()
                if not (lowest >= -FLOAT16_MAX and highest <= FLOAT16_MAX):
                    raise _BeyondFloat16Error
                values = values.half()
            if representation in TOKENWISE:
                position, mask = tokens.positions(rows)
                array[position[mask].numpy()] = values[mask].numpy()
            else:
                array[rows] = values.numpy()
    for array in arrays.values():
        array.flush()
    np.save(folder / "logits.npy", logits)


def _allocate(path: Path, size: int) -> None:
    """Blocks for all of a file; to meet a full disk while writing into mapped memory would end the process.

    Raises:
        OSError: the disk is full.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def _digest(tokens: Tokens) -> str:
    digest = hashlib.sha256(tokens.offsets.tobytes())
    digest.update(tokens.ids.numpy().tobytes())
    digest.update(tokens.types.numpy().tobytes())
    return digest.hexdigest()
