"""Fine-tuned teachers in the store: tuned on one node, the same on all, and at a relaunch from anywhere.

`teachers/<key>/<digest>/<file>`, and `teachers/<key>/first.json`, written last and never replaced: which of
the digests counts. Where that file is torn, the record is written again beside it, `first~1.json`, and so on:
the first intact one counts, for nodes that mend it at once too. A key is of weights, data and settings, so
sweeps of one store share what is equal. What a dataset with a teacher is like lies there too, `meta-<key>`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from distiller.pipelines.shelf import digest_of, folder_digest, folder_files
from distiller.results.manifest import MovedError
from distiller.results.reading import settled
from distiller.results.store import Store
from distiller.spaces.errors import InputError

_log = logging.getLogger("distiller.search")


@dataclass(frozen=True)
class TeacherShelf:
    """The shelf (`distiller.pipelines.shelf`) of a store.

    Attributes:
        keeps: whether offers are put there; without, one node's teachers stay in its cache, but what
            another launch put there counts.
    """

    store: Store
    keeps: bool

    def first(self, key: str) -> str | None:
        """The digest of the teacher that all nodes take."""
        found = self._record(key)
        return None if found is None else found.digest

    def offer(self, key: str, folder: Path) -> str:
        """Keep a teacher unless another node was first."""
        digest = folder_digest(folder)
        if not self.keeps:
            return digest
        files = folder_files(folder)
        for name in files:
            self.store.files.put(f"teachers/{key}/{digest}/{name}", (folder / name).read_bytes())
        record = json.dumps({"digest": digest, "files": files}).encode()
        for path in _records(key):
            held = settled(partial(self._put_new, path, record))
            if (found := Record.read(path, held)) is not None:
                return found.digest
            _log.warning("%s/%s: torn, written again beside it", self.store.url, path)
        raise AssertionError("there is always another path")

    def _put_new(self, path: str, record: bytes, last: bool) -> bytes:
        """What the path holds then; MovedError where that cannot be seen yet."""
        if self.store.files.put_new(path, record):
            return record
        held = self.store.files.read(path)
        if held is None:
            raise MovedError(path)
        return held

    def fetch(self, key: str, digest: str, folder: Path) -> None:
        """Copy the teacher of a key to this node.

        Raises:
            InputError: a file of it, or its record, is gone or damaged.
        """
        found = self._record(key)
        if found is None or found.digest != digest:
            raise InputError(
                f"{self.store.url}: the record of teachers/{key} is gone or damaged; put it back, or give "
                "the sweep another name"
            )
        for name, expected in found.files.items():
            path = f"teachers/{key}/{digest}/{name}"
            data = self.store.files.read(path)
            if data is None or hashlib.sha256(data).hexdigest() != expected:
                state = "gone" if data is None else "damaged"
                raise InputError(
                    f"{self.store.url}: {path} is {state}, a part of the sweep's teacher; put it back, or "
                    f"remove {found.path} and give the sweep another name"
                )
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def _record(self, key: str) -> Record | None:
        for path in _records(key):
            data = self.store.files.read(path)
            if data is None:
                return None
            if (found := Record.read(path, data)) is not None:
                return found
        raise AssertionError("there is always another path")


@dataclass(frozen=True)
class Record:
    """Which teacher of a key counts; `files` are the SHA-256 of its files by name."""

    path: str
    digest: str
    files: dict[str, str]

    @classmethod
    def read(cls, path: str, data: bytes) -> Record | None:
        """None of what is torn, or not a digest and files that go together."""
        try:
            told = json.loads(data)
            digest, files = told["digest"], told["files"]
        except (ValueError, LookupError, TypeError):
            return None
        if not isinstance(files, dict) or not files or not all(map(_is_inside, files)):
            return None
        # The digest becomes a folder's name on every node: another one could lead anywhere.
        return cls(path, digest, files) if digest == digest_of(files) else None


def _is_inside(name: str) -> bool:
    return all(part.strip(".") and not {"\0", "\\"} & set(part) for part in name.split("/"))


def _records(key: str) -> Iterator[str]:
    yield f"teachers/{key}/first.json"
    yield from (f"teachers/{key}/first~{number}.json" for number in itertools.count(1))
