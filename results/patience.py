"""Storage that fails for a while: writers wait with growing pauses, say so, and go on."""

import errno
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from distiller.results.files import Files
from distiller.spaces.errors import InputError

PATIENCE_SECONDS = 900.0
"""How long a write may wait. A file server's failover, or a person who clears a full disk, takes minutes; one
who waits holds a device, so not hours."""

READ_SECONDS = 15.0
"""How long single files may be unreadable before they are skipped and reported: the storage itself works."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
_log = logging.getLogger("distiller.results")

_Answer = TypeVar("_Answer")
_LASTING = (
    FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, InputError, ValueError,
    TypeError, LookupError, AttributeError, NotImplementedError, ImportError, AssertionError,
)  # fmt: skip
_LASTING_ERRNO = (errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP)


class StorageError(InputError):
    """Storage that failed for longer than anyone waits; one line."""


def may_pass(error: Exception) -> bool:
    """Whether trying again later can help: a full, read-only, absent or overloaded storage, not a wrong call.

    A remote filesystem raises whatever its client library does, so what is not known to last may pass.
    """
    return not isinstance(error, _LASTING) and getattr(error, "errno", None) not in _LASTING_ERRNO


@dataclass(frozen=True)
class PatientFiles:
    """Files whose every operation is tried again while it fails by what may pass; see `Files`.

    Raises:
        StorageError: it has failed for `seconds`.
    """

    files: Files
    seconds: float = PATIENCE_SECONDS
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    @property
    def url(self) -> str:
        return self.files.url

    @property
    def exclusive(self) -> bool:
        return self.files.exclusive

    def folders(self, path: str) -> list[str]:
        return self._patiently(path, lambda: self.files.folders(path))

    def names(self, path: str) -> list[str]:
        return self._patiently(path, lambda: self.files.names(path))

    def read(self, path: str) -> bytes | None:
        return self._patiently(path, lambda: self.files.read(path))

    def read_many(self, paths: Sequence[str]) -> list[bytes | Exception]:
        found = dict(zip(paths, self._patiently("files", lambda: self.files.read_many(paths)), strict=True))
        waited, pause = 0.0, FIRST_PAUSE
        while waited < min(READ_SECONDS, self.seconds):
            again = [path for path, got in found.items() if isinstance(got, Exception) and may_pass(got)]
            if not again:
                break
            self.sleep(pause)
            waited, pause = waited + pause, 2 * pause
            found |= zip(again, self._patiently("files", partial(self.files.read_many, again)), strict=True)
        return [found[path] for path in paths]

    def open(self, path: str) -> Any:
        return self._patiently(path, lambda: self.files.open(path))

    def put(self, path: str, data: bytes) -> None:
        self._patiently(path, lambda: self.files.put(path, data))

    def put_new(self, path: str, data: bytes) -> bool:
        return self._patiently(path, lambda: self.files.put_new(path, data))

    def remove(self, path: str) -> None:
        self._patiently(path, lambda: self.files.remove(path))

    def remove_folder(self, path: str) -> None:
        self._patiently(path, lambda: self.files.remove_folder(path))

    def remove_abandoned(self, seconds: float) -> int:
        return self._patiently("half-written files", lambda: self.files.remove_abandoned(seconds))

    def _patiently(self, path: str, work: Callable[[], _Answer]) -> _Answer:
        began, pause, failed = self.clock(), FIRST_PAUSE, False
        while True:
            try:
                answer = work()
            except Exception as error:
                if not may_pass(error):
                    raise
                waited = self.clock() - began
                said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                if waited >= self.seconds:
                    raise StorageError(
                        f"--store {self.url}: {path} failed for {waited:.0f} s ({said}); "
                        "mend the storage and launch again: nothing finished is lost"
                    ) from error
                if not failed:
                    _log.warning(
                        "%s: %s (%s); trying again for up to %.0f s", self.url, path, said, self.seconds
                    )
                failed = True
                self.sleep(min(pause, max(self.seconds - waited, 0.0)))
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if failed:
                _log.warning("%s: answers again after %.0f s", self.url, self.clock() - began)
            return answer
