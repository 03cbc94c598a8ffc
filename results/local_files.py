"""Files of a local or network-mounted folder, committed without locks.

What it rests on: `link`, and where the filesystem has none `rename` of a folder onto a taken name, are
decided by whoever keeps the folder (the kernel, the file server), so that one of several writers wins however
late the others see it; a `rename` replaces a name at once or not at all. It does not rest on file locks, nor
on listings or attributes being up to date.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_GONE = "the store's folder is gone"
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


@dataclass(frozen=True)
class LocalFiles:
    """A local (or network-mounted) folder; `url` is its absolute path."""

    url: str
    exclusive = True

    def folders(self, path: str) -> list[str]:
        return self._list(path, folders=True)

    def names(self, path: str) -> list[str]:
        return self._list(path, folders=False)

    def _list(self, path: str, folders: bool) -> list[str]:
        try:
            with os.scandir(os.path.join(self.url, path)) as entries:
                return sorted(e.name for e in entries if e.is_dir() == folders and e.name[0] != ".")
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.isdir(self.url):  # a share that is away is no empty store
                raise OSError(errno.ESTALE, _GONE, self.url) from None
            return []

    def read(self, path: str) -> bytes | None:
        try:
            return Path(self.url, path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_many(self, paths: Sequence[str]) -> list[bytes | Exception]:
        found: list[bytes | Exception] = []
        for path in paths:
            try:
                found.append(Path(self.url, path).read_bytes())
            except OSError as error:
                found.append(error)
        return found

    def open(self, path: str) -> Any:
        return pa.OSFile(os.path.join(self.url, path))

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
                return self.read(path) == data
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
        final, root = Path(self.url, path), Path(self.url)
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
        final = Path(self.url, path)
        first = _first(final)
        if first.exists():  # before the file, which who finds it would put back
            gone = final.with_name(f".{uuid.uuid4().hex}.gone")
            os.rename(first, gone)
            shutil.rmtree(gone)
        final.unlink()


def _first(final: Path) -> Path:
    return final.with_name(f".{final.name}.first")


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
