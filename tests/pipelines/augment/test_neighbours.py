"""Neighbours against brute force, and whole words for each kind of tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from distiller.pipelines.augment.neighbours import Neighbours, neighbour_edits
from distiller.pipelines.augment.rows import Row, row_generator
from distiller.pipelines.augment.whole_words import WholeWords, single_tokens
from tests.pipelines.augment.conftest import TEXTS, tiny_sources
from tests.pipelines.conftest import WORDS, tokenizer_of

PIECES = ["film", "movie", "Movie", "story", "play", "ing", "un", "s", "2005", "9th", "-"]


def wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")


def wordpiece() -> Any:
    """As BERT: words are bare, continuations carry ##."""
    entries = ["[UNK]", "[PAD]", "[unused1]", *PIECES, "##ing", "##s", *"filmoveMstrypaung2059h"]
    ids = {word: i for i, word in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return wrapped(tokenizer)


def byte_level() -> Any:
    """As RoBERTa: words carry Ġ, continuations are bare."""
    letters = sorted(set("".join(PIECES)))
    entries = ["[UNK]", "[PAD]", "Ġ", *letters]
    merges = []
    for word in PIECES:
        for start in ("Ġ", ""):
            made = start or word[0]
            for letter in word[1 if not start else 0 :]:
                merges.append((made, letter))
                made += letter
                entries.append(made)
    entries = [w for w in dict.fromkeys(entries) if w not in ("Ġs",)] + ["Ġs"]
    vocabulary = {w: i for i, w in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(dict.fromkeys(merges)), unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return wrapped(tokenizer)


def sentencepiece() -> Any:
    """As ALBERT and DeBERTa-v3: words carry ▁, continuations are bare."""
    entries = ["[UNK]", "[PAD]", "▁", *(f"▁{word}" for word in PIECES), *PIECES]
    entries += [letter for letter in sorted(set("".join(PIECES))) if letter not in entries]
    scores = [(w, -1.0 if w.startswith("▁") and len(w) > 1 else -3.0) for w in dict.fromkeys(entries)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return wrapped(tokenizer)


@pytest.mark.parametrize("make", [wordpiece, byte_level, sentencepiece])
def test_whole_words_of_every_kind_of_tokenizer(make: Any) -> None:
    tokenizer = make()
    whole = WholeWords.of(tokenizer, len(tokenizer))
    longer = {word for word in whole.words if len(word) > 1}
    assert longer >= {"film", "movie", "Movie", "story", "play"}
    assert not {"2005", "-", "unused1", "[unused1]", "UNK", "PAD", "##ing"} & set(whole.words)
    for i, word in zip(whole.ids, whole.words, strict=True):
        assert tokenizer(f"a {word}", add_special_tokens=False)["input_ids"][-1] == i
    assert whole.fold("MOVIE") == whole.fold("movie") != -1
    assert whole.fold("cinema") == -1
    one, other = single_tokens(tokenizer, ["movie", "playing"])
    assert one is not None
    assert other is None
    assert len(WholeWords.of(tokenizer, 5).ids) < len(whole.ids)  # a shorter table


def brute_force(table: torch.Tensor, word: str, count: int) -> list[str]:
    ids = {w: tokenizer_of(0).convert_tokens_to_ids(w) for w in WORDS}
    rows = {w: table[i].double().numpy() for w, i in ids.items()}
    own = rows[word]

    def cosine(other: str) -> float:
        return float(own @ rows[other] / np.linalg.norm(own) / np.linalg.norm(rows[other]))

    return sorted((w for w in WORDS if w != word), key=cosine, reverse=True)[:count]


def test_neighbours_are_the_nearest_by_cosine(tmp_path: Path) -> None:
    sources = tiny_sources(tmp_path)
    scaled = sources.table * torch.rand(200, 1).add(0.1)  # lengths do not matter
    for count in (1, 5, 500):
        near = Neighbours(sources.tokenizer, scaled)
        near.learn(["w3", "w77", "w179", "unknown"], count)
        for word in ("w3", "w77", "w179"):
            expected = brute_force(scaled, word, count)
            assert list(near.nearest(word, count)) == expected
            assert len(expected) == min(count, 179)
        assert near.nearest("unknown", count) == ()
        assert near.nearest("W3", count) == near.nearest("w3", count)  # the tokenizer lowers case


def test_the_same_word_in_another_case_is_no_neighbour() -> None:
    tokenizer = wordpiece()
    table = torch.randn(len(tokenizer), 4, generator=torch.Generator().manual_seed(0))
    ids = tokenizer.get_vocab()
    table[ids["Movie"]] = table[ids["movie"]] * 2
    near = Neighbours(tokenizer, table)
    assert "Movie" not in near.nearest("movie", 100)
    assert "movie" not in near.nearest("Movie", 100)
    assert "film" in near.nearest("movie", 100)


def test_replacements_are_neighbours_each_as_likely(tmp_path: Path) -> None:
    near = tiny_sources(tmp_path).neighbours
    row = Row(("w5", "w6", "(w7)", "zzz"), (False, True, False, False))
    seen: dict[int, list[str]] = {0: [], 2: []}
    for number in range(400):
        (edited,) = neighbour_edits([row], near, 3, 0.5, [row_generator("x", number)])
        assert [origin for _, origin in edited] == [0, 1, 2, 3]
        assert (edited[1].word, edited[3].word) == ("w6", "zzz")
        changed = [i for i in (0, 2) if edited[i].word != row.words[i]]
        assert len(changed) == 2  # round(0.5 * 3) of three free words, of which two are tokens
        for i in changed:
            seen[i].append(edited[i].word)
    for i, core in ((0, "w5"), (2, "w7")):
        names = [word.strip("()") for word in seen[i]]
        assert set(names) == set(near.nearest(core, 3))
        assert min(names.count(word) for word in set(names)) > 90


def test_rows_do_not_depend_on_one_another(tmp_path: Path) -> None:
    rows, rngs = [Row.of(text) for text in TEXTS], [row_generator(text) for text in TEXTS]
    together = neighbour_edits(rows, tiny_sources(tmp_path).neighbours, 4, 0.3, rngs)
    for row, text, edited in zip(rows, TEXTS, together, strict=True):
        near = tiny_sources(tmp_path).neighbours
        assert neighbour_edits([row], near, 4, 0.3, [row_generator(text)]) == [edited]
