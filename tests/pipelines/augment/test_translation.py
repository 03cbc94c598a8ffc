"""Back-translation: the sampler against explicit steps, and what a text's result may depend on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BartConfig, BartModel

from distiller.pipelines.augment.nucleus import draw, nucleus
from distiller.pipelines.augment.rows import row_generator
from distiller.pipelines.augment.translation import Draws, Translator, there_and_back
from distiller.spaces.errors import InputError
from tests.pipelines.augment.conftest import TEXTS, TWO_SIDED
from tests.pipelines.conftest import CPU, WORDS


@pytest.fixture(scope="module")
def pair(checkpoints: Path) -> tuple[Translator, Translator]:
    there, back = (Translator(str(checkpoints / way), "here", CPU) for way in ("there", "back"))
    return there, back


def test_each_step_leaves_the_token_that_its_number_draws() -> None:
    scores = torch.tensor([[0.0, 2.0, 1.0, -torch.inf], [3.0, 0.0, 2.5, 1.0]])
    uniforms = torch.tensor([[0.1, 0.999, 0.5], [0.9, 0.0, 0.5]], dtype=torch.float64)
    draws = Draws(0.9, uniforms, torch.tensor([3, 1]), end_id=3)
    for step in range(2):
        left = draws(torch.zeros(2, 1), scores)
        expected = draw(nucleus(scores, 0.9), uniforms[:, step])
        if step == 1:
            expected[1] = 3  # the second row has its length
        assert (left > -torch.inf).sum(1).tolist() == [1, 1]
        assert left.argmax(1).tolist() == expected.tolist()


@torch.no_grad()
def by_hand(folder: Path, text: str, top_p: float, rng: np.random.Generator) -> str:
    """One text, token by token, without a cache, a batch or `generate`."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    encoded = tokenizer(text, return_tensors="pt", truncation=True, max_length=32)
    limit = min(2 * encoded["input_ids"].shape[1] + 10, 30)
    uniform = rng.random(limit)
    said = [model.config.decoder_start_token_id]
    for step in range(limit):
        logits = model(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            decoder_input_ids=torch.tensor([said]),
        ).logits[0, -1]
        weights = nucleus(logits, top_p)
        said.append(int(draw(weights, torch.tensor(uniform[step], dtype=torch.float64))))
        if said[-1] == 0:
            break
    return str(tokenizer.decode(said, skip_special_tokens=True))


def test_translations_are_those_of_the_plain_loop(
    pair: tuple[Translator, Translator], checkpoints: Path
) -> None:
    texts = [*TEXTS[:4], "w3", " ".join(TEXTS)]
    for top_p in (0.9, 0.3):
        found = pair[0].translate(texts, top_p, [row_generator(t, top_p) for t in texts])
        assert found == [by_hand(checkpoints / "there", t, top_p, row_generator(t, top_p)) for t in texts]
        assert len({len(t.split()) for t in found}) > 2
        home = there_and_back(texts, *pair, top_p, [row_generator(t, top_p) for t in texts])
        for text, new in zip(texts, home, strict=True):
            rng = row_generator(text, top_p)
            abroad = by_hand(checkpoints / "there", text, top_p, rng)
            assert new == (by_hand(checkpoints / "back", abroad, top_p, rng) or text)


def test_a_text_does_not_depend_on_its_batch(
    pair: tuple[Translator, Translator], monkeypatch: pytest.MonkeyPatch
) -> None:
    def home(texts: list[str]) -> list[str]:
        return there_and_back(texts, *pair, 0.9, [row_generator(t) for t in texts])

    texts = [*TEXTS, "w7 w8", ""]
    together = home(texts)
    assert home(texts[::-1]) == together[::-1]
    assert [home([text])[0] for text in texts] == together
    monkeypatch.setattr("distiller.pipelines.augment.translation.TOKENS_PER_BATCH", 1)
    assert home(texts) == together
    assert home([]) == []


def test_texts_change_never_vanish_and_keep_to_the_words(pair: tuple[Translator, Translator]) -> None:
    texts = [*TEXTS, "w1", "w2 w3"]
    for number in range(3):
        home = there_and_back(texts, *pair, 0.9, [row_generator(t, number) for t in texts])
        assert all(text.strip() for text in home)
        assert sum(new != old for new, old in zip(home, texts, strict=True)) > 5
        assert {word for text in home for word in text.split()} <= set(WORDS)


def test_an_empty_translation_leaves_the_text(pair: tuple[Translator, Translator]) -> None:
    _, back = pair
    silent = Translator.__new__(Translator)
    silent.__dict__ |= back.__dict__
    silent.translate = lambda texts, top_p, generators: [""] * len(texts)  # type: ignore[method-assign]
    assert there_and_back(["w1 w2"], back, silent, 0.9, [row_generator("x")]) == ["w1 w2"]
    rng = row_generator("x")
    assert back.translate([""], 0.9, [rng]) != [""]  # it would put words where there were none
    assert there_and_back(["w1 w2"], silent, back, 0.9, [row_generator("x")]) == ["w1 w2"]


def test_what_is_no_translator_is_refused(checkpoints: Path, tmp_path: Path) -> None:
    for source in ("no/such", str(checkpoints / "masked")):
        with pytest.raises(
            InputError, match=r"^space.augmentation.back_translation.there: .* cannot be loaded"
        ):
            Translator(source, "space.augmentation.back_translation.there", CPU)
    config = BartConfig(**TWO_SIDED, vocab_size=200, tie_word_embeddings=False)
    BartModel(config).save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"^here: .* has no translation head \(lm_head.weight is not there\); name another"
    ):
        Translator(str(tmp_path), "here", CPU)
