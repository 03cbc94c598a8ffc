"""A training's state as bytes: safetensors, what is no tensor as JSON in its header, a checksum over both.

Nothing is unpickled. Bytes that are torn, or of another training, are told from what can be gone on with.
"""

from __future__ import annotations

import functools
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

KIND = "distiller student checkpoint"


class State(NamedTuple):
    """Tensors by name, on the CPU and of their own storage, and what JSON holds (NaN included)."""

    tensors: dict[str, Tensor]
    rest: dict[str, Any]


class StateError(Exception):
    """What is no state to go on with; the message says why in one line."""


def encode(state: State, digest: str) -> bytes:
    """The state as bytes; `digest` says which training it is of."""
    rest = json.dumps(state.rest)
    said = {"kind": KIND, "digest": digest, "rest": rest, "checksum": _checksum(state.tensors, rest)}
    return save(state.tensors, metadata=said)


def decode(data: bytes, digest: str) -> State:
    """The state that `encode` wrote with this digest.

    Raises:
        StateError: it is torn, no state, or of another training.
    """
    try:
        said = _metadata(data)
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(f"torn: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
    if said.get("kind") != KIND:
        raise StateError("foreign: no student checkpoint")
    if said.get("digest") != digest:
        raise StateError("foreign: of other configs, another budget or other code")
    if said.get("checksum") != _checksum(tensors, said.get("rest", "")):
        raise StateError("torn: the checksum does not fit")
    return State(tensors, json.loads(said["rest"]))


def _metadata(data: bytes) -> dict[str, str]:
    """The texts in a header of safetensors: 8 bytes of its length, little-endian, then JSON."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    said = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(said, dict):
        raise ValueError("its header is no object")
    return said


def _checksum(tensors: dict[str, Tensor], rest: str) -> str:
    """CRC-32 over `rest` and over names, types, shapes and bytes of the tensors."""
    found = zlib.crc32(rest.encode())
    for name, tensor in sorted(tensors.items()):
        found = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode(), found)
        raw: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        found = zlib.crc32(raw, found)
    return str(found)


@functools.cache
def code_version() -> str:
    """Changes with any line of the code that trains: the modules of `distiller.pipelines`."""
    folder, digest = Path(__file__).resolve().parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
