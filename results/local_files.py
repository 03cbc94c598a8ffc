"""Files of a local or network-mounted folder, committed without locks.

What it rests on: `link`, and where the filesystem has none `rename` of a folder onto a taken name, are
decided by whoever keeps the folder (the kernel, the file server), so that one of several writers wins however
late the others see it; a `rename` replaces a name at once or not at all. It does not rest on file locks, nor
on listings or attributes being up to date.
"""

import errno
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller.spaces.errors import InputError

_log = logging.getLogger("distiller.results")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_GONE = "the store's folder is gone"
_HALF_WRITTEN = re.compile(r"\.[0-9a-f]{32}\.(?:tmp|first|gone)|\.probe-[0-9a-f]{32}")
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


@dataclass(frozen=True)
class LocalFiles:
    """A local (or network-mounted) folder; `url` is its absolute path.

    It may be a link itself; links inside of it are not followed: whoever writes to a shared store could have
    others read, or write, anywhere. Folders that are links are not listed, and files that are not read.
    """

    url: str
    exclusive = True

    def _inside(self, path: str) -> Path:
        """Where `path` is; InputError where a folder on the way, or its name, leads out of the store."""
        *folders, name = path.split("/")
        self._check(path, name)
        return Path(self._folder(path, folders), name)

    def _check(self, path: str, *parts: str) -> None:
        if "\0" in path or "\\" in path or not {"", ".", ".."}.isdisjoint(parts):
            raise InputError(f"--store {self.url}: {path[:120]!r} is no path in it")

    def _folder(self, path: str, parts: Sequence[str]) -> str:
        self._check(path, *parts)
        folder = self.url
        for part in parts:
            folder = os.path.join(folder, part)
            if os.path.islink(folder):
                raise InputError(
                    f"--store {self.url}: {folder} is a link, and links in a store are not followed; "
                    "put the folder itself there"
                )
        return folder

    def _read(self, place: str | Path) -> bytes:
        handle = os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with open(handle, "rb", buffering=0) as file:
            return file.readall()

    def folders(self, path: str) -> list[str]:
        return self._list(path, folders=True)

    def names(self, path: str) -> list[str]:
        return self._list(path, folders=False)

    def _list(self, path: str, folders: bool) -> list[str]:
        try:
            with os.scandir(self._inside(f"{path}/x").parent) as entries:
                found = [e for e in entries if e.is_dir() == folders and e.name[0] != "."]
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.isdir(self.url):  # a share that is away is no empty store
                raise OSError(errno.ESTALE, _GONE, self.url) from None
            return []
        if folders:
            for link in (e for e in found if e.is_symlink()):
                _log.warning("skipped %s: links in a store are not followed", link.path)
            found = [e for e in found if not e.is_symlink()]
        return sorted(e.name for e in found)

    def read(self, path: str) -> bytes | None:
        try:
            return self._read(self._inside(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_many(self, paths: Sequence[str]) -> list[bytes | Exception]:
        found: list[bytes | Exception] = []
        folders: dict[str, str] = {}  # thousands of files are in a few
        for path in paths:
            above, _, name = path.rpartition("/")
            try:
                self._check(path, name)
                if above not in folders:
                    folders[above] = self._folder(path, above.split("/") if above else [])
                found.append(self._read(f"{folders[above]}/{name}"))
            except (OSError, InputError) as error:
                found.append(error)
        return found

    def open(self, path: str) -> Any:
        place = self._inside(path)
        if place.is_symlink():
            raise OSError(errno.ELOOP, "a link, which is not followed", str(place))
        return pa.OSFile(str(place))

    def put(self, path: str, data: bytes) -> None:
        final, temp = self._write_temp(path, data)
        try:
            os.replace(temp, final)
        except OSError:
            temp.unlink(missing_ok=True)
            raise
        _fsync_folder(final.parent)

    def put_new(self, path: str, data: bytes) -> bool:
        final, temp = self._write_temp(path, data)
        try:
            os.link(temp, final)  # fails where the name exists: the one exclusive, atomic commit
        except OSError as error:
            if error.errno == errno.EEXIST:
                # Perhaps our own: of an earlier call that failed after the link, or whose answer got lost.
                return not final.is_symlink() and self.read(path) == data
            if error.errno not in _NO_LINKS:
                raise
            return self._put_new_by_folder(path, final, temp, data)
        finally:
            temp.unlink(missing_ok=True)
        _fsync_folder(final.parent)
        return True

    def _put_new_by_folder(self, path: str, final: Path, temp: Path, data: bytes) -> bool:
        """Without hard links: renaming a folder fails where a folder with a file in it has that name.

        The first such folder holds the bytes that won; who finds it without the file itself, since its
        writer died between the two, puts the file there.
        """
        first = _first(final)
        if not first.exists() and final.exists():  # written by other means
            return self.read(path) == data
        mine = temp.with_suffix(".first")
        mine.mkdir()
        try:
            os.replace(temp, mine / "data")
            _fsync_folder(mine)
            os.rename(mine, first)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        finally:
            shutil.rmtree(mine, ignore_errors=True)
        _fsync_folder(final.parent)
        try:
            won = (first / "data").read_bytes()
        except FileNotFoundError:  # removed meanwhile, with the file, by a compaction
            return False
        if not final.exists():
            self.put(path, won)
        return won == data

    def _write_temp(self, path: str, data: bytes) -> tuple[Path, Path]:
        final, root = self._inside(path), Path(self.url)
        if not final.parent.is_dir():
            if final.parent != root and not root.is_dir():
                # Not made anew: below the mount point of a share that is away, it would hide the rows.
                raise OSError(errno.ESTALE, _GONE, self.url)
            final.parent.mkdir(parents=True, exist_ok=True)
            for folder in (final.parent, *final.parent.parents):
                _fsync_folder(folder.parent)
                if folder == root:
                    break
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
        final = self._inside(path)
        first = _first(final)
        if first.exists():  # before the file, which who finds it would put back
            gone = final.with_name(f".{uuid.uuid4().hex}.gone")
            os.rename(first, gone)
            shutil.rmtree(gone)
        final.unlink()

    def remove_folder(self, path: str) -> None:
        try:
            shutil.rmtree(self._inside(path))
        except FileNotFoundError:  # no such folder, or another process removes it too
            return

    def remove_abandoned(self, seconds: float) -> int:
        removed, before = 0, time.time() - seconds
        for folder, folders, names in os.walk(self.url, onerror=_unless_gone):
            for place in (Path(folder, n) for n in (*folders, *names) if _HALF_WRITTEN.fullmatch(n)):
                try:
                    if place.lstat().st_ctime > before:  # renaming changes that, and not what is inside
                        continue
                    if place.is_dir() and not place.is_symlink():
                        shutil.rmtree(place)
                    else:
                        place.unlink()
                except FileNotFoundError:  # another process removes it too, or its writer lives
                    continue
                removed += 1
            folders[:] = [name for name in folders if name[0] != "."]
        return removed


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _first(final: Path) -> Path:
    return final.with_name(f".{final.name}.first")


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
