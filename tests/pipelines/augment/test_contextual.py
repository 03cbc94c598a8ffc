"""The masked language model's draws against its own distribution, computed without this code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import stats
from transformers import AutoModelForMaskedLM

from distiller.pipelines.augment.contextual import MaskedModel
from distiller.pipelines.augment.rows import Row, row_generator, share_of
from distiller.spaces.errors import InputError
from tests.pipelines.augment.conftest import TEXTS, save_masked, save_translator
from tests.pipelines.conftest import CPU, WORDS, save_teacher, tokenizer_of

ROWS = [Row.of(text) for text in TEXTS]


@pytest.fixture(scope="module")
def model(checkpoints: Path) -> MaskedModel:
    return MaskedModel(str(checkpoints / "masked"), "here", CPU)


def distribution(checkpoints: Path, words: list[str], masked: list[int]) -> dict[int, dict[str, float]]:
    """For each masked word, the probabilities of whole words."""
    tokenizer = tokenizer_of(0)
    model = AutoModelForMaskedLM.from_pretrained(checkpoints / "masked").eval()
    text = " ".join("[MASK]" if i in masked else word for i, word in enumerate(words))
    with torch.no_grad():
        logits = model(**tokenizer(text, return_tensors="pt")).logits[0].double()
    ids = tokenizer.convert_tokens_to_ids(WORDS)
    found = {}
    for i in masked:
        weights = logits[i + 1, ids].softmax(-1)  # [CLS] stands before the words
        found[i] = dict(zip(WORDS, weights.tolist(), strict=True))
    return found


def nucleus_of(weights: dict[str, float], top_p: float, without: str) -> dict[str, float]:
    kept: dict[str, float] = {}
    for word in sorted(weights, key=weights.__getitem__, reverse=True):
        kept[word] = weights[word]
        if sum(kept.values()) >= top_p:
            break
    kept = {word: p for word, p in kept.items() if word != without} or kept
    return {word: p / sum(kept.values()) for word, p in kept.items()}


def test_draws_come_from_the_nucleus_as_often_as_it_says(model: MaskedModel, checkpoints: Path) -> None:
    row = Row(("w1", "w2", "w3"), (True, False, True))
    weights = distribution(checkpoints, list(row.words), [1])[1]
    expected = nucleus_of(weights, 0.7, "w2")
    assert 2 < len(expected) < 170
    count = 3000
    edited = model.edits([row] * count, 0.5, 0.7, [row_generator("x", i) for i in range(count)])
    assert all((e[0], e[2]) == (("w1", 0), ("w3", 2)) and e[1].origin == 1 for e in edited)
    drawn = [e[1].word for e in edited]
    assert set(drawn) <= set(expected)
    often = [word for word, p in expected.items() if p * count > 5]
    rest = count - sum(drawn.count(word) for word in often)
    found = [*(drawn.count(word) for word in often), rest]
    wanted = [*(count * expected[word] for word in often), count * (1 - sum(expected[w] for w in often))]
    if wanted[-1] < 1e-6:
        found, wanted = found[:-1], wanted[:-1]
    assert stats.chisquare(found, wanted).pvalue > 1e-3


def test_the_most_probable_other_word_where_the_nucleus_is_one(model: MaskedModel, checkpoints: Path) -> None:
    """With almost no mass the nucleus is the best word: it is drawn, even where it stood there before."""
    words = TEXTS[0].split()
    for at in range(len(words)):
        row = Row(tuple(words), tuple(i != at for i in range(len(words))))
        weights = distribution(checkpoints, words, [at])[at]
        best = max(weights, key=weights.__getitem__)
        (edited,) = model.edits([row], 0.1, 1e-6, [row_generator("x")])
        assert edited[at] == (best, at)
        own = Row((*words[:at], best, *words[at + 1 :]), row.protected)
        (edited,) = model.edits([own], 0.1, 1e-6, [row_generator("x")])
        assert edited == own.unchanged()


@pytest.mark.parametrize("strength", [0.1, 0.3, 0.5])
def test_a_share_of_words_changes_and_no_special_token_enters(model: MaskedModel, strength: float) -> None:
    edited = model.edits(ROWS, strength, 1.0, [row_generator(text) for text in TEXTS])
    for row, new in zip(ROWS, edited, strict=True):
        assert [origin for _, origin in new] == list(range(len(row.words)))
        changed = [word for i, (word, _) in enumerate(new) if word != row.words[i]]
        assert len(changed) == share_of(strength, len(row.words))
        assert set(changed) <= set(WORDS)


def test_all_masked_words_of_a_text_are_masked_at_once(model: MaskedModel, checkpoints: Path) -> None:
    row = ROWS[1]
    (edited,) = model.edits([row], 0.3, 1e-6, [row_generator("x")])
    changed = [i for i, (word, _) in enumerate(edited) if word != row.words[i]]
    assert len(changed) >= 3
    weights = distribution(checkpoints, list(row.words), changed)
    for i in changed:
        assert edited[i].word == max(weights[i], key=weights[i].__getitem__)


def test_texts_do_not_depend_on_their_batch(model: MaskedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*ROWS, Row.of("w1"), Row.of(" ".join(TEXTS[:2])), Row((), ())]
    together = model.edits(rows, 0.3, 0.9, [row_generator(str(i)) for i in range(len(rows))])
    monkeypatch.setattr("distiller.pipelines.augment.contextual.TOKENS_PER_BATCH", 1)
    assert model.edits(rows, 0.3, 0.9, [row_generator(str(i)) for i in range(len(rows))]) == together
    alone = [model.edits([row], 0.3, 0.9, [row_generator(str(i))])[0] for i, row in enumerate(rows)]
    assert alone == together
    assert model.edits([], 0.3, 0.9, []) == []


def test_case_punctuation_and_masks_in_the_text(model: MaskedModel) -> None:
    row = Row.of('W5, "w6" (W7)! [MASK] w8 [MASK]: 12 --')
    for number in range(20):
        (edited,) = model.edits([row], 0.5, 1.0, [row_generator("x", number)])
        for (new, _), old in zip(edited, row.words, strict=True):
            if new != old:
                assert old in ("W5,", '"w6"', "(W7)!", "w8", "[MASK]", "[MASK]:")
                core = new.strip('",()![]:')
                assert core.lower() in WORDS
                assert new == old.replace(old.strip('",()![]:'), core)
                assert core.isupper() == old.strip('",()![]:').isupper()


def test_words_beyond_what_the_model_reads_stay(model: MaskedModel) -> None:
    row = Row(tuple(f"w{i}" for i in range(100)), (False,) * 100)
    assert model.longest == 40
    (edited,) = model.edits([row], 0.5, 1.0, [row_generator("x")])
    changed = [i for i, (word, _) in enumerate(edited) if word != row.words[i]]
    assert 10 < len(changed) < 38
    assert max(changed) < 38


def test_what_is_no_masked_language_model_is_refused(tmp_path: Path) -> None:
    place = "space.augmentation.contextual.checkpoint"
    with pytest.raises(InputError, match=rf"^{place}: 'no/such' cannot be loaded"):
        MaskedModel("no/such", place, CPU)
    with pytest.raises(InputError, match=rf"^{place}: .* cannot be loaded"):
        MaskedModel(str(save_translator(tmp_path / "marian")), place, CPU)
    with pytest.raises(
        InputError, match=rf"^{place}: .* has no masked-language-model head \(cls.* is not the"
    ):
        MaskedModel(str(save_teacher(tmp_path / "classifier")), place, CPU)
    tokenizer = tokenizer_of(0)
    folder = save_masked(tmp_path / "maskless")
    tokenizer.mask_token = None
    tokenizer.save_pretrained(folder)
    np.testing.assert_equal(tokenizer.mask_token_id, None)
    with pytest.raises(InputError, match=rf"^{place}: .* has no mask token; name a masked"):
        MaskedModel(str(folder), place, CPU)


def test_what_is_tied_to_other_weights_need_not_be_there(tmp_path: Path) -> None:
    """As in checkpoints of old: the decoder is the word table, and its bias stands under one name alone."""
    folder = save_masked(tmp_path / "masked")
    before = MaskedModel(str(folder), "here", CPU).model.state_dict()
    state = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if ".decoder." not in name}
    kept["cls.predictions.bias"] = before["cls.predictions.decoder.bias"]
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    after = MaskedModel(str(folder), "here", CPU).model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
