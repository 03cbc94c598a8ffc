"""Checkpoints of `transformers`: where they lie, what changes with them, and how they are asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from distiller.pipelines.content import content_key, file_digest
from distiller.pipelines.families import inputs_of
from distiller.pipelines.heads import logits_of
from distiller.pipelines.tokens import IntArray, Tokens, by_length
from distiller.pipelines.trust import check_config, check_weights, is_refused_code, refused_code
from distiller.spaces.errors import InputError

SAMPLE = (
    "Ms Łoś didn't pay £3.14 (or 2,000 ¥) at the café; naïve?",
    "two  spaces, UPPER lower,\ta tab\nand 東京 🙂 [MASK] <s> </s> unaffable tokenizers' co-operation",
)
"""What two tokenizers must read alike: case, accents, scripts, digits, marks, blanks, special tokens."""
WEIGHTS_AND_WORDS = {".safetensors", ".bin", ".json", ".txt", ".model", ".spm"}
"""Suffixes of the files that hold a checkpoint's weights, settings and tokenizer."""


def weights_fingerprint(source: str, revision: str | None, place: str, trust: bool = False) -> str:
    """What changes when a checkpoint's weights or tokenizer change: file digests, or the hub's commit.

    Its code is among the files where it is trusted (`trust`).
    """
    folder = Path(source)
    if folder.is_dir():
        counted = {*WEIGHTS_AND_WORDS, *([".py"] if trust else [])}
        files = sorted(p for p in folder.iterdir() if p.suffix in counted)
        digests = {p.name: file_digest(p) for p in files if p.name != "complete.json"}
        return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:16]
    config = from_pretrained(AutoConfig, source, revision, place, trust)
    return f"{source}@{config._commit_hash}"


def from_pretrained(
    kind: Any, source: str, revision: str | None, place: str, trust: bool = False, **options: Any
) -> Any:
    """A config, tokenizer or model of `transformers`; weights from safetensors alone.

    Args:
        kind: an Auto class.
        place: where the sweep names the checkpoint.
        trust: whether code that comes with the checkpoint may run.

    Raises:
        InputError: it cannot be loaded, or not without code or pickles.
    """
    # Never None: `transformers` would ask on the terminal whether to run the code.
    options |= {"revision": revision, "trust_remote_code": trust}
    try:
        if kind is AutoTokenizer:
            return kind.from_pretrained(source, **options)
        if kind is AutoConfig:
            config = kind.from_pretrained(source, **options)
            check_config(config, source, place)
            return config
        config = options.get("config") or AutoConfig.from_pretrained(
            source, revision=revision, trust_remote_code=trust
        )
        check_config(config, source, place)
        check_weights(source, place, kind.__name__)
        return kind.from_pretrained(source, use_safetensors=True, **options)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        if is_refused_code(error):
            raise refused_code(source, place) from error
        if _out_of_reach(error):
            raise InputError(
                f"{place}: {source!r} cannot be loaded (the model hub cannot be reached, and this machine "
                "holds no copy); connect to it, or give a local folder"
            ) from error
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"{place}: {source!r} cannot be loaded ({first}); give a local folder or a hub name of a model "
            "with safetensors weights (pickled ones are not read)"
        ) from error


def complete(kind: Any, source: str, place: str, head: str, **options: Any) -> Any:
    """A model of a class of which a checkpoint holds every parameter, in float32.

    Raises:
        InputError: it cannot be loaded, or parameters would have to be drawn, those of `head` above all.
    """
    model, found = from_pretrained(
        kind, source, None, place, dtype=torch.float32, output_loading_info=True, **options
    )
    if found["missing_keys"]:  # parameters that are tied to others are not among them
        raise InputError(
            f"{place}: {source!r} has no {head} head ({sorted(found['missing_keys'])[0]} is not there); "
            "name another checkpoint"
        )
    return model


def _out_of_reach(error: BaseException | None) -> bool:
    """Whether a name could not be looked up: nothing is known about whether it is right."""
    while error is not None:
        if isinstance(error, (LocalEntryNotFoundError, OfflineModeIsEnabled)):
            return True
        if isinstance(error, HfHubHTTPError) and error.response.status_code >= 500:
            return True
        error = error.__cause__ or error.__context__
    return False


