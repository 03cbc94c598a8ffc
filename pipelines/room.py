"""Room in a node's cache: outputs that nobody reads make way, the longest unused first; no disk is filled.

Who reads a folder holds a shared lock on its record, which ends with the process; who needs room takes a
folder away only under that lock alone. Where a folder goes all the same (another node, a filesystem without
such locks), what is mapped into memory stays readable until it is closed.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import time
import uuid
import weakref
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from distiller.pipelines.content import DONE, built_once

RESERVED = ".reserved"
"""In a folder that is being built: the bytes that were set aside for it."""
GIB = 1 << 30


class NoRoomError(Exception):
    """Nothing that may make way would be enough; the message says what is short."""


class Reader:
    """Keeps a finished folder in the cache as long as this object, or its process, lives."""

    def __init__(self, descriptor: int):
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def of(cls, folder: Path) -> Reader | None:
        """None where the folder made way before it could be held."""
        record = folder / DONE
        try:
            descriptor = os.open(record, os.O_RDONLY)
        except FileNotFoundError:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        reader = cls(descriptor)
        try:
            held, there = os.fstat(descriptor), record.stat()
            os.utime(record, ns=(time.time_ns(),) * 2)  # used now; the kernel's own clock ticks too slowly
        except FileNotFoundError:
            return None
        except PermissionError:  # another person's, which keeps its age
            pass
        return reader if (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino) else None


def held_folder(folder: Path, build: Callable[[Path], None]) -> Reader:
    """`built_once`, and whoever holds what is returned finds the folder there."""
    while True:
        built_once(folder, build)
        if (reader := Reader.of(folder)) is not None:
            return reader


def spare_bytes(folder: Path) -> int:
    """What the disk of a folder, which may not be there yet, has free less what is left to others.

    A fiftieth of the disk is left to them, 2 GiB at most.
    """
    while not folder.exists():
        folder = folder.parent
    disk = shutil.disk_usage(folder)
    return disk.free - min(disk.total // 50, 2 * GIB)


def reserve(cache: Path, part: Path, needed: int, most: float) -> None:
    """Set `needed` bytes aside for what is being built in `part`; unused outputs make way if they must.

    Args:
        cache: the node's folder; all in it counts, those below `outputs` may go.
        most: bytes that all of it may take.

    Raises:
        NoRoomError: there would not be enough, so nothing went.
    """
    with FileLock(cache / ".room.lock"):
        _remove_leftovers(cache / "outputs", part)
        used, promised = _used(cache, part)
        disk = needed + promised - spare_bytes(cache)
        short = max(used + needed - most, disk)
        going: list[_Unused] = []
        try:
            for folder in _unused(cache / "outputs") if short > 0 else ():
                going.append(folder)
                short -= folder.size
                if short <= 0:
                    break
            if short > 0:
                what = f"the disk of {cache}" if disk > used + needed - most else f"{cache} (cache.total_gb)"
                raise NoRoomError(f"{what} lacks {short / GIB:.2f} GiB")
            for folder in going:
                folder.remove()
        finally:
            for folder in going:
                os.close(folder.descriptor)
        (part / RESERVED).write_text(str(needed))


@dataclass(frozen=True)
class _Unused:
    """A folder that nobody reads, nor can as long as its record is locked by `descriptor`."""

    path: Path
    size: int
    descriptor: int

    def remove(self) -> None:
        gone = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}.gone")
        os.rename(self.path, gone)
        shutil.rmtree(gone)


def _unused(outputs: Path) -> Iterator[_Unused]:
    """Those that can be locked, the longest unused first."""
    records = []
    for record in outputs.glob(f"[!.]*/{DONE}"):
        try:
            records.append((record.stat().st_mtime_ns, record))
        except FileNotFoundError:
            continue
    for _, record in sorted(records):
        try:
            descriptor = os.open(record, os.O_RDWR)
        except (FileNotFoundError, PermissionError):  # built anew, or another person's
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        yield _Unused(record.parent, _size(record.parent), descriptor)


def _used(cache: Path, own: Path) -> tuple[int, int]:
    """Bytes of the cache, with all that is set aside in it, and what of that the disk still has to give.

    `own` is left out.
    """
    used = promised = 0
    parts = {path.parent: path for path in (cache / "outputs").glob(f".*.part/{RESERVED}")}
    for folder, note in parts.items():
        if folder != own and (text := _read(note)):
            used += int(text)
            promised += max(0, int(text) - _size(folder, on_disk=True))
    return used + _size(cache, without={own, *parts}), promised


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _size(folder: Path, on_disk: bool = False, without: Collection[Path] = ()) -> int:
    """Bytes of the files in a folder, of which some may go meanwhile."""
    total = 0
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(root, name) not in without]
        for name in names:
            try:
                about = os.lstat(os.path.join(root, name))
            except FileNotFoundError:
                continue
            total += about.st_blocks * 512 if on_disk else about.st_size
    return total


def _remove_leftovers(outputs: Path, own: Path) -> None:
    """Of builders of this node that were killed, and of removals that were; not `own`."""
    for path in outputs.glob(".*.gone"):
        shutil.rmtree(path, ignore_errors=True)
    for path in outputs.glob(".*.part"):
        name = path.name[1:].partition(".")[0]
        if path == own or not path.name.startswith(f".{name}.{platform.node()}."):
            continue
        try:
            with FileLock(outputs / f".{name}.lock", timeout=0):
                shutil.rmtree(path, ignore_errors=True)
        except Timeout:  # it is being built
            continue
