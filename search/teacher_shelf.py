"""Fine-tuned teachers in the store: tuned on one node, the same on all, and at a relaunch from anywhere.

`teachers/<key>/<digest>/<file>`, and `teachers/<key>/first.json`, written last and never replaced: which of
the digests counts. A key is of weights, data and settings, so sweeps of one store share what is equal.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distiller.pipelines.shelf import digest_of, folder_digest, folder_files
from distiller.results.store import Store
from distiller.spaces.errors import InputError


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
        return None if found is None else str(found["digest"])

    def offer(self, key: str, folder: Path) -> str:
        """Keep a teacher unless another node was first."""
        digest = folder_digest(folder)
        if not self.keeps:
            return digest
        files = folder_files(folder)
        for name in files:
            self.store.files.put(f"teachers/{key}/{digest}/{name}", (folder / name).read_bytes())
        record = json.dumps({"digest": digest, "files": files})
        if self.store.files.put_new(_record(key), record.encode()):
            return digest
        first = self.first(key)
        if first is None:  # torn
            self.store.files.put(_record(key), record.encode())
        return first or digest

    def fetch(self, key: str, digest: str, folder: Path) -> None:
        """Copy the teacher of a key to this node.

        Raises:
            InputError: a file of it, or its record, is gone or damaged.
        """
        found = self._record(key)
        if found is None or found["digest"] != digest:
            raise InputError(
                f"{self.store.url}: {_record(key)} is gone or damaged; put it back, or give the sweep "
                "another name"
            )
        for name, expected in found["files"].items():
            path = f"teachers/{key}/{digest}/{name}"
            data = self.store.files.read(path)
            if data is None or hashlib.sha256(data).hexdigest() != expected:
                state = "gone" if data is None else "damaged"
                raise InputError(
                    f"{self.store.url}: {path} is {state}, a part of the sweep's teacher; put it back, or "
                    f"remove {_record(key)} and give the sweep another name"
                )
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def _record(self, key: str) -> dict[str, Any] | None:
        data = self.store.files.read(_record(key))
        if data is None or not _is_record(data):
            return None
        found: dict[str, Any] = json.loads(data)
        return found


def _record(key: str) -> str:
    return f"teachers/{key}/first.json"


def _is_record(data: bytes) -> bool:
    """Whether these are a digest and files that go together; anything else is as good as torn."""
    try:
        found = json.loads(data)
    except ValueError:
        return False
    if not isinstance(found, dict) or not isinstance(files := found.get("files"), dict) or not files:
        return False
    # The digest becomes a folder's name on every node: another one could lead anywhere.
    return bool(found.get("digest") == digest_of(files)) and all(map(_is_inside, files))


def _is_inside(name: str) -> bool:
    return all(part.strip(".") and not {"\0", "\\"} & set(part) for part in name.split("/"))
