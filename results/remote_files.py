"""Files of any fsspec filesystem, where a put of a whole object is atomic by itself."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem

_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}


@dataclass(frozen=True)
class RemoteFiles:
    """An object store or any other filesystem that fsspec reaches; settings come from its own environment."""

    url: str
    filesystem: Any
    root: str

    @cached_property
    def exclusive(self) -> bool:
        """Whether the filesystem has a put that fails where the object exists (S3: `If-None-Match`)."""
        kind = type(self.filesystem)
        asynchronous = issubclass(kind, AsyncFileSystem)
        name, base = ("_pipe_file", AsyncFileSystem) if asynchronous else ("pipe_file", AbstractFileSystem)
        put = getattr(kind, name)
        return put is not getattr(base, name) and "mode" in inspect.signature(put).parameters

    def folders(self, path: str) -> list[str]:
        return self._list(path, "directory")

    def names(self, path: str) -> list[str]:
        return self._list(path, "file")

    def _list(self, path: str, kind: str) -> list[str]:
        full = f"{self.root}/{path}"
        self.filesystem.invalidate_cache(full)  # other workers write while this one has listings cached
        try:
            entries = self.filesystem.ls(full, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == kind)
        return sorted(name for name in names if name and name[0] != ".")

    def read(self, path: str) -> bytes | None:
        try:
            return bytes(self.filesystem.cat_file(f"{self.root}/{path}"))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def read_many(self, paths: Sequence[str]) -> list[bytes | Exception]:
        if not paths:
            return []
        full = [f"{self.root}/{path}" for path in paths]
        found = self.filesystem.cat(full, on_error="return")
        # One path comes back as bare bytes; memory:// answers with a leading slash that it was not given.
        if not isinstance(found, dict):
            return [found]
        by_path = {name.lstrip("/"): content for name, content in found.items()}
        return [by_path.get(name.lstrip("/"), FileNotFoundError(name)) for name in full]

    def open(self, path: str) -> Any:
        full = f"{self.root}/{path}"
        self.filesystem.invalidate_cache(full.rsplit("/", 1)[0])  # a cached listing would hide a new file
        return pa.PythonFile(self.filesystem.open(full, "rb"), mode="r")

    def _make_folder(self, full: str) -> None:
        protocol = self.filesystem.protocol
        # Object stores have no folders, and where the bucket is missing, asking for one would make it.
        if _OBJECT_STORES.isdisjoint([protocol] if isinstance(protocol, str) else protocol):
            self.filesystem.makedirs(full.rsplit("/", 1)[0], exist_ok=True)

    def put(self, path: str, data: bytes) -> None:
        full = f"{self.root}/{path}"
        self._make_folder(full)
        self.filesystem.pipe_file(full, data)

    def put_new(self, path: str, data: bytes) -> bool:
        full = f"{self.root}/{path}"
        self._make_folder(full)
        if self.exclusive:
            try:
                self.filesystem.pipe_file(full, data, mode="create")
            except FileExistsError:  # perhaps our own, whose answer got lost on the way
                return self.read(path) == data
            return True
        present = self.read(path)
        if present is None:
            self.filesystem.pipe_file(full, data)
            present = self.read(path)  # two that found nothing: the last one's bytes stay
        return present == data

    def remove(self, path: str) -> None:
        self.filesystem.rm_file(f"{self.root}/{path}")

    def remove_abandoned(self, seconds: float) -> int:
        return 0  # an object is put whole or not at all

    def remove_folder(self, path: str) -> None:
        try:
            self.filesystem.rm(f"{self.root}/{path}", recursive=True)
        except FileNotFoundError:
            return
