"""Whole files on a local folder or any fsspec URL: listed, read, put at once or not at all."""

import os
from collections.abc import Sequence
from typing import Any, Protocol

import fsspec

from distiller.results.local_files import LocalFiles
from distiller.results.remote_files import RemoteFiles
from distiller.spaces.errors import InputError


class Files(Protocol):
    """Paths are relative, joined by '/'. Names that begin with '.' are never listed.

    `put` and `put_new` are atomic for every reader. `put_new` changes nothing where the path is taken, and
    says whether it holds `data` now: of writers of different bytes one wins, and a writer whom an error left
    in doubt may ask again. `open` gives a file to read from in any order (a pyarrow file), FileNotFoundError
    where there is none. `remove_folder` takes all with it, what is never listed too; a folder that is not
    there is no error. `remove_abandoned` removes what killed writers left half-written, unless it changed in
    the last `seconds`, and says how much that was.
    """

    @property
    def url(self) -> str: ...
    @property
    def exclusive(self) -> bool:
        """Whether `put_new` decides between writers at once; elsewhere it checks, then puts."""

    def folders(self, path: str) -> list[str]: ...
    def names(self, path: str) -> list[str]: ...
    def read(self, path: str) -> bytes | None: ...
    def read_many(self, paths: Sequence[str]) -> list[bytes | Exception]: ...
    def open(self, path: str) -> Any: ...
    def put(self, path: str, data: bytes) -> None: ...
    def put_new(self, path: str, data: bytes) -> bool: ...
    def remove(self, path: str) -> None: ...
    def remove_folder(self, path: str) -> None: ...
    def remove_abandoned(self, seconds: float) -> int: ...


def open_files(url: str) -> Files:
    """Files below a local path or an fsspec URL; InputError where the URL's filesystem is not to be had."""
    if not url:
        raise InputError("--store: the path is empty; pass --store PATH")
    if url.startswith(("file://", "local://")) or "://" not in url:
        local = url.split("://", 1)[-1]
        return LocalFiles(os.path.abspath(os.path.expanduser(local)))
    try:
        filesystem, root = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        line = " ".join(str(error).split())
        raise InputError(f"--store {url}: {line}; use a local path or install the filesystem") from error
    return RemoteFiles(url.rstrip("/"), filesystem, root.rstrip("/"))
