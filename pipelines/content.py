"""Content-addressed folders on a node: built once, by one process, and never seen half-built."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

DONE = "complete.json"


def content_key(**parts: Any) -> str:
    """16 hexadecimal digits that differ wherever any of `parts` (JSON values) differs."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_complete(folder: Path) -> bool:
    """Whether the folder was finished and its files still have the sizes that they were finished with."""
    try:
        sizes = json.loads((folder / DONE).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return isinstance(sizes, dict) and all(
        (folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items()
    )


def built_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """`folder`, filled by `build(temporary folder)` unless it is complete already.

    Processes of one node that ask at once wait for the one that builds. The folder appears by a rename
    after its files were synced, so that a killed builder leaves nothing that a reader would trust.
    """
    if is_complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if is_complete(folder):
            return folder
        for leftover in folder.parent.glob(f".{folder.name}.*.part"):
            shutil.rmtree(leftover)
        part = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.part"
        part.mkdir()
        try:
            build(part)
            _finish(part)
            if folder.exists():
                shutil.rmtree(folder)
            os.rename(part, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        _sync(folder.parent)
    return folder


def _finish(part: Path) -> None:
    files = [path for path in part.rglob("*") if path.is_file()]
    for path in files:
        _sync(path)
    (part / DONE).write_text(json.dumps({str(p.relative_to(part)): p.stat().st_size for p in files}))
    _sync(part / DONE)
    _sync(part)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
