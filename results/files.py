"""Whole small files on a local folder or any fsspec URL: listed, read, put at once or not at all."""

import errno
import inspect
import logging
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import fsspec
from filelock import FileLock

from distiller.spaces.errors import InputError

_log = logging.getLogger("distiller.results")

Intact = Callable[[bytes], bool]


class Files(Protocol):
    """Paths are relative, joined by '/'. Names that begin with '.' are never listed.

    `put` and `put_new` are atomic for every reader. `put_new` returns False and changes nothing where a
    file that `intact` trusts already has that path: of several writers, one wins.
    """

    @property
    def url(self) -> str: ...

    def folders(self, path: str) -> list[str]: ...
    def names(self, path: str) -> list[str]: ...
    def read(self, path: str) -> bytes | None: ...
    def read_many(self, paths: Sequence[str]) -> list[bytes | Exception]: ...
    def put(self, path: str, data: bytes) -> None: ...
    def put_new(self, path: str, data: bytes, intact: Intact) -> bool: ...
    def remove(self, path: str) -> None: ...


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


@dataclass(frozen=True)
class LocalFiles:
    """A local (or network-mounted) folder; `url` is its absolute path.

    It may be a link itself; links inside of it are not followed: whoever writes to a shared store could have
    others read, or write, anywhere. Folders that are links are not listed, and files that are not read.
    """

    url: str

    def _inside(self, path: str) -> Path:
        """Where `path` is; InputError where a folder on the way, or its name, leads out of the store."""
        parts = path.split("/")
        if "\0" in path or any(part in ("", ".", "..") or "\\" in part for part in parts):
            raise InputError(f"--store {self.url}: {path[:120]!r} is no path in it")
        folder = self.url
        for part in parts[:-1]:
            folder = os.path.join(folder, part)
            if os.path.islink(folder):
                raise InputError(
                    f"--store {self.url}: {folder} is a link, and links in a store are not followed; "
                    "put the folder itself there"
                )
        return Path(folder, parts[-1])

    def _read(self, path: str) -> bytes:
        handle = os.open(self._inside(path), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with open(handle, "rb") as file:
            return file.read()

    def folders(self, path: str) -> list[str]:
        return self._list(path, folders=True)

    def names(self, path: str) -> list[str]:
        return self._list(path, folders=False)

    def _list(self, path: str, folders: bool) -> list[str]:
        try:
            with os.scandir(self._inside(f"{path}/x").parent) as entries:
                found = [e for e in entries if e.is_dir() == folders and e.name[0] != "."]
        except (FileNotFoundError, NotADirectoryError):
            return []
        if folders:
            for link in (e for e in found if e.is_symlink()):
                _log.warning("skipped %s: links in a store are not followed", link.path)
            found = [e for e in found if not e.is_symlink()]
        return sorted(e.name for e in found)

    def read(self, path: str) -> bytes | None:
        try:
            return self._read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_many(self, paths: Sequence[str]) -> list[bytes | Exception]:
        found: list[bytes | Exception] = []
        for path in paths:
            try:
                found.append(self._read(path))
            except (OSError, InputError) as error:
                found.append(error)
        return found

    def put(self, path: str, data: bytes) -> None:
        final, temp = self._write_temp(path, data)
        try:
            os.replace(temp, final)
        except OSError:
            os.unlink(temp)
            raise
        _fsync_folder(final.parent)

    def put_new(self, path: str, data: bytes, intact: Intact) -> bool:
        final, temp = self._write_temp(path, data)
        won = True
        try:
            try:
                os.link(temp, final)  # fails where the name exists: the one exclusive, atomic commit
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
                    raise
                # The name is taken, perhaps by a torn file, or the filesystem has no hard links.
                # `final` never vanishes in here, so no writer outside of the lock can link over it.
                with FileLock(final.parent / ".commit.lock"):
                    if final.exists() and not final.is_symlink() and intact(final.read_bytes()):
                        won = False
                    else:
                        os.replace(temp, final)
        finally:
            temp.unlink(missing_ok=True)
        _fsync_folder(final.parent)
        return won

    def _write_temp(self, path: str, data: bytes) -> tuple[Path, Path]:
        final = self._inside(path)
        if not final.parent.is_dir():
            final.parent.mkdir(parents=True, exist_ok=True)
            for folder in (final.parent.parent, final.parent.parent.parent):
                _fsync_folder(folder)
        # Hidden, so that no reader lists it; same folder, so that the rename stays in one filesystem.
        temp = final.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            with open(temp, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            temp.unlink(missing_ok=True)
            raise
        return final, temp

    def remove(self, path: str) -> None:
        os.unlink(self._inside(path))


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class RemoteFiles:
    """Any other fsspec filesystem, where a put of a whole object is atomic by itself."""

    url: str
    filesystem: Any
    root: str

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

    def put(self, path: str, data: bytes) -> None:
        full = f"{self.root}/{path}"
        self.filesystem.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
        self.filesystem.pipe_file(full, data)

    def put_new(self, path: str, data: bytes, intact: Intact) -> bool:
        full = f"{self.root}/{path}"
        present = self.read(path)
        if present is not None:
            if intact(present):
                return False
            self.put(path, data)
            return True
        self.filesystem.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
        put = getattr(self.filesystem, "_pipe_file", self.filesystem.pipe_file)
        # A conditional put, where the filesystem has it: elsewhere, checked then put.
        exclusive = "mode" in inspect.signature(put).parameters
        try:
            self.filesystem.pipe_file(full, data, **({"mode": "create"} if exclusive else {}))
        except FileExistsError:
            return False
        return True

    def remove(self, path: str) -> None:
        self.filesystem.rm_file(f"{self.root}/{path}")
