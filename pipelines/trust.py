"""What of a checkpoint is not read: pickled weights, and code that the sweep does not trust by name."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
)

from distiller.spaces.errors import InputError

SAFETENSORS = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)
PICKLES = (WEIGHTS_NAME, WEIGHTS_INDEX_NAME)
UNPICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
"""Suffixes of weights that only an unpickler reads."""


def check_weights(source: str, place: str, kind: str) -> None:
    """Raise InputError where a folder's weights are not safetensors files in it; a hub name passes.

    Args:
        kind: the name of the class that loads them, for the remedy.
    """
    folder = Path(source)
    if not folder.is_dir() or (folder / SAFE_WEIGHTS_NAME).is_file():
        return
    if (folder / SAFE_WEIGHTS_INDEX_NAME).is_file():
        _check_shards(folder, place)
        return
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in UNPICKLED)
    if pickles:
        raise InputError(
            f"{place}: {source!r} holds its weights as a pickle ({pickles[0]}), which can run code and is "
            f"not read; {conversion(source, kind)}"
        )


def conversion(source: str, kind: str) -> str:
    """How a person who trusts a checkpoint makes safetensors of it."""
    load = f"m = transformers.{kind}.from_pretrained({source!r}, use_safetensors=False)"
    save = f"m.save_pretrained({source!r})" if Path(source).is_dir() else "m.save_pretrained('a new folder')"
    return f"where you trust it, convert it once: `import transformers; {load}; {save}`"


def _check_shards(folder: Path, place: str) -> None:
    """An index says which file holds which tensor: any file of any format, as far as `transformers` cares."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    try:
        shards = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{place}: {index} is no index of shards ({error}); save the model again") from None
    for shard in shards:
        if not isinstance(shard, str) or not re.fullmatch(r"[^/\\\0]+\.safetensors", shard):
            raise InputError(
                f"{place}: {index} names {shard!r}, which is no safetensors file of its folder; "
                "save the model again"
            )


def check_config(config: Any, source: str, place: str) -> None:
    """Raise InputError where a config has other files loaded than a model of `transformers` needs.

    `transformers_weights` may name a pickle, and an attention named `owner/kernel` is code from the hub.
    """
    weights = getattr(config, "transformers_weights", None)
    if weights is not None and PurePosixPath(str(weights)).suffixes[-1:] != [".safetensors"]:
        raise InputError(
            f"{place}: the config of {source!r} takes its weights from {weights!r}, which is no safetensors "
            "file; remove transformers_weights from it"
        )
    attention = getattr(config, "_attn_implementation", None)
    if isinstance(attention, str) and "/" in attention:
        raise InputError(
            f"{place}: the config of {source!r} asks for attention code from the hub ({attention}), which is "
            "not run; remove attn_implementation from it"
        )


def is_refused_code(error: Exception) -> bool:
    """Whether a checkpoint was not loaded because its code would have had to run."""
    return isinstance(error, ValueError) and "trust_remote_code" in str(error)


def refused_code(source: str, place: str) -> InputError:
    """What to say then."""
    remedy = "name another checkpoint"
    if place.startswith("teachers."):
        remedy = "where you trust it, write trust_remote_code: true beside its model, and a revision"
    return InputError(f"{place}: {source!r} comes with code of its own, which is not run; {remedy}")