def load_tokenizer(source: str, revision: str | None, place: str, trust: bool = False) -> Any:
    """A checkpoint's tokenizer.

    Raises:
        InputError: it is missing, or it has no padding token.
    """
    tokenizer = from_pretrained(AutoTokenizer, source, revision, place, trust)
    if tokenizer.pad_token_id is None:
        raise InputError(f"{place}: the tokenizer of {source!r} has no pad token; set one and save it again")
    return tokenizer


def tokenizer_key(tokenizer: Any) -> str:
    """Equal for tokenizers that give the same ids: by vocabulary, special ids and a sample of encodings.

    Segment ids do not count: a tokenizer that tells none still cuts a text into the same tokens.
    """
    vocabulary = sorted(tokenizer.get_vocab().items())
    known = " ".join(token for token, _ in vocabulary[:: max(1, len(vocabulary) // 50)])
    encoded = [tokenizer(text)["input_ids"] for text in (*SAMPLE, known, known.upper())]
    return content_key(
        vocabulary=vocabulary,
        special=sorted(tokenizer.all_special_ids),
        padding=tokenizer.pad_token_id,
        sample=[*encoded, tokenizer(*SAMPLE)["input_ids"]],
        cut=tokenizer(*SAMPLE, truncation=True, max_length=12)["input_ids"],
    )


def check_length(model: PreTrainedModel, max_length: int, place: str, who: str = "teacher") -> None:
    """Raise InputError where a dataset's texts may be longer than a model can read."""
    if max_length > longest_input(model):
        raise InputError(
            f"{place}: the {who} reads at most {longest_input(model)} tokens, the dataset's max_length is "
            f"{max_length}; lower max_length"
        )


def longest_input(model: PreTrainedModel) -> int:
    """How many tokens a model can read; RoBERTa's kin spend their first positions on padding."""
    positions = int(getattr(model.config, "max_position_embeddings", None) or 1_000_000)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            return positions - (0 if module.padding_idx is None else module.padding_idx + 1)
    return positions


def inference_dtype(device: torch.device) -> torch.dtype:
    """What a teacher computes in: bfloat16 where the hardware multiplies it natively, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def forward(
    model: PreTrainedModel,
    ids: Tensor,
    types: Tensor,
    mask: Tensor,
    words: Tensor | None = None,
    **options: Any,
) -> Any:
    """A model's outputs on a padded batch [B, T]; with `words` [B, T, E], on these word embeddings."""
    inputs = inputs_of(model, ids, types, mask, words)
    return model(**inputs, attention_mask=mask.long(), return_dict=True, **options)


@torch.no_grad()
def predict(
    model: PreTrainedModel,
    rows: Tokens,
    pad_id: int,
    batch_size: int = 64,
    precision: torch.dtype = torch.float32,
) -> npt.NDArray[np.float32]:
    """Logits [N, C] as float32 numpy, in evaluation mode, computed in `precision`.

    Where the task reads outputs token by token, [total, C]: those of row i at offsets[i] to offsets[i + 1].
    """
    count = len(rows) if rows.units is None else len(rows.ids)
    outputs = np.empty((count, cast(int, model.config.num_labels)), np.float32)
    for picked, _, found in in_batches(model, rows, pad_id, batch_size, precision):
        rows.write(outputs, picked, logits_of(found).float().cpu())
    return outputs


@torch.no_grad()
def in_batches(
    model: PreTrainedModel, rows: Tokens, pad_id: int, batch_size: int, precision: torch.dtype, **options: Any
) -> Iterator[tuple[IntArray, Tensor, Any]]:
    """Numbers of rows, their mask [B, T] and the model's outputs on them, in evaluation mode, until all rows,
    those of like lengths together, had their turn."""
    cast(torch.nn.Module, model).eval()
    for picked in by_length(rows.lengths, batch_size):
        batch = rows.padded(picked, pad_id).to(model.device)
        with torch.autocast(model.device.type, precision, enabled=precision is not torch.float32):
            outputs = forward(model, batch.ids, batch.types, batch.mask, **options)
        yield picked, batch.mask, outputs
