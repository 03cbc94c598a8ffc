"""`back_translation`: a text translated and back (Sennrich et al. 2016; Xie et al. 2020, arXiv 1904.12848).

Both ways are sampled from the nucleus, token by token, with uniform numbers of the row's own. It takes
whole texts: nothing says which word came of which. A text is cut at what the models can read; one of which
either way leaves nothing stays as it was. Which texts are computed together matters only to the rounding of
the models' sums.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForSeq2SeqLM,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
)

from distiller.pipelines.augment.nucleus import draw, nucleus
from distiller.pipelines.checkpoint import complete, load_tokenizer, longest_input
from distiller.pipelines.tokens import by_tokens, tokenize
from distiller.spaces.errors import InputError

TOKENS_PER_BATCH = 2048
LONGEST_GROWTH = 2
"""A translation has at most this many tokens for each of the text's, and `LONGEST_EXTRA` more."""
LONGEST_EXTRA = 10


class Draws(LogitsProcessor):
    """Leaves one token per row and step: drawn from the nucleus, or the end where a row has its length."""

    def __init__(self, top_p: float, uniforms: Tensor, limits: Tensor, end_id: int):
        """`uniforms` [B, steps] are the rows' numbers, `limits` [B] their most tokens, the end excluded."""
        self.top_p, self.uniforms, self.limits, self.end_id = top_p, uniforms, limits, end_id
        self.step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B, V] with -inf everywhere but at the token that is drawn."""
        drawn = draw(nucleus(scores, self.top_p), self.uniforms[:, self.step])
        drawn = torch.where(self.step < self.limits, drawn, self.end_id)
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter(1, drawn[:, None], 0.0)


def translation_tokenizer(source: str, place: str) -> Any:
    """The tokenizer of a model that translates.

    Raises:
        InputError: it cannot be loaded, or not without another package; `place` is where the sweep names it.
    """
    try:
        return load_tokenizer(source, None, place)
    except ImportError as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"{place}: the tokenizer of {source!r} needs another package ({first}); "
            "pip install 'kd-distiller[translation]'"
        ) from error


class Translator:
    """A sequence-to-sequence model that translates from one language into another."""

    def __init__(self, source: str, place: str, device: torch.device):
        """Load it from a folder or by its hub name.

        Raises:
            InputError: it cannot be loaded, or has no head; `place` is where the sweep names it.
        """
        model = complete(AutoModelForSeq2SeqLM, source, place, "translation")
        self.model: PreTrainedModel = model.to(device).eval().requires_grad_(False)
        self.tokenizer: Any = translation_tokenizer(source, place)
        self.longest = min(longest_input(self.model), int(self.tokenizer.model_max_length))

    def translate(
        self, texts: Sequence[str], top_p: float, generators: Sequence[np.random.Generator]
    ) -> list[str]:
        """One sampled translation of each text, which takes the numbers that its generator gives next."""
        tokens = tokenize(self.tokenizer, texts, None, self.longest)
        limits = np.minimum(LONGEST_GROWTH * tokens.lengths + LONGEST_EXTRA, self.longest - 2)
        uniforms = [rng.random(limit) for rng, limit in zip(generators, limits, strict=True)]
        results = [""] * len(texts)
        some = np.flatnonzero(tokens.lengths)
        for picked in by_tokens(tokens.lengths[some], TOKENS_PER_BATCH):
            rows = some[picked]
            steps = int(limits[rows].max())
            padded = np.zeros((len(rows), steps + 1))
            for line, row in enumerate(rows):
                padded[line, : limits[row]] = uniforms[row]
            device = self.model.device
            batch = tokens.padded(rows, self.tokenizer.pad_token_id).to(device)
            draws = Draws(
                top_p,
                torch.from_numpy(padded).to(device),
                torch.from_numpy(limits[rows]).to(device),
                self._end(),
            )
            generated = cast(Any, self.model).generate(
                input_ids=batch.ids,
                attention_mask=batch.mask.long(),
                generation_config=self._settings(steps + 1),
                logits_processor=LogitsProcessorList([draws]),
            )
            said = self.tokenizer.batch_decode(generated, skip_special_tokens=True)
            for row, text in zip(rows, said, strict=True):
                results[row] = " ".join(text.split())
        return results

    def _end(self) -> int:
        end = self.model.generation_config.eos_token_id
        return int(end[0] if isinstance(end, list) else end)

    def _settings(self, new_tokens: int) -> Any:
        """The model's own settings of generation, but for the choice of tokens, which is made by `Draws`."""
        settings: Any = copy.deepcopy(self.model.generation_config)
        settings.update(
            num_beams=1, do_sample=False, max_length=None, max_new_tokens=new_tokens, early_stopping=False
        )
        return settings


def there_and_back(
    texts: Sequence[str],
    there: Translator,
    back: Translator,
    top_p: float,
    generators: Sequence[np.random.Generator],
) -> list[str]:
    """Each text translated by `there` and that by `back`; where either says nothing, the text itself."""
    abroad = there.translate(texts, top_p, generators)
    home = back.translate(abroad, top_p, generators)
    # A model that is given nothing may still say something.
    return [new if middle and new else old for old, middle, new in zip(texts, abroad, home, strict=True)]
