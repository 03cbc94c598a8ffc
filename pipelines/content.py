"""Content-addressed folders on a node: built once, by one process, and never seen half-built."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import platform
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
    after its files were synced, so that a killed builder leaves nothing that a reader would trust. Nodes
    that share the parent, on a filesystem whose locks do not reach the others, may build at once: the first
    one's folder stays, and none removes what another is writing.
    """
    if is_complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if is_complete(folder):
            return folder
        own = f".{folder.name}.{platform.node()}"
        for leftover in folder.parent.glob(f"{glob.escape(own)}.*.part"):
            shutil.rmtree(leftover)
        part = folder.parent / f"{own}.{uuid.uuid4().hex[:8]}.part"
        part.mkdir()
        try:
            build(part)
            _finish(part)
            _place(part, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        _sync(folder.parent)
    return folder


def _place(part: Path, folder: Path) -> None:
    """Give a finished folder its name, unless a builder of another node was first."""
    if folder.exists() and not is_complete(folder):
        shutil.rmtree(folder)
    try:
        os.rename(part, folder)
    except OSError:
        if not is_complete(folder):
            raise
        shutil.rmtree(part)


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
