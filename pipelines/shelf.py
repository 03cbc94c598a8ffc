"""What is computed on one node and must be the same on all: the first that is offered is everybody's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from distiller.pipelines.content import DONE, built_once, file_digest, is_complete


class Shelf(Protocol):
    """Folders that all nodes see, by content key. Of several that are offered under a key the first stays."""

    def first(self, key: str) -> str | None:
        """The `folder_digest` of what is there, None where nothing is."""

    def offer(self, key: str, folder: Path) -> str:
        """Put a folder there unless another was first; the digest of the one that stays."""

    def fetch(self, key: str, digest: str, folder: Path) -> None:
        """Copy what is there into an empty folder of this node."""


def folder_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a folder that `built_once` filled, by path inside, joined by `/`."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != DONE)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def folder_digest(folder: Path) -> str:
    """16 hexadecimal digits that change with the path or the bytes of any file in a folder."""
    return digest_of(folder_files(folder))


def digest_of(files: Mapping[str, str]) -> str:
    """`folder_digest` of a folder with these `folder_files`."""
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]


def built_for_all(cache: Path, key: str, build: Callable[[Path], None], shelf: Shelf | None) -> Path:
    """`cache / key` as `built_once` fills it or, where a node was first with another, a copy of that one's.

    Training is not reproducible across kinds of hardware: nodes that each built their own would differ.
    """
    own = cache / key
    if shelf is None:
        return built_once(own, build)
    first = shelf.first(key)
    if first is None:
        first = shelf.offer(key, built_once(own, build))
    if is_complete(own) and folder_digest(own) == first:
        return own
    return built_once(cache / f"{key}-{first}", lambda part: shelf.fetch(key, first, part))
